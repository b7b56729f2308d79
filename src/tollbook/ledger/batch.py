"""What the trace of a request tells of the batch that it made: how it stands, and its lines, some of them and all in
sum."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from typing import Any, Final

from tollbook.core.clock import format_instant
from tollbook.core.money import format_amount
from tollbook.core.usage import TOKEN_CLASSES
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document
from tollbook.ledger.schema import quote
from tollbook.ledger.values import as_folded

SHOWN_LINES: Final = 20
_COLUMNS: Final = ("request_id", "line", "outcome", "status", "model", "basis", "unpriced", "error", "occurred")


def batch_of(lake: Lake, request_id: str, amount: str, limit: int) -> Document | None:
    """The batch that a request made, with at most `limit` lines; None when it made none.

    `amount` is the kind of amount that is shown (`expected`, `recharge`).
    """
    found = lake.dicts("SELECT * FROM batches WHERE request_id = $1 ORDER BY status NULLS FIRST", [request_id])
    if not found:
        return None
    row = {name: as_folded(value) for name, value in found[-1].items()}
    count, sums = _sums(lake, request_id, amount)
    lines = _lines(lake, request_id, amount, limit)
    return {
        "state": "open" if row["status"] is None else "closed",
        "status": row["status"],
        "ended_at": None if row["ended"] is None else format_instant(row["ended"]),
        "problem": row["problem"],
        "told": dict(row["told"] or []),
        "settled": dict(row["settled"] or []),
        "differs": row["differs"] or [],
        "line_count": count,
        "amounts": sums,
        "lines": lines,
        "left_out": count - len(lines),
    }


def _sums(lake: Lake, request_id: str, amount: str) -> tuple[int, dict[str, str | None]]:
    """How many lines there are, and what they come to by currency: null where one is unknown."""
    rows = lake.rows(
        f"SELECT currency, count(*), CAST(sum(amount_{amount}) AS DECIMAL(38,12)), "
        f"count(*) FILTER (amount_{amount} IS NULL) FROM attempts "
        "WHERE kind = 'line.settled' AND parent_request_id = $1 GROUP BY currency ORDER BY currency",
        [request_id],
    )
    sums: dict[str, str | None] = {}
    unknown = any(row[0] is None for row in rows)
    for currency, _, total, missing in rows:
        if currency is not None:
            sums[currency] = None if unknown or missing or total is None else format_amount(as_folded(total))
    return sum(row[1] for row in rows), sums


def _lines(lake: Lake, request_id: str, amount: str, limit: int) -> list[Document]:
    columns = ", ".join(map(quote, (*_COLUMNS, *TOKEN_CLASSES, "usage_other", "currency", f"amount_{amount}")))
    rows = lake.dicts(
        f"SELECT {columns} FROM attempts WHERE kind = 'line.settled' AND parent_request_id = $1 "
        f"ORDER BY request_id LIMIT {limit:d}",
        [request_id],
    )
    return [_line({name: as_folded(value) for name, value in row.items()}, f"amount_{amount}") for row in rows]


def _line(row: dict[str, Any], amount: str) -> Document:
    usage = {name: row[name] for name in TOKEN_CLASSES if row[name] is not None} | dict(row["usage_other"] or [])
    return {
        "request_id": row["request_id"],
        "line": row["line"],
        "outcome": row["outcome"],
        "status": row["status"],
        "model": row["model"],
        "occurred_at": format_instant(row["occurred"]),
        "usage": usage or None,
        "usage_basis": row["basis"],
        "amount": None if row[amount] is None else format_amount(row[amount]),
        "currency": row["currency"],
        "unpriced": row["unpriced"],
        "error": row["error"],
    }
