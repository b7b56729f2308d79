"""Both books side by side: one cell for each bucket, scope and class that either of them has."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tollbook.core.usage import CLASSES, COUNTERS, class_order
from tollbook.reconciliation.cell import NOTHING, Bucket, Maturity, Pair, Scope, Side
from tollbook.reconciliation.grain import Grain
from tollbook.reconciliation.theirs import Line

_MATURITIES: Final = ("open", "provisional", "final")
_Place = tuple[Scope, Bucket, str]
Sums = Mapping[tuple[Scope, str, int], Sequence[int]]
"""Our quantity, amount and unpriced quantity by scope, class and the beginning of a slot."""


class Cells(NamedTuple):
    """The cells of both books, and what of ours no statement speaks of: its amount in picodollars."""

    pairs: list[Pair]
    uncovered: int


class Buckets:
    """Buckets that do not overlap: those that do are taken together."""

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.all: list[Bucket] = []
        for bucket in sorted(set(buckets)):
            if self.all and bucket.since < self.all[-1].until:
                self.all[-1] = Bucket(self.all[-1].since, max(self.all[-1].until, bucket.until))
            else:
                self.all.append(bucket)
        self._begins = [bucket.since for bucket in self.all]

    def at(self, instant: int) -> Bucket | None:
        """The bucket that an instant lies in."""
        place = bisect_right(self._begins, instant) - 1
        return self.all[place] if place >= 0 and instant < self.all[place].until else None


def pairs_of(lines: Sequence[Line], ours: Sums, grain: Grain) -> Cells:
    """The cells. A cell with money has the quantity that its own document states, else that of the usage exports; where
    exports speak of what has no money, they make cells without."""
    costs = [line for line in lines if line.type != "usage_export"]
    usage = [line for line in lines if line.type == "usage_export"]
    buckets = Buckets(line.bucket for line in costs or usage)
    finer = Buckets([*buckets.all, *(line.bucket for line in usage)]) if costs else buckets
    sides = _sides(costs, buckets, grain)
    exported = _sides(usage, finer, grain)
    for place, (side, maturity) in exported.items():
        if place not in sides:
            sides[place] = (side._replace(amount=None), maturity)
        elif sides[place][0].quantity is None:
            sides[place] = (sides[place][0]._replace(quantity=side.quantity), min(maturity, sides[place][1], key=_rank))
    mine, uncovered = _mine(ours, finer, sides)
    silent = _maturities(sides)
    pairs = [
        Pair(*place, mine.get(place, NOTHING), *sides.get(place, (NOTHING, silent.get(place[1], "provisional"))))
        for place in sorted({*sides, *mine}, key=_order)
    ]
    return Cells(pairs, uncovered)


def _sides(lines: Sequence[Line], buckets: Buckets, grain: Grain) -> dict[_Place, tuple[Side, Maturity]]:
    gathered: dict[_Place, list[Line]] = defaultdict(list)
    for line in lines:
        bucket = buckets.at(line.bucket.since)
        if bucket is not None:
            gathered[grain.scope(line), bucket, line.class_].append(line)
    return {place: (_side(found), min((one.maturity for one in found), key=_rank)) for place, found in gathered.items()}


def _side(lines: list[Line]) -> Side:
    """The sum; unknown when no line states it."""
    quantities = [line.quantity for line in lines if line.quantity is not None]
    amounts = [line.amount for line in lines if line.amount is not None]
    count = sum(line.lines for line in lines)
    return Side(sum(quantities) if quantities else None, sum(amounts) if amounts else None, count, lines[0].unit)


def _mine(
    ours: Sums, buckets: Buckets, sides: Mapping[_Place, tuple[Side, Maturity]]
) -> tuple[dict[_Place, Side], int]:
    """Our side of each cell. A count that the vendor does not tell, and that costs nothing, makes no cell."""
    told = {class_ for _, _, class_ in sides}
    sums: dict[_Place, list[int]] = {}
    uncovered = 0
    for (scope, class_, slot), values in ours.items():
        bucket = buckets.at(slot)
        if bucket is None:
            uncovered += values[1]
        elif class_ in told or class_ not in COUNTERS or values[1]:
            found = sums.setdefault((scope, bucket, class_), [0, 0, 0])
            found[:] = map(sum, zip(found, values, strict=True))
    sides_of_ours = {}
    for place, (quantity, amount, unpriced) in sums.items():
        known = None if unpriced and unpriced >= quantity else amount
        sides_of_ours[place] = Side(quantity, known, unpriced=unpriced)
    return sides_of_ours, uncovered


def _maturities(sides: Mapping[_Place, tuple[Side, Maturity]]) -> dict[Bucket, Maturity]:
    """How final the vendor's silence is in each bucket: as its other figures of that time are."""
    found: dict[Bucket, Maturity] = {}
    for (_, bucket, _), (_, maturity) in sides.items():
        found[bucket] = min(found.get(bucket, maturity), maturity, key=_rank)
    return found


def _rank(maturity: Maturity) -> int:
    return _MATURITIES.index(maturity)


def _order(place: _Place) -> tuple[Bucket, tuple[str, ...], tuple[int, int], str]:
    scope, bucket, class_ = place
    return (
        bucket,
        tuple(word or "" for word in scope),
        class_order(class_) if class_ in CLASSES else (len(CLASSES), 0),
        class_,
    )
