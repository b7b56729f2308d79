"""Finds alerts: the vendors' books against ours over the last days, and what is odd in ours alone."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook.core.clock import format_instant
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Position, Reader, position_of, read
from tollbook.ledger.zone import timestamp_sql
from tollbook.reconciliation.alert import Alert
from tollbook.reconciliation.cell import REQUESTS
from tollbook.reconciliation.diagnosis import Tolerance
from tollbook.reconciliation.finding import Finding
from tollbook.reconciliation.ours import DAY
from tollbook.reconciliation.run import Asked, Run, run_in

TOLERANCE: Final = Tolerance(Fraction(1, 100), 10**10)
"""One percent, or a cent."""
MISSING: Final = (1, 100)
"""The part of answers without usage that is too much, among at least as many attempts as its second number."""
STALE_DAYS: Final = 3
SHOWN: Final = 5
_STRANGERS: Final = frozenset({"bypass_unknown_key", "other_environment"})


class Watched(NamedTuple):
    """What was looked at, and what was found, the most money first."""

    position: Position
    since: int
    until: int
    alerts: list[Alert]


def watch(source: Reader | Path, now: int, days: int, tolerance: Tolerance = TOLERANCE) -> Watched:
    """The alerts of the last days, whole UTC days. Raises NotFound when the ledger holds no position."""
    until = now // DAY * DAY + DAY
    since = until - days * DAY

    def query(lake: Lake) -> Watched:
        position = position_of(lake)
        found = list(_ours(lake, since, until))
        for vendor in _vendors(lake, since, until):
            run = run_in(lake, Asked(vendor, since, until, position.number, tolerance))
            found += _of_run(run)
        found += _stale(lake, until)
        found.sort(key=lambda one: (-abs(one.amount or 0), one.kind, one.about, one.vendor or "", one.tenant or ""))
        return Watched(position, since, until, found)

    return read(source, query)


def _vendors(lake: Lake, since: int, until: int) -> list[str]:
    rows = lake.rows(
        f"SELECT DISTINCT vendor FROM statement_lines WHERE bucket_from >= {timestamp_sql(since)} "
        f"AND bucket_to <= {timestamp_sql(until)} ORDER BY 1"
    )
    return [vendor for (vendor,) in rows]


def _of_run(run: Run) -> Iterator[Alert]:
    asked = run.asked
    days = f"--from {format_instant(asked.since)[:10]} --to {format_instant(asked.until)[:10]}"
    command = f"tollbook reconcile --vendor {asked.vendor} {days}"
    yield from _strangers(run, command)
    yield from _variances(run, command)
    for one in run.passed:
        if one.drifts:
            about = " ".join(part for part in (one.scope.model, one.scope.vendor_key, one.class_) if part)
            cells = one.above + one.below
            evidence = (f"{max(one.above, one.below)} of {cells} cells on one side",)
            yield Alert("drift", asked.vendor, None, about, None, cells, one.amount, evidence, command)
    if run.left_out:
        reasons = tuple(dict.fromkeys(str(one["why"]) for one in run.left_out))
        count = sum(int(str(one["lines"])) for one in run.left_out)
        yield Alert("not_compared", asked.vendor, None, "lines", None, count, None, reasons, command)


def _strangers(run: Run, command: str) -> Iterator[Alert]:
    """Traffic that is not ours, by the vendor's key or project."""
    gathered: dict[str, list[Finding]] = defaultdict(list)
    for one in run.findings:
        if any(share.cause in _STRANGERS for share in one.shares):
            gathered[one.pair.scope.vendor_key or "no key"].append(one)
    for key, found in gathered.items():
        shares = [share for one in found for share in one.shares if share.cause in _STRANGERS]
        tokens = sum(one.pair.theirs.quantity or 0 for one in found if one.pair.class_ != REQUESTS)
        evidence = (*dict.fromkeys(share.evidence for share in shares), f"{tokens:,} tokens")
        since = min(one.pair.bucket.since for one in found)
        amount = sum(share.amount for share in shares)
        yield Alert("coverage", run.asked.vendor, None, key, since, len(found), amount, evidence[:SHOWN], command)


def _variances(run: Run, command: str) -> Iterator[Alert]:
    """What no cause explains, by model and class. A time that is not over is not judged."""
    gathered: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for one in run.findings:
        if (one.quantity or one.amount) and one.verdict != "open" and one.pair.class_ != REQUESTS:
            gathered[one.pair.scope.model or "no model", one.pair.class_].append(one)
    for (model, class_), found in gathered.items():
        quantity, amount = sum(one.quantity for one in found), sum(one.amount for one in found)
        kind = "money_variance" if amount or not quantity else "token_variance"
        evidence = [f"{quantity:+,} {class_} at the vendor"]
        evidence += dict.fromkeys(f"to settle it: {one.missing}" for one in found if one.missing)
        since = min(one.pair.bucket.since for one in found)
        about = f"{model} {class_}"
        yield Alert(kind, run.asked.vendor, None, about, since, len(found), amount, tuple(evidence[:SHOWN]), command)


def _stale(lake: Lake, until: int) -> Iterator[Alert]:
    """Vendors whose statements end days before our record does."""
    rows = lake.rows(
        "SELECT told.vendor, epoch_us(told.until), used.attempts FROM "
        "(SELECT vendor, max(bucket_to) AS until FROM statement_lines GROUP BY vendor) told JOIN "
        "(SELECT vendor, max(occurred) AS last, sum(attempts) AS attempts FROM attempts GROUP BY vendor) used "
        f"USING (vendor) WHERE told.until < {timestamp_sql(until - STALE_DAYS * DAY)} "
        "AND used.last >= told.until ORDER BY 1"
    )
    for vendor, ends, attempts in rows:
        command = f"tollbook statement pull {vendor} --from {format_instant(ends)[:10]} --to ..."
        evidence = (f"the last statement ends {format_instant(ends)[:10]}",)
        yield Alert("stale_statement", vendor, None, "statements", ends, int(attempts), None, evidence, command)


def _ours(lake: Lake, since: int, until: int) -> Iterator[Alert]:
    span = f"occurred >= {timestamp_sql(since)} AND occurred < {timestamp_sql(until)}"
    part, whole = MISSING
    for vendor, model, missing, attempts in lake.rows(
        f"SELECT vendor, model, sum(unreported_attempts), sum(attempts) FROM attempts WHERE {span} GROUP BY ALL "
        f"HAVING sum(unreported_attempts) * {whole} > sum(attempts) * {part} AND sum(attempts) >= {whole} ORDER BY ALL"
    ):
        evidence = (f"{missing:,} of {attempts:,} attempts", *_examples(lake, span, "unreported_attempts > 0", vendor))
        command = f"tollbook report --by vendor,model,basis --vendor {vendor}"
        yield Alert("usage_missing", vendor, None, str(model), None, int(missing), None, evidence, command)
    for kind, column in (("unsettled", "unsettled_attempts"), ("unpriced", "unpriced_attempts")):
        for tenant, vendor, model, count in lake.rows(
            f"SELECT tenant, vendor, model, sum({column}) FROM attempts WHERE {span} GROUP BY ALL "
            f"HAVING sum({column}) > 0 ORDER BY ALL"
        ):
            examples = _examples(lake, span, f"{column} > 0", vendor)
            about = f"{model or 'no model'}"
            yield Alert(kind, vendor, tenant, about, None, int(count), None, examples, "tollbook open-items")
    for vendor, name, count, requests in lake.rows(
        f"SELECT vendor, response_id, count(*), list(request_id ORDER BY occurred)[:{SHOWN}] FROM attempts "
        f"WHERE {span} AND response_id IS NOT NULL AND attempts > 0 GROUP BY ALL HAVING count(*) > 1 "
        f"ORDER BY ALL LIMIT 100"
    ):
        command = f"tollbook find {name}"
        yield Alert("duplicate_vendor_id", vendor, None, name, None, int(count), None, tuple(requests), command)


def _examples(lake: Lake, span: str, condition: str, vendor: Any) -> tuple[str, ...]:
    rows = lake.rows(
        f"SELECT request_id FROM attempts WHERE {span} AND {condition} AND vendor = $vendor "
        "ORDER BY occurred, request_id LIMIT 3",
        {"vendor": vendor},
    )
    return tuple(name for (name,) in rows)
