"""Open items: what the book cannot say the last word about. Attempts that nobody settled, attempts without a price,
work that goes on at the vendor, batches that are not read to their end or whose vendor tells another total."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from pathlib import Path
from typing import Any, Final

from tollbook.core.clock import SECOND, Clock, format_instant, now
from tollbook.core.money import format_amount
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Reader, position_of, provenance, read
from tollbook.ledger.values import as_folded

SHOWN_LIMIT: Final = 1_000

_LAST: Final = (
    "row_number() OVER (PARTITION BY opened_lane, opened_sequence "
    "ORDER BY position DESC, recorded DESC, rating DESC NULLS LAST, amount_expected DESC NULLS LAST) = 1"
)
"""The row that stands for an attempt that has several."""

_UNSETTLED: Final = (
    "SELECT * FROM (SELECT *, if(kind = 'attempt.aged', 'aged', 'unsettled') AS state FROM attempts "
    "WHERE (opened_lane, opened_sequence) IN "
    "(SELECT opened_lane, opened_sequence FROM attempts WHERE kind = 'attempt.unsettled') "
    f"QUALIFY {_LAST}) WHERE kind IN ('attempt.unsettled', 'attempt.aged')"
)
_UNPRICED: Final = (
    "SELECT * FROM (SELECT *, 'unpriced' AS state FROM attempts WHERE unpriced_attempts <> 0 "
    f"QUALIFY {_LAST}) WHERE unpriced_attempts > 0"
)
_BACKGROUND: Final = (
    "SELECT *, 'background' AS state FROM attempts WHERE list_contains(flags, 'background') "
    "AND (opened_lane, opened_sequence) NOT IN "
    "(SELECT opened_lane, opened_sequence FROM attempts WHERE kind = 'attempt.matched') "
    "AND basis <> 'provider_reported' AND coalesce(response_id, '') NOT IN "
    "(SELECT response_id FROM attempts WHERE basis = 'provider_reported' AND response_id IS NOT NULL)"
)
_BATCHES: Final = (
    "SELECT *, 1 AS number, NULL AS workload, NULL AS model_sent, opened AS occurred, "
    "NULL::DECIMAL(18,12) AS amount_expected, NULL AS currency, NULL AS usage_method, NULL AS unpriced, "
    "NULL AS response_id, if(status IS NULL, 'batch_open', 'batch_differs') AS state FROM batches "
    "WHERE (status IS NULL AND request_id NOT IN (SELECT request_id FROM batches WHERE status IS NOT NULL)) "
    "OR differs IS NOT NULL OR problem IS NOT NULL"
)
"""Batches that go on, and batches that are closed and do not tie out."""
_KINDS: Final = {"unsettled": _UNSETTLED, "unpriced": _UNPRICED, "background": _BACKGROUND, "batches": _BATCHES}
_ATTEMPTS: Final = {kind: statement for kind, statement in _KINDS.items() if kind != "batches"}
_STATES: Final = ("unsettled", "aged", "unpriced", "background", "batch_open", "batch_differs")
_COLUMNS: Final = (
    "request_id, number, tenant, workload, endpoint, vendor, model_sent, occurred, state, amount_expected, currency, "
    "usage_method, unpriced, response_id"
)


def open_items(source: Reader | Path, *, clock: Clock = now, limit: int = SHOWN_LIMIT) -> Document:
    """All open items, oldest first and at most `limit` of a kind, with their age at `clock`; sums per tenant of all.

    An attempt that was settled by estimate stays until the vendor's evidence comes. One that is being made is none.
    Raises NotFound when the book has no ledger.
    """
    instant = clock()

    def query(lake: Lake) -> Document:
        position = position_of(lake)
        items = {kind: _items(lake, statement, instant, limit) for kind, statement in _ATTEMPTS.items()}
        items["batches"] = _batches(lake, instant, limit)
        tenants = _tenants(lake, instant)
        counts = {state: sum(tenant["counts"][state] for tenant in tenants) for state in _STATES}
        return {
            "at": format_instant(instant),
            **items,
            "tenants": tenants,
            "provenance": provenance(
                {"limit": limit}, position, books=[], rows=sum(map(len, items.values())), control_totals=counts
            ),
        }

    return read(source, query)


def due(lake: Lake, oldest: int) -> list[Document]:
    """Attempts that are unsettled and occurred at an instant or before it: where their opening is, and the entry that
    says they are."""
    statement = (
        f"SELECT lane, sequence, opened_lane, opened_sequence FROM ({_UNSETTLED}) "
        "WHERE kind = 'attempt.unsettled' AND occurred <= make_timestamp($1) ORDER BY occurred, request_id, number"
    )
    return lake.dicts(statement, [oldest])


def _items(lake: Lake, statement: str, instant: int, limit: int) -> list[Document]:
    rows = lake.dicts(f"SELECT {_COLUMNS} FROM ({statement}) ORDER BY occurred, request_id, number LIMIT {limit:d}")
    return [_item({name: as_folded(value) for name, value in row.items()}, instant) for row in rows]


def _batches(lake: Lake, instant: int, limit: int) -> list[Document]:
    rows = lake.dicts(f"SELECT * FROM ({_BATCHES}) ORDER BY occurred, request_id LIMIT {limit:d}")
    return [batch_item({name: as_folded(value) for name, value in row.items()}, instant) for row in rows]


def batch_item(row: Document, instant: int) -> Document:
    """A batch that is open, or does not tie out: what its vendor tells of it and what its lines come to."""
    return {
        "request_id": row["request_id"],
        "tenant": row["tenant"],
        "endpoint": row["endpoint"],
        "vendor": row["vendor"],
        "occurred_at": format_instant(row["opened"]),
        "age_seconds": _age(row["opened"], instant),
        "state": row["state"],
        "status": row["status"],
        "problem": row["problem"],
        "told": dict(row["told"] or []),
        "settled": dict(row["settled"] or []),
        "differs": row["differs"] or [],
    }


def _item(row: Document, instant: int) -> Document:
    return {
        "request_id": row["request_id"],
        "number": row["number"],
        "tenant": row["tenant"],
        "workload": row["workload"],
        "endpoint": row["endpoint"],
        "vendor": row["vendor"],
        "model_sent": row["model_sent"],
        "occurred_at": format_instant(row["occurred"]),
        "age_seconds": _age(row["occurred"], instant),
        "state": row["state"],
        "amount": _amount(row["amount_expected"]),
        "currency": row["currency"],
        "method": row["usage_method"],
        "unpriced": row["unpriced"],
        "response_id": row["response_id"],
    }


def _tenants(lake: Lake, instant: int) -> list[Document]:
    """Counts, known amounts and the oldest item of each tenant that has any."""
    every = " UNION ALL ".join(
        f"SELECT tenant, state, occurred, amount_expected, currency FROM ({statement})" for statement in _KINDS.values()
    )
    rows = lake.rows(
        "SELECT tenant, state, currency, count(*), epoch_us(min(occurred)), "
        f"CAST(sum(amount_expected) AS DECIMAL(38,12)) FROM ({every}) GROUP BY ALL ORDER BY ALL"
    )
    tenants: dict[str, Document] = {}
    oldest: dict[str, int] = {}
    for name, state, currency, count, first, amount in rows:
        tenant = tenants.setdefault(name, {"tenant": name, "counts": dict.fromkeys(_STATES, 0), "amounts": {}})
        tenant["counts"][state] += count
        oldest[name] = min(first, oldest.get(name, first))
        if amount is not None and currency is not None:
            tenant["amounts"][currency] = tenant["amounts"].get(currency, 0) + as_folded(amount)
    for name, tenant in tenants.items():
        tenant["amounts"] = {currency: format_amount(pico) for currency, pico in sorted(tenant["amounts"].items())}
        tenant["oldest_at"] = format_instant(oldest[name])
        tenant["oldest_age_seconds"] = _age(oldest[name], instant)
    return list(tenants.values())


def _age(occurred: int, instant: int) -> int:
    return max(0, (instant - occurred) // SECOND)


def _amount(pico: Any) -> str | None:
    return None if pico is None else format_amount(pico)
