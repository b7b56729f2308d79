"""Work that goes on at the vendor: booked on the request that made it, once, when the vendor tells what it used."""

import time
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec.json import decode
from real_stage import ACME, PATIENCE, RealStage

from tollbook.assembly.matching import Matching
from tollbook.gateway.awaited import AwaitedTable
from tollbook.gateway.recorder import Opening
from tollbook.journal.entry import RequestEntry
from tollbook.ledger.items import open_items
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace
from tollbook.providers.contract import VendorObject

NAMED = VendorObject("response", "resp_1")


def made(stage: RealStage, text: str) -> tuple[openai.OpenAI, str, str]:
    """A client, the id of a response that was begun in the background, and of the request that began it."""
    client = openai.OpenAI(api_key=ACME, base_url=stage.openai_url, max_retries=0)
    raw = client.responses.with_raw_response.create(model="gpt-4o", input=text, background=True)
    return client, raw.parse().id, raw.headers["x-tollbook-request-id"]


def attempt_when(stage: RealStage, request: str, basis: str | None = None, outcome: str = "ok") -> dict[str, Any]:
    """The attempt of a request, once the book says so of it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            found: dict[str, Any] = trace(stage.book, request)["attempts"][0]
        except Exception:  # noqa: BLE001  not there yet
            found = {}
        if found and found["outcome"] == outcome and basis in (None, found["usage_basis"]):
            return found
        time.sleep(0.1)
    raise AssertionError(f"the book never came to say so of {request}: {found}")


def test_it_is_booked_once_whoever_fetches_it(stage: RealStage) -> None:
    """Unreported at first; the maker's fetch settles the request that made it; ten more bill nothing (L16)."""
    client, response, request = made(stage, "[[sim output=7 later_ms=300]]")
    first = attempt_when(stage, request, "unreported")
    assert (first["usage"], first["amount"], first["flags"]) == (None, None, ["background"])
    until = time.monotonic() + PATIENCE
    while client.responses.retrieve(response).status != "completed" and time.monotonic() < until:
        time.sleep(0.1)
    settled = attempt_when(stage, request, "provider_reported")
    assert settled["usage"]["output"] == 7 and settled["amount"] is not None
    looks = [client.responses.with_raw_response.retrieve(response) for _ in range(10)]
    time.sleep(2.5)
    assert trace(stage.book, request)["attempts"] == [settled]
    entries = [entry["kind"] for entry in trace(stage.book, request)["entries"]]
    assert entries.count("attempt.matched") == 1
    for look in looks:
        told = trace(stage.book, look.headers["x-tollbook-request-id"])["request"]
        assert told["amount"] == "0"
    assert check_totals(stage.book).different == []
    assert response not in [item["response_id"] for item in open_items(stage.book)["background"]]


def test_cancelled_work_is_no_longer_going_on(stage: RealStage) -> None:
    """The answer to the cancellation says so; without a usage it stays unreported, and no zero is made up."""
    client, response, request = made(stage, "[[sim output=7 later_ms=60000]]")
    client.responses.cancel(response)
    settled = attempt_when(stage, request, outcome="cancelled")
    assert (settled["usage"], settled["amount"], settled["billable"]) == (None, None, None)
    assert response not in [item["response_id"] for item in open_items(stage.book)["background"]]
    assert check_totals(stage.book).different == []


class _Lake:
    """A ledger that knows one attempt by the kinds of its entries."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = list(kinds)

    def rows(self, *_: object) -> list[tuple[str]]:
        return [(kind,) for kind in self.kinds]


class _Lane:
    def __init__(self) -> None:
        self.written: list[str] = []

    def append(self, kind: str, entry: RequestEntry) -> None:
        self.written.append(kind)


@pytest.fixture
def awaited(tmp_path: Path) -> AwaitedTable:
    """One attempt, of which the vendor has told."""
    table = AwaitedTable(tmp_path / "state.sqlite")
    members = b'"request":{"id":"r","tenant":"acme","key":"k","endpoint":"openai.responses"}'
    table.expect("acme", NAMED, Opening("worker-1", 3, 5, members))
    opening = table.find("acme", NAMED)
    assert opening is not None and table.find("globex", NAMED) is None
    entry = decode(b"{" + opening.members + b"}", type=RequestEntry)
    table.tell("acme", NAMED, entry)
    return table


def test_a_writer_that_dies_in_between_doubles_nothing(awaited: AwaitedTable) -> None:
    """Before the ledger knows the attempt nothing is written; afterwards once; the next writer asks the ledger."""
    lane, lake = _Lane(), _Lake()
    matching = Matching(lane, awaited)  # type: ignore[arg-type]
    assert matching.match(lake) == 0  # type: ignore[arg-type]
    lake.kinds = ["request.settled"]
    assert [matching.match(lake) for _ in range(3)] == [1, 0, 0]  # type: ignore[arg-type]
    lake.kinds.append("attempt.matched")
    assert Matching(lane, awaited).match(lake) == 0  # type: ignore[arg-type]
    assert awaited.told() == [] and lane.written == ["attempt.matched"]
