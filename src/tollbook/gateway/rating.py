"""A usage and the shares of other models, priced: the rating as it is written down, and its sums. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from tollbook.core.usage import Usage
from tollbook.journal.entry import Charge, Rating
from tollbook.pricing.rate import Priced, Rater

OTHER_CURRENCY = "other_currency"
"""Why a share is unpriced whose model has its price in another currency: sums have one."""

Shares = Sequence[tuple[str, Usage]]
"""Usage that other models did inside one answer, each with its model."""


class Conditions(Struct, frozen=True, kw_only=True, gc=False):
    """What a price depends on beside model and class: whose, when, and what the vendor said of the work."""

    party: str
    at: int
    tier: str | None = None
    region: str | None = None
    speed: str | None = None
    processing: str | None = None
    tenant: str | None = None
    tenant_bears: bool = True


class Rated(NamedTuple):
    """A rating and its sums in picodollars, None while they are unknown."""

    rating: Rating
    expected: int | None
    recharge: int | None


def rated(
    rater: Rater, adapter: str, model: str, usage: Usage, conditions: Conditions, shares: Shares = (), number: int = 1
) -> Rated:
    """Price a usage at its model's price and each share at its own model's.

    A usage of which all was other models' work has no lines of its own.
    """
    if not shares:
        own = _price(rater, model, usage, conditions)
        return Rated(_rating(rater, adapter, own, number, own.unpriced, own.assumed), own.expected, own.recharge)
    each = [(other, _price(rater, other, part, conditions)) for other, part in shares]
    own = _price(rater, model, usage, conditions) if usage else Priced([], None, [], each[0][1].currency, 0, 0)
    return _with_shares(rater, adapter, own, [(other, _in(own.currency, part)) for other, part in each], number)


def _price(rater: Rater, model: str, usage: Usage, known: Conditions) -> Priced:
    return rater.rate(
        known.party,
        model,
        usage,
        known.at,
        tier=known.tier,
        region=known.region,
        speed=known.speed,
        processing=known.processing,
        tenant=known.tenant,
        tenant_bears=known.tenant_bears,
    )


def _in(currency: str, part: Priced) -> Priced:
    """A share in the currency of the whole; else its quantities alone."""
    if part.currency == currency:
        return part
    lines: list[Charge] = [(name, quantity, None, None, None, None, None) for name, quantity, *_ in part.charges]
    return Priced(lines, OTHER_CURRENCY, part.assumed, currency, None, None)


def _with_shares(rater: Rater, adapter: str, own: Priced, shares: list[tuple[str, Priced]], number: int) -> Rated:
    parts = [own, *(part for _, part in shares)]
    unpriced = next((part.unpriced for part in parts if part.unpriced is not None), None)
    assumed = list(dict.fromkeys(word for part in parts for word in part.assumed))
    lines = [(model, part.charges) for model, part in shares]
    rating = _rating(rater, adapter, own, number, unpriced, assumed, lines)
    return Rated(rating, _sum([part.expected for part in parts]), _sum([part.recharge for part in parts]))


def _rating(
    rater: Rater,
    adapter: str,
    own: Priced,
    number: int,
    unpriced: str | None,
    assumed: list[str],
    shares: list[tuple[str, list[Charge]]] | None = None,
) -> Rating:
    return Rating(
        book=rater.book.digest,
        adapter=adapter,
        charges=own.charges,
        shares=shares,
        number=number,
        currency=own.currency,
        unpriced=unpriced,
        assumed=assumed or None,
    )


def _sum(amounts: list[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
