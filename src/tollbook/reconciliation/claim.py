"""What a vendor should correct: the part of a run's differences that is the vendor's to put right, with evidence."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tollbook.core.clock import format_instant
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Reader, read
from tollbook.reconciliation.cell import REQUESTS, Bucket
from tollbook.reconciliation.finding import Finding
from tollbook.reconciliation.run import Run

ASKS: Final = {
    "retry_billed_twice": "was billed for an attempt that gave no answer, and for its repetition: credit the former",
    "failed_request_billed": "was billed although it failed: credit it",
    "tier_served_differs": "was billed at another service tier's price than the answer names: bill the tier served",
    "cache_write_ttl": "has cache writes billed at another time to live than was written: bill what was written",
    "cached_tokens_priced_full": "has tokens read from the cache billed at another price: bill the cached price",
    "regional_multiplier": "was billed with a region's multiplier: show from where it was served",
    "unit_slip": "was billed in another unit: correct the amount",
    "price_change_mid_period": "was billed at another price than is listed: show the price and since when it holds",
}
"""Causes that are the vendor's to correct, and what is asked for."""
ASKED_OF_ALL: Final = "shows more than our record of each request: give usage by request, or credit the difference"


class Attempt(Struct, frozen=True):
    """One attempt that a claim rests on, as the vendor can find it."""

    request: str
    occurred: str
    vendor_request_id: str | None
    response_id: str | None
    outcome: str


class Claim(Struct, frozen=True):
    """One claim: what is asked, of which model and key, in which time, how much (quantity, picodollars), and why."""

    cause: str
    asks: str
    model: str | None
    vendor_key: str | None
    bucket: Bucket
    quantity: int
    amount: int
    evidence: tuple[str, ...]
    attempts: tuple[Attempt, ...]


_Place = tuple[str, str | None, str | None]
_Owed = tuple[Finding, int, int, str, tuple[str, ...]]
"""Cell, quantity, amount, evidence, requests."""


def claims_of(source: Reader | Path, run: Run) -> list[Claim]:
    """The claims of a run, those with most money first. What cannot be settled here is claimed as a question."""
    gathered: dict[_Place, list[_Owed]] = defaultdict(list)
    for one in run.findings:
        for cause, quantity, amount, evidence, requests in _owed(one):
            place = (cause, one.pair.scope.model, one.pair.scope.vendor_key)
            gathered[place].append((one, quantity, amount, evidence, requests))
    named = {request for found in gathered.values() for part in found for request in part[4]}
    known = read(source, lambda lake: _attempts(lake, run, named)) if named else {}
    claims = [_claim(place, found, known) for place, found in gathered.items()]
    return sorted(claims, key=lambda one: (-one.amount, one.cause, one.model or "", one.vendor_key or ""))


def _owed(one: Finding) -> Iterator[tuple[str, int, int, str, tuple[str, ...]]]:
    """What of a finding the vendor has too much. What has no money is no claim; it stands in the finer cells' money."""
    for share in one.shares:
        if share.cause in ASKS and share.amount > 0:
            yield share.cause, share.quantity, share.amount, share.evidence, share.requests
    if one.verdict == "cannot_settle" and one.amount > 0 and one.pair.class_ != REQUESTS:
        told = f"{one.quantity:+,} {one.pair.class_} that nothing on our record explains"
        yield "vendor_overcount", one.quantity, one.amount, told, ()


def _claim(place: _Place, found: Sequence[_Owed], known: dict[str, list[Attempt]]) -> Claim:
    cause, model, vendor_key = place
    requests = dict.fromkeys(request for part in found for request in part[4])
    return Claim(
        cause=cause,
        asks=ASKS.get(cause, ASKED_OF_ALL),
        model=model,
        vendor_key=vendor_key,
        bucket=Bucket(
            min(part[0].pair.bucket.since for part in found), max(part[0].pair.bucket.until for part in found)
        ),
        quantity=sum(part[1] for part in found),
        amount=sum(part[2] for part in found),
        evidence=tuple(dict.fromkeys(part[3] for part in found)),
        attempts=tuple(attempt for request in requests for attempt in known.get(request, ())),
    )


def _attempts(lake: Lake, run: Run, requests: set[str]) -> dict[str, list[Attempt]]:
    rows = lake.rows(
        "SELECT request_id, epoch_us(occurred), vendor_request_id, response_id, outcome FROM attempts "
        "WHERE vendor = $vendor AND position <= $position AND request_id IN (SELECT unnest($requests)) "
        "ORDER BY occurred, request_id, number",
        {"vendor": run.asked.vendor, "position": run.position.number, "requests": sorted(requests)},
    )
    found: dict[str, list[Attempt]] = defaultdict(list)
    for request, occurred, vendor_request_id, response_id, outcome in rows:
        found[request].append(Attempt(request, format_instant(occurred), vendor_request_id, response_id, outcome))
    return found


def letter(run: Run, claims: Sequence[Claim], amount_of: Any) -> str:
    """A letter to the vendor, in plain text; `amount_of` writes picodollars as people read them."""
    period = f"{format_instant(run.asked.since)[:10]} up to {format_instant(run.asked.until)[:10]} (UTC)"
    statements = ", ".join(one.import_id for one in run.statements)
    lines = [
        f"To {run.asked.vendor}: usage and charges from {period}",
        "",
        f"We have compared your reports (on our record as {statements}) with our own record of every request, and ask",
        f"you to look at the following, {amount_of(sum(one.amount for one in claims))} in all.",
    ]
    for number, one in enumerate(claims, 1):
        about = ", ".join(part for part in (one.model, one.vendor_key and f"key {one.vendor_key}") if part)
        lines += ["", f"{number}. {about}: {amount_of(one.amount)}. This {one.asks}.", f"   {'; '.join(one.evidence)}."]
        for attempt in one.attempts:
            ids = ", ".join(name for name in (attempt.vendor_request_id, attempt.response_id) if name) or "no id given"
            lines.append(f"   - {attempt.occurred}  {ids}  ({attempt.outcome})")
    return "\n".join(
        [*lines, "", f"Our reference: {run.name}. We keep the raw record of each request as evidence.", ""]
    )
