"""What changed between two price books, price by price and stretch of time by stretch of time."""

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import pairwise
from typing import Final, NamedTuple

from tollbook.core.clock import format_instant
from tollbook.pricing.book import PriceBook
from tollbook.pricing.choice import dimensions_of
from tollbook.pricing.entry import Entry
from tollbook.pricing.row import DAY, DIMENSIONS, FOREVER, Row

Thing = tuple[str, str, str, str, str]
"""Party, model, class, conditions in words, currency."""


class Change(NamedTuple):
    """One price that differs from `since` up to `until` (None: always, or for good).

    `before` and `after` are decimal text for one unit, None where there is no price. `percent` is None unless both are
    there and the first is not zero.
    """

    party: str
    model: str
    class_: str
    conditions: str
    currency: str
    before: str | None
    after: str | None
    percent: str | None
    since: str | None
    until: str | None

    @property
    def thing(self) -> Thing:
        """What it is the price of."""
        return (self.party, self.model, self.class_, self.conditions, self.currency)

    def words(self) -> str:
        """The change for people: `gpt-5 output +12.5 % from 2026-11-01`."""
        what = f"{self.party} {self.model} {self.class_}" + (f" ({self.conditions})" if self.conditions else "")
        when = (f" from {self.since}" if self.since else "") + (f" until {self.until}" if self.until else "")
        if self.before is None:
            return f"{what}: new, {self.after} {self.currency}{when}"
        if self.after is None:
            return f"{what}: no longer priced, was {self.before} {self.currency}{when}"
        share = f" {self.percent} %" if self.percent is not None else ""
        return f"{what}{share}: {self.before} to {self.after} {self.currency}{when}"


def compare(before: PriceBook, after: PriceBook) -> list[Change]:
    """What differs between two books, by vendor, model and class. A model's names and rules are not compared."""
    old, new = _things(before), _things(after)
    return [
        change
        for thing in sorted(old.keys() | new.keys())
        if old.get(thing) != new.get(thing)
        for change in _changes(thing, old.get(thing, []), new.get(thing, []))
    ]


def thing_of(book: PriceBook, entry: Entry, row: Row) -> Thing:
    """What a row is the price of, its dates aside."""
    return (entry.party, entry.model, row.class_, _conditions(row), row.currency or book.header.currency)


def _things(book: PriceBook) -> dict[Thing, list[tuple[int, int, str]]]:
    found: dict[Thing, list[tuple[int, int, str]]] = {}
    for entry in book.entries():
        for row in entry.rows:
            found.setdefault(thing_of(book, entry, row), []).append((*row.span, row.price))
    return {thing: sorted(spans) for thing, spans in found.items()}


def _conditions(row: Row) -> str:
    said = [f"{name} {value}" for name, value in zip(DIMENSIONS, dimensions_of(row), strict=True) if value is not None]
    said += [part.words() for part in (row.band, row.window) if part is not None]
    return ", ".join(said)


def _changes(thing: Thing, old: list[tuple[int, int, str]], new: list[tuple[int, int, str]]) -> Iterator[Change]:
    cuts = sorted({edge for since, until, _ in (*old, *new) for edge in (since, until)})
    held: tuple[int, int, str | None, str | None] | None = None
    for since, until in pairwise(cuts):
        one, other = _at(old, since), _at(new, since)
        if held is not None and held[1] == since and held[2:] == (one, other):
            held = (held[0], until, one, other)
            continue
        if held is not None and held[2] != held[3]:
            yield _change(thing, *held)
        held = (since, until, one, other)
    if held is not None and held[2] != held[3]:
        yield _change(thing, *held)


def _change(thing: Thing, since: int, until: int, before: str | None, after: str | None) -> Change:
    return Change(*thing, before, after, _percent(before, after), _edge(since), _edge(until))


def _at(spans: list[tuple[int, int, str]], at: int) -> str | None:
    return next((price for since, until, price in spans if since <= at < until), None)


def _edge(at: int) -> str | None:
    if abs(at) == FOREVER:
        return None
    text = format_instant(at)
    return text[:10] if at % DAY == 0 else text[:19] + "Z"


_TENTH: Final = Decimal("0.1")


def _percent(before: str | None, after: str | None) -> str | None:
    if before is None or after is None or Decimal(before) == 0:
        return None
    with localcontext(prec=400):
        change = (Decimal(after) / Decimal(before) - 1) * 100
        return f"{change.quantize(_TENTH, ROUND_HALF_EVEN):+,f}"
