"""Entries as rows: copying facts, never decomposing, pricing or estimating.

A row is a tuple in the order of its table's columns: instants as integers of microseconds, amounts as integers of
picodollars, maps as sorted pairs.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from tollbook.core.faults import BrokenPromise
from tollbook.core.identity import parse_traceparent
from tollbook.core.money import parse_amount
from tollbook.core.usage import TOKEN_CLASSES
from tollbook.journal.entry import (
    Attempt,
    BatchClosed,
    BatchOpened,
    Charge,
    ConfigurationLoaded,
    GapRecorded,
    PersonalErased,
    PricesActivated,
    Rating,
    Request,
    RequestEntry,
    Settlement,
)
from tollbook.journal.line import Line
from tollbook.ledger.schema import ATTEMPTS, CHARGES

Row: TypeAlias = tuple[Any, ...]

_OPENED: Final = ATTEMPTS.names.index("opened_kind")
_AMOUNTS: Final = ("amount_list", "amount_expected", "amount_recharge")
_SUMMED: Final = frozenset(
    map(
        ATTEMPTS.names.index,
        (*TOKEN_CLASSES, "usage_other", *_AMOUNTS, "unpriced_attempts", "unreported_attempts"),
    )
)
_NOT_COUNTED: Final = tuple(map(ATTEMPTS.names.index, ("requests", "attempts", "unsettled_attempts")))
_CHARGED: Final = frozenset(map(CHARGES.names.index, ("quantity", *_AMOUNTS)))
_AMOUNT_LIMIT: Final = 10**18
_TOKEN_CLASSES: Final = frozenset(TOKEN_CLASSES)


SPAN: Final = "span"


def source_of(entry: RequestEntry) -> str:
    """By which door an entry's record came in."""
    return "gateway" if entry.span is None else SPAN


class Opened(NamedTuple):
    """Where an attempt was opened: kind, lane, sequence, digest and position of its opening entry."""

    kind: str | None
    lane: str
    sequence: int
    digest: str | None
    position: int


class Counted(NamedTuple):
    """How a settlement counts: as the end of an attempt, or as one that came after it was booked without a usage;
    `unreported` is then what was counted so."""

    requests: int
    attempts: int
    unsettled: int
    unreported: int = 0


class Amounts(NamedTuple):
    """Sums of a rating's lines in picodollars: list, expected, recharge; None where one line is unknown."""

    list: int | None
    expected: int | None
    recharge: int | None


UNKNOWN: Final = Amounts(None, None, None)


def origin(line: Line, position: int) -> Row:
    """The columns that say which entry a row was folded from."""
    return (line.recorded, line.kind, line.lane, line.sequence, line.digest, position)


def request_part(request: Request) -> Row:
    """`REQUEST_COLUMNS` of a request."""
    caller = parse_traceparent(request.traceparent) if request.traceparent else None
    return (
        request.id,
        request.tenant,
        request.key,
        request.workload,
        request.user,
        request.template,
        _tags(request),
        request.endpoint,
        request.model_asked,
        request.policy,
        request.stream,
        caller.trace_id if caller else None,
        request.parent_request_id,
        request.client_request_id,
        request.idempotency_key,
        request.repeat_of,
    )


def attempt_part(attempt: Attempt, occurred: int, opened: Opened) -> Row:
    """`ATTEMPT_COLUMNS` of an attempt."""
    return (
        attempt.number,
        attempt.vendor or None,
        attempt.vendor_key or None,
        attempt.vendor_key_id,
        attempt.project,
        attempt.workspace,
        attempt.account,
        attempt.model_sent or None,
        attempt.tier_asked,
        attempt.body_bytes,
        attempt.output_limit,
        attempt.line,
        attempt.reason,
        attempt.because,
        occurred,
        *opened,
    )


def outcome_part(
    attempt: Attempt,
    settled: Settlement,
    rating: Rating | None,
    amounts: Amounts,
    route: str | None,
    counted: Counted,
    source: str = "gateway",
) -> Row:
    """`OUTCOME_COLUMNS` of a settled attempt."""
    usage = settled.usage or {}
    unreported = not usage and not settled.shares and settled.billable is not False and settled.outcome != "unsettled"
    return (
        settled.model_served,
        settled.model_served or attempt.model_sent or None,
        settled.region,
        settled.tier,
        settled.speed,
        settled.processing,
        route,
        settled.outcome,
        settled.status,
        settled.first_byte,
        settled.vendor_request_id,
        settled.response_id,
        settled.error,
        settled.flags,
        settled.delivered,
        settled.next,
        settled.basis,
        *map(usage.get, TOKEN_CLASSES),
        None if usage.keys() <= _TOKEN_CLASSES else _pairs({k: v for k, v in usage.items() if k not in _TOKEN_CLASSES}),
        bytes(settled.raw).decode() if settled.raw is not None else None,
        settled.method,
        _pairs(settled.bound),
        _shares(settled.shares),
        settled.vendor_cost,
        settled.provider,
        *_rating_part(rating),
        *amounts,
        settled.billable,
        settled.borne_by,
        "estimated" if settled.basis == "estimated" else "recorded",
        source,
        counted.requests,
        counted.attempts,
        int(rating is not None and (rating.unpriced is not None or amounts.expected is None)),
        counted.unsettled,
        int(unreported) - counted.unreported,
    )


def request_row(asked: Row, line: Line, entry: RequestEntry, position: int) -> Row:
    """The row of a request, from the entry that ended it; `asked` is its `request_part`."""
    close, settled = entry.close, entry.settlement
    assert close is not None
    first = settled is not None and entry.attempt is not None and entry.attempt.number == 1
    opened = entry.opened if entry.opened is not None else settled.opened if settled and first else None
    return (
        *asked,
        opened,
        settled.opened if settled else entry.opened if entry.opened is not None else line.recorded,
        close.attempts,
        close.route,
        close.reason,
        close.error,
        close.outcome,
        close.basis,
        close.client,
        close.replay_of,
        source_of(entry),
        int(settled is None),
        *origin(line, position),
    )


def charge_rows(line: Line, entry: RequestEntry, position: int) -> tuple[list[Row], Amounts]:
    """The rows of a rating's lines, and their sums."""
    rating, settled, attempt = entry.rating, entry.settlement, entry.attempt
    if rating is None or settled is None or attempt is None:
        return [], UNKNOWN
    rows: list[Row] = []
    known: list[tuple[int | None, int | None, int | None]] = []
    tail = origin(line, position)
    models: list[str | None] = [None] * len(rating.charges)
    models += [model for model, lines in rating.shares or () for _ in lines]
    for number, (charge, model) in enumerate(zip(rating.lines(), models, strict=True), 1):
        amounts = _amounts(line, charge)
        known.append(amounts)
        rows.append(
            (
                entry.request.id,
                attempt.number,
                rating.number,
                number,
                entry.request.tenant,
                model,
                charge[0],
                charge[1],
                charge[2],
                *amounts,
                rating.currency,
                rating.book,
                charge[6],
                settled.opened,
                *tail,
            )
        )
    return rows, _sums(line, known)


def opened_of(row: Row) -> Opened:
    """Where an attempt was opened, from its row."""
    return Opened(*row[_OPENED : _OPENED + len(Opened._fields)])


def taken_back(
    row: Row, charges: list[Row], line: Line, position: int, *, whole: bool = False
) -> tuple[Row, list[Row]]:
    """The rows that undo an attempt's row and its lines: amounts, quantities and counts below zero, nothing counted
    as an attempt or request; with `whole`, the attempt and the request are not counted any more either. `line` is the
    entry that stands instead."""
    tail = origin(line, position)

    def negative(row: Row, columns: frozenset[int]) -> list[Any]:
        return [_negative(value) if place in columns else value for place, value in enumerate(row)]

    undone = negative(row, _SUMMED)
    for place in _NOT_COUNTED:
        undone[place] = -row[place] if whole else 0
    lines = [(*negative(charge, _CHARGED)[: -len(tail)], *tail) for charge in charges]
    return (*undone[: -len(tail)], *tail), lines


def _negative(value: Any) -> Any:
    if isinstance(value, list):
        return [(name, -count) for name, count in value]
    return None if value is None else -value


def batch_row(facts: Row, line: Line, position: int) -> Row:
    """The row of a batch that was made."""
    return (*facts, None, None, None, None, None, None, *origin(line, position))


def batch_facts(line: Line) -> Row:
    """What is known of a batch when it is made."""
    said = msgspec.json.decode(line.bytes, type=BatchOpened)
    return (said.request_id, said.tenant, said.vendor, said.vendor_key, said.endpoint, said.batch, said.opened)


def closed_batch_row(
    facts: Row, said: BatchClosed, settled: dict[str, int], differs: list[str], line: Line, position: int
) -> Row:
    """The row of a batch that is closed."""
    told = (_pairs(said.told), _pairs(settled), differs or None)
    return (*facts, said.status, said.ended, said.problem, *told, *origin(line, position))


def span_row(line: Line, entry: RequestEntry, position: int) -> Row:
    """The row of a span, whether it counts or not."""
    span, settled = entry.span, entry.settlement
    if span is None or settled is None:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without span or settlement")
    return (
        entry.request.id,
        entry.request.tenant,
        span.trace_id,
        span.span_id,
        span.parent,
        settled.response_id,
        settled.opened,
        span.dialect,
        span.operation,
        span.grade,
        span.convention,
        span.content,
        span.scope,
        _pairs(span.reported),
        None if not span.costs else msgspec.json.encode(span.costs).decode(),
        span.dropped,
        settled.flags,
        line.bytes.decode(),
        *origin(line, position),
    )


def price_book_row(line: Line, position: int) -> Row:
    """The row of an activated price book."""
    payload = msgspec.json.decode(line.bytes, type=PricesActivated)
    named = payload.object
    return (payload.book, payload.since, named.sha256, named.bytes, payload.actor, *origin(line, position))


def configuration_row(line: Line, position: int) -> Row:
    """The row of a configuration that came into force."""
    payload = msgspec.json.decode(line.bytes, type=ConfigurationLoaded)
    return (payload.digest, payload.object.sha256, payload.object.bytes, *origin(line, position))


def erasure_rows(line: Line, position: int) -> list[Row]:
    """One row for each digest of an erasure."""
    payload = msgspec.json.decode(line.bytes, type=PersonalErased)
    tail = (payload.basis, payload.actor, *origin(line, position))
    return [(payload.tenant, year, digest, *tail) for digest, year in sorted(payload.digests.items())]


def gap_rows(line: Line, position: int) -> list[Row]:
    """One row for each tenant of a gap."""
    payload = msgspec.json.decode(line.bytes, type=GapRecorded)
    tail = origin(line, position)
    return [(payload.since, payload.until, tenant, count, *tail) for tenant, count in sorted(payload.counts.items())]


def _rating_part(rating: Rating | None) -> Row:
    if rating is None:
        return (None, None, None, None, None, None, None)
    return (
        rating.number,
        rating.currency,
        rating.book,
        rating.adapter,
        rating.rater,
        rating.unpriced,
        rating.assumed,
    )


def _sums(line: Line, known: list[tuple[int | None, int | None, int | None]]) -> Amounts:
    if not known:
        return Amounts(0, 0, 0)
    listed, expected, recharge = [None if None in column else sum(column) for column in zip(*known, strict=True)]
    if max(listed or 0, expected or 0, recharge or 0) >= _AMOUNT_LIMIT:
        raise _impossible(line, "charges of a million or more do not fit one attempt")
    return Amounts(listed, expected, recharge)


def _amounts(line: Line, charge: Charge) -> tuple[int | None, int | None, int | None]:
    """List, expected and recharge of a line in picodollars."""
    _, _, _, listed, expected, recharge, _ = charge
    try:
        return (
            None if listed is None else _pico(listed),
            None if expected is None else _pico(expected),
            None if recharge is None else _pico(recharge),
        )
    except ValueError as error:
        raise _impossible(line, f"a charge's amount is {error}") from None


@lru_cache(maxsize=1 << 16)
def _pico(text: str) -> int:
    """An amount's picodollars. The same few amounts come again and again, often three times in one line."""
    amount = parse_amount(text)
    if amount < 0:
        raise ValueError(f"below zero: {text}")
    if amount >= _AMOUNT_LIMIT:
        raise ValueError(f"a million or more: {text}")
    return amount


def _impossible(line: Line, what: str) -> BrokenPromise:
    return BrokenPromise(
        f"lane {line.lane}, entry {line.sequence}: {what}; look at its price book (tollbook prices explain)"
    )


def _tags(request: Request) -> list[tuple[str, str]] | None:
    if request.tags is None and request.tags_digest is None:
        return None
    return sorted(((request.tags or {}) | (request.tags_digest or {})).items())


def _shares(shares: list[tuple[str, dict[str, int]]] | None) -> str | None:
    return None if not shares else msgspec.json.encode(dict(shares), order="sorted").decode()


def _pairs(counts: dict[str, int] | None) -> list[tuple[str, int]] | None:
    return sorted(counts.items()) if counts else None
