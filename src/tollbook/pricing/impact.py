"""What a change of prices would have meant for what was used: the same units at the other price."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from tollbook.core.money import UnitPrice
from tollbook.pricing.book import PriceBook
from tollbook.pricing.difference import Change, Thing, thing_of
from tollbook.pricing.row import row_id

Used = tuple[str, int, int]
"""Row id, units, lines charged by it."""


class Impact(NamedTuple):
    """More (or, below zero, less) money in picodollars, by change and by currency.

    `unpriced_lines` would have no price any more; `other_lines` were charged by rows that the first book does not hold.
    """

    by_change: dict[Change, int]
    by_currency: dict[str, int]
    unpriced_lines: int
    other_lines: int


def impact(before: PriceBook, changes: Iterable[Change], used: Iterable[Used]) -> Impact:
    """What was used, at the prices that the last change of each leads to.

    Units are summed up by row before they are priced, so that it can differ from the sum of the charges by half a
    picodollar for each of them.
    """
    last: Final = {change.thing: change for change in changes}
    things = _things(before)
    by_change: dict[Change, int] = {}
    by_currency: dict[str, int] = {}
    unpriced = other = 0
    for row, quantity, lines in used:
        thing = things.get(row)
        change = last.get(thing) if thing is not None else None
        if thing is None:
            other += lines
        elif change is not None and change.after is None:
            unpriced += lines
        elif change is not None and change.before is not None and change.after is not None:
            more = UnitPrice(change.after).of(quantity) - UnitPrice(change.before).of(quantity)
            by_change[change] = by_change.get(change, 0) + more
            by_currency[change.currency] = by_currency.get(change.currency, 0) + more
    return Impact(by_change, by_currency, unpriced, other)


def _things(book: PriceBook) -> dict[str, Thing]:
    return {
        row_id(entry.party, entry.model, row): thing_of(book, entry, row)
        for entry in book.entries()
        for row in entry.rows
    }
