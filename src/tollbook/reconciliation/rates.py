"""Why equal quantities cost differently: the ratio of the vendor's money to what we expect for the vendor's quantity.

Classes times known multipliers are few, so the ratio names most causes (facts of the vendors' price lists). A ratio is
taken for a multiplier only when all money it would leave is rounding of the lines.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from tollbook.reconciliation.cell import Pair, divide

REGIONAL: Final = Fraction(11, 10)
TTL: Final = Fraction(8, 5)
HALF: Final = Fraction(1, 2)
TIERS: Final = tuple(Fraction(text) for text in ("2", "1.7", "2.5", "10/17", "2/5"))
"""Priority over standard, and back; a half is a batch's or the flexible tier's: see `of_all`."""
UNITS: Final = tuple(Fraction(10) ** power for power in (2, 3, 6, -2, -3, -6))
TAXES: Final = tuple(Fraction(rate, 100) for rate in (105, 107, 108, 119, 120, 121, 122, 123, 124, 125, 127))
"""Rates of value added tax in use, as multiples of the net."""
CACHE_READ: Final = tuple(Fraction(text) for text in ("1/10", "1/4", "1/2"))


class Priced(NamedTuple):
    """One cell's money: what it costs at the vendor, and what the same quantity costs at our price, in picodollars;
    `room`: how far rounding of the vendor's lines can carry it."""

    class_: str
    theirs: int
    ours: int
    room: int

    @property
    def left(self) -> int:
        return self.theirs - self.ours

    def at(self, ratio: Fraction) -> int:
        """What it would cost at `ratio` times our price."""
        return divide(self.ours * ratio.numerator, ratio.denominator)

    def is_at(self, ratio: Fraction) -> bool:
        """Whether the vendor's money is `ratio` times ours, but for rounding."""
        return abs(self.theirs - self.at(ratio)) <= self.room


def priced(pair: Pair) -> Priced | None:
    """A cell's money; None when either book has no amount, or nothing was used."""
    if pair.theirs.amount is None or pair.ours.amount is None or not pair.ours.quantity:
        return None
    ours = pair.ours.amount + pair.worth(pair.quantity)
    return Priced(pair.class_, pair.theirs.amount, ours, max(1, pair.theirs.lines) * pair.theirs.unit // 2 + 1)


def differing(cells: Sequence[Priced]) -> list[Priced]:
    """The cells whose money differs by more than rounding."""
    return [cell for cell in cells if abs(cell.left) > cell.room]


def cause_of(cells: Sequence[Priced], model: str | None, *, processing_known: bool) -> tuple[str, ...]:
    """The causes (one; several when they cannot be told apart; none) that one bucket's ratios name."""
    odd = differing(cells)
    if not odd:
        return ("rounding",) if any(cell.left for cell in cells) else ()
    for ratio, cause, classes in _OF_CLASSES:
        if all(cell.class_.startswith(classes) and cell.is_at(ratio) for cell in odd):
            return (cause,)
    if len(odd) == len(cells) and (whole := common(odd)) is not None:
        return _of_all(whole, model, processing_known=processing_known)
    return ()


_OF_CLASSES: Final = (
    (TTL, "cache_write_ttl", "input_cache_write"),
    *((ratio, "cached_tokens_priced_full", "input_cache_read") for ratio in CACHE_READ),
)


def _of_all(ratio: Fraction, model: str | None, *, processing_known: bool) -> tuple[str, ...]:
    """What one ratio of all classes means by itself; a discount is told by a whole series only."""
    if model is not None and model.startswith(("ft:", "ft-")):
        return ("fine_tuned_at_base_price",)
    if ratio == HALF:
        return ("tier_served_differs",) if processing_known else ("batch_completed_later", "tier_served_differs")
    for ratios, cause in (
        ((REGIONAL,), "regional_multiplier"),
        (TIERS, "tier_served_differs"),
        (UNITS, "unit_slip"),
        (TAXES, "currency_or_tax"),
    ):
        if ratio in ratios:
            return (cause,)
    return ()


_KNOWN: Final = (REGIONAL, HALF, *TIERS, *UNITS, *TAXES)


def common(cells: Sequence[Priced]) -> Fraction | None:
    """The one ratio of all cells: a known one when it fits, else the ratio of their sums when it fits each."""
    for ratio in _KNOWN:
        if all(cell.is_at(ratio) for cell in cells):
            return ratio
    ours = sum(cell.ours for cell in cells)
    if not ours:
        return None
    whole = Fraction(sum(cell.theirs for cell in cells), ours)
    return whole if all(cell.is_at(whole) for cell in cells) else None


def of_series(buckets: Mapping[int, Sequence[Priced]]) -> dict[int, str]:
    """What several buckets of one scope tell together (by the bucket's beginning): a price that changed at an instant,
    a discount on all, an allowance used up. Empty when nothing of the kind fits, or fewer than three buckets have
    money."""
    starts = [start for start in sorted(buckets) if any(cell.ours for cell in buckets[start])]
    odd = [start for start in starts if differing(buckets[start])]
    if len(starts) < 3 or not odd:
        return {}
    ratio = common([cell for start in odd for cell in buckets[start] if cell.ours])
    if odd == starts and ratio is not None and ratio < 1:
        return dict.fromkeys(odd, "discount")
    if odd != starts and odd == starts[-len(odd) :] and ratio is not None and len(odd) > 1:
        return dict.fromkeys(odd, "price_change_mid_period")
    if odd == starts[: len(odd)] and _allowance([buckets[start] for start in odd]):
        return dict.fromkeys(odd, "free_allowance")
    return {}


def _allowance(buckets: Sequence[Sequence[Priced]]) -> bool:
    """Nothing is paid in any but the last of them, and there less than the list."""
    return all(cell.theirs <= cell.room for cells in buckets[:-1] for cell in cells) and (
        sum(cell.theirs - cell.ours for cell in buckets[-1]) < 0
    )
