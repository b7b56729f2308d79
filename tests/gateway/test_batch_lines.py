"""Lines of batches, whatever their order and however often they come: told apart in any pieces, settled once."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollbook.assembly.batches import TakingBatches
from tollbook.assembly.lines import Piece, Settling, split
from tollbook.core.charging import Charging
from tollbook.core.digest import keyed_digest
from tollbook.core.settings import Settings, Vendor, VendorKey
from tollbook.core.vocabulary import CAUSES, OUTCOMES
from tollbook.gateway.batches import BatchTable, FollowedBatch
from tollbook.gateway.recorder import Opening
from tollbook.journal.personal import PersonalKeys
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater
from tollbook.providers.batch import BATCH_FORMATS, BatchState

OPENED = 1_795_436_400_000_000
MEMBERS = (
    b'"request":{"id":"019a0000-0000-7000-8000-000000000001","tenant":"acme","key":"k","endpoint":"openai.batches"},'
    b'"attempt":{"number":1,"vendor":"openai","vendor_key":"main","model_sent":""}'
)
BATCH = FollowedBatch("acme", "batch_1", Opening("worker-1", 3, OPENED, MEMBERS))
STATE = BatchState(status="completed", ended=True, at=OPENED + 60_000_000, endpoint="/v1/chat/completions")
RATER = Rater(base_book())
SETTINGS = Settings(
    book="book",
    vendors={
        "openai": Vendor(
            name="openai",
            format="openai",
            base_url="https://api.openai.com/v1",
            billing="openai",
            keys=(VendorKey(name="main", secret="env:X"),),
        )
    },
    charging_rules=Charging(),
)
BEARERS = {(outcome, cause): "tenant" for outcome in OUTCOMES for cause in CAUSES}


def line(number: int) -> bytes:
    """A line of an output file."""
    usage = {"prompt_tokens": number + 1, "completion_tokens": 2, "total_tokens": number + 3}
    body = {"id": f"chatcmpl-{number}", "object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": usage}
    answer = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"custom_id": f"line {number}", "response": answer, "error": None}).encode()


def settling(state: BatchState = STATE) -> Settling:
    def digest(name: str) -> str:
        return keyed_digest(b"k" * 32, name)

    return Settling(BATCH, state, BATCH_FORMATS["openai"], SETTINGS, BEARERS, lambda at: RATER, digest)


async def _parts(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def pieces(parts: list[bytes], limit: int) -> list[Piece]:
    async def all_of() -> list[Piece]:
        return [piece async for some in split(_parts(parts), limit) for piece in some]

    return asyncio.run(all_of())


@settings(deadline=None)
@given(
    lines=st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"x")), max_size=12),
    ended=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=10),
)
def test_lines_are_told_apart_in_any_pieces(lines: list[bytes], ended: bool, cuts: list[int]) -> None:
    """However a file is cut on its way, the same lines come at the same places; one that is too long is only named."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    cut = [data[first:last] for first, last in itertools.pairwise(places)]
    expected, offset = [], 0
    for one in data.split(b"\n"):
        if len(one) > 20:
            expected.append(Piece(offset, None))
        elif one.strip():
            expected.append(Piece(offset, one))
        offset += len(one) + 1
    assert pieces(cut, 20) == pieces([data], 20) == expected


class Lane:
    """Takes entries, and can die in the middle of some."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes]] = []

    def append_all(self, kind: str, payloads: list[bytes]) -> None:
        self.written += [(kind, payload) for payload in payloads]


class Lake:
    """A ledger that holds what a lane was given."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def rows(self, sql: str, parameters: list[Any]) -> list[tuple[str]]:
        known = {json.loads(b"{" + payload + b"}")["request"]["id"] for payload in settled(self.lane)}
        return [(one,) for one in parameters[0] if one in known]


def settled(lane: Lane) -> list[bytes]:
    return [payload for kind, payload in lane.written if kind == "line.settled"]


@settings(max_examples=40, deadline=None)
@given(order=st.lists(st.integers(0, 7), min_size=1, max_size=40), stops=st.sets(st.integers(0, 39), max_size=4))
def test_any_order_and_repetition_gives_the_same_entries(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], stops: set[int]
) -> None:
    """Lines in any order and as often as one likes, the scribe replaced in between with its marks lost: each line has
    one entry, and it is the same one."""
    root: Path = tmp_path_factory.mktemp("lines")
    (root / "keys" / "personal").mkdir(parents=True)
    table, lane, keys = BatchTable(root / "state.sqlite"), Lane(), PersonalKeys(root)
    table.begin("acme", BATCH.id, BATCH.opening)
    maker = settling()
    scribe = TakingBatches(lane, table, keys)  # type: ignore[arg-type]
    for place, number in enumerate(order):
        table.keep_lines(BATCH, [maker.settle("file", Piece(place, line(number)))])
        if place in stops:
            waiting = table.waiting_lines(100)
            lane.append_all("line.settled", [one.payload for one in waiting])  # and it dies before it has marked them
            scribe = TakingBatches(lane, table, keys)  # type: ignore[arg-type]
        scribe.take(Lake(lane))  # type: ignore[arg-type]
    table.finish(BATCH, b'"request_id":"r","tenant":"acme","status":"completed"')
    scribe.take(Lake(lane))  # type: ignore[arg-type]
    scribe.take(Lake(lane))  # type: ignore[arg-type]
    expected = sorted(settling().settle("file", Piece(0, line(number)))[1] for number in set(order))
    assert sorted(settled(lane)) == expected
    assert [kind for kind, _ in lane.written if kind.startswith("batch.")] == ["batch.opened", "batch.closed"]
    assert table.going_on() == [] and table.waiting_lines(1) == []
    table.close()


def entry_of(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(b"{" + settling().settle("file", Piece(7, data))[1] + b"}")
    return found


def test_a_line_that_cannot_be_read_is_unreported() -> None:
    """It is named by its place, has no usage and no amount, and nobody says that it was free."""
    entry = entry_of(b'{"custom_id":"a","respon')
    assert entry["settlement"]["outcome"] == "truncated" and "rating" not in entry
    assert "billable" not in entry["settlement"] and entry["attempt"]["line"] == keyed_digest(b"k" * 32, "\nfile\n7")


def test_a_failed_line_is_charged_only_for_a_usage() -> None:
    """An error without usage costs a known zero; with one it costs that."""
    body: dict[str, Any] = {"error": {"code": "rate_limit_exceeded", "message": "m"}}
    failed = {"custom_id": "a", "response": {"status_code": 500, "request_id": "r", "body": body}, "error": None}
    entry = entry_of(json.dumps(failed).encode())
    assert (entry["settlement"]["billable"], entry["rating"]["charges"]) == (False, [])
    good = entry_of(line(4))
    assert good["settlement"]["processing"] == "batch" and good["rating"]["charges"][0][:2] == ["input", 5]


def test_a_line_occurred_when_the_vendor_says(tmp_path: Path) -> None:
    """If that lies within the batch; a clock that is off by a day is not believed, and the batch's end stands."""
    second = OPENED // 1_000_000
    told = line(1).replace(b'"object"', b'"created": %d, "object"' % (second + 5))
    assert entry_of(told)["settlement"]["opened"] == (second + 5) * 1_000_000
    off = line(1).replace(b'"object"', b'"created": %d, "object"' % (second + 86_400))
    assert entry_of(off)["settlement"]["opened"] == STATE.at == entry_of(line(1))["settlement"]["opened"]
