"""Cells: one bucket of time, one model, one key, one class, as each of the two books has it.

Quantities are integers; amounts are integers of picodollars (10^-12 US dollars). None is unknown and never 0.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

Maturity = Literal["open", "provisional", "final"]

REQUESTS: Final = "requests"
"""The class that counts calls: compared in quantity where the vendor tells it, never in money."""


class Bucket(NamedTuple):
    """A half-open span of instants, in microseconds."""

    since: int
    until: int


class Scope(NamedTuple):
    """What a series of cells is about. None: the vendor's book does not divide by it."""

    model: str | None
    vendor_key: str | None
    tier: str | None
    region: str | None


class Side(NamedTuple):
    """What one book has of one cell: `lines` is how many lines of it, `unit` the last digit they are written to, in
    picodollars (0: exact); `unpriced` how much of the quantity has no amount."""

    quantity: int | None
    amount: int | None
    lines: int = 0
    unit: int = 0
    unpriced: int = 0


NOTHING: Final = Side(0, 0)


class Band(NamedTuple):
    """The least and the most an effect can be."""

    low: int
    high: int

    @property
    def width(self) -> int:
        return self.high - self.low


class Effect(NamedTuple):
    """What a candidate cause would add to the vendor's side of one class: quantity, and the money of it where the
    record knows it better than by the cell's own price."""

    quantity: Band
    amount: int | None = None


class Candidate(NamedTuple):
    """A cause that the record gives reason for in one bucket of one scope: its effect by class, the requests that show
    it, and how it was found, in words. `certain`: a defect of our record that is there whatever the vendor says."""

    cause: str
    effects: Mapping[str, Effect]
    requests: tuple[str, ...]
    evidence: str
    certain: bool = False


class Share(NamedTuple):
    """What one cause explains of one cell. `among`: the causes that cannot be told apart, when there are several."""

    cause: str
    quantity: int
    amount: int
    evidence: str
    requests: tuple[str, ...] = ()
    among: tuple[str, ...] = ()


class Pair(NamedTuple):
    """One cell of both books."""

    scope: Scope
    bucket: Bucket
    class_: str
    ours: Side
    theirs: Side
    maturity: Maturity

    @property
    def quantity(self) -> int:
        """Theirs less ours; 0 where either is unknown."""
        if self.ours.quantity is None or self.theirs.quantity is None:
            return 0
        return self.theirs.quantity - self.ours.quantity

    @property
    def amount(self) -> int:
        """Theirs less ours; 0 where theirs is unknown. An unknown amount of ours counts as nothing: what is theirs is
        then wholly a difference."""
        return 0 if self.theirs.amount is None else self.theirs.amount - (self.ours.amount or 0)

    def worth(self, quantity: int) -> int:
        """The money of a quantity at our own average price; at theirs where we have none. Half-even."""
        for side in (self.ours, self.theirs):
            if side.quantity and side.amount is not None:
                return divide(quantity * side.amount, side.quantity)
        return 0


def divide(numerator: int, denominator: int) -> int:
    """The quotient, half-even."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def apportion(total: int, weights: Iterable[int]) -> list[int]:
    """`total` in parts as the weights are, which add up exactly: the remainders go to the largest fractions first, then
    to the first. Weights of nothing but zero: all to the first."""
    shares = list(weights)
    whole = sum(shares)
    if not whole:
        return [total, *[0] * (len(shares) - 1)] if shares else []
    parts = [divmod(total * share, whole) for share in shares]
    given = [quotient for quotient, _ in parts]
    order = sorted(range(len(shares)), key=lambda place: (-parts[place][1], place))
    for place in order[: total - sum(given)]:
        given[place] += 1
    return given
