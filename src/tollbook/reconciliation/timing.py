"""Differences that reverse by themselves: another clock, or the other edge of a bucket.

Our record is counted again by the vendor's possible clocks. A way of counting is taken only when it removes nearly all
of a whole series' differences and no other way comes near it: a single bucket proves nothing.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from tollbook.reconciliation.cell import Bucket, Pair

MINUTE: Final = 60_000_000
SLOT: Final = 15 * MINUTE
"""Our record's finest grain: every offset of a time zone in use is a multiple of it."""
SHIFTS: Final = tuple(
    sorted(
        (minutes * MINUTE for minutes in range(-14 * 60, 14 * 60 + 1, 15) if minutes),
        key=lambda shift: (shift % (60 * MINUTE) != 0, abs(shift)),
    )
)
"""Whole hours first, the nearest first: of offsets that count alike the plainest is named."""
FEWEST: Final = (1, 10)
"""The part of a series' buckets that has to differ: another way of counting moves something nearly everywhere."""
LEAVES: Final = 50
"""A way of counting may leave one in so many of what differed before."""
RIVAL: Final = 3
"""The other cause's best way of counting must leave so many times more."""

Slots = Mapping[int, tuple[int, int]]
"""What one class had by the beginning of each slot: quantity and amount."""


class Timeline(NamedTuple):
    """Our record of one scope by class in slots, by the instants requests began and by those they ended. It reaches
    a day beyond the period on either side."""

    begun: Mapping[str, Slots]
    ended: Mapping[str, Slots]


class Counted(NamedTuple):
    """A way of counting that makes a series agree: for each bucket and class, what moves into it (below zero: out of
    it)."""

    cause: str
    evidence: str
    moved: dict[tuple[Bucket, str], tuple[int, int]]


class _Sums(NamedTuple):
    """One class's slots, to be summed between any two instants."""

    starts: list[int]
    quantities: list[int]
    amounts: list[int]

    def between(self, since: int, until: int) -> tuple[int, int]:
        low, high = bisect_left(self.starts, since), bisect_left(self.starts, until)
        return self.quantities[high] - self.quantities[low], self.amounts[high] - self.amounts[low]


_Line = Mapping[str, _Sums]
_EMPTY: Final = _Sums([], [0], [0])


def may_be_timing(pairs: Iterable[Pair]) -> bool:
    """Whether enough buckets of a series differ to look at clocks at all."""
    all_, differing = set[Bucket](), set[Bucket]()
    for pair in pairs:
        all_.add(pair.bucket)
        if pair.quantity:
            differing.add(pair.bucket)
    part, whole = FEWEST
    return len(differing) > 1 and len(differing) * whole >= len(all_) * part


def count_again(pairs: Sequence[Pair], timeline: Timeline) -> Counted | None:
    """The way of counting that explains the differences of one scope's cells, if there is one."""
    if not may_be_timing(pairs):
        return None
    before = _total(pair.quantity for pair in pairs)
    begun, ended = _line(timeline.begun), _line(timeline.ended)
    edge = _left(pairs, ended, 0)
    zone, shift = min((_left(pairs, begun, shift), place, shift) for place, shift in enumerate(SHIFTS))[::2]
    if min(edge, zone) * LEAVES > before or max(edge, zone) < RIVAL * max(1, min(edge, zone)):
        return None
    if edge < zone:
        return Counted("bucket_edge", "counted when requests ended", _moved(pairs, ended, 0))
    return Counted("time_zone_shift", f"counted {_offset(shift)}", _moved(pairs, begun, shift))


def _line(classes: Mapping[str, Slots]) -> _Line:
    return {name: _sums(slots) for name, slots in classes.items()}


def _sums(slots: Slots) -> _Sums:
    starts = sorted(slots)
    quantities = accumulate((slots[start][0] for start in starts), initial=0)
    return _Sums(starts, list(quantities), list(accumulate((slots[start][1] for start in starts), initial=0)))


def _moved(pairs: Sequence[Pair], line: _Line, shift: int) -> dict[tuple[Bucket, str], tuple[int, int]]:
    moved = {}
    for pair in pairs:
        quantity, amount = _sum(line, pair, shift)
        moved[pair.bucket, pair.class_] = (quantity - (pair.ours.quantity or 0), amount - (pair.ours.amount or 0))
    return moved


def _left(pairs: Sequence[Pair], line: _Line, shift: int) -> int:
    return _total(
        pair.theirs.quantity - _sum(line, pair, shift)[0] for pair in pairs if pair.theirs.quantity is not None
    )


def _sum(line: _Line, pair: Pair, shift: int) -> tuple[int, int]:
    return line.get(pair.class_, _EMPTY).between(pair.bucket.since + shift, pair.bucket.until + shift)


def _total(differences: Iterable[int]) -> int:
    return sum(abs(difference) for difference in differences)


def _offset(shift: int) -> str:
    hours, minutes = divmod(abs(shift) // MINUTE, 60)
    return f"{hours}:{minutes:02} h {'later' if shift > 0 else 'earlier'}"
