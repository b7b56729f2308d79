"""The pulse: what went on in the last minute that the ledger holds, and what is under way at its position."""

# ruff: noqa: S608  statements are put together from our own texts; values are parameters

from pathlib import Path
from typing import Any, Final

from tollbook.core.clock import SECOND, format_instant
from tollbook.core.money import format_amount
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Position, Reader, position_of, read
from tollbook.ledger.values import pico_of

WINDOW_SECONDS: Final = 60
FAILED: Final = ("vendor_error", "rate_limited", "timeout", "connect_failed", "truncated")
"""Outcomes that speak against a vendor or its key."""
LAST: Final = 5
"""So many failures in a row make a gateway rest a key, and so many last attempts are looked at."""

_RECENT: Final = "recorded > make_timestamp($since) AND recorded <= make_timestamp($until)"
_ANSWER: Final = "epoch_us(recorded) - epoch_us(occurred)"
_FIRST_BYTE: Final = "epoch_us(first_byte) - epoch_us(occurred)"
_FIGURES: Final = (
    "CAST(sum(requests) AS BIGINT), count(*) FILTER (attempts = 1), "
    "CAST(sum(unpriced_attempts) AS BIGINT), CAST(sum(unsettled_attempts) AS BIGINT), "
    f"quantile_disc({_ANSWER}, [0.5, 0.99]) FILTER (outcome = 'ok'), "
    f"quantile_disc({_FIRST_BYTE}, [0.5, 0.99]) FILTER (outcome = 'ok' AND first_byte IS NOT NULL)"
)


def pulse(source: Reader | Path) -> Document:
    """Traffic of the 60 s before the ledger's last position: whole, per tenant, per vendor key; outcomes; what is open.

    Times are of attempts that ended well, from their beginning, in microseconds; null where there were none. Raises
    NotFound when there is no ledger.
    """
    return read(source, lambda lake: _pulse(lake, position_of(lake)))


def _pulse(lake: Lake, position: Position) -> Document:
    span = {"since": position.recorded - WINDOW_SECONDS * SECOND, "until": position.recorded}
    tenants = _tenants(lake, span)
    ((unsettled, unpriced),) = lake.rows(
        "SELECT CAST(coalesce(sum(unsettled_attempts), 0) AS BIGINT), "
        "CAST(coalesce(sum(unpriced_attempts), 0) AS BIGINT) FROM totals"
    )
    ((whole),) = lake.rows(f"SELECT {_FIGURES} FROM attempts WHERE {_RECENT}", span)
    refused = sum(tenant["refused"] for tenant in tenants)
    return {
        "position": {
            "number": position.number,
            "digest": position.digest,
            "recorded": format_instant(position.recorded),
        },
        "recorded": position.recorded,
        "traffic": {
            **_figures(whole),
            "requests": (whole[0] or 0) + refused,
            "refused": refused,
            "under_way": sum(tenant["under_way"] for tenant in tenants),
            "streams": sum(tenant["streams"] for tenant in tenants),
            "outcomes": _outcomes(lake, span),
            "amounts": _added([tenant["amounts"] for tenant in tenants]),
        },
        "open": {"unsettled": unsettled, "unpriced": unpriced},
        "tenants": [{**tenant, "amounts": _texts(tenant["amounts"])} for tenant in tenants],
        "vendor_keys": _vendor_keys(lake, span),
    }


def _figures(row: tuple[Any, ...]) -> Document:
    requests, attempts, unpriced, unsettled, answer, first_byte = row
    answer, first_byte = answer or [None, None], first_byte or [None, None]
    return {
        "requests": requests or 0,
        "attempts": attempts,
        "unpriced": unpriced or 0,
        "unsettled": unsettled or 0,
        "answer_us": {"p50": answer[0], "p99": answer[1]},
        "first_byte_us": {"p50": first_byte[0], "p99": first_byte[1]},
    }


def _tenants(lake: Lake, span: Document) -> list[Document]:
    """Each tenant that had or has something going on; the one with the most requests first. Amounts in picodollars."""
    found: dict[str, Document] = {}

    def of(tenant: str) -> Document:
        nothing = {"tenant": tenant, **_figures((0, 0, 0, 0, None, None)), "refused": 0, "under_way": 0, "streams": 0}
        return found.setdefault(tenant, {**nothing, "failed": 0, "amounts": {}})

    for tenant, failed, *figures in lake.rows(
        f"SELECT tenant, count(*) FILTER (list_contains($failed, outcome)), {_FIGURES} FROM attempts "
        f"WHERE {_RECENT} GROUP BY tenant",
        {**span, "failed": list(FAILED)},
    ):
        of(tenant).update({**_figures(tuple(figures)), "failed": failed})
    for tenant, currency, amount in lake.rows(
        "SELECT tenant, currency, CAST(sum(amount_expected) AS DECIMAL(38,12)) FROM attempts "
        f"WHERE {_RECENT} AND amount_expected IS NOT NULL GROUP BY tenant, currency",
        span,
    ):
        of(tenant)["amounts"][currency] = pico_of(amount)
    for tenant, count in lake.rows(
        f"SELECT tenant, CAST(sum(requests) AS BIGINT) FROM requests WHERE requests = 1 AND {_RECENT} GROUP BY tenant",
        span,
    ):
        of(tenant)["refused"] = count
        of(tenant)["requests"] += count
    for tenant, under_way, streams in lake.rows(
        "SELECT tenant, count(*), count(*) FILTER (stream) FROM open_attempts GROUP BY tenant"
    ):
        of(tenant).update({"under_way": under_way, "streams": streams})
    return sorted(found.values(), key=lambda tenant: (-tenant["requests"], tenant["tenant"]))


def _outcomes(lake: Lake, span: Document) -> Document:
    sql = (
        f"SELECT outcome, count(*) FROM (SELECT outcome FROM attempts WHERE attempts = 1 AND {_RECENT} UNION ALL "
        f"SELECT outcome FROM requests WHERE requests = 1 AND {_RECENT}) GROUP BY outcome ORDER BY outcome"
    )
    return dict(lake.rows(sql, span))


def _vendor_keys(lake: Lake, span: Document) -> list[Document]:
    """Vendor keys that were used, by what the vendors last answered: the workers' own opinion is in their memory."""
    rows = lake.rows(
        "SELECT vendor, vendor_key, count(*), count(*) FILTER (list_contains($failed, outcome)), "
        f"list(outcome ORDER BY recorded DESC, sequence DESC)[1:{LAST}], arg_max(status, recorded) "
        f"FROM attempts WHERE attempts = 1 AND {_RECENT} GROUP BY vendor, vendor_key ORDER BY vendor, vendor_key",
        {**span, "failed": list(FAILED)},
    )
    return [
        {
            "vendor": vendor,
            "vendor_key": key,
            "attempts": attempts,
            "failed": failed,
            "state": _state(last, status),
        }
        for vendor, key, attempts, failed, last, status in rows
    ]


def _state(last: list[str], status: int | None) -> str:
    """`refused`: the vendor does not accept the key; `limited`: it wants less; `failing`: the last five all failed."""
    if status in (401, 403):
        return "refused"
    if last[0] == "rate_limited":
        return "limited"
    return "failing" if len(last) == LAST and all(outcome in FAILED for outcome in last) else "ok"


def _added(amounts: list[dict[str, int]]) -> Document:
    total: dict[str, int] = {}
    for one in amounts:
        for currency, pico in one.items():
            total[currency] = total.get(currency, 0) + pico
    return _texts(total)


def _texts(amounts: dict[str, int]) -> Document:
    return {currency: format_amount(pico) for currency, pico in sorted(amounts.items())}
