"""Adjustments: entries of cases as rows, and what they take off or add to what tenants are charged."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from typing import Any, Final

import msgspec

from tollbook.core.clock import format_instant
from tollbook.core.money import format_amount, parse_amount
from tollbook.journal.casework import AdjustmentPosted
from tollbook.journal.line import Line
from tollbook.ledger.lake import Lake
from tollbook.ledger.rows import Row, origin

Document = dict[str, Any]

_COLUMNS: Final = '"case", act, tenant, account, leg_tenant, reason, currency, CAST(amount AS VARCHAR)'


def adjustment_rows(line: Line, position: int) -> list[Row]:
    """One row for each leg; they add up to nothing."""
    posted = msgspec.json.decode(line.bytes, type=AdjustmentPosted)
    about = (posted.case, posted.act, posted.tenant, posted.requests, posted.actor)
    source = origin(line, position)
    return [
        (number, *about, leg.account, leg.tenant, leg.reason, leg.currency, parse_amount(leg.amount), *source)
        for number, leg in enumerate(posted.legs, 1)
    ]


def of_request(lake: Lake, request_id: str, tenant: str | None) -> list[Document]:
    """The legs of adjustments that concern a request; with a tenant, only those of what it is charged."""
    mine = " AND account = 'recharge' AND leg_tenant = $tenant" if tenant is not None else ""
    parameters: Document = {"request": request_id} | ({"tenant": tenant} if tenant is not None else {})
    rows = lake.rows(
        f"SELECT {_COLUMNS}, len(requests), epoch_us(recorded), lane, sequence, kind, digest FROM adjustments "
        f"WHERE list_contains(requests, $request){mine} ORDER BY position, lane, sequence, leg",
        parameters,
    )
    return [
        {
            **_leg(row),
            "requests": row[8],
            "recorded_at": format_instant(row[9]),
            "entry": dict(zip(("lane", "sequence", "kind", "digest"), row[10:], strict=True)),
        }
        for row in rows
    ]


def in_report(lake: Lake, position: int, conditions: str, parameters: Document) -> list[Document]:
    """What adjustments add to the charges of tenants at a position, by tenant, case and currency."""
    rows = lake.rows(
        'SELECT "case", act, leg_tenant, currency, CAST(sum(amount) AS VARCHAR) FROM adjustments '
        f"WHERE account = 'recharge' AND position <= $position AND {conditions} "
        "GROUP BY ALL ORDER BY leg_tenant, 1, 2, 4",
        {**parameters, "position": position},
    )
    return [
        {"tenant": tenant, "case": case, "act": act, "currency": currency, "amount": _text(amount)}
        for case, act, tenant, currency, amount in rows
    ]


def _leg(row: tuple[Any, ...]) -> Document:
    case, act, _, account, tenant, reason, currency, amount, *_ = row
    return {
        "case": case,
        "act": act,
        "account": account,
        "tenant": tenant,
        "reason": reason,
        "currency": currency,
        "amount": _text(amount),
    }


def _text(amount: str) -> str:
    """An amount as DuckDB writes a DECIMAL with twelve places."""
    return format_amount(int(amount.replace(".", "")))
