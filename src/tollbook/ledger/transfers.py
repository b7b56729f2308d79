"""Transfers as people look at them, and what a key under suspicion did."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tollbook.core.clock import format_instant
from tollbook.core.money import format_amount
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Position, Reader, position_of, provenance, read
from tollbook.ledger.zone import timestamp_sql

REQUESTS: Final = 100
"""The most requests of a suspected key that are listed."""

_SIDES: Final = ("tenant", "unit", "entity", "cost_centre")
_USES: Final = (
    "SELECT request_id, occurred, model, workload, user, requests, attempts, currency, amount_expected, "
    "unpriced_attempts AS unpriced FROM attempts WHERE tenant = $tenant AND key = $key AND position <= $position "
    "UNION ALL SELECT request_id, occurred, NULL, workload, user, 1, 0, NULL, NULL, 0 FROM requests "
    "WHERE requests = 1 AND tenant = $tenant AND key = $key AND position <= $position"
)


def transfers(source: Reader | Path, as_of: int | None = None) -> Document:
    """Every transfer up to a position, its legs put together from their two sides. Raises NotFound, BadInput."""

    def query(lake: Lake) -> Document:
        position = position_of(lake, as_of)
        rows = lake.dicts(
            "SELECT * REPLACE (epoch_us(recorded) AS recorded, epoch_us(since) AS since, "
            "CAST(amount_expected AS VARCHAR) AS amount_expected, CAST(amount_recharge AS VARCHAR) AS amount_recharge) "
            "FROM transfers WHERE position <= $1 ORDER BY position, recorded, lane, sequence, leg, side",
            [position.number],
        )
        found = [_transfer(list(part)) for _, part in groupby(rows, key=lambda row: (row["lane"], row["sequence"]))]
        return {
            "transfers": found,
            "provenance": provenance(
                {}, position, books=[], rows=len(found), control_totals={"sum": _sums(rows), "legs": len(rows) // 2}
            ),
        }

    return read(source, query)


def uses_of_key(source: Reader | Path, tenant: str, key: str, since: int) -> Document:
    """What a key did from an instant on, beside what it did before: requests, money, models, workloads, users."""

    def query(lake: Lake) -> Document:
        position = position_of(lake)
        return _suspect(lake, position, tenant, key, since)

    return read(source, query)


def _suspect(lake: Lake, position: Position, tenant: str, key: str, since: int) -> Document:
    parameters: dict[str, Any] = {"tenant": tenant, "key": key, "position": position.number}
    after, before = f"occurred >= {timestamp_sql(since)}", f"occurred < {timestamp_sql(since)}"
    told = {
        name: _figures(lake, f"SELECT * FROM ({_USES}) WHERE {where}", parameters)
        for name, where in (("after", after), ("before", before))
    }
    listed = lake.rows(
        f"SELECT request_id, epoch_us(min(occurred)), any_value(model), CAST(sum(amount_expected) AS VARCHAR), "
        f"any_value(currency) FROM ({_USES}) WHERE {after} GROUP BY request_id "
        f"ORDER BY sum(amount_expected) DESC NULLS LAST, request_id LIMIT {REQUESTS}",
        parameters,
    )
    requests = [
        {"id": one, "occurred_at": format_instant(at), "model": model, "amount": _text(amount), "currency": currency}
        for one, at, model, amount, currency in listed
    ]
    count = told["after"]["requests"]
    return {
        "tenant": tenant,
        "key": key,
        "since": format_instant(since),
        **told,
        "models": _seen(lake, "model", since, parameters),
        "workloads": _seen(lake, "workload", since, parameters),
        "users": _users(lake, since, parameters),
        "addresses": None,
        "requests": requests,
        "left_out": max(0, count - len(requests)),
        "provenance": provenance(
            {"tenant": tenant, "key": key, "since": format_instant(since)},
            position,
            books=[],
            rows=len(requests),
            control_totals={"requests": count, "amounts": told["after"]["amounts"]},
        ),
    }


def _figures(lake: Lake, source: str, parameters: dict[str, Any]) -> Document:
    ((requests, attempts, unpriced, first, last),) = lake.rows(
        f"SELECT sum(requests), sum(attempts), sum(unpriced), epoch_us(min(occurred)), epoch_us(max(occurred)) "
        f"FROM ({source})",
        parameters,
    )
    sums = lake.rows(
        f"SELECT currency, CAST(sum(amount_expected) AS VARCHAR) FROM ({source}) WHERE amount_expected IS NOT NULL "
        "GROUP BY ALL ORDER BY ALL",
        parameters,
    )
    return {
        "requests": int(requests or 0),
        "attempts": int(attempts or 0),
        "unpriced": int(unpriced or 0),
        "amounts": {currency: _text(amount) for currency, amount in sums},
        "first_at": None if first is None else format_instant(first),
        "last_at": None if last is None else format_instant(last),
    }


def _seen(lake: Lake, column: str, since: int, parameters: dict[str, Any]) -> list[Document]:
    """The values of a dimension since the instant, and whether the key had used them before."""
    rows = lake.rows(
        f"SELECT {column}, sum(requests) FILTER (occurred >= {timestamp_sql(since)}), "
        f"count(*) FILTER (occurred < {timestamp_sql(since)}) FROM ({_USES}) WHERE {column} IS NOT NULL "
        f"GROUP BY ALL HAVING count(*) FILTER (occurred >= {timestamp_sql(since)}) > 0 ORDER BY ALL",
        parameters,
    )
    return [{"name": name, "requests": int(count or 0), "new": not before} for name, count, before in rows]


def _users(lake: Lake, since: int, parameters: dict[str, Any]) -> Document:
    ((count, new),) = lake.rows(
        "SELECT count(*), count(*) FILTER (former = 0) FROM (SELECT user, "
        f"count(*) FILTER (occurred < {timestamp_sql(since)}) AS former FROM ({_USES}) WHERE user IS NOT NULL "
        f"GROUP BY ALL HAVING count(*) FILTER (occurred >= {timestamp_sql(since)}) > 0)",
        parameters,
    )
    return {"count": int(count), "new": int(new)}


def _transfer(rows: list[dict[str, Any]]) -> Document:
    first = rows[0]
    sides = {(row["leg"], row["side"]): row for row in rows}
    legs = []
    for leg in sorted({row["leg"] for row in rows}):
        source, target = sides[leg, "from"], sides[leg, "to"]
        legs.append(
            {
                "from": {name: source[name] for name in _SIDES},
                "to": {name: target[name] for name in _SIDES},
                "currency": target["currency"],
                "requests": target["requests"],
                "attempts": target["attempts"],
                "expected": _text(target["amount_expected"]),
                "recharge": _text(target["amount_recharge"]),
            }
        )
    return {
        "recorded": format_instant(first["recorded"]),
        "since": format_instant(first["since"]),
        "before": first["before"],
        "change": first["change"],
        "tenant": first["of_tenant"],
        "key": first["of_key"],
        "actor": first["actor"],
        "reason": first["reason"],
        "digest": first["digest"],
        "legs": legs,
    }


def _sums(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What all sides add up to, per currency: nothing."""
    totals: dict[str, int] = {}
    for row in rows:
        if row["currency"] is not None and row["amount_expected"] is not None:
            totals[row["currency"]] = totals.get(row["currency"], 0) + _pico(row["amount_expected"])
    return {currency: format_amount(total) for currency, total in sorted(totals.items())}


def _pico(text: str) -> int:
    return int(text.replace(".", ""))


def _text(amount: str | None) -> str | None:
    return None if amount is None else format_amount(_pico(amount))
