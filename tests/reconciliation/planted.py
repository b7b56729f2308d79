"""A month of two books with one fault planted by seed: what the record shows of it, and the verdict that is right.

The vendor's side is made from the true month by the fault's own arithmetic, never by the code under test.
"""

import random
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from tollbook.reconciliation.cell import Band, Bucket, Candidate, Effect, Maturity, Pair, Scope, Side, divide
from tollbook.reconciliation.diagnosis import Known, Question
from tollbook.reconciliation.timing import MINUTE, SLOT, Timeline

DAY = 24 * 60 * MINUTE
START = 20_000 * DAY
DAYS = 10
CENT = 10_000_000_000
PRICES = {"input": 2_500_000, "input_cache_read": 250_000, "input_cache_write_5m": 3_125_000, "output": 10_000_000}
"""Picodollars per token."""
CLASSES = (*PRICES, "requests")
SCOPES = tuple(
    Scope(model, key, "default", None) for model in ("gpt-5", "gpt-5-mini", "gpt-4.1") for key in ("key_a", "key_b")
)

Slots = dict[tuple[Scope, str, int], int]
Place = tuple[Scope, Bucket]


class Month(NamedTuple):
    """What happened: our quantities by slot (in `ended`, by the instants of the ends), theirs by bucket, amounts that
    are not quantity times price, and what our record gives as reasons."""

    random: random.Random
    begun: Slots
    ended: Slots
    theirs: dict[tuple[Scope, Bucket, str], int]
    ratios: dict[tuple[Scope, Bucket, str], Fraction]
    reasons: dict[Place, list[Candidate]]
    fees: dict[Place, int]
    unpriced: set[Scope]
    maturity: dict[Place, Maturity]
    unit: list[int]


BUCKETS = tuple(Bucket(START + day * DAY, START + (day + 1) * DAY) for day in range(DAYS))


def month(seed: int) -> Month:
    """A clean month: late requests of some hours end in the next slot, so that both ways of counting differ."""
    chance = random.Random(seed)
    begun: Slots = {}
    ended: Slots = {}
    for scope in SCOPES:
        for start in range(START - DAY, START + (DAYS + 1) * DAY, SLOT * 4):
            for name in CLASSES:
                quantity = chance.randrange(1, 40) if name == "requests" else chance.randrange(1_000, 900_000)
                begun[scope, name, start] = quantity
                late = chance.randrange(quantity // 3 + 1)
                ended[scope, name, start] = ended.get((scope, name, start), 0) + quantity - late
                following = start + SLOT * 4
                ended[scope, name, following] = ended.get((scope, name, following), 0) + late
    theirs = {
        (scope, bucket, name): counted(begun, scope, name, bucket)
        for scope in SCOPES
        for bucket in BUCKETS
        for name in CLASSES
    }
    return Month(chance, begun, ended, theirs, {}, {}, {}, set(), {}, [1])


def counted(slots: Slots, scope: Scope, name: str, bucket: Bucket, shift: int = 0) -> int:
    return sum(slots.get((scope, name, start), 0) for start in range(bucket.since + shift, bucket.until + shift, SLOT))


def question(of: Month) -> Question:
    """What the diagnosis is asked of a month."""
    pairs = []
    for (scope, bucket, name), quantity in of.theirs.items():
        price = PRICES.get(name, 0)
        mine = counted(of.begun, scope, name, bucket)
        exact = quantity * price * of.ratios.get((scope, bucket, name), Fraction(1))
        unit = of.unit[0]
        amount = divide(exact.numerator, exact.denominator * unit) * unit
        ours = Side(mine, None if scope in of.unpriced and price else mine * price)
        theirs = Side(quantity, None if name == "requests" else amount, 1, 0 if unit == 1 else unit)
        pairs.append(Pair(scope, bucket, name, ours, theirs, of.maturity.get((scope, bucket), "final")))
    for (scope, bucket), fee in of.fees.items():
        pairs.append(Pair(scope, bucket, "web_searches", Side(0, 0), Side(fee // CENT, fee, 1, 0), "final"))
    timelines = {scope: Timeline(_timeline(of.begun, scope), _timeline(of.ended, scope)) for scope in SCOPES}
    return Question(pairs, timelines, of.reasons, Known(frozenset({"key_a", "key_b"})))


def _timeline(slots: Slots, scope: Scope) -> dict[str, dict[int, tuple[int, int]]]:
    line: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in CLASSES}
    for (of, name, start), quantity in slots.items():
        if of == scope:
            line[name][start] = (quantity, quantity * PRICES.get(name, 0))
    return line


# --- faults: each changes the month and says the money it should explain


def _somewhere(of: Month) -> Place:
    return of.random.choice(SCOPES), of.random.choice(BUCKETS)


def _more(of: Month, place: Place, effect: dict[str, int]) -> int:
    for name, quantity in effect.items():
        of.theirs[*place, name] += quantity
    return sum(quantity * PRICES.get(name, 0) for name, quantity in effect.items())


def _reason(of: Month, place: Place, cause: str, bands: dict[str, Band], *, certain: bool = False) -> None:
    effects = {name: Effect(band) for name, band in bands.items()}
    of.reasons.setdefault(place, []).append(Candidate(cause, effects, ("01a",), f"planted {cause}", certain))


def exactly(cause: str, sign: int, *, certain: bool) -> Callable[[Month], int]:
    """A cause whose effect our record knows to the token: attempts uncharged, rows twice, errors priced."""

    def plant(of: Month) -> int:
        place = _somewhere(of)
        effect = {
            "input": sign * of.random.randrange(500, 90_000),
            "output": sign * of.random.randrange(100, 20_000),
            "requests": sign * of.random.randrange(1, 20),
        }
        _reason(of, place, cause, {name: Band(value, value) for name, value in effect.items()}, certain=certain)
        return _more(of, place, effect)

    return plant


def within(cause: str, name: str, low: int, high: int) -> Callable[[Month], int]:
    """A cause of which our record knows a bound only."""

    def plant(of: Month) -> int:
        place = _somewhere(of)
        bound = of.random.randrange(high // 2, high)
        _reason(of, place, cause, {name: Band(low, bound)})
        return _more(of, place, {name: of.random.randrange(max(low, bound // 10), bound)})

    return plant


def costs(ratio: str, *classes: str, every: bool = False) -> Callable[[Month], int]:
    """A rate that differs in one bucket, or in every one of a scope."""

    def plant(of: Month) -> int:
        scope, one = _somewhere(of)
        return sum(_cost(of, (scope, bucket), Fraction(ratio), classes) for bucket in (BUCKETS if every else (one,)))

    return plant


def _cost(of: Month, place: Place, ratio: Fraction, classes: tuple[str, ...]) -> int:
    for name in classes or PRICES:
        of.ratios[*place, name] = ratio
    return sum(
        divide(of.theirs[*place, name] * PRICES[name] * (ratio - 1).numerator, (ratio - 1).denominator)
        for name in classes or PRICES
    )


def price_changed(of: Month) -> int:
    scope, _ = _somewhere(of)
    since = of.random.randrange(2, DAYS - 3)
    return sum(_cost(of, (scope, bucket), Fraction(5, 4), ()) for bucket in BUCKETS[since:])


def free_at_first(of: Month) -> int:
    scope, _ = _somewhere(of)
    whole = of.random.randrange(1, 5)
    free = sum(_cost(of, (scope, bucket), Fraction(0), ()) for bucket in BUCKETS[:whole])
    return free + _cost(of, (scope, BUCKETS[whole]), Fraction(2, 7), ())


def other_clock(of: Month) -> int:
    shift = of.random.choice((-8, -7, 1, 2, 8, 9)) * 60 * MINUTE
    return _recount(of, of.begun, shift)


def other_edge(of: Month) -> int:
    return _recount(of, of.ended, 0)


def _recount(of: Month, slots: Slots, shift: int) -> int:
    """Money nets to what crosses the edges of the month."""
    net = 0
    for scope, bucket, name in list(of.theirs):
        before = of.theirs[scope, bucket, name]
        of.theirs[scope, bucket, name] = counted(slots, scope, name, bucket, shift)
        net += (of.theirs[scope, bucket, name] - before) * PRICES.get(name, 0)
    return net


def unknown_key(of: Month) -> int:
    stranger = Scope("gpt-5", "key_leaked", "default", None)
    bucket = of.random.choice(BUCKETS)
    effect = {"input": of.random.randrange(10_000, 9_000_000), "output": 50_000, "requests": 9}
    for name, quantity in effect.items():
        of.theirs[stranger, bucket, name] = quantity
    return sum(quantity * PRICES.get(name, 0) for name, quantity in effect.items())


def renamed(of: Month) -> int:
    scope = of.random.choice(SCOPES)
    dated = scope._replace(model=f"{scope.model}-2025-08-07")
    for bucket in BUCKETS:
        for name in CLASSES:
            of.theirs[dated, bucket, name] = of.theirs[scope, bucket, name]
            of.theirs[scope, bucket, name] = 0
    return 0


def tool_fees(of: Month) -> int:
    place = _somewhere(of)
    of.fees[place] = of.random.randrange(1, 500) * CENT
    return of.fees[place]


def no_price(of: Month) -> int:
    scope = of.random.choice(SCOPES)
    of.unpriced.add(scope)
    return sum(of.theirs[scope, bucket, name] * price for bucket in BUCKETS for name, price in PRICES.items())


def revised(of: Month) -> int:
    place = _somewhere(of)
    of.maturity[place] = "provisional"
    return _more(of, place, {"input": -of.random.randrange(1_000, 90_000)})


def inflated(of: Month) -> int:
    scope, _ = _somewhere(of)
    return sum(
        _more(of, (scope, bucket), {"output": of.theirs[scope, bucket, "output"] * 3 // 100}) for bucket in BUCKETS
    )


def cents(of: Month) -> int:
    of.unit[0] = CENT
    return 0


FAULTS: dict[str, Callable[[Month], int]] = {
    "duplicate_record": exactly("duplicate_record", -1, certain=True),
    "never_sent": exactly("never_sent", -1, certain=True),
    "cache_hit_priced": exactly("cache_hit_priced", -1, certain=True),
    "failed_request_priced": exactly("failed_request_priced", -1, certain=False),
    "retry_billed_twice": exactly("retry_billed_twice", 1, certain=False),
    "fallback_billed": exactly("fallback_billed", 1, certain=False),
    "aborted_stream_billed": within("aborted_stream_billed", "output", 0, 400_000),
    "usage_missing": within("usage_missing", "output", 0, 400_000),
    "failed_request_billed": within("failed_request_billed", "input", 0, 90_000),
    "bypass_unknown_key": unknown_key,
    "model_alias": renamed,
    "time_zone_shift": other_clock,
    "bucket_edge": other_edge,
    "tool_fee_unmetered": tool_fees,
    "unpriced_model": no_price,
    "late_revision": revised,
    "regional_multiplier": costs("1.1"),
    "tier_served_differs": costs("1.7"),
    "cache_write_ttl": costs("1.6", "input_cache_write_5m"),
    "cached_tokens_priced_full": costs("0.1", "input_cache_read"),
    "unit_slip": costs("1000"),
    "currency_or_tax": costs("1.19", every=True),
    "discount": costs("0.93", every=True),
    "price_change_mid_period": price_changed,
    "free_allowance": free_at_first,
}
"""Cause -> what plants it. What is not here is told by what is not made yet, or by no cell (see `UNSEEN`)."""
