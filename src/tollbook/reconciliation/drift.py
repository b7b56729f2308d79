"""Small differences that all lie on one side: each may pass, together they are an amount."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from tollbook.reconciliation.causes import WITHIN_TOLERANCE
from tollbook.reconciliation.cell import Scope
from tollbook.reconciliation.finding import Finding

LEAST: Final = 8
"""So many cells at least: of eight fair coins all fall on one side once in 128 times."""
ONE_SIDED: Final = (19, 20)
"""The part of the cells that have to lie on one side."""


class Passed(NamedTuple):
    """What a tolerance let pass in the cells of one scope and class: how many lie above ours and below, their sums;
    `drifts` when they are one-sided."""

    scope: Scope
    class_: str
    above: int
    below: int
    quantity: int
    amount: int
    drifts: bool


def passed(findings: Sequence[Finding]) -> list[Passed]:
    """What was let pass, in the order of the findings."""
    series: dict[tuple[Scope, str], list[tuple[int, int]]] = defaultdict(list)
    for one in findings:
        for share in one.shares:
            if share.cause == WITHIN_TOLERANCE:
                series[one.pair.scope, one.pair.class_].append((share.quantity, share.amount))
    return [_passed(scope, class_, shares) for (scope, class_), shares in series.items()]


def _passed(scope: Scope, class_: str, shares: list[tuple[int, int]]) -> Passed:
    above = sum((quantity or amount) > 0 for quantity, amount in shares)
    below = len(shares) - above
    part, whole = ONE_SIDED
    drifts = len(shares) >= LEAST and max(above, below) * whole >= part * len(shares)
    quantity, amount = (sum(column) for column in zip(*shares, strict=True))
    return Passed(scope, class_, above, below, quantity, amount, drifts)
