"""`Idempotency-Key`: forwarded once, whatever the client repeats and whatever died meanwhile."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from small_road import SmallRoad, request_bytes

from tollbook.core.clock import SECOND, now
from tollbook.gateway import idempotency
from tollbook.gateway.claims import REMOVED_AT_ONCE, Claims
from tollbook.simulator import Simulator

KEY = {"idempotency-key": "order-4711"}


def received(vendor: Simulator, road: SmallRoad) -> int:
    """How many attempts of this road's requests the vendor saw."""
    ours = {entry.request.id for _, entry in road.entries}
    return sum(line.request_id in ours for line in vendor.books.received)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repetition_gets_the_kept_answer_and_costs_nothing(
    road: SmallRoad, vendor: Simulator, stream: bool
) -> None:
    """The same bytes under an id of its own, linked to the first; streams are replayed as streams."""
    async with road:
        first = await road.ask(headers=KEY, stream=stream)
        again = await road.ask(headers=KEY, stream=stream)
        entry = await road.last()
        assert received(vendor, road) == 1
    assert again.status == 200
    assert again.body == first.body
    assert again.headers["x-tollbook-replayed"] == "true"
    assert again.headers["x-tollbook-cost-usd"] == "0"
    assert again.headers["x-tollbook-request-id"] != first.headers["x-tollbook-request-id"]
    assert again.headers["x-tollbook-route"] == first.headers["x-tollbook-route"]
    assert entry.request.id == again.headers["x-tollbook-request-id"]
    assert entry.close is not None
    assert (entry.close.replay_of, entry.close.attempts) == (first.headers["x-tollbook-request-id"], 0)
    assert entry.close.outcome == "ok"


async def test_a_repetition_of_what_runs_is_409(road: SmallRoad, vendor: Simulator) -> None:
    """A hundred at once: one is forwarded, ninety-nine are told that it runs."""
    async with road:
        text = "[[sim first_byte_ms=300]]"
        replies = await asyncio.gather(*(road.ask(text=text, headers=KEY) for _ in range(100)))
        await road.quiet()
        assert received(vendor, road) == 1
    assert sorted(reply.status for reply in replies) == [200] + [409] * 99
    first = next(reply for reply in replies if reply.status == 200).headers["x-tollbook-request-id"]
    refused = [reply for reply in replies if reply.status == 409]
    assert all(reply.code == "in_progress" and first in reply.json["error"]["message"] for reply in refused)
    assert all("x-should-retry" not in reply.headers for reply in refused)


async def test_another_body_under_the_same_key_is_409(road: SmallRoad, vendor: Simulator) -> None:
    """One byte of difference is another request, and nothing is forwarded."""
    async with road:
        await road.ask(text="one", headers=KEY)
        other = await road.ask(text="two", headers=KEY)
        entry = await road.last()
        assert received(vendor, road) == 1
    assert (other.status, other.code) == (409, "key_reused")
    assert entry.close is not None
    assert (entry.close.outcome, entry.close.error) == ("refused", "key_reused")


async def test_a_key_belongs_to_tenant_workload_and_route(road: SmallRoad, vendor: Simulator) -> None:
    """The same key elsewhere is another key: no tenant meets another's answer."""
    async with road:
        replies = [
            await road.ask(headers=KEY),
            await road.ask(headers=KEY, key="key-globex"),
            await road.ask(headers=KEY | {"x-tollbook-workload": "search"}),
            await road.ask(headers=KEY | {"x-tollbook-workload": "support"}),
            await road.ask("claude-haiku-4-5", headers=KEY),
        ]
        assert received(vendor, road) == 5
        limited = await road.ask(headers=KEY, key="key-search")
    assert [reply.status for reply in replies] == [200] * 5
    assert not any("x-tollbook-replayed" in reply.headers for reply in replies)
    assert limited.headers["x-tollbook-replayed"] == "true"  # its one workload is `search`


async def test_an_answer_that_is_no_longer_kept_is_not_bought_again(
    road: SmallRoad, vendor: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim outlives the answer: 409 with the first id, and nothing is forwarded."""
    monkeypatch.setattr(idempotency, "KEPT_LIMIT", 10)
    async with road:
        first = await road.ask(headers=KEY)
        again = await road.ask(headers=KEY)
        assert received(vendor, road) == 1
    assert (again.status, again.code) == (409, "outcome_unknown")
    assert first.headers["x-tollbook-request-id"] in again.json["error"]["message"]


async def test_a_claim_of_a_worker_that_died_is_of_unknown_outcome(road: SmallRoad, vendor: Simulator) -> None:
    """Nobody can say whether the vendor did the work, so it is not asked again."""
    async with road:
        object.__setattr__(road.idempotency, "_lane_lives", lambda lane: lane != "dead")
        await road.ask(headers=KEY)
        road.claims._database.execute("update idempotency_claims set finished = 0, lane = 'dead'")
        road.idempotency._kept.clear()
        again = await road.ask(headers=KEY)
        assert received(vendor, road) == 1
    assert (again.status, again.code) == (409, "outcome_unknown")


@pytest.mark.parametrize("fault", ["429 retry_after=0", "500", "503", "529"])
async def test_what_cost_nothing_gives_the_key_back(road: SmallRoad, fault: str) -> None:
    """After a 429 or 5xx that is not billed the same key may be tried again."""
    async with road:
        first = await road.ask(text=f"[[sim fault={fault}]]", headers=KEY)
        again = await road.ask(text=f"[[sim fault={fault}]]", headers=KEY)
    assert first.status == again.status == int(fault[:3])
    assert "x-tollbook-replayed" not in again.headers


async def test_what_may_have_cost_money_keeps_the_key(hasty_road: SmallRoad, vendor: Simulator) -> None:
    """A timeout after the request was sent is replayed as it was, not bought again."""
    async with hasty_road as road:
        first = await road.ask(text="[[sim fault=accept_then_timeout]]", headers=KEY)
        again = await road.ask(text="[[sim fault=accept_then_timeout]]", headers=KEY)
        assert received(vendor, road) == 1
    assert first.status == again.status == 504
    assert again.headers["x-tollbook-replayed"] == "true"


async def test_an_error_of_the_clients_own_is_replayed(road: SmallRoad, vendor: Simulator) -> None:
    """A 400 is an answer like another."""
    async with road:
        first = await road.ask(text="[[sim fault=400]]", headers=KEY)
        again = await road.ask(text="[[sim fault=400]]", headers=KEY)
        assert received(vendor, road) == 1
    assert first.status == again.status == 400
    assert first.body == again.body


async def test_a_client_that_left_is_not_answered_from_what_it_missed(road: SmallRoad, vendor: Simulator) -> None:
    """Half an answer is not kept; the work was done, so the key is used up."""
    async with road:
        client = await road.connect()
        text = "[[sim output=40 chunk_ms=5 chunk_tokens=1]]"
        client.send(request_bytes(text=text, stream=True, headers=KEY))
        await client.reader.readexactly(1_200)
        client.cut()
        await asyncio.sleep(0.05)
        await road.quiet()
        again = await road.ask(text=text, stream=True, headers=KEY)
        assert received(vendor, road) == 1
    assert (again.status, again.code) == (409, "outcome_unknown")


async def test_kept_answers_are_bounded(road: SmallRoad, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; one too large is not kept at all."""
    monkeypatch.setattr(idempotency, "KEPT_LIMIT", 3_000)
    monkeypatch.setattr(idempotency, "RESULT_LIMIT", 2_000)
    async with road:
        for number in range(5):
            await road.ask(headers={"idempotency-key": f"k{number}"})
        kept = road.idempotency._kept
        assert 1 <= len(kept) <= 3
        assert sum(map(len, kept.values())) == road.idempotency._kept_size <= 3_000
        large = {"idempotency-key": "large"}
        await road.ask(text="[[sim output=1000]]", headers=large)
        again = await road.ask(text="[[sim output=1000]]", headers=large)
    assert again.code == "outcome_unknown"


@pytest.mark.parametrize(("key", "status"), [("", 400), ("k" * 255, 200), ("k" * 256, 400)])
async def test_a_key_has_bounds(road: SmallRoad, key: str, status: int) -> None:
    """Empty and overlong keys are refused, not taken for none."""
    async with road:
        reply = await road.ask(headers={"idempotency-key": key})
    assert reply.status == status
    assert status == 200 or reply.code == "malformed_header"


async def test_without_its_database_nothing_is_forwarded(road: SmallRoad, vendor: Simulator) -> None:
    """A request with a key is refused when the key cannot be claimed; others go on."""

    def broken(*_: Any) -> Any:
        raise sqlite3.OperationalError("database is locked")

    async with road:
        object.__setattr__(road.claims, "claim", broken)
        reply = await road.ask(headers=KEY)
        entry = await road.last()
        assert received(vendor, road) == 0
        assert (await road.ask()).status == 200
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "claims_unavailable", "1")
    assert entry.close is not None
    assert entry.close.error == "claims_unavailable"


async def test_key_and_body_stand_nowhere_in_clear(road: SmallRoad) -> None:
    """The journal and the state database hold keyed digests of both."""
    async with road:
        await road.ask(text="canary-text", headers={"idempotency-key": "canary-key"})
        await road.quiet()
    files = [path for path in (road.directory / "book").rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert not [path for path in files if b"canary" in path.read_bytes()]


def test_claims_are_tidied_once_a_minute_or_until_none_is_old(tmp_path: Path) -> None:
    """A beat of the worker removes old claims off its loop; while there are more, the next beat goes on."""
    claims, at = Claims(tmp_path / "state.sqlite"), now()
    claims._database.execute("begin")
    for number in range(2 * REMOVED_AT_ONCE - 1):
        claims.claim(f"old-{number}", "body", "request", "lane", at - 30 * 86_400 * SECOND)
    claims._database.execute("commit")
    claims.claim("young", "body", "request", "lane", at)
    kept = idempotency.Idempotency(claims, lambda tenant, text: text, "lane", lambda lane: True)

    def left() -> int:
        kept._thread.submit(lambda: None).result()
        return int(claims._database.execute("select count(*) from idempotency_claims").fetchone()[0])

    kept.tidy(at)
    assert left() == REMOVED_AT_ONCE
    kept.tidy(at + SECOND)
    assert left() == 1
    claims.claim("late", "body", "request", "lane", at - 30 * 86_400 * SECOND)
    kept.tidy(at + 2 * SECOND)
    assert left() == 2
    kept.tidy(at + 2 * idempotency.TIDY_EVERY)
    assert left() == 1
    kept.close()
