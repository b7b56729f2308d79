"""A second attempt beside a slow first one: who answers, who bears the other, what the book says of both."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from small_road import SmallRoad, request_bytes

from tollbook.core.money import parse_amount
from tollbook.journal.entry import RequestEntry, Settlement
from tollbook.simulator import Simulator

HEDGED = {
    "  patient:": "  hedged: {{targets: [{{vendor: openai, model: gpt-4o}}, {{vendor: openai, model: gpt-4o-mini}}],\n"
    "    hedge: {{after: 100ms}}, retry: {{attempts: 2, backoff: 1ms}}}}\n  patient:"
}


def slow(attempt: int, milliseconds: int) -> str:
    return f"[[sim fault=slow_first_byte ms={milliseconds} attempt={attempt}]]"


def hedged_road(vendor: "Simulator | Scripted", directory: Path, gateway: str = "") -> SmallRoad:
    return SmallRoad(directory, vendor.url, gateway, edits=HEDGED)


def by_number(road: SmallRoad) -> dict[int, RequestEntry]:
    """The settling entry of each attempt."""
    return {entry.attempt.number: entry for _, entry in road.entries if entry.settlement and entry.attempt}


def settlement(entry: RequestEntry) -> Settlement:
    assert entry.settlement is not None
    return entry.settlement


def sums(entry: RequestEntry) -> tuple[int, int]:
    """What the vendor should charge and what the tenant bears, in picodollars."""
    assert entry.rating is not None
    charges = entry.rating.charges
    return sum(parse_amount(one[4] or "") for one in charges), sum(parse_amount(one[5] or "") for one in charges)


class Scripted:
    """A vendor that answers each attempt after so many milliseconds with such a status."""

    def __init__(self, script: dict[int, tuple[int, int]]) -> None:
        self._script = script

    async def __aenter__(self) -> "Scripted":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                await reader.readexactly(int(fields["content-length"]))
                milliseconds, status = self._script[int(fields["x-tollbook-attempt-id"].rpartition(".")[2])]
                await asyncio.sleep(milliseconds / 1000)
                body = b'{"model":"gpt-4o","usage":{"prompt_tokens":3,"completion_tokens":1}}'
                writer.write(b"HTTP/1.1 %d Any\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("setting", ["drain", "cancel"])
async def test_the_first_answer_wins_and_both_are_on_record(
    vendor: Simulator, tmp_path: Path, stream: bool, setting: str
) -> None:
    """The hedge answers; the slow attempt is priced too, borne by the platform; the tenant pays for one answer."""
    async with hedged_road(vendor, tmp_path, f"client_gone: {setting}") as road:
        reply = await road.ask("hedged", f"[[sim input=50 output=9]] {slow(1, 500)}", stream=stream)
        assert road.parts.running or setting == "cancel"
        last = await road.last()
        first, second = by_number(road)[1], by_number(road)[2]
    assert reply.status == 200
    assert (reply.headers["x-tollbook-attempts"], reply.headers["x-tollbook-route"]) == (
        "2", "openai/gpt-4o>openai/gpt-4o-mini",
    )  # fmt: skip
    assert second.attempt is not None
    assert (second.attempt.reason, second.attempt.because) == ("hedge", None)
    assert settlement(second).outcome == "ok"
    assert (settlement(second).next, settlement(second).borne_by) == ("answer", "tenant")
    assert (settlement(first).next, settlement(first).borne_by) == ("hedge", "platform")
    assert settlement(first).delivered is None
    assert sums(first)[0] > 0
    assert sums(first)[1] == 0
    assert last.close is not None
    assert (last.close.outcome, last.close.attempts, last.close.error) == ("ok", 2, None)
    if setting == "drain":
        assert (settlement(first).outcome, settlement(first).basis) == ("ok", "provider_reported")
        billed = [one for one in vendor.books.billed if one.request_id == last.request.id]
        assert sum(parse_amount(one.amount) for one in billed) == sums(first)[0] + sums(second)[0]
    else:
        assert (settlement(first).outcome, settlement(first).basis) == ("cancelled", "estimated")
    if not stream:
        assert parse_amount(reply.headers["x-tollbook-cost-usd"]) == sums(second)[1]


async def test_a_first_attempt_that_answers_in_time_has_no_other_beside_it(vendor: Simulator, tmp_path: Path) -> None:
    """No second attempt is made, however long the answer then takes."""
    async with hedged_road(vendor, tmp_path) as road:
        reply = await road.ask("hedged", "[[sim output=30 chunk_ms=20 chunk_tokens=2]]", stream=True)
        entry = await road.last()
    assert reply.status == 200
    assert entry.close is not None
    assert entry.close.attempts == 1


async def test_the_first_may_still_answer_first(vendor: Simulator, tmp_path: Path) -> None:
    """Then the hedge is the one that the platform bears."""
    async with hedged_road(vendor, tmp_path, "client_gone: cancel") as road:
        reply = await road.ask("hedged", f"{slow(1, 250)} {slow(2, 2_000)}")
        await road.quiet()
        first, second = by_number(road)[1], by_number(road)[2]
    assert reply.status == 200
    assert (settlement(first).next, settlement(first).borne_by) == ("answer", "tenant")
    assert (settlement(second).outcome, settlement(second).borne_by) == ("cancelled", "platform")


@pytest.mark.parametrize("status", [500, 429, 401])
async def test_a_failure_beside_a_running_attempt_waits_for_it(tmp_path: Path, status: int) -> None:
    """The first fails after the hedge was sent: the hedge's answer is the request's."""
    async with Scripted({1: (200, status), 2: (200, 200)}) as vendor, hedged_road(vendor, tmp_path) as road:
        reply = await road.ask("hedged")
        entry = await road.last()
        first = by_number(road)[1]
    assert reply.status == 200
    assert (settlement(first).status, settlement(first).next) == (status, "hedge")
    assert entry.close is not None
    assert (entry.close.outcome, entry.close.attempts) == ("ok", 2)


async def test_when_both_fail_the_last_failure_is_the_answer(tmp_path: Path) -> None:
    """A hedge counts among the attempts that the policy allows: no third one follows."""
    async with Scripted({1: (200, 500), 2: (200, 503)}) as vendor, hedged_road(vendor, tmp_path) as road:
        reply = await road.ask("hedged")
        entry = await road.last()
    assert reply.status == 503
    assert entry.close is not None
    assert (entry.close.outcome, entry.close.attempts) == ("vendor_error", 2)


async def test_a_request_that_is_wrong_is_answered_at_once(tmp_path: Path) -> None:
    """When the vendor says that the request itself is wrong, no other target is waited for."""
    script = {1: (200, 400), 2: (2_000, 200)}
    async with Scripted(script) as vendor, hedged_road(vendor, tmp_path, "client_gone: cancel") as road:
        reply = await road.ask("hedged")
        await road.quiet()
        second = by_number(road)[2]
    assert reply.status == 400
    assert settlement(second).borne_by == "platform"


@pytest.mark.parametrize("setting", ["drain", "cancel"])
async def test_a_client_that_leaves_both_leaves_two_rows(vendor: Simulator, tmp_path: Path, setting: str) -> None:
    """Whatever happens to the two, each is settled and the request ends."""
    async with hedged_road(vendor, tmp_path, f"client_gone: {setting}") as road:
        client = await road.connect()
        client.send(request_bytes("hedged", f"{slow(1, 500)} {slow(2, 500)}"))
        await road.until(lambda: len(road.parts.calls) == 2)
        await asyncio.sleep(0.05)
        client.cut()
        entry = await road.last()
        settled = by_number(road)
    assert set(settled) == {1, 2}
    assert entry.close is not None
    assert (entry.close.outcome, entry.close.attempts, entry.close.client) == ("client_gone", 2, "gone")
    assert sorted(settlement(one).borne_by for one in settled.values()) == ["platform", "tenant"]


async def test_the_connection_serves_on_while_a_lost_answer_is_read(vendor: Simulator, tmp_path: Path) -> None:
    """The client has its answer; the next request over its connection does not wait for the drain."""
    async with hedged_road(vendor, tmp_path) as road:
        client = await road.connect()
        client.send(request_bytes("hedged", slow(1, 700)))
        assert (await client.answer()).status == 200
        client.send(request_bytes("gpt-4o-mini"))
        assert (await client.answer()).status == 200
        assert len(road.parts.running) == 1
        await road.quiet()
        closes = [entry.close for _, entry in road.entries if entry.close is not None]
    assert [close.attempts for close in closes] == [1, 2]


async def test_without_a_journal_no_second_attempt_is_made(vendor: Simulator, tmp_path: Path, monkeypatch: Any) -> None:
    """The first goes on alone when the second cannot be written down."""
    async with hedged_road(vendor, tmp_path) as road:
        asking = asyncio.create_task(road.ask("hedged", slow(1, 300)))
        await road.until(lambda: road.parts.calls)
        monkeypatch.setattr(road.recorder, "writable", False)
        reply = await asking
        monkeypatch.undo()
        await road.quiet()
    assert (reply.status, reply.headers["x-tollbook-attempts"]) == (200, "1")
