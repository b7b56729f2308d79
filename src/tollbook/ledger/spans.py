"""Spans in the ledger: those that tell of a request, the requests of a trace, and how the door for spans stands."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.ledger.evidence import SHORTEST_ID
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Reader, position_of, provenance, read
from tollbook.ledger.values import as_folded

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SHOWN: Final = ("request_id", "dialect", "operation", "grade", "convention", "trace_id", "span_id", "scope", "dropped")
SHOWN_SPANS: Final = 50


def spans_of(lake: Lake, request_id: str, attempts: list[dict[str, Any]]) -> list[Document]:
    """The spans that tell of a request: its own, and those that name the same vendor's response id."""
    if not lake.rows("SELECT 1 FROM spans LIMIT 1"):
        return []
    answers = sorted({row["response_id"] for row in attempts if len(row["response_id"] or "") >= SHORTEST_ID})
    tenant = attempts[0]["tenant"] if attempts else None
    rows = lake.dicts(
        "SELECT * FROM spans WHERE request_id = $request OR (tenant = $tenant AND list_contains($answers, response_id))"
        f" ORDER BY occurred, content, lane, sequence LIMIT {SHOWN_SPANS}",
        {"request": request_id, "tenant": tenant, "answers": answers},
    )
    return [_span({name: as_folded(value) for name, value in row.items()}, attempts) for row in rows]


def _span(row: dict[str, Any], attempts: list[dict[str, Any]]) -> Document:
    return {
        **{name: row[name] for name in _SHOWN},
        "occurred_at": format_instant(row["occurred"]),
        "recorded_at": format_instant(row["recorded"]),
        "reported": dict(row["reported"] or []),
        "costs": [
            {"attribute": attribute, "amount": amount, "currency": currency}
            for attribute, amount, currency in msgspec.json.decode(row["costs"] or "[]")
        ],
        "flags": row["flags"] or [],
        "lane": row["lane"],
        "sequence": row["sequence"],
    }


def requests_of_trace(source: Reader | Path, trace_id: str, *, tenant: str | None = None) -> Document:
    """The requests of a trace that count, in order of time. Raises BadInput for what is no trace id, NotFound."""
    wanted = trace_id.strip().lower()
    if not _TRACE_ID.fullmatch(wanted):
        raise BadInput(f"not a trace id: {trace_id[:64]!r}; it has 32 hexadecimal digits")

    def query(lake: Lake) -> Document:
        rows = lake.dicts(
            "SELECT request_id, any_value(tenant) AS tenant, max(source) AS source, min(occurred) AS occurred, "
            "any_value(model) AS model, CAST(sum(amount_expected) AS VARCHAR) AS amount, max(currency) AS currency "
            "FROM attempts WHERE trace_id = $trace AND ($tenant IS NULL OR tenant = $tenant) "
            "GROUP BY request_id HAVING sum(attempts) > 0 ORDER BY occurred, request_id",
            {"trace": wanted, "tenant": tenant},
        )
        if not rows:
            raise NotFound(f"the book holds no request of trace {wanted}; a span appears within two seconds")
        found = []
        for row in rows:
            occurred = format_instant(as_folded(row.pop("occurred")))
            found.append({**row, "occurred_at": occurred})
        position = position_of(lake)
        parameters = {"trace_id": wanted, "tenant": tenant}
        totals = {"requests": len(found)}
        return {
            "requests": found,
            "provenance": provenance(parameters, position, books=[], rows=len(found), control_totals=totals),
        }

    return read(source, query)


def ingest_status(source: Reader | Path) -> Document:
    """What came through the door for spans, by tenant and dialect, and what became of it."""

    def query(lake: Lake) -> Document:
        rows = lake.dicts(
            "SELECT tenant, dialect, count(*) AS received, count(DISTINCT (trace_id, span_id)) AS spans, "
            "count(*) FILTER (grade = 'bare') AS without_usage, count(*) FILTER (dropped > 0) AS dropped_attributes, "
            "count(*) FILTER (list_contains(flags, 'unknown_vendor')) AS unknown_vendor, "
            "count(*) FILTER (list_contains(flags, 'ambiguous_usage')) AS ambiguous, max(recorded) AS last "
            "FROM spans GROUP BY tenant, dialect ORDER BY tenant, dialect"
        )
        counted = dict(
            lake.rows("SELECT tenant, CAST(sum(attempts) AS BIGINT) FROM attempts WHERE source = 'span' GROUP BY 1")
        )
        foreign = lake.rows(
            "SELECT response_id, list_sort(list(DISTINCT tenant)) FROM ("
            "SELECT response_id, tenant FROM spans UNION ALL "
            "SELECT response_id, tenant FROM attempts WHERE response_id IN (SELECT response_id FROM spans)) "
            f"WHERE length(response_id) >= {SHORTEST_ID} GROUP BY response_id HAVING count(DISTINCT tenant) > 1 "
            "ORDER BY response_id LIMIT 100"
        )
        found = [{**row, "last": format_instant(as_folded(row["last"]))} for row in rows]
        totals = {"received": sum(row["received"] for row in found), "counted": sum(counted.values())}
        return {
            "dialects": found,
            "counted": {tenant: int(count) for tenant, count in sorted(counted.items())},
            "shared_answers": [{"response_id": answer, "tenants": tenants} for answer, tenants in foreign],
            "provenance": provenance({}, position_of(lake), books=[], rows=len(found), control_totals=totals),
        }

    return read(source, query)
