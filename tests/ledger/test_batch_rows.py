"""Batches in the ledger: each line of one counts once, and what the vendor tells is held against what was counted."""

from pathlib import Path

from ledger_story import Story, load
from msgspec.structs import replace

from tollbook.core.identity import derived_request_id
from tollbook.journal.entry import BatchClosed, BatchOpened, Close, RequestEntry, Settlement
from tollbook.ledger.digests import table_digests
from tollbook.ledger.items import open_items
from tollbook.ledger.reader import read
from tollbook.ledger.report import report
from tollbook.ledger.tieout import check_totals

BOOK = "book-20261101T205959Z-00000002"


def told(story: Story) -> tuple[Story, list[object]]:
    """A batch of three lines, of which one is said twice and the last comes after a restart; a token is missing."""
    opened = story.open()
    story.settle(opened, usage=None, basis="computed", billable=False, rated=False)
    request = opened.request.id
    facts = {"request_id": request, "tenant": opened.request.tenant, "vendor": "openai", "vendor_key": "main"}
    place = {"lane": opened.lane, "sequence": opened.sequence, "opened": opened.recorded}
    made = BatchOpened(**facts, endpoint="openai.batches", batch="d", **place)  # type: ignore[arg-type]
    story.put("batch.opened", made, BOOK)
    batches: list[object] = [story.heads()]
    for name in ("a", "b", "a", "c", "b"):
        settled = Settlement(
            opened=opened.recorded, sequence=-1, outcome="ok", basis="provider_reported", processing="batch",
            usage={"input": 10, "output": 5}, billable=True,
        )  # fmt: skip
        line = RequestEntry(
            request=replace(opened.request, id=derived_request_id(request, name), parent_request_id=request),
            attempt=replace(opened.attempt, line=name),
            settlement=settled,
            rating=story.rating(),
            close=Close(outcome="ok", basis="provider_reported"),
        )
        story.put("line.settled", line, BOOK)
        batches.append(story.heads())
    tells = {"lines": 3, "completed": 3, "failed": 0, "input": 31, "output": 15}
    closed = BatchClosed(request_id=request, tenant="acme", status="completed", told=tells)
    story.put("batch.closed", closed, BOOK)
    story.put("batch.closed", closed, BOOK)
    return story, [*batches, story.heads()]


def test_a_line_counts_once_and_a_wrong_total_is_shown(tmp_path: Path) -> None:
    """Said twice it counts once, also when it was opened anew in between; the token too many is an open item."""
    _, batches = told(Story())
    for batch in batches[:3]:
        root = load(tmp_path, batch)  # type: ignore[arg-type]
    (item,) = open_items(root)["batches"]
    assert (item["state"], item["differs"]) == ("batch_open", [])
    for batch in batches[3:]:
        root = load(tmp_path, batch)  # type: ignore[arg-type]
    total = report(root, [])["total"]
    assert (total["requests"], total["attempts"]) == (4, 4)
    assert total["usage"] == {"input": 30, "output": 15}
    (item,) = open_items(root)["batches"]
    assert (item["state"], item["differs"], item["settled"]["input"]) == ("batch_differs", ["input"], 30)
    assert check_totals(root).different == []
    once = load(tmp_path / "once", *batches)  # type: ignore[arg-type]
    assert read(root, table_digests) == read(once, table_digests)
