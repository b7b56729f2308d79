"""Usage and cost reports of different grain: usage is compared by its own, then what was found explains the money.

Anthropic's cost report knows no keys, its usage report does. Compared at the coarser grain alone, traffic of an unknown
key could not be told; so the finer cells come first, without money, and their causes are certain for the coarser ones.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from tollbook.reconciliation.causes import WITHIN_TOLERANCE, causes
from tollbook.reconciliation.cell import Band, Bucket, Candidate, Effect, Scope, Share
from tollbook.reconciliation.diagnosis import Question
from tollbook.reconciliation.finding import Finding
from tollbook.reconciliation.grain import Grain, shared, used_in
from tollbook.reconciliation.ours import Place, Used
from tollbook.reconciliation.pairing import Buckets, Cells, pairs_of
from tollbook.reconciliation.theirs import Line

_KEPT: Final = 200


class Layer(NamedTuple):
    """Lines that are compared at one grain. `money`: None for both of usage and cost; True for cells with money only,
    the exports giving their quantities; False for usage alone, without money."""

    lines: list[Line]
    grain: Grain
    money: bool | None

    def pairs(self, used: Sequence[Used]) -> Cells:
        """The layer's cells."""
        cells = pairs_of(self.lines, used_in(self.grain, used), self.grain)
        if self.money is None:
            return cells
        if self.money:
            return cells._replace(pairs=[pair for pair in cells.pairs if pair.theirs.amount is not None])
        pairs = [pair._replace(theirs=pair.theirs._replace(amount=None)) for pair in cells.pairs]
        return Cells(pairs, 0)


def layers_of(lines: Sequence[Line], places: Collection[Place]) -> list[Layer]:
    """One layer when usage and cost are divided alike, or only one of them is there; else the finer usage first."""
    costs = [line for line in lines if line.type != "usage_export"]
    usage = [line for line in lines if line.type == "usage_export"]
    whole = shared(lines, places)
    if not costs or not usage:
        return [Layer(list(lines), whole, None)]
    coarse, fine = shared(costs, places), shared(usage, places)
    if coarse.dimensions == fine.dimensions:
        return [Layer(list(lines), whole, None)]
    coarse = coarse._replace(classes=whole.classes, notes=())
    return [Layer(usage, fine, False), Layer(list(lines), coarse, True)]


def with_finer(question: Question, grain: Grain, finer: Sequence[Finding]) -> Question:
    """The question with what finer cells found as candidates that are certain."""
    if not finer:
        return question
    buckets = Buckets(pair.bucket for pair in question.pairs)
    gathered: dict[tuple[Scope, Bucket], dict[str, list[tuple[str, Share]]]] = defaultdict(lambda: defaultdict(list))
    for one in finer:
        bucket = buckets.at(one.pair.bucket.since)
        for share in one.shares:
            if bucket is not None and share.cause in causes() and share.cause != WITHIN_TOLERANCE:
                scope = grain.coarser(one.pair.scope)
                gathered[scope, bucket][share.cause].append((one.pair.class_, share))
    candidates = {place: list(found) for place, found in question.candidates.items()}
    for place, found_by_cause in gathered.items():
        certain = [_certain(cause, found) for cause, found in sorted(found_by_cause.items())]
        named = {one.cause for one in certain}
        candidates[place] = [*certain, *(one for one in candidates.get(place, ()) if one.cause not in named)]
    return question._replace(candidates=candidates)


def _certain(cause: str, found: Sequence[tuple[str, Share]]) -> Candidate:
    sums: dict[str, int] = defaultdict(int)
    for class_, share in found:
        sums[class_] += share.quantity
    effects = {name: Effect(Band(quantity, quantity)) for name, quantity in sums.items() if quantity}
    requests = tuple(dict.fromkeys(request for _, share in found for request in share.requests))
    evidence = dict.fromkeys(share.evidence for _, share in found)
    return Candidate(cause, effects, requests[:_KEPT], "; ".join(evidence), certain=True)
