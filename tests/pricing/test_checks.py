"""What `prices check` and `prices diff` find."""

from collections.abc import Callable

from tollbook.core.clock import parse_instant
from tollbook.core.money import PICO
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.checks import check
from tollbook.pricing.difference import compare
from tollbook.pricing.entry import Entry
from tollbook.pricing.impact import impact
from tollbook.pricing.match import Match
from tollbook.pricing.row import Row, row_id

MakeBook = Callable[..., PriceBook]
AT = parse_instant("2026-03-01T00:00:00Z")


def test_a_gap_in_time_is_found(make_book: MakeBook) -> None:
    """Between the end of one price and the begin of the next there is none: both days are named."""
    made = make_book(
        Row(class_="input", price="1", until="2026-01-10"), Row(class_="input", price="2", since="2026-01-20")
    )
    (remark,) = check(made, AT)
    assert (remark.kind, remark.words) == ("gap", "input has no price from 2026-01-10 until 2026-01-20")


def test_prices_that_follow_one_another_have_no_gap(make_book: MakeBook) -> None:
    """Half-open: one ends at the moment at which the next begins."""
    rows = Row(class_="input", price="1", until="2026-01-10"), Row(class_="input", price="2", since="2026-01-10")
    assert check(make_book(*rows), AT) == []


def test_a_price_per_thousand_read_as_per_million_is_found(make_book: MakeBook) -> None:
    """A thousand times too much is more than 20 times the median of the vendor's models; 20 times is not."""

    def entry(name: str, price: str) -> Entry:
        rows = (Row(class_="input", price=price),)
        return Entry(party="acme", model=name, match=Match(equals=(name,)), rows=rows)

    usual = [entry(f"m{number}", "0.000002") for number in range(6)]
    found = check(make_book(entries=(*usual, entry("slip", "0.002"), entry("dear", "0.00004"))), AT)
    assert [(remark.kind, remark.model) for remark in found] == [("unit_slip", "slip")]


def test_what_nobody_looked_at_for_long_is_stale(make_book: MakeBook) -> None:
    """Ninety days after it was read, and not a day sooner; a row that was read later is fresh."""
    made = make_book(Row(class_="input", price="1"), Row(class_="output", price="1", retrieved="2026-03-30"))
    assert check(made, parse_instant("2026-04-01T00:00:00Z")) == []
    (remark,) = check(made, parse_instant("2026-04-01T00:00:00.000001Z"))
    assert (remark.kind, len(remark.rows)) == ("stale", 1)


def test_a_change_is_told_in_words(make_book: MakeBook) -> None:
    """A rise from a day on, a new class, one that went; what stayed is not named."""
    old = make_book(Row(class_="input", price="8"), Row(class_="output", price="1"), Row(class_="requests", price="2"))
    new = make_book(
        Row(class_="input", price="8", until="2026-11-01"),
        Row(class_="input", price="9", since="2026-11-01"),
        Row(class_="output", price="1"),
        Row(class_="web_searches", price="3"),
    )
    assert [change.words() for change in compare(old, new)] == [
        "acme m input +12.5 %: 8 to 9 USD from 2026-11-01",
        "acme m requests: no longer priced, was 2 USD",
        "acme m web_searches: new, 3 USD",
    ]


def test_the_same_prices_cut_otherwise_are_no_change(make_book: MakeBook) -> None:
    """One row, or two of the same price after one another, say the same."""
    one = make_book(Row(class_="input", price="8"))
    two = make_book(
        Row(class_="input", price="8", until="2026-11-01"), Row(class_="input", price="8", since="2026-11-01")
    )
    assert compare(one, two) == []
    assert compare(base_book(), base_book()) == []


def test_from_nothing_to_a_price_has_no_percentage(make_book: MakeBook) -> None:
    """A price of zero that rises has no percent, and no division by it."""
    (change,) = compare(make_book(Row(class_="input", price="0")), make_book(Row(class_="input", price="1")))
    assert (change.percent, change.before, change.after) == (None, "0", "1")


def test_a_change_is_weighed_by_what_was_used(make_book: MakeBook) -> None:
    """1,000 units from 8 to 9 are 1,000 more; what loses its price and what another book charged is counted apart."""
    rows = [Row(class_="input", price="8"), Row(class_="output", price="1"), Row(class_="requests", price="2")]
    old = make_book(*rows)
    new = make_book(Row(class_="input", price="9"), Row(class_="output", price="1"))
    ids = [row_id("acme", "m", row) for row in rows]
    used = [(ids[0], 1000, 3), (ids[1], 500, 2), (ids[2], 7, 7), ("ffffffffffff", 1, 4)]
    found = impact(old, compare(old, new), used)
    assert found.by_currency == {"USD": 1000 * PICO}
    assert (found.unpriced_lines, found.other_lines) == (7, 4)
    assert impact(
        new, compare(new, old), [(row_id("acme", "m", new_row), 10, 1) for new_row in [Row(class_="input", price="9")]]
    ).by_currency == {"USD": -10 * PICO}
