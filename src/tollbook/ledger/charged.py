"""What tenants are charged for requests, as it stands in the ledger."""

from collections.abc import Sequence

from tollbook.core.money import parse_amount
from tollbook.ledger.lake import Lake


def charged(lake: Lake, requests: Sequence[str]) -> dict[str, int]:
    """The recharge of some requests per currency, in picodollars; attempts whose recharge is unknown are left out."""
    rows = lake.rows(
        "SELECT currency, CAST(sum(amount_recharge) AS VARCHAR) FROM attempts "
        "WHERE request_id BETWEEN $low AND $high AND list_contains($requests, request_id) "
        "AND amount_recharge IS NOT NULL GROUP BY currency",
        {"requests": list(requests), "low": min(requests), "high": max(requests)},
    )
    return {currency: parse_amount(amount) for currency, amount in rows}
