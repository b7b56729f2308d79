"""What of our record gives reason for a difference: attempts whose usage is not as reported, or should not be there.

Each attempt gives reason for one cause at most: see `cause_of`. Its effect is what it may have cost at the vendor
beyond what stands on our record: exact where the record is known to be wrong, else a band up to the bound that the
request itself sets.
"""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, NamedTuple

from tollbook.core.usage import TOKEN_CLASSES
from tollbook.ledger.lake import Lake
from tollbook.ledger.schema import quote
from tollbook.ledger.zone import timestamp_sql
from tollbook.reconciliation.cell import REQUESTS, Band, Bucket, Candidate, Effect, Scope
from tollbook.reconciliation.grain import Grain
from tollbook.reconciliation.ours import Place
from tollbook.reconciliation.pairing import Buckets
from tollbook.reconciliation.theirs import Inputs, tier_of

KEPT: Final = 200
"""So many requests stand as evidence of a cause in one cell."""
OUTPUT_BOUND: Final = 131_072
"""The most output that an attempt without a limit of its own is taken to have: the longest that vendors allow."""
PLACEHOLDER: Final = 4
"""The most output tokens that a first event counts before anything was generated."""
_FAILED: Final = ("client_error", "vendor_error", "rate_limited", "refused")
_BROKEN: Final = ("timeout", "truncated", "connect_failed", "unsettled")
_LEFT: Final = ("client_gone", "cancelled")


class Odd(NamedTuple):
    """An attempt that gives reason. `twice`: an earlier row has the same id of the vendor."""

    request_id: str
    occurred: int
    place: Place
    outcome: str
    next: str | None
    basis: str
    billable: bool | None
    usage: dict[str, int]
    bound: dict[str, int]
    body_bytes: int
    output_limit: int | None
    charged: bool
    twice: bool


def read_reasons(
    lake: Lake, inputs: Inputs, grain: Grain, buckets: Buckets, wanted: Set[tuple[Scope, Bucket]]
) -> dict[tuple[Scope, Bucket], list[Candidate]]:
    """The candidate causes of those cells that differ in quantity."""
    gathered: dict[tuple[Scope, Bucket], dict[str, list[Odd]]] = defaultdict(lambda: defaultdict(list))
    for odd in _read(lake, inputs):
        bucket = buckets.at(odd.occurred)
        place = (grain.scope(odd.place), bucket)
        cause = cause_of(odd)
        if bucket is not None and cause is not None and place in wanted:
            gathered[place[0], bucket][cause].append(odd)
    return {
        place: [_candidate(cause, found, grain) for cause, found in sorted(causes.items())]
        for place, causes in gathered.items()
    }


def cause_of(odd: Odd) -> str | None:
    """The cause that an attempt gives reason for."""
    if odd.twice:
        return "duplicate_record"
    if odd.outcome == "not_sent":
        return "never_sent" if odd.charged else None
    if odd.basis == "provider_reported" and odd.outcome in (*_LEFT, *_BROKEN):
        # Read to its end, or the first event's count of a stream whose last event is missing.
        return "placeholder_output" if 1 <= odd.usage.get("output", 0) <= PLACEHOLDER else None
    if odd.outcome in _LEFT:
        return "aborted_stream_billed"
    if odd.outcome in _BROKEN:
        return {"retry": "retry_billed_twice", "fallback": "fallback_billed"}.get(odd.next or "", "usage_missing")
    if odd.outcome in _FAILED:
        return "failed_request_priced" if odd.charged else "failed_request_billed"
    if odd.basis == "estimated":
        return "estimate_used"
    return "usage_missing" if odd.basis == "unreported" else None


_CERTAIN: Final = frozenset({"duplicate_record", "never_sent"})
_TAKEN_BACK: Final = _CERTAIN | {"failed_request_priced"}
_WORDS: Final = {
    "duplicate_record": "have an id of the vendor that another row has",
    "never_sent": "are charged and were never sent",
    "aborted_stream_billed": "were left before their end",
    "retry_billed_twice": "broke off and were made again",
    "fallback_billed": "broke off and were made elsewhere",
    "placeholder_output": "broke off with an output of a few tokens, as a first event has",
    "usage_missing": "have no usage from the vendor",
    "failed_request_priced": "failed and are charged",
    "failed_request_billed": "failed and are not charged",
    "estimate_used": "have an estimated usage",
}


def _candidate(cause: str, found: list[Odd], grain: Grain) -> Candidate:
    found.sort(key=lambda odd: (odd.occurred, odd.request_id))
    sums: dict[str, list[int]] = {}
    for odd in found:
        for name, band in _effects(cause, odd).items():
            total = sums.setdefault(grain.class_of(name), [0, 0])
            total[0] += band.low
            total[1] += band.high
    effects = {name: Effect(Band(low, high)) for name, (low, high) in sums.items() if low or high}
    plural = "attempt" if len(found) == 1 else "attempts"
    evidence = f"{len(found):,} {plural}: {_WORDS[cause]}".replace("attempt: have", "attempt: has")
    return Candidate(cause, effects, tuple(odd.request_id for odd in found[:KEPT]), evidence, certain=cause in _CERTAIN)


def _effects(cause: str, odd: Odd) -> dict[str, Band]:
    """What the vendor may have beyond our record, class by class."""
    if cause in _TAKEN_BACK:
        effects = {name: Band(-quantity, -quantity) for name, quantity in odd.usage.items() if name != REQUESTS}
        return effects | ({REQUESTS: Band(-1, -1)} if cause == "duplicate_record" else {})
    limits = {"input": odd.body_bytes, "output": odd.output_limit or OUTPUT_BOUND} | odd.bound
    if cause == "failed_request_billed":
        del limits["output"]
    effects = {
        name: Band(-odd.usage.get(name, 0), max(0, limits.get(name, 0) - odd.usage.get(name, 0)))
        for name in {*limits, *odd.usage}
        if name != REQUESTS
    }
    # Vendors count what they bill: an attempt that we take for free is not among our requests, and may be among theirs.
    return effects | ({REQUESTS: Band(0, 1)} if odd.billable is False else {})


_COLUMNS: Final = (
    "request_id, epoch_us(occurred), vendor_key_id, coalesce(project, workspace), model, region, tier, processing, "
    "outcome, next, basis, billable, coalesce(body_bytes, 0), output_limit, coalesce(amount_expected, 0) <> 0, "
    "usage_bound, usage_other, "
) + ", ".join(quote(name) for name in TOKEN_CLASSES)


def _read(lake: Lake, inputs: Inputs) -> Iterator[Odd]:
    """Attempts that are odd, and later rows of ids that the vendor gave once, in the order of the ledger's key."""
    span = f"occurred >= {timestamp_sql(inputs.since)} AND occurred < {timestamp_sql(inputs.until)}"
    where = f"vendor = $vendor AND position <= {inputs.position} AND attempts > 0 AND {span}"
    name = "coalesce(response_id, vendor_request_id)"
    # Names first: an order over all rows of a month would not fit in memory.
    named_twice = f"SELECT {name} FROM attempts WHERE {where} AND {name} IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    later = f"SELECT *, row_number() OVER (PARTITION BY {name} ORDER BY occurred, request_id, number) > 1 AS twice"
    rows = lake.rows(
        f"SELECT {_COLUMNS}, true FROM ({later} FROM attempts WHERE {where} AND {name} IN ({named_twice})) WHERE twice "
        f"UNION ALL SELECT {_COLUMNS}, false FROM attempts WHERE {where} AND "
        "(basis IN ('estimated', 'unreported') OR outcome <> 'ok') AND (lane, sequence, number) NOT IN "
        f"(SELECT (lane, sequence, number) FROM ({later} FROM attempts WHERE {where} AND {name} IN ({named_twice})) "
        "WHERE twice) ORDER BY 2, 1",
        {"vendor": inputs.vendor},
    )
    for row in rows:
        yield _odd(row)


def _odd(row: tuple[Any, ...]) -> Odd:
    request_id, occurred, key, project, model, region, tier, processing, *rest = row
    outcome, following, basis, billable, body_bytes, limit, charged, bound, other, *classes, twice = rest
    usage = {name: count for name, count in zip(TOKEN_CLASSES, classes, strict=True) if count is not None}
    place = Place(key, project, model, region, tier_of(tier, processing))
    bounds: Mapping[str, int] = bound or {}
    return Odd(
        request_id, occurred, place, outcome, following, basis, billable, usage | dict(other or {}), dict(bounds),
        body_bytes, limit, charged, twice,
    )  # fmt: skip
