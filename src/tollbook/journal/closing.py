"""What a dead writer left: where its lane ends, and what it had begun and not finished.

A writer that dies of `kill -9` closes nothing. Whoever reaps it examines its lanes, drops the line it was in the
middle of, and records what is still open as unsettled: an attempt that may have reached a vendor is never silent.
"""

import copy
import fcntl
import mmap
import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BookLocked, BrokenPromise
from tollbook.core.vocabulary import weakest_basis
from tollbook.journal.entry import (
    LINE_LIMIT,
    Attempt,
    Close,
    LaneCounts,
    Request,
    RequestEntry,
    Settlement,
    decode_request,
    read_head,
)
from tollbook.journal.line import Line
from tollbook.journal.segment import BALLAST, LOCK, segments
from tollbook.journal.tail import LaneTail


class OpenAttempt(Struct, frozen=True):
    """An attempt without a settlement, and where and when it was opened."""

    attempt: Attempt
    lane: str
    sequence: int
    recorded: int


class OpenRequest(Struct):
    """What is known of a request that is not over. Its entries may stand in several lanes, which may be read in any
    order: `request` and `arrived` are None until its opening was read; `ended` is set when its end was read first, to
    the number of its attempts.

    `targets`, `settled` (outcome and basis) and `attempts` (those without a settlement) are by number of the attempt.
    """

    request: Request | None = None
    arrived: int | None = None
    ended: int | None = None
    targets: dict[int, str] = {}
    settled: dict[int, tuple[str, str]] = {}
    attempts: dict[int, OpenAttempt] = {}

    @property
    def is_over(self) -> bool:
        """Whether its end was read, and all that belongs to it, so that it can be forgotten."""
        return self.arrived is not None and self.ended is not None and self.ended <= len(self.targets)


class Remains(Struct, frozen=True):
    """What a lane holds. `sequence`, `digest` and `recorded` are of its last good line (-1 and None when it has none);
    `torn` counts the bytes after it; `ended`: its writer closed it; `requests` are those not over, by id."""

    lane: str
    sequence: int
    digest: str | None
    recorded: int
    torn: int
    ended: bool
    requests: dict[str, OpenRequest]


class _Named(Struct):
    id: str


class _Numbered(Struct):
    number: int


class _Outcome(Struct):
    outcome: str
    basis: str = "unreported"


class _Made(Struct):
    attempts: int = 1


class _Settled(Struct):
    """What of a settling entry says which attempt it settles, how, and whether it ends the request."""

    request: _Named
    attempt: _Numbered
    settlement: _Outcome
    close: _Made | None = None


class _Closed(Struct):
    request: _Named
    close: _Made


_settled_decoder: Final = msgspec.json.Decoder(_Settled)
_closed_decoder: Final = msgspec.json.Decoder(_Closed)
_end_decoder: Final = msgspec.json.Decoder(LaneCounts)


def is_live(directory: Path) -> bool:
    """Whether the process that writes a lane is still there: it holds the lane's lock until it closes it or dies."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def examine(directory: Path, before: Remains | None = None) -> Remains:
    """Read a lane through, checking its chain. Only what is open is kept in memory.

    A writer whose lane failed settles in another one what it opened in the first: `before` are the remains of such a
    lane, taken on here. With the remains of each handed to the next, in any order, the last ones hold what is open in
    all of them together, what a supervisor has already marked unsettled in a lane of its own excepted.

    Raises Tampered when whole lines do not follow one another, BrokenPromise when one is not what its kind says.
    """
    requests = copy.deepcopy(before.requests) if before is not None else {}
    kind = None
    with LaneTail(directory) as tail:
        while lines := tail.read():
            for line in lines:
                _take(requests, line)
            kind = lines[-1].kind
        return Remains(
            lane=tail.name,
            sequence=tail.sequence,
            digest=tail.digest,
            recorded=tail.recorded,
            torn=tail.torn,
            ended=kind == "lane.end",
            requests=requests,
        )


def ended_in_order(directory: Path) -> Remains | None:
    """What a lane holds whose writer closed it, with as many attempts settled as opened: its last line tells, and a
    lane of many gigabytes need not be read. None when that does not hold: then `examine` says.

    That the chain holds is for `verify` to say, as of every lane that nobody reaps.
    """
    found = segments(directory)
    if not found or found[-1].sealed:
        return None
    with found[-1].path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - LINE_LIMIT - 2))
        whole, _, rest = file.read().rpartition(b"\n")
    last = whole.rpartition(b"\n")[2]
    head = read_head(last)
    if rest or head is None or head.kind != "lane.end":
        return None
    try:
        counts = _end_decoder.decode(last).counts
    except msgspec.MsgspecError:
        return None
    opened = counts.get("request.opened", 0) + counts.get("attempt.opened", 0)
    settled = counts.get("request.settled", 0) + counts.get("attempt.settled", 0)
    if opened != settled:
        return None
    return Remains(
        lane=directory.name,
        sequence=head.sequence,
        digest=sha256(last).hexdigest(),
        recorded=head.recorded,
        torn=0,
        ended=True,
        requests={},
    )


def drop_torn(directory: Path) -> int:
    """Remove what a dead writer left after its last whole line, and its ballast; how many bytes the line had.

    A line without its newline was never acknowledged to anyone. Raises BookLocked when the writer lives.
    """
    if is_live(directory):
        raise BookLocked(f"lane {directory.name} is being written: end its process first")
    with suppress(FileNotFoundError):
        (directory / BALLAST).unlink()
    found = segments(directory)
    if not found or found[-1].sealed:
        return 0
    with found[-1].path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        whole = _end_of_whole_lines(file.fileno()) if size else 0
        if whole < size:
            file.truncate(whole)
            os.fsync(file.fileno())
    return size - whole


def remove_unborn(book_root: Path) -> list[str]:
    """Remove what processes left that died while they created a lane, before it appeared; the names removed."""
    removed = []
    for directory in sorted((book_root / "lanes").glob(".*.new")):
        if not is_live(directory):
            shutil.rmtree(directory)
            removed.append(directory.name)
    return removed


def unsettled(remains: Remains, borne_by: str = "platform") -> list[RequestEntry]:
    """The payloads of `attempt.unsettled`: one for each attempt without a settlement, borne as told. The last one of a
    request also carries its end."""
    entries = []
    for pending in remains.requests.values():
        for number, opened in sorted(pending.attempts.items()):
            assert pending.request is not None, "an attempt is opened together with its request"
            settlement = Settlement(
                opened=opened.recorded,
                sequence=opened.sequence,
                outcome="unsettled",
                borne_by=borne_by,
                next="give_up",
            )
            close = _close(pending, "unsettled", None) if number == max(pending.attempts) else None
            entries.append(
                RequestEntry(
                    request=pending.request,
                    attempt=opened.attempt,
                    settlement=settlement,
                    close=close,
                    lane=opened.lane,
                )
            )
    return entries


def interrupted(remains: Remains) -> list[RequestEntry]:
    """The payloads of `request.closed` for requests whose attempts are all settled, but which were to have another.

    They end as their last attempt did; `error` is `interrupted`.
    """
    entries = []
    for pending in remains.requests.values():
        # One that ended, or whose opening was not read, is known by its marks only: its end is not ours to tell.
        if pending.request is None or pending.arrived is None or pending.ended is not None or pending.attempts:
            continue
        outcome, _ = pending.settled[max(pending.settled)]
        close = _close(pending, outcome, "interrupted")
        entries.append(RequestEntry(request=pending.request, close=close, opened=pending.arrived))
    return entries


def _take(requests: dict[str, OpenRequest], line: Line) -> None:
    """Take one entry into account."""
    try:
        if line.kind in ("request.opened", "attempt.opened"):
            _open(requests, line, decode_request(line.bytes))
        elif line.kind in ("attempt.settled", "request.settled", "attempt.unsettled"):
            _settle(requests, _settled_decoder.decode(line.bytes))
        elif line.kind == "request.closed":
            closed = _closed_decoder.decode(line.bytes)
            if closed.close.attempts:
                _end(requests, closed.request.id, closed.close.attempts)
    except msgspec.MsgspecError as error:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: not a {line.kind} entry: {error}") from error


def _open(requests: dict[str, OpenRequest], line: Line, entry: RequestEntry) -> None:
    attempt = entry.attempt
    if attempt is None:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without an attempt")
    pending = requests.setdefault(entry.request.id, OpenRequest())
    pending.request = entry.request
    if line.kind == "request.opened":
        pending.arrived = line.recorded
    pending.targets[attempt.number] = f"{attempt.vendor}/{attempt.model_sent}"
    if attempt.number not in pending.settled and pending.ended is None:
        pending.attempts[attempt.number] = OpenAttempt(attempt, line.lane, line.sequence, line.recorded)
    if pending.is_over:
        del requests[entry.request.id]


def _settle(requests: dict[str, OpenRequest], entry: _Settled) -> None:
    number, settlement = entry.attempt.number, entry.settlement
    pending = requests.setdefault(entry.request.id, OpenRequest())
    pending.attempts.pop(number, None)
    pending.settled[number] = settlement.outcome, settlement.basis
    if entry.close is not None:
        _end(requests, entry.request.id, entry.close.attempts)


def _end(requests: dict[str, OpenRequest], name: str, attempts: int) -> None:
    """Forget a request that is over; of one whose openings stand in a lane not read yet, remember that it is."""
    pending = requests.setdefault(name, OpenRequest())
    pending.ended = attempts
    pending.attempts.clear()
    if pending.is_over:
        del requests[name]


def _close(pending: OpenRequest, outcome: str, error: str | None) -> Close:
    route: list[str] = []
    for _, target in sorted(pending.targets.items()):
        if target not in route[-1:]:
            route.append(target)
    bases = [basis for _, basis in pending.settled.values()] + ["unreported"] * len(pending.attempts)
    return Close(
        outcome=outcome,
        attempts=max(pending.targets),
        route=">".join(route),
        reason=None,
        error=error,
        basis=weakest_basis(bases),
        client="gone",
    )


def _end_of_whole_lines(descriptor: int) -> int:
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\n") + 1
