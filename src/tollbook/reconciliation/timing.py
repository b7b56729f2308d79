"""Differences that reverse by themselves: another clock, or the other edge of a bucket.

Our record is counted again by the vendor's possible clocks. A way of counting is taken only when it removes nearly all
of a whole series' differences and no other way comes near it: a single bucket proves nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tollbook.reconciliation.cell import Bucket, Pair

MINUTE: Final = 60_000_000
SLOT: Final = 15 * MINUTE
"""Our record's finest grain: every offset of a time zone in use is a multiple of it."""
SHIFTS: Final = tuple(minutes * MINUTE for minutes in range(-14 * 60, 14 * 60 + 1, 15) if minutes)
LEAVES: Final = 50
"""A way of counting may leave one in so many of what differed before."""
RIVAL: Final = 3
"""The next best one must leave so many times more."""

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


def count_again(pairs: Sequence[Pair], timeline: Timeline) -> Counted | None:
    """The way of counting that explains the differences of one scope's cells, if there is one."""
    before = _total(pair.quantity for pair in pairs)
    if not before or len({pair.bucket for pair in pairs}) < 2:
        return None
    ways = [("bucket_edge", "counted when requests ended", timeline.ended, 0)]
    ways += [("time_zone_shift", f"counted {_offset(shift)}", timeline.begun, shift) for shift in SHIFTS]
    tried = sorted(((_left(pairs, slots, shift), place) for place, (_, _, slots, shift) in enumerate(ways)))
    (left, place), (next_left, _) = tried[0], tried[1]
    if left * LEAVES > before or next_left < RIVAL * max(left, before // LEAVES):
        return None
    cause, evidence, slots, shift = ways[place]
    return Counted(cause, evidence, _moved(pairs, slots, shift))


def _moved(pairs: Sequence[Pair], slots: Mapping[str, Slots], shift: int) -> dict[tuple[Bucket, str], tuple[int, int]]:
    moved = {}
    for pair in pairs:
        quantity, amount = _sum(slots.get(pair.class_, {}), pair.bucket, shift)
        moved[pair.bucket, pair.class_] = (quantity - (pair.ours.quantity or 0), amount - (pair.ours.amount or 0))
    return moved


def _left(pairs: Sequence[Pair], slots: Mapping[str, Slots], shift: int) -> int:
    return _total(
        pair.theirs.quantity - _sum(slots.get(pair.class_, {}), pair.bucket, shift)[0]
        for pair in pairs
        if pair.theirs.quantity is not None
    )


def _sum(slots: Slots, bucket: Bucket, shift: int) -> tuple[int, int]:
    found = [slots.get(start, (0, 0)) for start in range(bucket.since + shift, bucket.until + shift, SLOT)]
    return sum(quantity for quantity, _ in found), sum(amount for _, amount in found)


def _total(differences: Iterable[int]) -> int:
    return sum(abs(difference) for difference in differences)


def _offset(shift: int) -> str:
    hours, minutes = divmod(abs(shift) // MINUTE, 60)
    return f"{hours}:{minutes:02} h {'later' if shift > 0 else 'earlier'}"
