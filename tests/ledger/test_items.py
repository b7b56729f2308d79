"""Attempts that nobody settled: booked as such, estimated after their time, replaced by evidence; and what is open."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ledger_story import Open, Story, load

from tollbook.cli.open_items import show_items
from tollbook.cli.screen import console
from tollbook.core.clock import SECOND
from tollbook.core.faults import BrokenPromise
from tollbook.journal.entry import Rating, RequestEntry, Settlement
from tollbook.journal.line import Line
from tollbook.journal.replay import Batch
from tollbook.ledger.digests import table_digests
from tollbook.ledger.items import open_items
from tollbook.ledger.reader import read
from tollbook.ledger.report import report
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace

BOOK_LANE = "book-20261123T164000Z-00000003"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/schemas/open-items.json").read_text())


def later(story: Story, opened: Open, kind: str, number: int, *amounts: str, **facts: Any) -> Line:
    """An entry of the book's lane that settles an attempt which was unsettled."""
    settled = Settlement(opened=opened.recorded, sequence=opened.sequence, **facts)
    rating: Rating = story.rating(*amounts, number=number)
    entry = RequestEntry(
        request=opened.request, attempt=opened.attempt, settlement=settled, rating=rating, lane=opened.lane
    )
    return story.put(kind, entry, BOOK_LANE)


def aged(story: Story, opened: Open, *amounts: str) -> Line:
    guess = {"outcome": "unsettled", "basis": "estimated", "method": "m", "borne_by": "platform"}
    usage = {"input": 10, "output": 10, "images": 2}
    return later(story, opened, "attempt.aged", 1, *amounts, usage=usage, bound={"output": 50}, **guess)


def matched(story: Story, opened: Open, number: int, *amounts: str) -> Line:
    return later(
        story, opened, "attempt.matched", number, *amounts, outcome="ok", basis="invoiced", billable=True,
        usage={"input": 7, "output": 3},
    )  # fmt: skip


def told() -> tuple[Open, list[Batch]]:
    """Unsettled; estimated; matched; and matched again by better evidence: four positions."""
    story = Story()
    opened = story.open(attempt={"body_bytes": 40})
    story.bury(opened)
    batches = [story.heads()]
    aged(story, opened, "0.5", "0.25")
    batches.append(story.heads())
    matched(story, opened, 2, "0.125", "0.0625")
    batches.append(story.heads())
    matched(story, opened, 3, "1")
    batches.append(story.heads())
    return opened, batches


def total(root: Path, position: int | None = None) -> tuple[Any, ...]:
    found = report(root, [], as_of=position)["total"]
    return found["requests"], found["attempts"], found["unsettled"], found["amounts"].get("USD")


def test_what_comes_later_stands_and_what_was_stays(tmp_path: Path) -> None:
    """Each position sums to what the book knew there; the attempt is counted once; totals tie (L10, L42)."""
    opened, batches = told()
    root = load(tmp_path, *batches)
    expected = [(1, 1, 1, None), (1, 1, 0, "0.75"), (1, 1, 0, "0.1875"), (1, 1, 0, "1")]
    assert [total(root, position) for position in (1, 2, 3, 4)] == expected
    assert check_totals(root).different == []
    told_of = trace(root, opened.request.id)
    (attempt,) = told_of["attempts"]
    assert attempt["usage"] == {"input": 7, "output": 3}
    assert attempt["amounts"]["expected"] == "1"
    assert [charge["amounts"]["expected"] for charge in attempt["charges"]] == ["1"]
    assert told_of["request"]["basis"] == "invoiced"
    kinds = [entry["kind"] for entry in told_of["entries"]]
    assert kinds == ["request.opened", "attempt.unsettled", "attempt.aged", "attempt.matched", "attempt.matched"]


def test_usage_is_taken_back_too(tmp_path: Path) -> None:
    """Quantities of an estimate do not stay in sums once evidence has come, rare classes neither."""
    opened, batches = told()
    root = load(tmp_path, *batches)
    sums = read(root, lambda lake: lake.rows(
        "SELECT CAST(sum(input) AS BIGINT), CAST(sum(output) AS BIGINT), "
        "CAST(sum(list_sum(map_values(usage_other))) AS BIGINT) FROM attempts"
    ))  # fmt: skip
    assert sums == [(7, 3, 0)]
    quantities = read(root, lambda lake: lake.rows(
        "SELECT class, CAST(sum(amount_expected) AS VARCHAR) FROM charges GROUP BY 1 ORDER BY 1"
    ))  # fmt: skip
    assert quantities == [("input", "1.000000000000"), ("output", "0.000000000000")]
    assert opened.request.id


def test_it_does_not_matter_where_the_loader_begins_anew(tmp_path: Path) -> None:
    """One load, or a restart after each position: the same tables, to the last digit."""
    _, batches = told()
    whole = load(tmp_path / "whole", *batches)
    for batch in batches:
        load(tmp_path / "parts", batch)
    assert read(whole, table_digests) == read(tmp_path / "parts", table_digests)


def test_a_settlement_of_a_lane_read_late_takes_an_estimate_back(tmp_path: Path) -> None:
    """Whatever settles the attempt, nothing is counted twice."""
    story = Story()
    opened = story.open()
    story.bury(opened)
    buried = story.heads()
    aged(story, opened, "0.5")
    first = story.heads()
    story.settle(opened, lane="worker-20261123T164000Z-00000009", rating=story.rating("0.25", number=2))
    root = load(tmp_path, buried, first, story.heads())
    assert total(root)[1:] == (1, 0, "0.25")
    assert check_totals(root).different == []


def test_evidence_of_an_attempt_that_was_settled_is_a_broken_promise(tmp_path: Path) -> None:
    """Only what was unsettled is settled later: anything else would be charged twice."""
    story = Story()
    opened = story.open()
    story.settle(opened)
    matched(story, opened, 2, "1")
    with pytest.raises(BrokenPromise, match="awaits nothing"):
        load(tmp_path, story.heads())


def test_open_items_are_listed_with_their_age_and_summed(tmp_path: Path) -> None:
    """Unsettled, estimated, unpriced and background work; what was matched or priced is none. The clock is given."""
    story = Story()
    lost, guessed, known = story.open(), story.open(tenant="globex"), story.open()
    for opened in (lost, guessed, known):
        story.bury(opened)
    buried = story.heads()
    aged(story, guessed, "0.5")
    aged(story, known, "0.5")
    estimated = story.heads()
    matched(story, known, 2, "0.25")
    story.settle(story.open(), rating=story.rating("0.1", None, unpriced="model_unknown"))
    story.settle(story.open(), flags=["background"], usage=None, basis="unreported", rated=False, response_id="r1")
    story.settle(story.open(), flags=["background"], usage=None, basis="unreported", rated=False, response_id="r2")
    story.settle(story.open(), response_id="r2")
    story.open()
    root = load(tmp_path, buried, estimated, story.heads())
    document = open_items(root, clock=lambda: lost.recorded + 7_200 * SECOND)
    jsonschema.validate(document, SCHEMA)
    found = [(item["request_id"], item["state"], item["amount"]) for item in document["unsettled"]]
    assert found == [(lost.request.id, "unsettled", None), (guessed.request.id, "aged", "0.5")]
    assert document["unsettled"][0]["age_seconds"] == 7_200
    assert [item["unpriced"] for item in document["unpriced"]] == ["model_unknown"]
    assert [item["response_id"] for item in document["background"]] == ["r1"]
    assert [(one["tenant"], *one["counts"].values(), one["amounts"]) for one in document["tenants"]] == [
        ("acme", 1, 0, 1, 1, 0, 0, {}),
        ("globex", 0, 1, 0, 0, 0, 0, {"USD": "0.5"}),
    ]
    short = open_items(root, clock=lambda: lost.recorded, limit=1)
    assert (len(short["unsettled"]), short["tenants"][0]["counts"]) == (1, document["tenants"][0]["counts"])
    screen = console()
    with screen.capture() as shown:
        screen.print(show_items(document))
    assert "2 h 0 min" in shown.get()


def test_nothing_open_says_so(tmp_path: Path) -> None:
    """An empty list is a result."""
    story = Story()
    story.settle(story.open())
    document = open_items(load(tmp_path, story.heads()))
    jsonschema.validate(document, SCHEMA)
    assert document["tenants"] == document["unsettled"] == []
