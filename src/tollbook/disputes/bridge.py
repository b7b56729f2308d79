"""The bridge between what two periods cost: named effects that add up exactly to the change. Pure.

One thing after the other is taken from the second period in the place of the first: how many requests, which models
answered them, how many tokens each took, how much of the input came from the cache, at which price. Each effect is the
difference that its step makes. Fractions throughout; the total after each step is rounded to a picodollar, half-even,
so the effects add up to the change by construction.
"""

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

EFFECTS: Final = {
    "volume": "more or fewer requests, answered by the same models as before",
    "mix": "other models answered, or in other shares",
    "tokens": "more or fewer tokens per request of a model",
    "cache": "another part of the input came from the cache, or was written to it",
    "price": "another price of the same tokens: price book, tier or region",
    "retries": "attempts that another one replaced: retries, fallbacks, hedges",
    "aborted": "answers that broke off",
    "adjustments": "what cases corrected",
}
"""Every effect, in the order of the steps."""

Quantities = Mapping[str, tuple[int, int]]
"""By class: quantity, and amount in picodollars."""


class Answers(NamedTuple):
    """What one model answered in a period: how many requests, and by class how much for how much money."""

    requests: int
    classes: Quantities


class Period(NamedTuple):
    """A period: whole answers by model, and the money of everything else (picodollars)."""

    answers: Mapping[str, Answers]
    retries: int = 0
    aborted: int = 0
    adjustments: int = 0

    @property
    def amount(self) -> int:
        """What the period costs in all."""
        whole = sum(amount for one in self.answers.values() for _, amount in one.classes.values())
        return whole + self.retries + self.aborted + self.adjustments


class _Rates(NamedTuple):
    """What is exchanged step by step, of one model: its share of the requests; tokens of a group per request; what part
    of its group a class is; the price of a unit of a class."""

    share: Fraction
    tokens: dict[str, Fraction]
    parts: dict[str, Fraction]
    prices: dict[str, Fraction]


def bridge(first: Period, second: Period) -> dict[str, int]:
    """The effects, in picodollars; they add up to the change of the amounts."""
    models = sorted({*first.answers, *second.answers})
    counts = [Fraction(sum(one.requests for one in period.answers.values())) for period in (first, second)]
    old = {model: _rates(first.answers.get(model), counts[0]) for model in models}
    new = {model: _rates(second.answers.get(model), counts[1]) for model in models}
    for model in models:
        old[model], new[model] = _filled(old[model], new[model])
    steps = [_total(counts[0], old)]
    steps.append(_total(counts[1], old) if counts[0] else steps[0])
    now = {model: old[model]._replace(share=new[model].share) for model in models}
    steps.append(_total(counts[1], now))
    for name in ("tokens", "parts", "prices"):
        now = {model: now[model]._replace(**{name: getattr(new[model], name)}) for model in models}
        steps.append(_total(counts[1], now))
    names = ("volume", "mix", "tokens", "cache", "price")
    found = {name: after - before for name, (before, after) in zip(names, pairwise(steps), strict=True)}
    found |= {name: getattr(second, name) - getattr(first, name) for name in ("retries", "aborted", "adjustments")}
    return found


def group_of(name: str) -> str:
    """What a class is a part of: all input of a modality, cached or not, is one."""
    return name.partition("_cache_")[0]


def _rates(answers: Answers | None, count: Fraction) -> _Rates:
    if answers is None or not answers.requests:
        return _Rates(Fraction(0), {}, {}, {})
    groups: dict[str, int] = {}
    for name, (quantity, _) in answers.classes.items():
        groups[group_of(name)] = groups.get(group_of(name), 0) + quantity
    return _Rates(
        share=Fraction(answers.requests) / count,
        tokens={name: Fraction(quantity, answers.requests) for name, quantity in groups.items()},
        parts={
            name: Fraction(quantity, groups[group_of(name)])
            for name, (quantity, _) in answers.classes.items()
            if groups[group_of(name)]
        },
        prices={name: Fraction(amount, quantity) for name, (quantity, amount) in answers.classes.items() if quantity},
    )


def _filled(old: _Rates, new: _Rates) -> tuple[_Rates, _Rates]:
    """What one period has no rate of is as in the other: a model that is new is all mix, a class that is new all cache
    or tokens, and never price."""
    if not old.share:
        return new._replace(share=Fraction(0)), new
    if not new.share:
        return old, old._replace(share=Fraction(0))
    groups = {group_of(name) for name in (*old.parts, *new.parts)}
    for group in groups:
        if not old.tokens.get(group):
            old.parts.update({name: part for name, part in new.parts.items() if group_of(name) == group})
        if not new.tokens.get(group):
            new.parts.update({name: part for name, part in old.parts.items() if group_of(name) == group})
    prices = ({**new.prices, **old.prices}, {**old.prices, **new.prices})
    return old._replace(prices=prices[0]), new._replace(prices=prices[1])


def _total(count: Fraction, rates: Mapping[str, _Rates]) -> int:
    """What so many requests cost at these rates, in whole picodollars (half-even)."""
    total = Fraction(0)
    for one in rates.values():
        for name, part in one.parts.items():
            tokens = one.tokens.get(group_of(name), Fraction(0))
            total += count * one.share * tokens * part * one.prices.get(name, Fraction(0))
    return round(total)
