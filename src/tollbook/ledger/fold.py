"""Folding: the lines of one position become rows, and the state moves on. Pure.

The state is a function of the position: the attempts that are open and how far each lane has got. Lanes are read
independently, so an entry that names an opening in another lane (`attempt.unsettled`) may be folded before it; the
state remembers such openings (`ahead`) until they come.

What comes later of an attempt that was booked as unsettled (an estimate after its time, the vendor's evidence) is a
further row, and the row that stood so far is taken back by a row with its amounts and quantities below zero. So a
report at a position says what the book knew there, and one of today sums to what stands today.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from tollbook.core.faults import BrokenPromise
from tollbook.journal.entry import BatchClosed, LaneClosed, LaneOpened, RequestEntry, decode_request
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.replay import Batch
from tollbook.ledger.adjustments import adjustment_rows
from tollbook.ledger.evidence import Evidence, Heard, heard_of
from tollbook.ledger.lines import OpenBatch, differences
from tollbook.ledger.rows import (
    SPAN,
    Counted,
    Opened,
    Row,
    attempt_part,
    batch_facts,
    batch_row,
    charge_rows,
    closed_batch_row,
    configuration_row,
    erasure_rows,
    gap_rows,
    opened_of,
    origin,
    outcome_part,
    price_book_row,
    request_part,
    request_row,
    span_row,
    taken_back,
)
from tollbook.ledger.schema import ATTEMPTS
from tollbook.ledger.statement_rows import statement_row
from tollbook.ledger.structure_rows import registry_rows, transfer_rows
from tollbook.ledger.totals import Totals

Rows: TypeAlias = defaultdict[str, list[Row]]
"""Rows by table name."""

_LATER: Final = frozenset({"attempt.aged", "attempt.matched"})
_IS_UNSETTLED: Final = ATTEMPTS.names.index("unsettled_attempts")
_IS_UNREPORTED: Final = ATTEMPTS.names.index("unreported_attempts")
_KIND: Final = ATTEMPTS.names.index("kind")
_RATING: Final = ATTEMPTS.names.index("rating")
_REAPED_BY_NONE: Final = frozenset({"book", "supervisor"})
"""Roles whose lanes end with their own `lane.end`; the others are closed by the supervisor."""


class LaneState(Struct, omit_defaults=True):
    """How far a lane has been folded. `recorded` is the time of its last entry, `last` where `lane.closed` says it
    ends, `ahead` the openings in it that were settled by another lane's entry before they were folded."""

    sequence: int
    recorded: int
    ended: bool = False
    last: int | None = None
    ahead: list[int] = []


class Opening(Struct):
    """An open attempt: its opening line, or the row it was kept as when the ledger was opened anew."""

    position: int
    digest: str
    kind: str
    line: Line | None
    row: Row | None = None

    def as_row(self) -> Row:
        """The row in `open_attempts`, made when first asked for: most attempts are settled before."""
        if self.row is None:
            line = self.line
            assert line is not None
            entry = _decode(line)
            if entry.attempt is None:
                raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without an attempt")
            opened = Opened(line.kind, line.lane, line.sequence, line.digest, self.position)
            self.row = (*request_part(entry.request), *attempt_part(entry.attempt, line.recorded, opened))
            self.line = None
        return self.row


class Standing(Struct):
    """The row that stands for an attempt that was booked as unsettled, and its priced lines; or, `background`, for one
    whose work went on at the vendor."""

    row: Row
    charges: list[Row]
    background: bool = False


class State(Struct):
    """The ledger at a position, as far as folding needs it.

    `interrupted` are requests that a supervisor ended for a dead worker, until the worker's lane is closed: one that
    died over it says it again. `unsettled` are the attempts that were ever booked as such, or as work that goes on at
    the vendor, by lane and number of their opening, each with the row that stands for it. `batches` are those that are
    not closed, by the request that made each.
    """

    position: int = 0
    digest: str | None = None
    recorded: int = 0
    lanes: dict[str, LaneState] = {}
    open: dict[tuple[str, int], Opening] = {}
    interrupted: set[str] = set()
    unsettled: dict[tuple[str, int], Standing] = {}
    batches: dict[str, OpenBatch] = {}
    evidence: Evidence = msgspec.field(default_factory=Evidence)


def fold(state: State, batch: Batch, rows: Rows) -> None:
    """Add the rows of one position to `rows`, and move `state` to it.

    Raises BrokenPromise when the batch does not follow the state's position or an entry contradicts its kind.
    """
    if batch.position != state.position + 1:
        raise BrokenPromise(
            f"the ledger is at position {state.position} and was given {batch.position}; "
            "replay the journal from the ledger's position"
        )
    totals = Totals(batch.position)
    lanes = state.lanes
    for line in batch.lines:
        lane = lanes.get(line.lane)
        if lane is None:
            lane = lanes[line.lane] = LaneState(-1, line.recorded)
        lane.sequence = line.sequence
        lane.recorded = line.recorded
        step = _STEPS.get(line.kind)
        if step is not None:
            step(state, batch.position, line, rows, totals)
    for name in [name for name, lane in lanes.items() if _is_finished(name, lane)]:
        del lanes[name]
    rows["totals"] += totals.rows()
    state.position, state.digest, state.recorded = batch.position, batch.digest, batch.recorded
    kept = (encode_lanes(lanes), sorted(state.interrupted))
    rows["positions"].append((batch.position, batch.digest, batch.recorded, len(batch.lines), *kept))


def encode_lanes(lanes: dict[str, LaneState]) -> str:
    """The lanes' state as JSON text, lanes in order of name."""
    return msgspec.json.encode(lanes, order="sorted").decode()


def decode_lanes(text: str) -> dict[str, LaneState]:
    """The reverse of `encode_lanes`."""
    return msgspec.json.decode(text, type=dict[str, LaneState])


def _is_finished(name: str, lane: LaneState) -> bool:
    if lane.last is not None:
        return lane.sequence >= lane.last
    return lane.ended and name.split("-", 1)[0] in _REAPED_BY_NONE


def _decode(line: Line) -> RequestEntry:
    try:
        return decode_request(line.bytes)
    except UNREADABLE as error:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: not a {line.kind} entry: {error}") from None


def _open(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    ahead = state.lanes[line.lane].ahead
    if line.sequence in ahead:
        ahead.remove(line.sequence)
        return
    state.open[line.lane, line.sequence] = Opening(position, line.digest, line.kind, line)


def _settle(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    entry = _decode(line)
    attempt, settled, close = entry.attempt, entry.settlement, entry.close
    if attempt is None or settled is None:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without attempt and settlement")
    name = (entry.lane or line.lane, settled.sequence)
    standing = state.unsettled.get(name)
    if standing is not None:
        if line.kind == "attempt.unsettled":
            return  # a supervisor that died while it closed a lane says again what its predecessor had said
        if standing.background and standing.row[_KIND] == "attempt.matched":
            return  # what the vendor told first stands
        opened, found = opened_of(standing.row), False
        unreported = standing.row[_IS_UNREPORTED] if standing.background else 0
        counted = Counted(0, 0, -int(standing.row[_IS_UNSETTLED] > 0), unreported)
        _take_back(standing, line, position, rows, totals)
    elif line.kind in _LATER:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} of an attempt that awaits nothing")
    else:
        opened, found = _find_opening(state, position, line, entry, attempt.number, settled.sequence)
        if not found and line.kind == "attempt.unsettled":
            return  # its settlement stands in another lane
        unsettled = int(settled.outcome == "unsettled")
        counted = Counted(int(close is not None), 1, unsettled) if found else Counted(0, 0, unsettled - 1)
    charges, amounts = charge_rows(line, entry, position)
    asked = request_part(entry.request)
    row = (
        *asked,
        *attempt_part(attempt, settled.opened, opened),
        *outcome_part(attempt, settled, entry.rating, amounts, close.route if close else None, counted),
        *origin(line, position),
    )
    rows["attempts"].append(row)
    rows["charges"] += charges
    totals.add(entry, amounts, charges, row)
    background = standing.background if standing is not None else "background" in (settled.flags or ())
    if standing is not None or background or line.kind == "attempt.unsettled":
        state.unsettled[name] = Standing(row, charges, background)
    if close is not None:
        rows["requests"].append(request_row(asked, line, entry, position))
    _witnessed(state, position, line, entry, rows, totals)


def _take_back(standing: Standing, line: Line, position: int, rows: Rows, totals: Totals) -> None:
    """Undo what stood for an attempt, if it had a usage or an amount."""
    if standing.row[_RATING] is None:
        return
    row, charges = taken_back(standing.row, standing.charges, line, position)
    rows["attempts"].append(row)
    rows["charges"] += charges
    totals.take_back(row, charges)


def _find_opening(
    state: State, position: int, line: Line, entry: RequestEntry, number: int, sequence: int
) -> tuple[Opened, bool]:
    """Where the attempt was opened, and whether this is its first settlement."""
    name = entry.lane or line.lane
    opening = state.open.pop((name, sequence), None)
    if opening is not None:
        return Opened(opening.kind, name, sequence, opening.digest, opening.position), True
    lane = state.lanes.get(name)
    if lane is None:
        lane = state.lanes[name] = LaneState(-1, line.recorded)
    is_ahead = sequence > lane.sequence and sequence not in lane.ahead
    if is_ahead:
        lane.ahead = sorted([*lane.ahead, sequence])
    kind = "request.opened" if number == 1 else "attempt.opened"
    return Opened(kind, name, sequence, None, position), is_ahead


def _batch_opened(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    facts = batch_facts(line)
    if facts[0] not in state.batches:  # else a scribe that died after writing it said it again
        state.batches[facts[0]] = OpenBatch(facts, set(), {})
        rows["batches"].append(batch_row(facts, line, position))


def _line_settled(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    """One line of a batch: a request and its attempt in one entry, which is also its opening."""
    entry = _decode(line)
    attempt, settled, close = entry.attempt, entry.settlement, entry.close
    if attempt is None or settled is None or close is None:
        raise BrokenPromise(
            f"lane {line.lane}, entry {line.sequence}: {line.kind} without attempt, settlement or close"
        )
    batch = state.batches.get(entry.request.parent_request_id or "")
    if batch is not None and not batch.add(entry.request.id, settled.outcome, settled.usage or {}):
        return  # a scribe that died after writing it said it again
    opened = Opened(line.kind, line.lane, line.sequence, line.digest, position)
    charges, amounts = charge_rows(line, entry, position)
    asked = request_part(entry.request)
    row = (
        *asked,
        *attempt_part(attempt, settled.opened, opened),
        *outcome_part(attempt, settled, entry.rating, amounts, close.route, Counted(1, 1, 0)),
        *origin(line, position),
    )
    rows["attempts"].append(row)
    rows["charges"] += charges
    rows["requests"].append(request_row(asked, line, entry, position))
    totals.add(entry, amounts, charges, row)
    _witnessed(state, position, line, entry, rows, totals)


def _span_settled(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    """A span: it counts if no better evidence tells of the same answer, and takes the place of worse."""
    entry = _decode(line)
    rows["spans"].append(span_row(line, entry, position))
    _apply(state.evidence.hear(heard_of(line, entry)), position, line, rows, totals)


def _witnessed(state: State, position: int, line: Line, entry: RequestEntry, rows: Rows, totals: Totals) -> None:
    """An attempt of the gateway's own: spans that tell of the same answer do not count."""
    settled = entry.settlement
    if state.evidence.active and settled is not None and settled.response_id is not None:
        changes = state.evidence.witness(entry.request.tenant, settled.response_id, settled.opened)
        _apply(changes, position, line, rows, totals)


def _apply(changes: tuple[list[Heard], list[Heard]], position: int, cause: Line, rows: Rows, totals: Totals) -> None:
    """Take back the spans that count no more, and count those that do now."""
    gone, come = changes
    for heard in gone:
        _, row, charges = _counted_span(heard, heard.line, position)
        undone, lines = taken_back(row, charges, cause, position, whole=True)
        rows["attempts"].append(undone)
        rows["charges"] += lines
        totals.take_back(undone, lines)
    for heard in come:
        entry, row, charges = _counted_span(heard, cause, position)
        rows["attempts"].append(row)
        rows["charges"] += charges
        rows["requests"].append(request_row(request_part(entry.request), cause, entry, position))
        totals.add(entry, charge_rows(cause, entry, position)[1], charges, row)


def _counted_span(heard: Heard, cause: Line, position: int) -> tuple[RequestEntry, Row, list[Row]]:
    """The rows of a span that counts, because of the entry `cause`."""
    line, entry = heard.line, _decode(heard.line)
    attempt, settled, close = entry.attempt, entry.settlement, entry.close
    if attempt is None or settled is None or close is None:
        raise BrokenPromise(
            f"lane {line.lane}, entry {line.sequence}: {line.kind} without attempt, settlement or close"
        )
    opened = Opened(line.kind, line.lane, line.sequence, line.digest, position)
    charges, amounts = charge_rows(cause, entry, position)
    row = (
        *request_part(entry.request),
        *attempt_part(attempt, settled.opened, opened),
        *outcome_part(attempt, settled, entry.rating, amounts, close.route, Counted(1, 1, 0), SPAN),
        *origin(cause, position),
    )
    return entry, row, charges


def _batch_closed(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    said = msgspec.json.decode(line.bytes, type=BatchClosed)
    batch = state.batches.pop(said.request_id, None)
    if batch is not None:
        differs = differences(said.told, batch.settled)
        rows["batches"].append(closed_batch_row(batch.facts, said, batch.settled, differs, line, position))


def _close(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    entry = _decode(line)
    if entry.close is None:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without a close")
    if entry.close.attempts:
        if entry.request.id in state.interrupted:
            return
        state.interrupted.add(entry.request.id)
    row = request_row(request_part(entry.request), line, entry, position)
    rows["requests"].append(row)
    totals.add_bare(entry, row)


def _lane_opened(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    name = msgspec.json.decode(line.bytes, type=LaneOpened).lane
    if name not in state.lanes:
        state.lanes[name] = LaneState(-1, line.recorded)


def _lane_closed(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    closed = msgspec.json.decode(line.bytes, type=LaneClosed)
    lane = state.lanes.get(closed.lane)
    if lane is not None:
        lane.ended, lane.last = True, closed.last
    if closed.role not in _REAPED_BY_NONE:
        state.interrupted.clear()


def _lane_ended(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    state.lanes[line.lane].ended = True


def _prices_activated(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["price_books"].append(price_book_row(line, position))


def _configuration_loaded(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["configurations"].append(configuration_row(line, position))


def _personal_erased(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["erasures"] += erasure_rows(line, position)


def _gap_recorded(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["gaps"] += gap_rows(line, position)


def _registry_changed(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["registry"] += registry_rows(line, position)


def _statement_imported(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["statements"].append(statement_row(line, position))


def _transfer_posted(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["transfers"] += transfer_rows(line, position)


def _adjustment_posted(state: State, position: int, line: Line, rows: Rows, totals: Totals) -> None:
    rows["adjustments"] += adjustment_rows(line, position)


_STEPS: Final[dict[str, Callable[[State, int, Line, Rows, Totals], None]]] = {
    "request.opened": _open,
    "attempt.opened": _open,
    "attempt.settled": _settle,
    "request.settled": _settle,
    "attempt.unsettled": _settle,
    "attempt.aged": _settle,
    "attempt.matched": _settle,
    "request.closed": _close,
    "batch.opened": _batch_opened,
    "line.settled": _line_settled,
    "span.settled": _span_settled,
    "batch.closed": _batch_closed,
    "lane.opened": _lane_opened,
    "lane.closed": _lane_closed,
    "lane.end": _lane_ended,
    "prices.activated": _prices_activated,
    "configuration.loaded": _configuration_loaded,
    "personal.erased": _personal_erased,
    "gap.recorded": _gap_recorded,
    "registry.changed": _registry_changed,
    "transfer.posted": _transfer_posted,
    "adjustment.posted": _adjustment_posted,
    "statement.imported": _statement_imported,
}
"""What each kind of entry does. The kinds that are not here say nothing that a table holds."""
