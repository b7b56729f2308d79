"""The facts a report sums, as SQL: what the book knew of attempts and requests at a position.

There are four sources, united by column name (what a source does not know is null): settled attempts; attempts that
have been settled since the position; attempts that are still open; and requests that ended without an attempt of
their own. Each request is counted by one row: that of its last attempt, or its own.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from typing import Final

from tollbook.core.usage import TOKEN_CLASSES
from tollbook.ledger.schema import TOTAL_COUNTS, quote

MEASURES: Final = (*TOTAL_COUNTS, *TOKEN_CLASSES)
"""What is summed beside the amounts, in the order in which statements give it."""

_ASKED: Final = ("tenant", "key", "workload", "user", "template", "tags", "model_asked", "policy", "stream")
_OPENED: Final = (*_ASKED, "vendor", "vendor_key", "model_sent", "reason")
_SETTLED: Final = (*_OPENED, "model_served", "model", "region", "tier", "outcome", "basis", "source", "recorded")
_MONEY: Final = ("amount_list", "amount_expected", "amount_recharge", "currency", "price_book", "usage_other")


_TAKEN_BACK: Final = (
    "SELECT request_id FROM attempts WHERE source = 'span' AND position <= $position "
    "GROUP BY request_id HAVING sum(attempts) = 0"
)
"""Requests of spans that a better evidence has taken the place of: their rows come to nothing."""


def facts(where: str, *, with_route: bool, with_dialect: bool = False, with_spans: bool = False) -> str:
    """The statement that gives all facts at `$position` for which the condition `where` holds. `with_spans`: the ledger
    holds spans.

    The route of a request stands on its last attempt; `with_route` looks it up for the others. `known` is the position
    at which a fact became known; of what is still open, the one that is asked for.
    """
    settled = _settled(with_route)
    if with_spans:
        settled += f" AND request_id NOT IN ({_TAKEN_BACK})"
    sources = (
        _with_dialect(settled) if with_dialect else settled,
        _open("attempts", "opened_position <= $position AND position > $position AND attempts = 1"),
        _open("open_attempts", "opened_position <= $position"),
        _bare_requests(),
    )
    return " UNION ALL BY NAME ".join(f"(SELECT * FROM ({source}) WHERE {where})" for source in sources)


def _settled(with_route: bool) -> str:
    columns = _quoted((*_SETTLED, "occurred", *MEASURES, *_MONEY)) + ", position AS known"
    if not with_route:
        return f"SELECT {columns}, request_id FROM attempts WHERE position <= $position"
    routes = "SELECT request_id AS ended, max(route) AS whole FROM requests WHERE position <= $position GROUP BY 1"
    return (
        f"SELECT {columns}, request_id, coalesce(route, whole) AS route "
        f"FROM attempts LEFT JOIN ({routes}) ON request_id = ended WHERE position <= $position"
    )


def _with_dialect(settled: str) -> str:
    """Settled attempts with the dialect of the span that they rest on."""
    dialects = "SELECT request_id AS told, min(dialect) AS dialect FROM spans GROUP BY 1"
    return f"SELECT * FROM ({settled}) LEFT JOIN ({dialects}) ON source = 'span' AND told = request_id"


def _open(table: str, where: str) -> str:
    """Attempts that were open: they count, as unsettled, and nothing is known of how they ended."""
    return (
        f"SELECT {_quoted((*_OPENED, 'occurred'))}, occurred AS recorded, model_sent AS model, 'open' AS outcome, "
        "'unreported' AS basis, 'gateway' AS source, $position AS known, 1 AS requests, 1 AS attempts, "
        "1 AS unsettled_attempts "
        f"FROM {table} WHERE {where}"
    )


def _bare_requests() -> str:
    columns = _quoted((*_ASKED, "occurred", "recorded", "route", "outcome", "basis", "source", "requests"))
    return f"SELECT {columns}, position AS known FROM requests WHERE position <= $position AND requests = 1"


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(map(quote, names))
