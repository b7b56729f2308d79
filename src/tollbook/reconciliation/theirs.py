"""The vendor's book: lines of its statements that nothing replaces, as sums by bucket, scope and class.

Money is taken from the finest sort of document that has any: cost reports, then invoices and credit notes. Where a
sort of document is not summed it is said, never added to another one.
"""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from typing import Any, Final, NamedTuple

from tollbook.core.money import format_amount, parse_amount
from tollbook.core.usage import CLASSES
from tollbook.ledger.lake import Lake
from tollbook.ledger.zone import timestamp_sql
from tollbook.reconciliation.cell import Bucket, Maturity

CURRENCY: Final = "USD"
STANDARD: Final = "standard"
"""The tier of what no word says, and of what vendors call default or on demand."""
_STANDARD: Final = frozenset({"default", "standard", "on_demand", "ON_DEMAND"})
_SORTS: Final = (("cost_report",), ("invoice", "credit_note"), ("prepayment",))
"""Sorts of documents with money, the finest first."""


class Inputs(NamedTuple):
    """What is compared: a vendor, a span of instants in microseconds, and a position of the book."""

    vendor: str
    since: int
    until: int
    position: int


class Statement(NamedTuple):
    """A statement that has lines in the period."""

    import_id: str
    type: str
    grade: str
    sha256: str
    object: str
    maturity: Maturity


class Line(NamedTuple):
    """The sum of a vendor's like lines. `unit`: the last digit they are written to, in picodollars; 0 when they are
    written beyond a millionth of a dollar."""

    type: str
    kind: str
    bucket: Bucket
    key: str | None
    project: str | None
    model: str | None
    region: str | None
    tier: str | None
    class_: str
    quantity: int | None
    amount: int | None
    lines: int
    unit: int
    maturity: Maturity


class Theirs(NamedTuple):
    """The vendor's book of a period. `left_out`: what was not compared, in words, with its lines and sums."""

    statements: list[Statement]
    lines: list[Line]
    left_out: list[dict[str, Any]]


_IN_FORCE: Final = (
    "l.vendor = $vendor AND l.position <= $position AND l.import_id NOT IN "
    "(SELECT unnest(revises) FROM statements WHERE position <= $position)"
)
_MATURITIES: Final[tuple[Maturity, ...]] = ("open", "provisional", "final")
_LEAST_FINAL: Final = f"min(list_position({list(_MATURITIES)}, l.maturity))"


def read_theirs(lake: Lake, inputs: Inputs) -> Theirs:
    """The vendor's book of a period. Empty when no statement has lines in it."""
    within = f"l.bucket_from >= {timestamp_sql(inputs.since)} AND l.bucket_to <= {timestamp_sql(inputs.until)}"
    parameters = {"vendor": inputs.vendor, "position": inputs.position}
    lines = _lines(lake, within, parameters)
    sort = next((types for types in _SORTS if any(line.type in types for line in lines)), ())
    taken = [line for line in lines if line.type in sort or line.type == "usage_export"]
    others = [line for line in lines if line.type not in sort and line.type != "usage_export"]
    left_out = [*_straddling(lake, inputs, parameters), *_foreign(lake, within, parameters)]
    left_out += _not_summed(others)
    return Theirs(_statements(lake, within, parameters), taken, left_out)


def _lines(lake: Lake, within: str, parameters: dict[str, Any]) -> list[Line]:
    rows = lake.rows(
        "SELECT s.type, l.kind, epoch_us(l.bucket_from), epoch_us(l.bucket_to), l.api_key_id, l.project, l.model, "
        "l.region, l.tier, l.processing, l.class, l.class_kind, CAST(sum(l.quantity) AS VARCHAR), "
        "CAST(sum(l.amount) AS VARCHAR), count(*), max(CASE WHEN l.amount % 0.01 = 0 THEN 0 "
        "WHEN l.amount % 0.0001 = 0 THEN 1 WHEN l.amount % 0.000001 = 0 THEN 2 ELSE 3 END), "
        f"{_LEAST_FINAL} FROM statement_lines l JOIN statements s USING (import_id) WHERE {_IN_FORCE} AND {within} "
        f"AND coalesce(l.currency, '{CURRENCY}') = '{CURRENCY}' GROUP BY ALL ORDER BY ALL",
        parameters,
    )
    digits: dict[str, int] = {}
    for row in rows:
        digits[row[0]] = max(digits.get(row[0], 0), row[15] or 0)
    return [_line(row, digits[row[0]]) for row in rows]


_UNITS: Final = (10**10, 10**8, 10**6, 0)


def _line(row: tuple[Any, ...], digits: int) -> Line:
    type_, kind, since, until, key, project, model, region, tier, processing, class_, class_kind = row[:12]
    quantity, amount, lines = row[12:15]
    return Line(
        type=type_,
        kind=kind,
        bucket=Bucket(since, until),
        key=key,
        project=project,
        model=model,
        region=region,
        tier=tier_of(tier, processing),
        class_=_class_of(kind, class_, class_kind),
        quantity=None if quantity is None else int(quantity),
        amount=None if amount is None else parse_amount(amount),
        lines=lines,
        unit=_UNITS[digits],
        maturity=_MATURITIES[(row[16] or 1) - 1],
    )


def tier_of(tier: str | None, processing: str | None) -> str:
    """The tier under one name for both books; what was sent in a batch is the tier `batch`."""
    if processing == "batch" or tier == "batch":
        return "batch"
    return STANDARD if tier is None or tier in _STANDARD else tier


def _class_of(kind: str, class_: str | None, class_kind: str | None) -> str:
    """One of our classes; `tax`, `credit`, `fee` where the line is one; else the vendor's own word."""
    if kind in ("tax", "credit", "fee"):
        return kind
    if class_kind == "ours" and class_ in CLASSES:
        return str(class_)
    return class_ or "not named"


def _statements(lake: Lake, within: str, parameters: dict[str, Any]) -> list[Statement]:
    rows = lake.rows(
        "SELECT s.import_id, s.type, s.grade, s.sha256, s.object, "
        f"{_LEAST_FINAL} FROM statement_lines l JOIN statements s USING (import_id) "
        f"WHERE {_IN_FORCE} AND {within} GROUP BY ALL ORDER BY 1",
        parameters,
    )
    return [Statement(row[0], row[1], row[2], row[3], row[4], _MATURITIES[(row[-1] or 1) - 1]) for row in rows]


def _straddling(lake: Lake, inputs: Inputs, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines of which only a part lies in the period: they are compared when the period holds them whole."""
    since, until = timestamp_sql(inputs.since), timestamp_sql(inputs.until)
    touching = f"l.bucket_from < {until} AND l.bucket_to > {since}"
    crossing = f"{touching} AND NOT (l.bucket_from >= {since} AND l.bucket_to <= {until})"
    return _sums(lake, crossing, parameters, "lines that reach beyond the period")


def _foreign(lake: Lake, within: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines in another currency: there is no rate to compare them by."""
    return _sums(lake, f"{within} AND l.currency <> '{CURRENCY}'", parameters, "lines in another currency")


def _sums(lake: Lake, condition: str, parameters: dict[str, Any], why: str) -> list[dict[str, Any]]:
    rows = lake.rows(
        f"SELECT l.import_id, l.currency, count(*), CAST(sum(l.amount) AS VARCHAR) FROM statement_lines l "
        f"WHERE {_IN_FORCE} AND {condition} GROUP BY ALL ORDER BY ALL",
        parameters,
    )
    return [
        {"why": why, "statement": name, "lines": lines, "currency": currency, "amount": _text(amount)}
        for name, currency, lines, amount in rows
    ]


def _not_summed(lines: list[Line]) -> list[dict[str, Any]]:
    """Documents of a coarser sort than the one compared."""
    found = []
    for type_ in sorted({line.type for line in lines}):
        of = [line for line in lines if line.type == type_]
        amount = sum(line.amount or 0 for line in of)
        why = f"documents of type {type_}: a finer sort has the money"
        count = sum(line.lines for line in of)
        found.append(
            {"why": why, "statement": None, "lines": count, "currency": CURRENCY, "amount": format_amount(amount)}
        )
    return found


def _text(amount: str | None) -> str | None:
    return None if amount is None else format_amount(parse_amount(amount))
