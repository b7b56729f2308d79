"""What tollbook itself says of a request, against what the vendor billed for it."""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from tollbook.conformance.client import Client
from tollbook.conformance.comparison import Asked, Finding, amount_of
from tollbook.conformance.fields import Fields
from tollbook.conformance.suite import Case
from tollbook.core.money import format_amount, parse_amount

OWN_ID: Final = "x-tollbook-request-id"
OWN_COST: Final = "x-tollbook-cost-usd"
PATIENCE_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1

_UNTOLD: Final = frozenset({"usage_missing", "usage_null", "usage_elsewhere", "cut", "clean_end", "error_event"})
"""Turns after which the vendor may have told no usage that can be relied upon: then it need not be recorded as
reported; if it is, it must be what was billed."""
_UNTRUE: Final = "usage_zero"
"""The turn in which the vendor tells other usage than it bills: a record repeats what it was told."""


def examine(case: Case, through: Asked, gateway: Client) -> Iterator[Finding]:
    """The record of a case's request in our own book. Nothing where another gateway answered, or the vendor billed
    nothing."""
    own = through.answer.headers.get(OWN_ID)
    if own is None or not through.billed or case.name.split("/")[1] == _UNTRUE:
        return
    found = _record(gateway, own)
    if found is None:
        yield Finding(case.name, "record", own, None)
        return
    attempt = found["attempts"][-1]
    expected, got = _of_vendor(through), _of_record(attempt)
    reported = attempt["usage_basis"] == "provider_reported"
    if not reported:
        for field in [name for name in expected if name.startswith(("record.usage.", "record.amount"))]:
            del expected[field]
        if case.name.split("/")[1] not in _UNTOLD:
            yield Finding(case.name, "record.usage_basis", "provider_reported", attempt["usage_basis"])
    if attempt["unpriced"] is not None:  # said to be unknown, which is no loss
        expected.pop("record.amount", None)
    if not _told_id(through):
        del expected["record.vendor_request_id"]
    for field, value in expected.items():
        if got[field] != value:
            yield Finding(case.name, field, value, got[field])
    cost = through.answer.headers.get(OWN_COST)
    if reported and cost is not None and parse_amount(cost) != parse_amount(amount_of(through.billed)):
        yield Finding(case.name, f"header.{OWN_COST}", amount_of(through.billed), cost)


def _told_id(through: Asked) -> bool:
    """Whether the answer names the vendor's id of the call at all."""
    told = {value.replace("-", "") for value in through.answer.headers.values()}
    return _bare(through.billed[-1].vendor_request_id) in told


def _bare(value: str | None) -> str | None:
    """An id without the dashes that some headers leave out."""
    return None if value is None else value.replace("-", "")


def _record(gateway: Client, request_id: str) -> Any:
    """The request as its tenant sees it, once it is closed; None when it never comes."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        answer = gateway.get(f"/tollbook/v1/requests/{request_id}")
        if answer.status == 200:
            found = json.loads(answer.body)
            if found["request"]["closed_at"] is not None:
                return found
        time.sleep(_POLL_SECONDS)
    return None


def _of_vendor(through: Asked) -> Fields:
    """What the vendor's books say of the last call, in the record's words."""
    line = through.billed[-1]
    counts = line.counts
    return {
        "record.attempts": len(through.received),
        "record.vendor_request_id": _bare(line.vendor_request_id),
        "record.usage.input": sum(value for name, value in counts.items() if name in _INPUT),
        "record.usage.output": counts.get("output", 0) + counts.get("reasoning", 0),
        "record.usage.input_cache_read": counts.get("cache_read", 0),
        "record.amount": amount_of(through.billed),
    }


_INPUT: Final = frozenset({"input", "cache_read", "cache_write_5m", "cache_write_1h"})


def _of_record(attempt: dict[str, Any]) -> Fields:
    usage = attempt["usage"] or {}
    amount = attempt["amount"]
    return {
        "record.attempts": attempt["number"],
        "record.vendor_request_id": _bare(attempt["vendor_request_id"]),
        "record.usage.input": sum(value for name, value in usage.items() if name.startswith("input")),
        "record.usage.output": sum(value for name, value in usage.items() if name.startswith("output")),
        "record.usage.input_cache_read": usage.get("input_cache_read", 0),
        "record.amount": None if amount is None else format_amount(parse_amount(amount)),
    }
