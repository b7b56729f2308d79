"""Requests on the road: attempts, retries, fallbacks, streams, clients that leave; what the lane says of each."""

import asyncio
import socket
from typing import Any

import pytest
from small_road import Client, Reply, SmallRoad, request_bytes

from tollbook.core.faults import JournalUnavailable
from tollbook.core.money import parse_amount
from tollbook.journal.entry import RequestEntry, Settlement
from tollbook.simulator import Billed, Simulator

STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def settlement_of(entry: RequestEntry) -> Settlement:
    assert entry.settlement is not None
    return entry.settlement


def outcome_of(entry: RequestEntry) -> str:
    assert entry.close is not None
    return entry.close.outcome


def expected_of(entry: RequestEntry) -> int:
    """The sum of the expected amounts of an entry's lines, in picodollars."""
    assert entry.rating is not None
    assert entry.rating.unpriced is None
    return sum(parse_amount(charge[4] or "") for charge in entry.rating.charges)


def billed_for(vendor: Simulator, entry: RequestEntry) -> list[Billed]:
    return [line for line in vendor.books.billed if line.request_id == entry.request.id]


def attempts_received(vendor: Simulator, request_id: str) -> list[str | None]:
    return [line.attempt_id for line in vendor.books.received if line.request_id == request_id]


async def read_some(client: Client, size: int) -> bytes:
    """So many bytes of an answer, head included."""
    return await asyncio.wait_for(client.reader.readexactly(size), 10)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
@pytest.mark.parametrize("dictated", ["input=1000 output=40", "input=100 cache_read=900 output=40", "input=9 output=0"])
async def test_buffered_and_streamed_cost_the_same(
    road: SmallRoad, vendor: Simulator, model: str, dictated: str
) -> None:
    """Both forms of one request have the same usage and the vendor's own amount, to the last digit (L3, L4, F3)."""
    entries = []
    async with road:
        for stream in (False, True):
            assert (await road.ask(model, f"[[sim {dictated}]]", stream=stream)).status == 200
            entries.append(await road.last())
    buffered, streamed = entries
    assert settlement_of(buffered).usage == settlement_of(streamed).usage
    assert settlement_of(buffered).basis == settlement_of(streamed).basis == "provider_reported"
    for entry in entries:
        (billed,) = billed_for(vendor, entry)
        assert expected_of(entry) == parse_amount(billed.amount)


QUIRKS = ["usage_with_choices", "usage_cumulative", "usage_zero_first", "delta_only", "tiny", "crlf", "comments",
          "no_space", "multiline"]  # fmt: skip


@pytest.mark.parametrize("quirk", QUIRKS)
@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
async def test_every_way_of_streaming_gives_the_same_usage(
    road: SmallRoad, vendor: Simulator, model: str, quirk: str
) -> None:
    """Usage beside choices, repeated, zero at first, byte by byte: the vendor's final count stands (L3, F5, P4, E5)."""
    text = f"[[sim input=300 cache_read=40 output=24]] [[sim fault={quirk}]]"
    async with road:
        reply = await road.ask(model, text, stream=True)
        entry = await road.last()
    assert reply.status == 200
    assert settlement_of(entry).usage == {"input": 300, "input_cache_read": 40, "output": 24}
    assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)


async def test_a_thousand_streamed_calls_add_up(road: SmallRoad, vendor: Simulator) -> None:
    """The rows' amounts are the vendor's, and none with tokens is zero (L1)."""
    async with road:
        gate = asyncio.Semaphore(32)

        async def one(number: int) -> None:
            async with gate:
                client = await road.connect()
                client.send(request_bytes(text=f"{number} [[sim input={number + 1} output={number % 7}]]", **STREAMED))
                assert (await client.answer()).status == 200
                client.cut()

        await asyncio.gather(*(one(number) for number in range(1_000)))
        await road.quiet()
        settled = [entry for kind, entry in road.entries if kind == "request.settled"]
    assert len(settled) == 1_000
    assert all(expected_of(entry) > 0 for entry in settled)
    assert sum(map(expected_of, settled)) == sum(
        parse_amount(line.amount) for entry in settled for line in billed_for_all(vendor, entry)
    )


def billed_for_all(vendor: Simulator, entry: RequestEntry, _cache: dict[str, list[Billed]] = {}) -> list[Billed]:  # noqa: B006
    if entry.request.id not in _cache:
        _cache.clear()
        for line in vendor.books.billed:
            _cache.setdefault(str(line.request_id), []).append(line)
    return _cache[entry.request.id]


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
@pytest.mark.parametrize("setting", ["drain", "cancel"])
async def test_a_client_that_leaves_a_stream_leaves_a_row(
    vendor: Simulator, tmp_path: Any, model: str, setting: str
) -> None:
    """`drain` learns the vendor's usage, `cancel` estimates with a bound; what was seen is paid for (L5, L6, X15)."""
    async with SmallRoad(tmp_path, vendor.url, f"client_gone: {setting}") as road:
        client = await road.connect()
        client.send(request_bytes(model, "[[sim output=60 chunk_ms=4 chunk_tokens=1]]", stream=True))
        await read_some(client, 2_500)
        client.cut()
        entry = await road.last()
    settlement = settlement_of(entry)
    assert entry.close is not None
    assert entry.close.client == "gone"
    assert (settlement.delivered or 0) > 0
    if setting == "drain":
        assert (outcome_of(entry), settlement.outcome) == ("client_gone", "client_gone")
        assert settlement.basis == "provider_reported"
        assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)
    else:
        assert (outcome_of(entry), settlement.outcome) == ("client_gone", "cancelled")
        assert settlement.basis == "estimated"
        assert settlement.method is not None
        assert settlement.usage is not None
        assert settlement.bound is not None
        assert 5 <= settlement.usage["output"] <= settlement.bound["output"]
        assert expected_of(entry) > 0


async def test_a_client_that_leaves_a_buffered_call_pays_for_the_whole(road: SmallRoad, vendor: Simulator) -> None:
    """The answer is read to its end although nobody waits for it (L7)."""
    async with road:
        client = await road.connect()
        client.send(request_bytes(text="[[sim input=50 output=30 first_byte_ms=150]]"))
        await asyncio.sleep(0.05)
        client.cut()
        await asyncio.sleep(0.02)
        entry = await road.last()
    assert outcome_of(entry) == "client_gone"
    assert settlement_of(entry).usage == {"input": 50, "output": 30}
    assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)


async def test_a_thousand_aborted_streams_are_a_thousand_rows(road: SmallRoad, vendor: Simulator) -> None:
    """Each has a basis and an amount of at least what was delivered: hanging up makes nothing free (X1)."""
    async with road:
        gate = asyncio.Semaphore(64)

        async def one(number: int) -> None:
            async with gate:
                client = await road.connect()
                client.send(request_bytes(text=f"{number} [[sim output=40 chunk_tokens=2]]", stream=True))
                await read_some(client, 700 + number)
                client.cut()

        await asyncio.gather(*(one(number) for number in range(1_000)))
        await road.quiet()
        entries = [entry for _, entry in road.entries if entry.close is not None]
    assert len(entries) == 1_000
    for entry in entries:
        (billed,) = billed_for_all(vendor, entry)
        assert settlement_of(entry).basis == "provider_reported"
        assert expected_of(entry) == parse_amount(billed.amount)


async def test_a_thousand_cancelled_streams_cost_what_was_delivered(vendor: Simulator, tmp_path: Any) -> None:
    """With `cancel` each row is an estimate, never below the chunks that reached the client (X1)."""
    async with SmallRoad(tmp_path, vendor.url, "client_gone: cancel") as road:
        gate = asyncio.Semaphore(64)
        seen: dict[int, int] = {}

        async def one(number: int) -> None:
            async with gate:
                client = await road.connect()
                client.send(
                    request_bytes(text=f"{number} [[sim output=40 chunk_tokens=1 chunk_ms=1]]", stream=True,
                                  headers={"x-tollbook-template": f"t{number}"})
                )  # fmt: skip
                seen[number] = (await read_some(client, 1_500 + number)).count(b'"content":"')
                client.cut()

        await asyncio.gather(*(one(number) for number in range(1_000)))
        await road.quiet()
        entries = [entry for _, entry in road.entries if entry.close is not None]
    assert len(entries) == 1_000
    for entry in entries:
        settlement = settlement_of(entry)
        assert settlement.basis in ("provider_reported", "estimated")
        assert settlement.usage is not None
        assert settlement.usage["output"] >= seen[int((entry.request.template or "")[1:])] - 1
        assert expected_of(entry) > 0


@pytest.mark.parametrize("fault", ["cut after=3", "cut_fin after=3", "clean_end after=3", "error_event after=3"])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
async def test_a_stream_that_ends_early_is_never_a_success(road: SmallRoad, model: str, fault: str) -> None:
    """Cut, closed, without its last event, or with an error: one row with its words and what was seen (L8, P3, B9)."""
    async with road:
        client = await road.connect()
        client.send(request_bytes(model, f"[[sim output=40]] [[sim fault={fault}]]", stream=True))
        broken = False
        try:
            await client.answer()
        except asyncio.IncompleteReadError:
            broken = True
        entry = await road.last()
        assert len(road.entries) == 2
    settlement = settlement_of(entry)
    assert broken == fault.startswith("cut")
    assert settlement.outcome == ("vendor_error" if "error" in fault else "truncated")
    assert settlement.basis == "estimated"
    assert settlement.usage is not None
    assert settlement.usage["output"] >= 3
    assert expected_of(entry) > 0


async def test_a_buffered_answer_that_breaks_off_is_an_error_of_ours(road: SmallRoad) -> None:
    """Half an answer is not passed on; the client is told not to buy it again by itself."""
    async with road:
        reply = await road.ask(text="[[sim fault=cut after=20]]")
        entry = await road.last()
    assert (reply.status, reply.code) == (502, "attempts_exhausted")
    assert reply.headers["x-should-retry"] == "false"
    assert settlement_of(entry).outcome == "truncated"
    assert entry.close is not None
    assert entry.close.error == "attempts_exhausted"


async def test_retries_and_fallbacks_are_one_list_of_attempts(road: SmallRoad, vendor: Simulator) -> None:
    """The same target twice, then the next; each attempt says why, by which policy, and what came next (L30-L32)."""
    async with road:
        reply = await road.ask("smart", "[[sim input=10 output=5]] [[sim fault=503 model=gpt-4o]]")
        entry = await road.last()
        entries = road.entries
    assert reply.status == 200
    assert reply.headers["x-tollbook-attempts"] == "3"
    assert reply.headers["x-tollbook-route"] == "openai/gpt-4o>openai/gpt-4.1"
    request_id = reply.headers["x-tollbook-request-id"]
    assert attempts_received(vendor, request_id) == [f"{request_id}.{number}" for number in (1, 2, 3)]
    assert [kind for kind, _ in entries] == [
        "request.opened", "attempt.settled", "attempt.opened", "attempt.settled", "attempt.opened", "request.settled",
    ]  # fmt: skip
    settled = [one for kind, one in entries if kind.endswith("settled")]
    told = [
        (one.attempt and one.attempt.reason, one.attempt and one.attempt.because, settlement_of(one).status,
         settlement_of(one).outcome, settlement_of(one).next, settlement_of(one).borne_by, settlement_of(one).billable)
        for one in settled
    ]  # fmt: skip
    assert told == [
        ("first", None, 503, "vendor_error", "retry", "platform", False),
        ("retry", "vendor_error", 503, "vendor_error", "fallback", "platform", False),
        ("fallback", "vendor_error", 200, "ok", "answer", "tenant", True),
    ]
    assert all(one.request.policy == f"smart@{road.settings.models['smart'].version}" for one in settled)
    assert (entry.close and entry.close.attempts, entry.close and entry.close.reason) == (3, "policy_order")
    assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)
    assert reply.headers["x-tollbook-cost-usd"] == "0.00006"


async def test_an_error_passes_as_it_came_with_its_route(road: SmallRoad) -> None:
    """The last vendor's error is the client's, and the row keeps model, vendor and tier (X25)."""
    async with road:
        reply = await road.ask("smart", "[[sim fault=429 retry_after=0]]", stream=True, service_tier="priority")
        entry = await road.last()
    assert reply.status == 429
    assert "error" in reply.json
    assert reply.headers["x-tollbook-attempts"] == "3"
    assert "x-should-retry" not in reply.headers
    assert entry.attempt is not None
    assert (entry.attempt.vendor, entry.attempt.model_sent, entry.attempt.tier_asked) == (
        "openai",
        "gpt-4.1",
        "priority",
    )
    assert settlement_of(entry).outcome == "rate_limited"
    assert outcome_of(entry) == "rate_limited"
    assert expected_of(entry) == 0


async def test_a_502_after_work_is_the_platforms(hasty_road: SmallRoad, vendor: Simulator) -> None:
    """What the vendor may bill and the tenant never got: two fields say so, and the tenant pays nothing (X3)."""
    async with hasty_road as road:
        reply = await road.ask(text="[[sim fault=accept_then_timeout]]")
        entry = await road.last()
    assert (reply.status, reply.code) == (504, "attempts_exhausted")
    assert reply.headers["x-should-retry"] == "false"
    settlement = settlement_of(entry)
    assert (settlement.outcome, settlement.billable, settlement.borne_by) == ("timeout", None, "platform")
    assert entry.rating is not None
    assert all(charge[5] == "0" for charge in entry.rating.charges)
    assert expected_of(entry) > 0
    assert len(billed_for(vendor, entry)) == 1


async def test_an_attempt_that_may_be_billed_is_repeated_by_explicit_policy_only(
    hasty_road: SmallRoad, vendor: Simulator
) -> None:
    """After the request was written, silence is retried where `retry_after_send` stands; both attempts are told."""
    async with hasty_road as road:
        for fault in ("accept_then_timeout", "drop"):
            for model, count in (("smart", 1), ("patient", 2)):
                reply = await road.ask(model, f"[[sim fault={fault} times=1]]")
                assert (reply.status == 200) == (count == 2)
                assert len(attempts_received(vendor, reply.headers["x-tollbook-request-id"])) == count
        entries = road.entries
    repeated = [settlement_of(entry) for kind, entry in entries if kind == "attempt.settled"]
    assert [one.outcome for one in repeated] == ["timeout", "vendor_error"]
    assert all(one.borne_by == "platform" and one.billable is None and one.next == "retry" for one in repeated)


async def test_our_own_last_error_remembers_every_attempt(hasty_road: SmallRoad) -> None:
    """A billed first attempt forbids the client's own retry although the second could not even connect."""
    async with hasty_road as road:
        road.parts.pools["openai"][0].close()
        client = await road.connect()
        client.send(request_bytes("patient", "[[sim fault=accept_then_timeout]]"))
        await road.until(lambda: any(call.sent for call in road.parts.calls))
        address = road.parts.pools["openai"][1]
        object.__setattr__(address, "port", 1)
        reply = await client.answer()
        entries = road.entries
    assert [settlement_of(one).outcome for kind, one in entries if "settled" in kind] == ["timeout", "connect_failed"]
    assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")


async def test_a_stream_that_began_is_never_begun_again(road: SmallRoad, vendor: Simulator) -> None:
    """Once a byte of the answer reached the client no policy makes another attempt."""
    async with road:
        client = await road.connect()
        client.send(request_bytes("patient", "[[sim output=40]] [[sim fault=cut after=3 times=1]]", stream=True))
        with pytest.raises(asyncio.IncompleteReadError):
            await client.answer()
        entry = await road.last()
    assert attempts_received(vendor, entry.request.id) == [f"{entry.request.id}.1"]
    assert outcome_of(entry) == "truncated"


async def test_what_was_never_sent_costs_nothing_and_falls_back(road: SmallRoad) -> None:
    """A vendor that cannot be reached is passed by; the attempts stand in the book as such."""
    async with road:
        reply = await road.ask("around")
        settled = [one for kind, one in road.entries if "settled" in kind]
        failed = await road.ask("nowhere")
    assert reply.status == 200
    assert [settlement_of(one).outcome for one in settled] == ["connect_failed", "connect_failed", "ok"]
    assert [settlement_of(one).error for one in settled] == ["refused", "refused", None]
    assert (failed.status, failed.code) == (502, "attempts_exhausted")
    assert "x-should-retry" not in failed.headers


async def test_a_vendor_that_fails_is_left_and_comes_back(road: SmallRoad) -> None:
    """After five failures the other target goes first, and the plan says why; after a rest the first is tried again."""
    async with road:
        for _ in range(5):
            await road.ask("smart", "[[sim fault=500 model=gpt-4o]]")
        while_ill = await road.ask("smart")
        plan = (await road.last()).close
        clock = road.parts.clock
        object.__setattr__(road.parts, "clock", lambda: clock() + 120_000_000)
        later = await road.ask("smart")
        object.__setattr__(road.parts, "clock", clock)
        again = await road.ask("smart")
    assert while_ill.headers["x-tollbook-route"] == "openai/gpt-4.1"
    assert plan is not None
    assert plan.reason == "unhealthy_last:openai/gpt-4o"
    assert later.headers["x-tollbook-route"] == again.headers["x-tollbook-route"] == "openai/gpt-4o"


TIMEOUTS = [
    ("first byte", "[[sim first_byte_ms=3000]]", False, "timeout"),
    ("first byte of a stream", "[[sim first_byte_ms=3000]]", True, "timeout"),
    ("idle", "[[sim output=20 chunk_ms=3000]]", True, "idle_timeout"),
]


@pytest.mark.parametrize(
    ("text", "stream", "error"), [case[1:] for case in TIMEOUTS], ids=[case[0] for case in TIMEOUTS]
)
async def test_silence_has_an_end(hasty_road: SmallRoad, text: str, stream: bool, error: str) -> None:
    """A vendor that says nothing for too long is left, at the first byte and between bytes."""
    async with hasty_road as road:
        client = await road.connect()
        client.send(request_bytes(text=text, stream=stream))
        if error == "timeout":
            assert (await client.answer()).status == 504
        else:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.answer()
        entry = await road.last()
    assert (settlement_of(entry).outcome, settlement_of(entry).error) == ("timeout", error)


async def test_a_stream_that_never_pauses_has_an_end_too(vendor: Simulator, tmp_path: Any) -> None:
    """The limit of a whole attempt holds although bytes keep coming."""
    async with SmallRoad(tmp_path, vendor.url, edits={"total: 60s": "total: 500ms"}) as road:
        client = await road.connect()
        client.send(request_bytes(text="[[sim output=2000 chunk_ms=5 chunk_tokens=1]]", stream=True))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        entry = await road.last()
    assert settlement_of(entry).outcome == "timeout"


async def test_a_host_that_does_not_answer_is_a_failed_connection(vendor: Simulator, tmp_path: Any) -> None:
    """The time to connect is bounded by itself, and nothing was sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        edits = {"connect: 5s": "connect: 200ms", "127.0.0.1:1/": f"127.0.0.1:{port}/"}
        async with SmallRoad(tmp_path, vendor.url, edits=edits) as road:
            reply = await road.ask("nowhere")
            entry = await road.last()
        for filler in fillers:
            filler.close()
    assert (reply.status, reply.code) == (502, "attempts_exhausted")
    assert (settlement_of(entry).outcome, settlement_of(entry).error) == ("connect_failed", "connect_timeout")


async def test_a_client_that_reads_nothing_is_gone_and_pays(hasty_road: SmallRoad, vendor: Simulator) -> None:
    """A stalled client neither keeps its vendor's connection for ever nor makes the answer the platform's."""
    async with hasty_road as road:
        client = await road.connect(receive_buffer=4_096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # an asyncio transport can
        client.send(request_bytes(text="[[sim output=1000000 chunk_tokens=500]]", stream=True))
        await road.until(lambda: road.entries and road.entries[-1][1].close is not None)
        entry = await road.last()
    settlement = settlement_of(entry)
    assert entry.close is not None
    assert entry.close.client == "gone"
    assert settlement.borne_by == "tenant"
    assert settlement.usage is not None
    assert settlement.usage["output"] == 1_000_000
    assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)


async def test_a_drain_is_bounded(vendor: Simulator, tmp_path: Any) -> None:
    """Bytes and seconds of a drain have limits: hanging up buys no unlimited work, and is estimated with a bound."""
    text = "[[sim output=3000 chunk_ms=2 chunk_tokens=1]]"
    for limit in ("drain: {bytes: 2KiB}", "drain: {seconds: 1}"):
        async with SmallRoad(tmp_path / limit[8], vendor.url, limit) as road:
            client = await road.connect()
            client.send(request_bytes(text=text, stream=True, max_tokens=4000))
            await read_some(client, 1_500)
            client.cut()
            entry = await road.last()
        settlement = settlement_of(entry)
        assert (settlement.outcome, settlement.error, settlement.basis) == ("cancelled", "drain_limit", "estimated")
        assert settlement.bound is not None
        assert settlement.bound["output"] == 4000


async def test_a_client_that_leaves_before_anything_was_sent_costs_nothing(road: SmallRoad, vendor: Simulator) -> None:
    """An attempt that waits for its opening to be durable is not sent when nobody waits for it any more."""
    async with road:
        waiting: list[Any] = []
        object.__setattr__(road.parts, "durable", lambda sequence, then: waiting.append(then))
        client = await road.connect()
        client.send(request_bytes())
        await road.until(lambda: waiting)
        client.cut()
        await asyncio.sleep(0.05)
        waiting[0](None)
        entry = await road.last()
    assert (outcome_of(entry), settlement_of(entry).outcome) == ("client_gone", "not_sent")
    assert expected_of(entry) == 0
    assert attempts_received(vendor, entry.request.id) == []


async def test_a_client_that_leaves_between_two_attempts_ends_its_request(vendor: Simulator, tmp_path: Any) -> None:
    """No further attempt is made for nobody."""
    async with SmallRoad(tmp_path, vendor.url, edits={"backoff: 1ms": "backoff: 200ms"}) as road:
        client = await road.connect()
        client.send(request_bytes("smart", "[[sim fault=500]]"))
        await road.until(lambda: road.entries and road.entries[-1][0] == "attempt.settled")
        client.cut()
        entry = await road.last()
    assert outcome_of(entry) == "client_gone"
    assert entry.close is not None
    assert entry.close.attempts == 1
    assert len(attempts_received(vendor, entry.request.id)) == 1


async def test_usage_that_never_comes_is_estimated_and_says_so(road: SmallRoad) -> None:
    """No usage is neither zero nor passed off as the vendor's word (X19)."""
    async with road:
        for model in ("gpt-4o-mini", "claude-haiku-4-5"):
            for stream in (False, True):
                reply = await road.ask(model, "Hello world. [[sim fault=usage_missing]]", stream=stream)
                entry = await road.last()
                assert reply.status == 200
                assert settlement_of(entry).basis == "estimated"
                assert settlement_of(entry).method is not None
                assert expected_of(entry) > 0


async def test_a_model_without_a_price_is_unpriced_and_not_free(road: SmallRoad) -> None:
    """No amount, no cost header: unknown is never zero (L40, X23)."""
    async with road:
        reply = await road.ask("unlisted", "[[sim input=5 output=5]]")
        entry = await road.last()
    assert reply.status == 200
    assert "x-tollbook-cost-usd" not in reply.headers
    assert entry.rating is not None
    assert entry.rating.unpriced is not None
    assert all(charge[3] is None and charge[4] is None and charge[5] is None for charge in entry.rating.charges)
    assert settlement_of(entry).usage == {"input": 5, "output": 5}


@pytest.mark.parametrize(("fault", "served"), [("served_model", "gpt-4o"), ("served_model", "gpt-4.1")])
async def test_the_model_that_served_is_priced(road: SmallRoad, vendor: Simulator, fault: str, served: str) -> None:
    """What was sent and what answered are two fields; the second has the price."""
    async with road:
        await road.ask(text=f"[[sim input=100 output=10]] [[sim fault={fault} served={served}]]")
        entry = await road.last()
    assert entry.attempt is not None
    assert entry.attempt.model_sent == "gpt-4o-mini"
    assert (settlement_of(entry).model_served or "").startswith(served)
    assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)


@pytest.mark.parametrize(("fault", "tier"), [("", "priority"), ("[[sim fault=tier_downgrade]]", "default")])
async def test_the_tier_that_served_is_priced(road: SmallRoad, vendor: Simulator, fault: str, tier: str) -> None:
    """The answer's tier selects the price; the one that was asked for stands beside it (L33)."""
    async with road:
        await road.ask(text=f"[[sim input=100 output=10]] {fault}", service_tier="priority")
        entry = await road.last()
    assert entry.attempt is not None
    assert (entry.attempt.tier_asked, settlement_of(entry).tier) == ("priority", tier)
    assert expected_of(entry) == parse_amount(billed_for(vendor, entry)[0].amount)


async def test_no_amount_is_negative_and_no_quantity(road: SmallRoad) -> None:
    """Over every kind of ending, amounts and quantities are zero or more (L41)."""
    async with road:
        for fault in ("400", "500", "usage_missing", "cut after=2", "drop", "clean_end after=1", "cached", "429"):
            for stream in (False, True):
                client = await road.connect()
                client.send(request_bytes(text=f"[[sim fault={fault}]]", stream=stream))
                try:
                    await client.answer()
                except asyncio.IncompleteReadError:
                    continue
        await road.quiet()
        charges = [charge for _, entry in road.entries if entry.rating for charge in entry.rating.charges]
    assert charges
    assert all(charge[1] >= 0 and parse_amount(charge[4] or "0") >= 0 for charge in charges)


async def test_one_hundred_clients_at_once(road: SmallRoad, vendor: Simulator) -> None:
    """Each gets its own answer, and each has its own row (L32: none is attempted twice)."""
    async with road:

        async def one(number: int) -> Reply:
            return await road.ask(text=f"client {number} [[sim input={number + 1} output=3 first_byte_ms=30]]")

        replies = await asyncio.gather(*(one(number) for number in range(100)))
        await road.quiet()
        rows = {entry.request.id: entry for kind, entry in road.entries if kind == "request.settled"}
    assert len(rows) == 100
    for number, reply in enumerate(replies):
        assert reply.json["usage"]["prompt_tokens"] == number + 1
        settled = settlement_of(rows[reply.headers["x-tollbook-request-id"]])
        assert settled.usage == {"input": number + 1, "output": 3}
        assert settled.response_id == reply.json["id"]


async def test_the_journal_holds_the_attempt_before_the_vendor_sees_it(road: SmallRoad) -> None:
    """When nothing can be written, nothing is forwarded; what is in flight stays open in the book (L10)."""
    async with road:
        first = await road.ask()
        road.recorder.writable = False
        second = await road.ask()
        assert len(road.entries) == 2
    assert first.status == 200
    assert (second.status, second.code, second.headers["retry-after"]) == (503, "journal_unavailable", "1")


async def test_an_opening_that_cannot_be_made_durable_is_not_forwarded(road: SmallRoad, vendor: Simulator) -> None:
    """With `before_forward` a disk that fails is 503 like any journal that cannot be written; nothing was sent."""
    async with road:
        failed = JournalUnavailable("cannot sync")
        object.__setattr__(road.parts, "durable", lambda sequence, then: then(failed))
        reply = await road.ask()
        entry = await road.last()
    assert (reply.status, reply.code) == (503, "journal_unavailable")
    assert "x-should-retry" not in reply.headers
    assert settlement_of(entry).outcome == "not_sent"
    assert attempts_received(vendor, entry.request.id) == []


async def test_a_disk_that_hangs_keeps_nobody_waiting(vendor: Simulator, tmp_path: Any) -> None:
    """With `before_forward` a disk that never answers is 503 after the limit of connecting; if it comes back later,
    nothing is sent for a client that was answered."""
    async with SmallRoad(tmp_path, vendor.url, edits={"connect: 5s": "connect: 200ms"}) as road:
        waiting: list[Any] = []
        object.__setattr__(road.parts, "durable", lambda sequence, then: waiting.append(then))
        reply = await road.ask()
        waiting[0](None)
        entry = await road.last()
    assert (reply.status, reply.code) == (503, "journal_unavailable")
    assert settlement_of(entry).outcome == "not_sent"
    assert attempts_received(vendor, entry.request.id) == []


async def test_an_answer_in_flight_is_not_lost_with_its_lane(road: SmallRoad, vendor: Simulator) -> None:
    """A lane that dies under an answer costs the client nothing, and its opening stays to be found (L10)."""
    async with road:
        client = await road.connect()
        client.send(request_bytes(text="[[sim first_byte_ms=200]]"))
        await road.until(lambda: road.entries)
        road.lane.dead = "the disk is gone"
        reply = await client.answer()
        entries = road.entries
    assert reply.status == 200
    assert [kind for kind, _ in entries] == ["request.opened"]
    assert road.recorder.settlements_lost == 1
    assert road.asked_for_lanes >= 1
    assert attempts_received(vendor, entries[0][1].request.id) == [f"{entries[0][1].request.id}.1"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_ours_leaves_the_row_open_and_nobody_waiting(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Should settling itself fail, the opening still stands in the book, and the client's connection ends (L10)."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with road:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        monkeypatch.setattr("tollbook.gateway.settling.rate", broken)
        client = await road.connect()
        client.send(request_bytes(stream=stream))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        await road.quiet()
        monkeypatch.undo()
        assert [kind for kind, _ in road.entries] == ["request.opened"]
        assert (await road.ask()).status == 200


async def test_a_simple_request_is_two_small_writes(road: SmallRoad) -> None:
    """One entry before, one after; together no more bytes than when this was written, plus 5 %."""
    async with road:
        await road.ask(headers={"x-tollbook-workload": "search"}, text="Hello. [[sim input=374 output=44]]")
        await road.quiet()
        sizes = [len(line.bytes) + 1 for line in road.lines]
        await road.ask(
            "claude-haiku-4-5", headers={"x-tollbook-workload": "search"}, text="[[sim input=374 output=44]]"
        )
        await road.quiet()
        more = [len(line.bytes) + 1 for line in road.lines][len(sizes) :]
    print(f"\nbytes of a simple request: openai {sizes} = {sum(sizes)}, anthropic {more} = {sum(more)}")  # noqa: T201
    assert len(sizes) == len(more) == 2
    assert sum(sizes) <= 1_898 * 1.05
    assert sum(more) <= 1_967 * 1.05
