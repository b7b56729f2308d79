"""Vendors' statements as people look at them: which there are, their lines, sums of them."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

import json
from pathlib import Path
from typing import Any, Final

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.money import format_amount, parse_amount
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Position, Reader, position_of, provenance, read
from tollbook.ledger.schema import STATEMENT_LINES, quote
from tollbook.ledger.zone import timestamp_sql

BY: Final = {
    "day": "strftime(bucket_from, '%Y-%m-%d')",
    "hour": "strftime(bucket_from, '%Y-%m-%dT%H:00Z')",
    **{
        name: quote(name)
        for name in (
            "import_id",
            "document",
            "vendor",
            "kind",
            "account",
            "project",
            "api_key_id",
            "model",
            "region",
            "tier",
            "processing",
            "context",
            "class",
            "class_kind",
            "item",
            "maturity",
            "currency",
        )
    },
}
"""What lines are summed by; days and hours are UTC."""

SHOWN: Final = 1000
_REVISED: Final = "SELECT unnest(revises) FROM statements WHERE position <= $position"
_INSTANTS: Final = ("recorded", "period_from", "period_to", "observed")
_WITHHELD: Final = ("document", "vendor", "recorded", "lane", "sequence", "position")
_LINE_FIELDS: Final = tuple(column.name for column in STATEMENT_LINES.columns if column.name not in _WITHHELD)


def statements(source: Reader | Path, as_of: int | None = None, name: str | None = None) -> Document:
    """Every statement up to a position, or one. Raises NotFound when there is none of that name."""

    def query(lake: Lake) -> Document:
        position = position_of(lake, as_of)
        found = _statements(lake, position, name)
        if name is not None and not found:
            raise NotFound(f"no statement {name!r} at position {position.number}; look: tollbook statement list")
        totals = {"lines": sum(one["lines"] for one in found)}
        told = provenance({"statement": name}, position, books=[], rows=len(found), control_totals=totals)
        return {"statements": found, "provenance": told}

    return read(source, query)


def lines(
    source: Reader | Path,
    by: list[str],
    *,
    name: str | None = None,
    vendor: str | None = None,
    since: int | None = None,
    until: int | None = None,
    as_of: int | None = None,
) -> Document:
    """Lines, or sums of them by some of `BY`: of one statement, or of all that no later one replaces.

    Raises BadInput for a word that is not in `BY`, NotFound when there is no such statement.
    """
    wrong = [word for word in by if word not in BY]
    if wrong:
        raise BadInput(f"--by: found {wrong[0]!r}; allowed: {', '.join(BY)}")

    def query(lake: Lake) -> Document:
        position = position_of(lake, as_of)
        if name is not None and not _statements(lake, position, name):
            raise NotFound(f"no statement {name!r} at position {position.number}; look: tollbook statement list")
        where, parameters = _where(position, name, vendor, since, until)
        sums = _sums(lake, ["currency"], where, parameters)
        rows = _sums(lake, by, where, parameters) if by else _lines(lake, where, parameters)
        count = sum(row["lines"] for row in sums)
        amounts = {row["dimensions"]["currency"]: row["amount"] for row in sums if row["amount"] is not None}
        asked = {"by": by, "statement": name, "vendor": vendor, "from": _instant(since), "to": _instant(until)}
        controls = {"lines": count, "amounts": amounts}
        return {
            "by": by,
            "rows": rows if by else [],
            "lines": [] if by else rows,
            "left_out": 0 if by else count - len(rows),
            "total": {"lines": count, "amounts": amounts},
            "provenance": provenance(asked, position, books=[], rows=len(rows), control_totals=controls),
        }

    return read(source, query)


def _where(
    position: Position, name: str | None, vendor: str | None, since: int | None, until: int | None
) -> tuple[str, dict[str, Any]]:
    parts, parameters = ["position <= $position"], dict[str, Any](position=position.number)
    if name is not None:
        parts.append("import_id = $name")
        parameters["name"] = name
    else:
        parts.append(f"import_id NOT IN ({_REVISED})")
    if vendor is not None:
        parts.append("vendor = $vendor")
        parameters["vendor"] = vendor
    if since is not None:
        parts.append(f"bucket_from >= {timestamp_sql(since)}")
    if until is not None:
        parts.append(f"bucket_from < {timestamp_sql(until)}")
    return " AND ".join(parts), parameters


def _sums(lake: Lake, by: list[str], where: str, parameters: dict[str, Any]) -> list[Document]:
    """Lines, quantity and amount by some dimensions, each currency apart. A quantity is of one class only."""
    keys = [*by, *([] if "currency" in by else ["currency"])]
    columns = ", ".join(f"{BY[key]} AS k{place}" for place, key in enumerate(keys))
    order = ", ".join(f"k{place} NULLS FIRST" for place in range(len(keys)))
    rows = lake.rows(
        f"SELECT {columns}, count(*), CAST(sum(amount) AS VARCHAR), "
        "CASE WHEN count(DISTINCT class) <= 1 THEN CAST(sum(quantity) AS VARCHAR) END, count(DISTINCT class) "
        f"FROM statement_lines WHERE {where} GROUP BY ALL ORDER BY {order}",
        parameters,
    )
    return [
        {
            "dimensions": dict(zip(keys, row, strict=False)),
            "lines": row[-4],
            "classes": row[-1],
            "quantity": row[-2],
            "amount": _amount(row[-3]),
            "currency": dict(zip(keys, row, strict=False))["currency"],
        }
        for row in rows
    ]


def _lines(lake: Lake, where: str, parameters: dict[str, Any]) -> list[Document]:
    columns = ", ".join(_line_column(name) for name in _LINE_FIELDS)
    rows = lake.dicts(
        f"SELECT {columns} FROM statement_lines WHERE {where} ORDER BY position, lane, sequence, line LIMIT {SHOWN}",
        parameters,
    )
    for row in rows:
        row["bucket_from"], row["bucket_to"] = format_instant(row["bucket_from"]), format_instant(row["bucket_to"])
        row["amount"] = _amount(row["amount"])
    return rows


def _line_column(name: str) -> str:
    if name.startswith("bucket_"):
        return f"epoch_us({name}) AS {name}"
    return f"CAST({name} AS VARCHAR) AS {name}" if name in ("amount", "quantity") else quote(name)


def _statements(lake: Lake, position: Position, name: str | None) -> list[Document]:
    instants = ", ".join(f"epoch_us({column}) AS {column}" for column in _INSTANTS)
    rows = lake.dicts(
        f"SELECT * REPLACE ({instants}) FROM statements WHERE position <= $position "
        "AND ($name IS NULL OR import_id = $name) ORDER BY recorded, lane, sequence",
        {"position": position.number, "name": name},
    )
    later = lake.rows(
        "SELECT revised, import_id FROM (SELECT unnest(revises) AS revised, import_id, recorded FROM statements "
        "WHERE position <= $position) ORDER BY recorded",
        {"position": position.number},
    )
    revised = dict(later)
    return [_told(row, revised.get(row["import_id"])) for row in rows]


def _told(row: dict[str, Any], revised_by: str | None) -> Document:
    return {
        "import_id": row["import_id"],
        "kind": row["source"],
        "vendor": row["vendor"],
        "type": row["type"],
        "document": row["document"],
        "issued": row["issued"],
        "account": row["account"],
        "period": {"from": _instant(row["period_from"]), "to": _instant(row["period_to"])},
        "zone": row["zone"],
        "observed_at": _instant(row["observed"]),
        "imported_at": format_instant(row["recorded"]),
        "grade": row["grade"],
        "actor": row["actor"],
        "origin": row["origin"],
        "importer": row["importer"],
        "sha256": row["sha256"],
        "bytes": row["bytes"],
        "kept": row["kept"],
        "lines": row["lines"],
        "unknown": row["unknown"],
        "totals": dict(row["totals"] or {}),
        "rounding": dict(row["rounding"] or {}),
        "currency": row["currency"],
        "net": row["net"],
        "tax": row["tax"],
        "gross": row["gross"],
        "reference": row["reference"],
        "problem_count": row["problem_count"],
        "problems": [{"severity": "problem", **one} for one in json.loads(row["problems"])],
        "revises": row["revises"] or [],
        "revised_by": revised_by,
        "digest": row["digest"],
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)


def _amount(text: str | None) -> str | None:
    return None if text is None else format_amount(parse_amount(text))
