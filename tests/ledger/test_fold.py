"""Folding: which rows come of which entries, whatever the batches and the order in which lanes are read."""

from collections import defaultdict
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_story import BOOK, SPARE, SUPERVISOR, WORKER, Story

from tollbook.core.faults import BrokenPromise
from tollbook.core.money import format_amount, parse_amount
from tollbook.journal.entry import (
    ConfigurationLoaded,
    GapRecorded,
    ObjectNamed,
    PersonalErased,
    PricesActivated,
    Rating,
)
from tollbook.journal.replay import Batch
from tollbook.ledger.fold import Rows, State, decode_lanes, encode_lanes, fold
from tollbook.ledger.schema import TABLES, TOTAL_COUNTS, TOTALS


def folded(*batches: Batch) -> tuple[State, dict[str, list[dict[str, Any]]]]:
    """The state after some batches, and all rows by table as dictionaries; every row has its table's columns."""
    state = State()
    rows: Rows = defaultdict(list)
    for batch in batches:
        fold(state, batch, rows)
    named = {
        table.name: [dict(zip(table.names, row, strict=True)) for row in rows.get(table.name, [])] for table in TABLES
    }
    return state, named


def test_a_settled_attempt_is_one_row_of_final_facts() -> None:
    """The settling entry alone gives the attempt's row; both entries are named in it, with their positions."""
    story = Story()
    opened = story.open(user="u" * 43)
    before = story.heads()
    line = story.settle(opened, usage={"input": 7, "images": 2}, raw=msgspec.Raw(b'{"n":1}'))
    state, rows = folded(before, story.heads())
    (row,) = rows["attempts"]
    assert state.open == {}
    assert (row["opened_lane"], row["opened_sequence"], row["opened_position"]) == (WORKER, 0, 1)
    assert (row["lane"], row["sequence"], row["digest"], row["position"]) == (WORKER, 1, line.digest, 2)
    assert (row["occurred"], row["recorded"]) == (opened.recorded, line.recorded)
    assert (row["input"], row["output"], row["usage_other"]) == (7, None, [("images", 2)])
    assert (row["usage_raw"], row["price_book"], row["amount_expected"]) == ('{"n":1}', BOOK, 4_500_000)
    assert (row["model"], row["route"], row["maturity"]) == ("gpt-4o-mini-2024", "r", "recorded")
    assert [charge["amount_list"] for charge in rows["charges"]] == [1_500_000, 3_000_000]
    assert len(rows["requests"]) == 1 and rows["requests"][0]["requests"] == 0


def test_an_unknown_line_makes_the_attempt_unknown_and_unpriced() -> None:
    """One line without an amount: the attempt has none, and stands in the unpriced queue."""
    story = Story()
    story.settle(story.open(), rating=story.rating("1", None))
    _, rows = folded(story.heads())
    (row,) = rows["attempts"]
    assert (row["amount_expected"], row["unpriced_attempts"]) == (None, 1)
    assert all(total["amount_expected"] is None for total in rows["totals"])


def test_a_rating_without_lines_costs_nothing() -> None:
    """What was rated and has no line costs 0: that is known."""
    story = Story()
    story.settle(story.open(), rating=Rating(book=BOOK, adapter="a/1", charges=[]))
    _, rows = folded(story.heads())
    assert (rows["attempts"][0]["amount_expected"], rows["attempts"][0]["unpriced_attempts"]) == (0, 0)


def test_an_attempt_that_may_be_billed_without_usage_is_unreported() -> None:
    """No usage, and the vendor may bill it: never a silent zero."""
    story = Story()
    story.settle(story.open(), rated=False, usage=None, basis="unreported", billable=None, outcome="timeout")
    story.fail(story.open(), more=False)
    _, rows = folded(story.heads())
    assert [row["unreported_attempts"] for row in rows["attempts"]] == [1, 0]
    assert [row["amount_expected"] for row in rows["attempts"]] == [None, None]


def test_an_open_attempt_stays_until_it_is_settled() -> None:
    """What is open at a position is known at that position, and gone at the one that settles it."""
    story = Story()
    opened = story.open()
    one = story.heads()
    state, _ = folded(one)
    assert list(state.open) == [(WORKER, 0)]
    story.settle(opened)
    state, _ = folded(one, story.heads())
    assert state.open == {}


def test_a_dead_workers_attempt_becomes_unsettled() -> None:
    """The supervisor's entry names the opening in the lane that died, and writes the rows that settle it."""
    story = Story()
    opened = story.open()
    story.bury(opened)
    story.lane_closed(WORKER)
    state, rows = folded(story.heads())
    (row,) = rows["attempts"]
    assert (row["outcome"], row["lane"], row["opened_lane"], row["unsettled_attempts"]) == (
        "unsettled",
        SUPERVISOR,
        WORKER,
        1,
    )
    assert (row["amount_expected"], row["requests"], len(rows["requests"])) == (None, 1, 1)
    assert state.open == {} and WORKER not in state.lanes


@pytest.mark.parametrize("late", [False, True])
def test_a_burial_read_before_the_opening_settles_it_once(late: bool) -> None:
    """Lanes are read independently: the opening that comes after its end does not stay open for ever."""
    story = Story()
    opened = story.open()
    story.bury(opened)
    story.lane_closed(WORKER)
    batch = story.heads()
    worker = [line for line in batch.lines if line.lane == WORKER]
    supervisor = [line for line in batch.lines if line.lane == SUPERVISOR]
    batches = [batch] if not late else [batch._replace(lines=supervisor), batch._replace(position=2, lines=worker)]
    state, rows = folded(*batches)
    assert len(rows["attempts"]) == 1
    assert state.open == {} and WORKER not in state.lanes


def test_what_a_dying_supervisor_said_is_not_said_twice() -> None:
    """A supervisor that died over a burial is followed by one that repeats it: each attempt and request counts once."""
    story = Story()
    opened, between = story.open(), story.open()
    story.fail(between)
    for _ in range(2):
        story.bury(opened)
        story.close(SUPERVISOR, attempts=1, id=between.request.id, outcome="rate_limited", error="interrupted")
    story.lane_closed(WORKER)
    state, rows = folded(story.heads())
    assert sum(row["attempts"] for row in rows["attempts"]) == 2
    assert len(rows["attempts"]) == len(rows["requests"]) == 2
    assert sum(row["requests"] for row in [*rows["attempts"], *rows["requests"]]) == 2
    assert state.interrupted == set()


def test_a_settlement_after_the_burial_adds_its_money_and_counts_nothing_twice() -> None:
    """Late evidence is a further row: the attempt still counts once, is no longer unsettled, and its money is there."""
    story = Story()
    opened = story.open()
    story.bury(opened)
    one = story.heads()
    story.settle(opened, lane=SPARE)
    _, rows = folded(one, story.heads())
    counts = {name: sum(row[name] for row in rows["attempts"]) for name in TOTAL_COUNTS}
    assert (counts["attempts"], counts["requests"], counts["unsettled_attempts"]) == (1, 1, 0)
    assert sum(row["amount_expected"] or 0 for row in rows["attempts"]) == 4_500_000


def test_an_attempt_may_be_settled_in_another_lane_of_its_writer() -> None:
    """After a failed disk write the worker goes on in a new lane; its settlement names the opening in the old one."""
    story = Story()
    opened = story.open()
    story.settle(opened, lane=SPARE)
    state, rows = folded(story.heads())
    assert state.open == {}
    assert (rows["attempts"][0]["lane"], rows["attempts"][0]["opened_lane"]) == (SPARE, WORKER)


def test_other_entries_become_rows_of_their_tables() -> None:
    """Price books, configurations, erasures and gaps, each with the entry it came from."""
    story, named = Story(), ObjectNamed(sha256="c" * 64, bytes=9)
    story.put("prices.activated", PricesActivated(book=BOOK, since=story.now, object=named, actor="local:a"))
    story.put("configuration.loaded", ConfigurationLoaded(digest="e" * 64, object=named))
    digests = {"d" * 43: "2026", "a" * 43: "2025"}
    story.put("personal.erased", PersonalErased(tenant="acme", digests=digests, values=2, basis="x", actor="local:a"))
    story.put("gap.recorded", GapRecorded(since=1, until=2, counts={"acme": 3, "b": 1}))
    story.put("of.a.later.release", {"what": "ever"})
    _, rows = folded(story.heads())
    assert [row["book"] for row in rows["price_books"]] == [BOOK]
    assert [row["configuration"] for row in rows["configurations"]] == ["e" * 64]
    assert [(row["erased"][0], row["year"]) for row in rows["erasures"]] == [("a", "2025"), ("d", "2026")]
    assert [(row["tenant"], row["requests"]) for row in rows["gaps"]] == [("acme", 3), ("b", 1)]
    assert rows["positions"][0]["lines"] == 5


def test_a_missing_position_is_refused() -> None:
    """A gap in positions is a broken promise, with both numbers."""
    story = Story()
    one, _, three = story.heads(), story.heads(), story.heads()
    with pytest.raises(BrokenPromise, match="at position 1 and was given 3"):
        folded(one, three)


@pytest.mark.parametrize("amount", ["-1", "1000000", "0.0000000000001", "1e-3", "NaN", "", "1.", "\u0661"])
def test_an_impossible_amount_names_its_entry(amount: str) -> None:
    """A charge below zero, of a million or more, finer than a picodollar or not a number is never folded."""
    story = Story()
    story.settle(story.open(), rating=story.rating(amount))
    if amount == "1.":
        assert folded(story.heads())[1]["attempts"][0]["amount_expected"] == 10**12
        return
    if amount == "\u0661":
        amount = "1"  # Decimal reads digits of any script; the journal's own writer never makes them
        assert folded(story.heads())[1]["attempts"][0]["amount_expected"] == 10**12
        return
    with pytest.raises(BrokenPromise, match=rf"lane {WORKER}, entry 1"):
        folded(story.heads())


def test_the_state_of_lanes_survives_as_text() -> None:
    """What is kept in a position is what folding goes on with."""
    story = Story()
    story.lane_opened(WORKER)
    opened = story.open()
    story.bury(opened)
    batch = story.heads()
    state, rows = folded(batch._replace(lines=[line for line in batch.lines if line.lane == SUPERVISOR]))
    text = rows["positions"][0]["lanes"]
    assert decode_lanes(text) == state.lanes and encode_lanes(decode_lanes(text)) == text
    assert state.lanes[WORKER].ahead == [0]


@given(st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**15)), max_size=4))
def test_sums_are_exact(pairs: list[tuple[int, int]]) -> None:
    """An attempt's amounts are the exact sums of its lines, in picodollars."""
    story = Story()
    lines = [("input", 1, "1", format_amount(a), format_amount(b), format_amount(b), None) for a, b in pairs]
    story.settle(story.open(), rating=Rating(book=BOOK, adapter="a/1", charges=lines))
    _, rows = folded(story.heads())
    row = rows["attempts"][0]
    assert (row["amount_list"], row["amount_expected"]) == (sum(a for a, _ in pairs), sum(b for _, b in pairs))


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_rows_do_not_depend_on_how_lanes_are_cut_into_batches(seed: int) -> None:
    """One story told under one heads or under many gives the same attempts, requests and sums."""
    story, chance = Story(), Random(seed)
    told = []
    for _ in range(chance.randint(1, 6)):
        opened = story.open(lane=chance.choice([WORKER, SPARE]))
        end = chance.choice(["ok", "retry", "dead", "open", "refused"])
        if end == "retry":
            story.fail(opened)
            opened = story.again(opened)
        if end == "dead":
            story.bury(opened)
        elif end in ("ok", "retry"):
            story.settle(opened)
        elif end == "refused":
            story.close()
    whole = story.heads()
    rest = {lane: [line for line in whole.lines if line.lane == lane] for lane in sorted(story.sequences)}
    position = 0
    while any(rest.values()):
        position += 1
        lines = []
        for lane, some in rest.items():
            count = chance.randint(0, len(some))
            lines += some[:count]
            rest[lane] = some[count:]
        told.append(whole._replace(position=position, lines=lines))
    apart, rows_apart = folded(*told)
    once, rows_once = folded(whole)
    assert apart.open.keys() == once.open.keys()
    for table in ("attempts", "requests", "charges"):
        assert _facts(rows_apart[table]) == _facts(rows_once[table])
    assert _summed(rows_apart["totals"]) == _summed(rows_once["totals"])


def _facts(rows: list[dict[str, Any]]) -> list[str]:
    told_when = ("position", "opened_position", "opened_digest")
    return sorted(repr({name: value for name, value in row.items() if name not in told_when}) for row in rows)


def _summed(rows: list[dict[str, Any]]) -> dict[Any, list[int]]:
    measures = (*TOTAL_COUNTS, "quantity", "amount_list", "amount_expected", "amount_recharge")
    sums: dict[Any, list[int]] = {}
    for row in rows:
        key = tuple(row[name] for name in TOTALS.key if name != "position")
        before = sums.setdefault(key, [0] * len(measures))
        sums[key] = [so_far + (row[name] or 0) for so_far, name in zip(before, measures, strict=True)]
    return sums


def test_plain_and_odd_amounts_are_read_alike() -> None:
    """The quick way of reading amounts agrees with the exact one."""
    story = Story()
    for text in ("0", "0.1", "00.10", "999999.999999999999", "+1.5"):
        story.settle(story.open(), rating=story.rating(text))
    _, rows = folded(story.heads())
    expected = [parse_amount(text) for text in ("0", "0.1", "0.1", "999999.999999999999", "1.5")]
    assert [row["amount_expected"] for row in rows["attempts"]] == expected
