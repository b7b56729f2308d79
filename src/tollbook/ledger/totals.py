"""Totals: sums of attempts per 15 minutes, written as deltas in the commit of the rows they sum."""

from operator import add
from typing import Final

from tollbook.core.usage import TOKEN_CLASSES
from tollbook.journal.entry import RequestEntry
from tollbook.ledger.rows import Amounts, Row, source_of
from tollbook.ledger.schema import ATTEMPTS, CHARGES, REQUESTS, TOTAL_COUNTS, TOTAL_DIMENSIONS

GRAIN: Final = 15 * 60 * 1_000_000
"""The grain in microseconds: every zone's offset is a multiple of it, so days of any zone are sums of it."""

_COUNTS: Final = ATTEMPTS.names.index(TOTAL_COUNTS[0])
_CHARGE_CLASS: Final = CHARGES.names.index("class")
_CHARGE_AMOUNTS: Final = tuple(map(CHARGES.names.index, ("amount_list", "amount_expected", "amount_recharge")))
_REQUEST_OCCURRED: Final = REQUESTS.names.index("occurred")


class _Group:
    """The sums of one key: the counts; per class the usage and the three amounts. An absent class is unknown.

    `nothing` is 0 for each amount that some rating knows without having any line: what the vendor does not bill.
    """

    __slots__ = ("amounts", "counts", "nothing", "usage")

    def __init__(self) -> None:
        self.counts = [0, 0, 0, 0, 0]
        self.usage: dict[str, int] = {}
        self.amounts: tuple[dict[str, int], ...] = ({}, {}, {})
        self.nothing: tuple[int | None, ...] = (None, None, None)


class Totals:
    """The deltas of one position."""

    def __init__(self, position: int) -> None:
        self._position = position
        self._groups: dict[Row, _Group] = {}

    def add(self, entry: RequestEntry, amounts: Amounts, charges: list[Row], row: Row) -> None:
        """Count a row of `attempts` and add its usage and lines; lines count where the attempt's sum is known."""
        request, attempt, settled, rating = entry.request, entry.attempt, entry.settlement, entry.rating
        assert attempt is not None and settled is not None
        key = (
            settled.opened // GRAIN * GRAIN,
            request.tenant,
            request.workload,
            request.key,
            attempt.vendor or None,
            attempt.vendor_key or None,
            request.model_asked,
            settled.model_served,
            settled.region,
            settled.tier,
            settled.outcome,
            settled.basis,
            source_of(entry),
            rating.currency if rating else None,
            rating.number if rating else None,
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        group.counts = list(map(add, group.counts, row[_COUNTS : _COUNTS + 5]))
        if settled.usage:
            usage = group.usage
            for name, quantity in settled.usage.items():
                usage[name] = usage.get(name, 0) + quantity
        if not charges and any(total is not None for total in amounts):
            group.nothing = tuple(map(_known, group.nothing, amounts))
        self._add_lines(group, amounts, charges)

    def take_back(self, row: Row, charges: list[Row]) -> None:
        """Add a row of `attempts` that undoes another, and its lines; all it sums is zero or below."""
        named = dict(zip(ATTEMPTS.names, row, strict=True))
        key = (named["occurred"] // GRAIN * GRAIN, *(named[name] for name in TOTAL_DIMENSIONS))
        group = self._groups.setdefault(key, _Group())
        group.counts = list(map(add, group.counts, row[_COUNTS : _COUNTS + 5]))
        usage = {name: named[name] for name in TOKEN_CLASSES if named[name] is not None}
        for name, quantity in (usage | dict(named["usage_other"] or [])).items():
            group.usage[name] = group.usage.get(name, 0) + quantity
        amounts = tuple(named[name] for name in ("amount_list", "amount_expected", "amount_recharge"))
        if not charges:
            group.nothing = tuple(map(_known, group.nothing, amounts))
        self._add_lines(group, amounts, charges)

    def _add_lines(self, group: _Group, amounts: tuple[int | None, ...], charges: list[Row]) -> None:
        """Add the lines of those amounts whose sum is known."""
        for sums, total, column in zip(group.amounts, amounts, _CHARGE_AMOUNTS, strict=True):
            if total is not None:
                for charge in charges:
                    name = charge[_CHARGE_CLASS]
                    sums[name] = sums.get(name, 0) + charge[column]

    def add_bare(self, entry: RequestEntry, row: Row) -> None:
        """Count a request that ended without an attempt of its own in its last entry."""
        request, close = entry.request, entry.close
        assert close is not None
        key = (
            row[_REQUEST_OCCURRED] // GRAIN * GRAIN,
            request.tenant,
            request.workload,
            request.key,
            None,
            None,
            request.model_asked,
            None,
            None,
            None,
            close.outcome,
            close.basis,
            "gateway",
            None,
            None,
        )
        self._groups.setdefault(key, _Group()).counts[0] += 1

    def rows(self) -> list[Row]:
        """The deltas as rows of `totals`, one without class and one per class for each key."""
        rows: list[Row] = []
        for key, group in self._groups.items():
            rows.append((*key, None, *group.counts, None, *group.nothing, self._position))
            sums = (group.usage, *group.amounts)
            for name in sorted(set().union(*sums)):
                rows.append((*key, name, 0, 0, 0, 0, 0, *(part.get(name) for part in sums), self._position))
        return rows


def _known(before: int | None, total: int | None) -> int | None:
    """0 once a total without lines is known."""
    return before if total is None else 0
