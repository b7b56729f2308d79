"""Reports: attempts and requests summed by any dimensions, over half-open spans of instants, at a position.

Sums are of the rows; the figures of rows and total are the same numbers, checked against each other. An amount is the
sum of what is known; how many attempts it leaves out stands beside it.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, BrokenPromise
from tollbook.core.money import format_amount
from tollbook.core.usage import TOKEN_CLASSES, class_order
from tollbook.core.vocabulary import DIMENSIONS
from tollbook.ledger.adjustments import in_report
from tollbook.ledger.facts import MEASURES, facts
from tollbook.ledger.hearing import holds_spans
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Position, Reader, position_of, provenance, read
from tollbook.ledger.schema import literal, quote
from tollbook.ledger.structure import Structure, registry_of, steps_sql
from tollbook.ledger.zone import TZDATA, Offsets, load_zone, offset_sql, offset_text, offsets, timestamp_sql

AXES: Final = ("occurred", "recorded")
AMOUNTS: Final = ("expected", "list", "recharge")
COUNTS: Final = {
    "requests": "requests",
    "attempts": "attempts",
    "unpriced": "unpriced_attempts",
    "unsettled": "unsettled_attempts",
    "unreported": "unreported_attempts",
}
"""Counts of a report and the columns they sum."""

_CALENDAR: Final = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
_ABSENT: Final = frozenset({"unit", "entity", "cost_centre"})
"""Dimensions of the word list that no entry of traffic carries; most of these the registry tells."""
_PLACED: Final = frozenset({"tenant", "unit", "entity", "cost_centre"})
"""Dimensions that the registry tells."""

Organise = Callable[[list[Document]], Structure]
"""Makes of the registry's rows what says where usage belongs."""


class Query(NamedTuple):
    """What a report is asked: the parameters that its provenance repeats. Instants in microseconds, half-open."""

    by: tuple[str, ...]
    since: int | None
    until: int | None
    zone: str
    on: str
    amount: str
    tenant: str | None
    workloads: tuple[str, ...] | None
    org: str


class _Figures:
    """The sums of one row, or of the total."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self.usage: dict[str, int] = {}
        self.amounts: dict[str, int] = {}

    def add(self, other: "_Figures") -> None:
        for name, count in other.counts.items():
            self.counts[name] += count
        for name, quantity in other.usage.items():
            self.usage[name] = self.usage.get(name, 0) + quantity
        for currency, amount in other.amounts.items():
            self.amounts[currency] = self.amounts.get(currency, 0) + amount

    def document(self) -> Document:
        amounts = {currency: format_amount(self.amounts[currency]) for currency in sorted(self.amounts)}
        return {
            "requests": self.counts["requests"],
            "attempts": self.counts["attempts"],
            "usage": {name: self.usage[name] for name in sorted(self.usage, key=class_order)},
            "amount_usd": amounts.get("USD"),
            "amounts": amounts,
            "unpriced": self.counts["unpriced"],
            "unsettled": self.counts["unsettled"],
            "unreported": self.counts["unreported"],
        }


def report(
    source: Reader | Path,
    by: Sequence[str],
    *,
    since: int | None = None,
    until: int | None = None,
    zone: str = "UTC",
    on: str = "occurred",
    as_of: int | None = None,
    amount: str = "expected",
    tenant: str | None = None,
    workloads: Sequence[str] | None = None,
    org: str = "as-captured",
    organise: Organise | None = None,
) -> Document:
    """Rows by the dimensions `by`, and their total, over `since <= instant < until` (microseconds).

    `on` is the time axis, `as_of` the number of a position (`position_at` finds it for an instant), `amount` whose
    amount is summed; `tenant` and `workloads` bound what is seen, as it was captured. `organise` says to which tenant,
    unit, entity and cost centre usage belongs, in the way that `org` names; without it, to the tenant of its key. A
    request counts where its last attempt does; at a position, what was open then counts as unsettled with outcome
    `open`.

    Raises BadInput for an unknown word, NotFound when there is no ledger.
    """
    query = Query(
        by=tuple(by),
        since=since,
        until=until,
        zone=zone,
        on=on,
        amount=amount,
        tenant=tenant,
        workloads=None if workloads is None else tuple(sorted(workloads)),
        org=org,
    )
    _check(query)
    load_zone(zone)
    return read(source, lambda lake: _report(lake, query, position_of(lake, as_of), organise))


def _check(query: Query) -> None:
    for name in query.by:
        if name not in DIMENSIONS and not (name.startswith("tag:") and len(name) > 4):
            raise BadInput(f"no such dimension: {name!r}; there are {', '.join(DIMENSIONS)} and tag:<name>")
    if len(set(query.by)) != len(query.by):
        raise BadInput(f"a dimension is named twice: {', '.join(query.by)}")
    if query.on not in AXES:
        raise BadInput(f"no such time axis: {query.on!r}; there are {', '.join(AXES)}")
    if query.amount not in AMOUNTS:
        raise BadInput(f"no such amount: {query.amount!r}; there are {', '.join(AMOUNTS)}")
    if query.since is not None and query.until is not None and query.since >= query.until:
        raise BadInput("the period is empty: it begins at or after its end, which is not part of it")


def _report(lake: Lake, query: Query, position: Position, organise: Organise | None) -> Document:
    structure = None
    if organise is not None and _PLACED & set(query.by):
        structure = organise(registry_of(lake, position.number))
    statements = _Statements(lake, query, position.number, structure)
    rows: dict[tuple[Any, ...], _Figures] = {}
    for values in lake.rows(statements.sums(), statements.parameters):
        figures = rows.setdefault(statements.label(values), _Figures())
        figures.add(_figures(values[statements.width :]))
    for values in lake.rows(statements.other_usage(), statements.parameters):
        name, quantity = values[statements.width :]
        usage = rows[statements.label(values)].usage
        usage[name] = usage.get(name, 0) + int(quantity)
    total = _Figures()
    for figures in rows.values():
        total.add(figures)
    books = _tie_out(total, lake.rows(statements.control(), statements.parameters))
    ordered = sorted(rows.items(), key=lambda item: [(value is not None, str(value)) for value in item[0]])
    total_document = total.document()
    return {
        "rows": [
            {"dimensions": dict(zip(query.by, label, strict=True)), **figures.document()} for label, figures in ordered
        ],
        "total": total_document,
        "adjustments": _adjustments(lake, query, position.number),
        "provenance": provenance(
            _parameters(query, position.number),
            position,
            books=books,
            rows=len(rows),
            control_totals={name: total_document[name] for name in ("requests", "attempts", "amounts")},
        ),
    }


def _adjustments(lake: Lake, query: Query, position: int) -> list[Document]:
    """What was corrected by cases in the span; a correction occurs when it is recorded."""
    conditions, parameters = ["TRUE"], dict[str, Any]()
    if query.since is not None:
        conditions.append(f"recorded >= {timestamp_sql(query.since)}")
    if query.until is not None:
        conditions.append(f"recorded < {timestamp_sql(query.until)}")
    if query.tenant is not None:
        conditions.append("leg_tenant = $tenant")
        parameters["tenant"] = query.tenant
    return in_report(lake, position, " AND ".join(conditions), parameters)


def _figures(values: Sequence[Any]) -> _Figures:
    """Currency, amount, counts, usage per text token class: one result row of `sums`, after its dimensions."""
    figures = _Figures()
    currency, amount, *measures = values
    if currency is not None and amount is not None:
        figures.amounts[currency] = _pico(amount)
    figures.counts = {name: int(value or 0) for name, value in zip(COUNTS, measures, strict=False)}
    classes = zip(TOKEN_CLASSES, measures[len(COUNTS) :], strict=True)
    figures.usage = {name: int(quantity) for name, quantity in classes if quantity is not None}
    return figures


def _pico(text: str) -> int:
    """An amount as DuckDB writes a DECIMAL with twelve places."""
    return int(text.replace(".", ""))


def _tie_out(total: _Figures, control: list[tuple[Any, ...]]) -> list[str]:
    """Hold the total, summed from the rows, against the sums of the same facts without any grouping; the price books
    of them."""
    found = _Figures()
    books: set[str] = set()
    for currency, amount, priced_by, *counts in control:
        books.update(filter(None, priced_by or ()))
        if currency is not None and amount is not None:
            found.amounts[currency] = _pico(amount)
        for name, count in zip(COUNTS, counts, strict=True):
            found.counts[name] += int(count or 0)
    if found.counts != total.counts or found.amounts != total.amounts:
        raise BrokenPromise(
            "a report's rows do not add up to its total; run `tollbook doctor`, then `tollbook rebuild`"
        )
    return sorted(books)


def _parameters(query: Query, position: int) -> Document:
    return {
        "by": list(query.by),
        "from": None if query.since is None else format_instant(query.since),
        "to": None if query.until is None else format_instant(query.until),
        "tz": query.zone,
        "tzdata": TZDATA,
        "on": query.on,
        "as_of": position,
        "amount": query.amount,
        "tenant": query.tenant,
        "workloads": None if query.workloads is None else list(query.workloads),
        "org": query.org,
    }


class _Statements:
    """The SQL of one report. `width` is the number of result columns that its dimensions take."""

    def __init__(self, lake: Lake, query: Query, position: int, structure: Structure | None) -> None:
        self._query = query
        self._structure = structure
        self.parameters: dict[str, Any] = {"position": position}
        self._decoders: list[tuple[int, Callable[..., Any]]] = []
        self._source = facts(
            self._conditions(),
            with_route="route" in query.by,
            with_dialect="dialect" in query.by,
            with_spans=holds_spans(lake),
        )
        self._span = self._offsets(lake) if _CALENDAR.keys() & set(query.by) else Offsets([], [0])
        self._expressions: list[str] = []
        for name in query.by:
            expressions, decode = self._dimension(name)
            self._expressions += expressions
            self._decoders.append((len(expressions), decode))
        self.width = len(self._expressions)

    def label(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The dimensions of a result row, as they are shown."""
        label, start = [], 0
        for width, decode in self._decoders:
            label.append(decode(*values[start : start + width]))
            start += width
        return tuple(label)

    def sums(self) -> str:
        """Sums per dimensions and currency."""
        sums = ", ".join(f"sum({quote(name)})" for name in MEASURES)
        return f"SELECT {self._selected()} currency, {self._amount()}, {sums} FROM ({self._source}) GROUP BY ALL"

    def other_usage(self) -> str:
        """Usage of the classes without a column of their own, per dimensions."""
        source = (
            f"SELECT *, unnest(map_entries(usage_other)) AS other FROM ({self._source}) WHERE usage_other IS NOT NULL"
        )
        return f"SELECT {self._selected()} other.key, sum(other.value) FROM ({source}) GROUP BY ALL"

    def control(self) -> str:
        """The sums of everything per currency, without a dimension, and the price books of it."""
        counts = ", ".join(f"sum({quote(name)})" for name in COUNTS.values())
        books = "list(DISTINCT price_book)"
        return f"SELECT currency, {self._amount()}, {books}, {counts} FROM ({self._source}) GROUP BY ALL"

    def _selected(self) -> str:
        return "".join(f"{expression}, " for expression in self._expressions)

    def _amount(self) -> str:
        return f"CAST(sum(amount_{self._query.amount}) AS VARCHAR)"

    def _dimension(self, name: str) -> tuple[list[str], Callable[..., Any]]:
        """The expressions a dimension is grouped by, and what makes its label of their values."""
        structure = self._structure
        if structure is not None and name in _PLACED and (name != "tenant" or structure.moves_tenants):
            cut = steps_sql("occurred", [timestamp_sql(instant) for instant in structure.cuts])
            epoch = steps_sql("known", [str(number) for number in structure.epochs])
            return ["tenant", "workload", cut, epoch], lambda *usage: getattr(structure.place(*usage), name)
        if name in _ABSENT:
            return ["NULL"], _as_is
        if name.startswith("tag:"):
            return [f"tags[{literal(name.removeprefix('tag:'))}]"], _as_is
        if name not in _CALENDAR:
            return [quote(name)], _as_is
        offset = offset_sql(self._query.on, self._span)
        truncated = f"date_trunc('{name}', {self._query.on} + to_seconds({offset}))"
        if name == "hour":
            return [truncated, offset], lambda hour, seconds: hour.strftime(_CALENDAR["hour"]) + offset_text(seconds)
        return [truncated], lambda start: datetime.strftime(start, _CALENDAR[name])

    def _offsets(self, lake: Lake) -> Offsets:
        """The zone's offsets over the instants that are reported."""
        axis = self._query.on
        bounds = f"SELECT epoch_us(min({axis})), epoch_us(max({axis})) FROM ({self._source})"
        ((first, last),) = lake.rows(bounds, self.parameters)
        return offsets(load_zone(self._query.zone), first or 0, last or 0)

    def _conditions(self) -> str:
        query, conditions = self._query, ["TRUE"]
        if query.since is not None:
            conditions.append(f"{query.on} >= {timestamp_sql(query.since)}")
        if query.until is not None:
            conditions.append(f"{query.on} < {timestamp_sql(query.until)}")
        if query.tenant is not None:
            self.parameters["tenant"] = query.tenant
            conditions.append("tenant = $tenant")
        if query.workloads is not None:
            self.parameters["workloads"] = list(query.workloads)
            conditions.append("list_contains($workloads, workload)")
        return " AND ".join(conditions)


def _as_is(value: Any) -> Any:
    return value
