"""What may be wrong with a sound price book: gaps in time, slips of unit, prices nobody has looked at for long.

What cannot be right at all (rows that overlap, classes that there are not) is refused when a book is loaded.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby, pairwise
from statistics import median_low
from typing import Final, NamedTuple

from tollbook.pricing.book import PriceBook
from tollbook.pricing.entry import Entry
from tollbook.pricing.row import DAY, Row, edge, key_of, row_id

SLIP: Final = 20
"""How many times the median of its class a vendor's price must be to be taken for one per thousand, not million."""

FEWEST: Final = 5
"""The fewest models of a vendor whose median says something."""

STALE: Final = 90 * DAY
"""The age at which a price should have been looked at again."""


class Remark(NamedTuple):
    """Something to look at: `kind` is `gap`, `unit_slip` or `stale`; `rows` are ids."""

    kind: str
    party: str
    model: str
    class_: str | None
    rows: tuple[str, ...]
    words: str


def check(book: PriceBook, at: int) -> list[Remark]:
    """Everything to look at in a book at an instant, by vendor and model."""
    entries = list(book.entries())
    found = [remark for entry in entries for remark in _gaps(entry)]
    found += _slips(entries)
    found += [remark for entry in entries for remark in _stale(book, entry, at)]
    return sorted(found, key=lambda remark: (remark.party, remark.model, remark.kind, remark.class_ or "", remark.rows))


def _gaps(entry: Entry) -> Iterator[Remark]:
    """Stretches of time between two prices of the same thing in which there is none."""

    def thing(row: Row) -> tuple[str, ...]:
        return (*(str(part) for part in key_of(row)), row.window.words() if row.window is not None else "")

    for _, group in groupby(sorted(entry.rows, key=lambda row: (thing(row), row.span)), key=thing):
        for before, after in pairwise(group):
            if before.span[1] < after.span[0]:
                words = f"{before.class_} has no price from {before.until} until {after.since}"
                rows = (row_id(entry.party, entry.model, before), row_id(entry.party, entry.model, after))
                yield Remark("gap", entry.party, entry.model, before.class_, rows, words)


def _slips(entries: Iterable[Entry]) -> Iterator[Remark]:
    """Prices far above what the vendor's other models cost, as when a price per thousand was read as per million."""
    by_class: dict[tuple[str, str], list[tuple[Decimal, Entry, Row]]] = {}
    for entry in entries:
        for row in entry.rows:
            if row.price != "0":
                by_class.setdefault((entry.party, row.class_), []).append((Decimal(row.price), entry, row))
    for (party, name), priced in by_class.items():
        if len({entry.model for _, entry, _ in priced}) < FEWEST:
            continue
        middle = median_low(sorted(price for price, _, _ in priced))
        far: dict[str, list[tuple[Decimal, str]]] = {}
        for price, entry, row in priced:
            if price > SLIP * middle:
                far.setdefault(entry.model, []).append((price, row_id(party, entry.model, row)))
        for model, found in far.items():
            words = (
                f"{name} costs {max(found)[0]:f}, more than {SLIP} times the median of {party}, {middle:f}; per what?"
            )
            yield Remark("unit_slip", party, model, name, tuple(row for _, row in found), words)


def _stale(book: PriceBook, entry: Entry, at: int) -> Iterator[Remark]:
    days = {row.retrieved or book.header.retrieved for row in entry.rows}
    old = sorted(day for day in days if at - edge(day) > STALE)
    if old:
        rows = tuple(
            row_id(entry.party, entry.model, row)
            for row in entry.rows
            if (row.retrieved or book.header.retrieved) in old
        )
        words = f"last seen {old[0]}, {(at - edge(old[0])) // DAY} days before"
        yield Remark("stale", entry.party, entry.model, None, rows, words)
