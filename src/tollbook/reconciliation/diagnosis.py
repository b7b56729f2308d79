"""Why the two books differ: every cell of a vendor's statement with its causes, in the order that evidence allows.

Scope first (what we have no record of at all), then timing (what reverses by itself), then two names of one model,
then quantities, then rates. What is left inside the rule's tolerance is summed as such; the rest is unexplained.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from tollbook.core.usage import CLASSES, COUNTERS
from tollbook.reconciliation.causes import AMBIGUOUS, WITHIN_TOLERANCE, causes
from tollbook.reconciliation.cell import REQUESTS, Bucket, Candidate, Pair, Scope, Share
from tollbook.reconciliation.finding import Finding, finding
from tollbook.reconciliation.quantities import Explained, explain
from tollbook.reconciliation.rates import cause_of, of_series, priced
from tollbook.reconciliation.timing import Timeline, count_again


class Tolerance(NamedTuple):
    """How much one cell may differ: the larger of a part of the vendor's side and an absolute amount (picodollars)."""

    relative: Fraction = Fraction(0)
    absolute: int = 0

    def passes(self, left: int, theirs: int) -> bool:
        return abs(left) <= max(self.absolute, int(self.relative * abs(theirs)))


class Known(NamedTuple):
    """What of the vendor's account is ours: the keys our gateway has used, as the vendor names them; or, where its book
    divides by projects only, those."""

    keys: frozenset[str]
    projects: bool = False


class Question(NamedTuple):
    """Everything a diagnosis is made from; the same question gives the same findings, byte for byte."""

    pairs: Sequence[Pair]
    timelines: Mapping[Scope, Timeline]
    candidates: Mapping[tuple[Scope, Bucket], Sequence[Candidate]]
    known: Known
    tolerance: Tolerance = Tolerance()


_Shares = dict[Pair, list[Share]]
_ASK: Final = "vendor_overcount"


def diagnose(question: Question) -> list[Finding]:
    """The findings of all cells, in the cells' order."""
    shares: _Shares = {pair: [] for pair in question.pairs}
    _scope(question, shares)
    _timing(question, shares)
    _aliases(shares)
    for (scope, bucket), pairs in _groups(shares).items():
        _quantities(pairs, question.candidates.get((scope, bucket), ()), question.tolerance, shares)
    _rates(shares)
    beyond = _overcounted(shares)
    return [
        _finding(pair, found, question.tolerance, asked=(pair.scope, pair.class_) in beyond)
        for pair, found in shares.items()
    ]


def _overcounted(shares: _Shares) -> set[tuple[Scope, str]]:
    """Of which class the vendor has more than all causes explain, in every one of at least three buckets: nothing
    here can settle that."""
    series: dict[tuple[Scope, str], list[int]] = defaultdict(list)
    for pair in shares:
        if pair.theirs.quantity and pair.ours.quantity:
            series[pair.scope, pair.class_].append(_left(pair, shares)[0])
    return {place for place, left in series.items() if len(left) >= 3 and all(value > 0 for value in left)}


def _left(pair: Pair, shares: _Shares) -> tuple[int, int]:
    found = shares[pair]
    return pair.quantity - sum(one.quantity for one in found), pair.amount - sum(one.amount for one in found)


def _take(pair: Pair, shares: _Shares, cause: str, evidence: str) -> None:
    """All that is left of the cell is this cause's."""
    quantity, amount = _left(pair, shares)
    if quantity or amount:
        shares[pair].append(Share(cause, quantity, amount, evidence))


def _scope(question: Question, shares: _Shares) -> None:
    for pair in shares:
        key = pair.scope.vendor_key
        if key is not None and key not in question.known.keys:
            _take(pair, shares, *_stranger(key, question.known))
        elif pair.class_ in _LINES:
            _take(pair, shares, *_LINES[pair.class_])
        elif pair.class_ not in CLASSES:
            _take(pair, shares, *_unnamed(pair))
        elif pair.class_ in COUNTERS and pair.class_ != REQUESTS and not pair.ours.quantity and pair.theirs.amount:
            _take(pair, shares, "tool_fee_unmetered", f"the vendor bills {pair.class_}; our record has none")
        elif pair.scope.tier == "priority" and pair.theirs.quantity and pair.theirs.amount == 0 and pair.ours.amount:
            _take(pair, shares, "priority_tier_absent", "usage of the tier priority has no line of cost")


_LINES: Final = {
    "tax": ("currency_or_tax", "a line of tax; our record is without"),
    "credit": ("discount", "a line of credit; our record is at the price list"),
    "fee": ("tool_fee_unmetered", "a line of fees; our record has none"),
}


def _stranger(key: str, known: Known) -> tuple[str, str]:
    if known.projects:
        return "other_environment", f"no request of ours was ever sent for the project {key}"
    return "bypass_unknown_key", f"no request of ours was ever sent with the key {key}"


def _unnamed(pair: Pair) -> tuple[str, str]:
    if pair.scope.model is None:
        return "virtual_currency", f"the vendor's line {pair.class_!r} names no model and no class of ours"
    return "tool_fee_unmetered", f"the vendor's line {pair.class_!r} is no class of ours"


def _series(shares: _Shares) -> dict[Scope, list[Pair]]:
    series: dict[Scope, list[Pair]] = defaultdict(list)
    for pair in shares:
        series[pair.scope].append(pair)
    return series


def _groups(shares: _Shares) -> dict[tuple[Scope, Bucket], list[Pair]]:
    groups: dict[tuple[Scope, Bucket], list[Pair]] = defaultdict(list)
    for pair in shares:
        groups[pair.scope, pair.bucket].append(pair)
    return groups


def _timing(question: Question, shares: _Shares) -> None:
    for scope, pairs in _series(shares).items():
        timeline = question.timelines.get(scope)
        plain = [pair for pair in pairs if not shares[pair]]
        counted = count_again(plain, timeline) if timeline is not None else None
        if counted is None:
            continue
        for pair in plain:
            quantity, amount = counted.moved[pair.bucket, pair.class_]
            if quantity or amount:
                money = amount if pair.theirs.amount is not None else 0
                shares[pair].append(Share(counted.cause, quantity, money, counted.evidence))


def _aliases(shares: _Shares) -> None:
    """Two models, where in every bucket and class what one lacks the other has."""
    vectors: dict[Scope, dict[tuple[Bucket, str], int]] = {}
    for scope, pairs in _series(shares).items():
        left = {(pair.bucket, pair.class_): _left(pair, shares)[0] for pair in pairs}
        vectors[scope] = {place: value for place, value in left.items() if value}
    for scope, vector in vectors.items():
        if not vector or any(value < 0 for value in vector.values()):
            continue
        mirror = {place: -value for place, value in vector.items()}
        twins = [
            other for other, found in vectors.items() if other[1:] == scope[1:] and other != scope and found == mirror
        ]
        if len(twins) == 1:
            for pair in [pair for pair in shares if pair.scope in (scope, twins[0])]:
                evidence = f"{twins[0].model} here is {scope.model} at the vendor: the same, class by class"
                _take(pair, shares, "model_alias", evidence)


def _quantities(pairs: list[Pair], candidates: Sequence[Candidate], tolerance: Tolerance, shares: _Shares) -> None:
    by_class = {
        pair.class_: pair for pair in pairs if pair.ours.quantity is not None and pair.theirs.quantity is not None
    }
    difference = {name: _left(pair, shares)[0] for name, pair in by_class.items()}
    if not any(difference.values()):
        return
    slack = {name: int(tolerance.relative * (pair.theirs.quantity or 0)) for name, pair in by_class.items()}
    if all(abs(value) <= slack[name] for name, value in difference.items()):
        return
    for found in explain(difference, candidates, slack):
        for name, quantity in found.quantities.items():
            if quantity:
                shares[by_class[name]].append(_share(by_class[name], found, quantity))


def _share(pair: Pair, found: Explained, quantity: int) -> Share:
    effect = found.candidate.effects[pair.class_]
    amount = effect.amount if effect.amount is not None and not effect.quantity.width else pair.worth(quantity)
    if pair.theirs.amount is None or pair.class_ == REQUESTS:
        amount = 0
    cause = AMBIGUOUS if found.among else found.candidate.cause
    return Share(cause, quantity, amount, found.candidate.evidence, found.candidate.requests, found.among)


def _rates(shares: _Shares) -> None:
    """What money is left where quantities agree or are explained."""
    for pairs in _series(shares).values():
        buckets: dict[int, list[Pair]] = defaultdict(list)
        for pair in pairs:
            if pair.ours.quantity and pair.theirs.amount and (pair.ours.amount is None or pair.ours.unpriced):
                _take(pair, shares, "unpriced_model", "tokens on our record without an amount")
            elif not _left(pair, shares)[0] and not _moved(shares[pair]) and pair.class_ != REQUESTS:
                buckets[pair.bucket.since].append(pair)
        cells = {
            start: [cell for pair in found if (cell := priced(pair)) is not None] for start, found in buckets.items()
        }
        whole = of_series(cells)
        for start, found in buckets.items():
            named: tuple[str, ...] = (whole[start],) if start in whole else ()
            if not named:
                named = cause_of(cells[start], pairs[0].scope.model, processing_known=pairs[0].scope.tier is not None)
            _name(found, named, shares)


def _moved(found: Sequence[Share]) -> bool:
    """Whether shares of timing stand there: their money is another bucket's, at another bucket's price."""
    return any(causes()[one.cause].nature == "timing" for one in found if one.cause in causes())


def _name(pairs: Sequence[Pair], named: tuple[str, ...], shares: _Shares) -> None:
    if not named:
        return
    for pair in pairs:
        amount = _left(pair, shares)[1]
        if amount and priced(pair) is not None:
            among = named if len(named) > 1 else ()
            evidence = "; ".join(causes()[name].signature for name in named)
            shares[pair].append(Share(AMBIGUOUS if among else named[0], 0, amount, evidence, (), among))


def _finding(pair: Pair, found: list[Share], tolerance: Tolerance, *, asked: bool) -> Finding:
    quantity = pair.quantity - sum(one.quantity for one in found)
    amount = pair.amount - sum(one.amount for one in found)
    theirs = pair.theirs.quantity if pair.theirs.amount is None else pair.theirs.amount
    left = quantity if pair.theirs.amount is None else amount
    if left < 0 and pair.maturity == "provisional":  # the vendor's figure only grows until it is final
        return finding(pair, [*found, Share("late_revision", quantity, amount, causes()["late_revision"].signature)])
    small = abs(quantity) <= int(tolerance.relative * abs(pair.theirs.quantity or 0))
    if (quantity or amount) and small and tolerance.passes(left, theirs or 0):
        passed = Share(WITHIN_TOLERANCE, quantity, amount, "inside the rule's tolerance")
        return finding(pair, [*found, passed])
    missing = causes()[_ASK].settles if asked else None
    return finding(pair, found, missing)
