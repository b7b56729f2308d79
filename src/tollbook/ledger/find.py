"""Finding what a text names: any id, the beginning of one, a digest, an amount or a position."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput
from tollbook.core.money import parse_amount, parse_decimal
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Reader, position_of, provenance, read

LIMIT: Final = 100
"""The most hits of one sort; there are more when a sort has as many."""

_SHORTEST: Final = 4
_LONGEST: Final = 256
_ATTEMPT_ID: Final = re.compile(r"([0-9a-f-]{36})\.(\d{1,9})", re.ASCII)
_PREFIX: Final = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_AMOUNT: Final = re.compile(r"\$?(\d+(?:\.\d+)?)", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)

_EVERY_REQUEST: Final = (
    "SELECT request_id, tenant, occurred, user, trace_id, client_request_id, idempotency_key FROM requests "
    "UNION ALL SELECT request_id, tenant, occurred, user, trace_id, client_request_id, idempotency_key FROM attempts "
    "UNION ALL SELECT request_id, tenant, occurred, user, trace_id, client_request_id, idempotency_key "
    "FROM open_attempts"
)
_EVERY_ATTEMPT: Final = (
    "SELECT request_id, number, tenant, occurred FROM attempts "
    "UNION ALL SELECT request_id, number, tenant, occurred FROM open_attempts"
)
_REQUEST_SUMS: Final = (
    "SELECT request_id, NULL AS number, tenant, min(occurred) AS occurred, sum(amount_list) AS amount_list, "
    "sum(amount_expected) AS amount_expected, sum(amount_recharge) AS amount_recharge "
    "FROM attempts GROUP BY request_id, tenant HAVING count(*) > 1"
)


def find(source: Reader | Path, text: str, *, digests: Sequence[str] = (), tenant: str | None = None) -> Document:
    """What a text may name: `hits`, each saying what it is and by which field it was found.

    `digests` are the keyed digests of the text (whoever holds the keys makes them): they find the caller's own request
    ids and users. `tenant` bounds what is seen. Raises BadInput for a text that can name nothing.
    """
    wanted = text.strip()
    if not wanted or len(wanted) > _LONGEST:
        raise BadInput(f"a text of 1 to {_LONGEST} characters can be found, not one of {len(wanted)}")

    def query(lake: Lake) -> Document:
        position = position_of(lake)
        hits = [hit for sort in _sorts(wanted, list(digests)) for hit in _hits(lake, sort, tenant)]
        parameters = {"text": wanted, "digests": sorted(digests), "tenant": tenant}
        return {
            "hits": hits,
            "provenance": provenance(
                parameters, position, books=[], rows=len(hits), control_totals={"hits": len(hits)}
            ),
        }

    return read(source, query)


_Sort = tuple[str, str, str, str, dict[str, Any]]
"""What is found, by which field, where, under which condition, with which parameters."""


def _sorts(text: str, digests: list[str]) -> Iterator[_Sort]:
    """Every sort of thing the text may be."""
    lower = text.lower()
    requests = f"(SELECT *, NULL AS number FROM ({_EVERY_REQUEST}))"
    if named := _ATTEMPT_ID.fullmatch(lower):
        parameters = {"id": named[1], "number": int(named[2])}
        yield "attempt", "attempt_id", f"({_EVERY_ATTEMPT})", "request_id = $id AND number = $number", parameters
    if _PREFIX.fullmatch(lower):
        yield "request", "request_id", requests, "request_id >= $low AND request_id < $high", _range(lower)
    if _TRACE_ID.fullmatch(lower):
        dashed = f"{lower[:8]}-{lower[8:12]}-{lower[12:16]}-{lower[16:20]}-{lower[20:]}"
        where = "trace_id = $trace OR (trace_id IS NULL AND request_id = $id)"
        yield "request", "trace_id", requests, where, {"trace": lower, "id": dashed}
    if len(text) >= _SHORTEST:
        for field in ("vendor_request_id", "response_id"):
            yield "attempt", field, "attempts", f"{field} = $text", {"text": text}
    if digests:
        for field in ("client_request_id", "idempotency_key", "user"):
            yield "request", field, requests, f'list_contains($digests, "{field}")', {"digests": digests}
    if _DIGEST.fullmatch(lower):
        where = "digest = $digest OR opened_digest = $digest"
        yield "attempt", "entry_digest", "attempts", where, {"digest": lower}
        requests_by_digest = "(SELECT *, NULL AS number FROM requests)"
        yield "request", "entry_digest", requests_by_digest, "digest = $digest", {"digest": lower}
    if amount := _amount(text):
        where = "$amount IN (amount_list, amount_expected, amount_recharge)"
        for what, place in (("attempt", "attempts"), ("charge", "charges"), ("request", f"({_REQUEST_SUMS})")):
            yield what, "amount", place, where, {"amount": amount}
    if _NUMBER.fullmatch(text):
        positions = "(SELECT NULL AS request_id, number, NULL AS tenant, recorded AS occurred FROM positions)"
        yield "position", "number", positions, "number = $number", {"number": int(text)}


def _range(prefix: str) -> dict[str, str]:
    """All ids that begin so: no letter of an id comes after `f`."""
    return {"low": prefix, "high": prefix + "g"}


def _amount(text: str) -> Decimal | None:
    found = _AMOUNT.fullmatch(text.replace(",", ""))
    if found is None:
        return None
    try:
        parse_amount(found[1])
    except ValueError:
        return None  # finer than any amount in the book
    return parse_decimal(found[1])


def _hits(lake: Lake, sort: _Sort, tenant: str | None) -> Iterator[Document]:
    what, field, place, where, parameters = sort
    if tenant is not None:
        where, parameters = f"({where}) AND tenant = $tenant", {**parameters, "tenant": tenant}
    statement = (
        f"SELECT request_id, number, any_value(tenant), epoch_us(min(occurred)) FROM {place} WHERE {where} "
        f"GROUP BY request_id, number ORDER BY request_id, number LIMIT {LIMIT}"
    )
    for request_id, number, owner, occurred in lake.rows(statement, parameters):
        yield {
            "what": what,
            "by": field,
            "request_id": request_id,
            "number": number,
            "tenant": owner,
            "occurred_at": format_instant(occurred),
        }
