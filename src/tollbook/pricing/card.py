"""Rate cards: what tenants pay. Never part of a price book."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.core.money import PICO, divide_half_even, parse_amount
from tollbook.pricing.row import FOREVER


class RateCard(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What one tenant (or, without a name, every other) pays from `since` up to `until` (microseconds).

    `cost`: the expected amount; `free`: nothing; `cost_plus`: the expected amount and `percent` more (decimal text),
    rounded half-even to one picodollar per charge.
    """

    kind: Literal["cost", "free", "cost_plus"] = "cost"
    tenant: str | None = None
    percent: str | None = None
    since: int = -FOREVER
    until: int = FOREVER


class Recharge:
    """A rate card made ready to charge with."""

    __slots__ = ("_divisor", "_multiplier", "at_cost", "free")

    def __init__(self, card: RateCard) -> None:
        share = parse_amount(card.percent) if card.percent is not None else 0
        self.free = card.kind == "free"
        self.at_cost = not self.free and share == 0
        self._multiplier = 100 * PICO + share
        self._divisor = 100 * PICO

    def of(self, expected: int) -> int:
        """What the tenant pays for a charge, both in picodollars."""
        return 0 if self.free else divide_half_even(expected * self._multiplier, self._divisor)


class RateCards:
    """The rate cards in force; without any, everyone pays cost.

    Raises BadInput for cards that overlap, or whose percentage is missing, out of place or below zero.
    """

    def __init__(self, cards: Iterable[RateCard] = ()) -> None:
        self._cards = sorted(cards, key=lambda card: (card.tenant or "", card.since))
        self._ready = [Recharge(card) for card in self._cards if not _problem(card)]
        problems = [problem for card in self._cards if (problem := _problem(card))]
        for before, after in zip(self._cards, self._cards[1:], strict=False):
            if before.tenant == after.tenant and before.until > after.since:
                problems.append(f"rate cards: two cards of {after.tenant or 'everyone'} hold at the same time")
        if problems:
            raise BadInput("\n".join(problems))

    def find(self, tenant: str | None, at: int) -> Recharge:
        """The card of a tenant at an instant: its own, else the one for everyone, else cost."""
        for wanted in (tenant, None) if self._cards else ():
            for card, ready in zip(self._cards, self._ready, strict=True):
                if card.tenant == wanted and card.since <= at < card.until:
                    return ready
        return _AT_COST


def _problem(card: RateCard) -> str | None:
    where = f"rate card of {card.tenant or 'everyone'}"
    if (card.percent is None) == (card.kind == "cost_plus"):
        return f"{where}: `percent` goes with cost_plus, and only with it"
    if card.since >= card.until:
        return f"{where}: ends before it begins"
    try:
        if card.percent is not None and parse_amount(card.percent) < 0:
            return f"{where}: percent {card.percent!r} is below zero"
    except ValueError as problem:
        return f"{where}: percent: {problem}"
    return None


_AT_COST = Recharge(RateCard())
