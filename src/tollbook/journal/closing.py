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
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BookLocked, BrokenPromise
from tollbook.core.vocabulary import weakest_basis
from tollbook.journal.entry import Attempt, Close, Request, RequestEntry, Settlement, decode_request
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.segment import BALLAST, LOCK, segments
from tollbook.journal.tail import LaneTail


class OpenAttempt(Struct, frozen=True):
    """An attempt without a settlement, and where and when it was opened."""

    attempt: Attempt
    lane: str
    sequence: int
    recorded: int


class OpenRequest(Struct):
    """A request without an end. `made` is the number of its last attempt, `targets` the route so far; `bases` and
    `outcome` are of the attempts that were settled; `attempts` the others, by lane and sequence of their opening."""

    request: Request
    arrived: int
    made: int = 0
    targets: list[str] = []
    attempts: dict[tuple[str, int], OpenAttempt] = {}
    bases: list[str] = []
    outcome: str = "unsettled"


class Remains(Struct, frozen=True):
    """What a lane holds. `sequence`, `digest` and `recorded` are of its last good line (-1 and None when it has none);
    `torn` counts the bytes after it; `ended`: its writer closed it; `requests` are those without an end, by id."""

    lane: str
    sequence: int
    digest: str | None
    recorded: int
    torn: int
    ended: bool
    requests: dict[str, OpenRequest]


class _Named(Struct):
    id: str


class _Ended(Struct):
    sequence: int
    outcome: str
    basis: str = "unreported"


class _Settled(Struct):
    """What of a settling entry says which attempt it settles, and how."""

    request: _Named
    settlement: _Ended
    lane: str | None = None


class _Closed(Struct):
    request: _Named


_settled_decoder: Final = msgspec.json.Decoder(_Settled)
_closed_decoder: Final = msgspec.json.Decoder(_Closed)


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

    `before` are the remains of the same writer's earlier lane: what was open there may have been settled here, and
    what still is open is carried on.

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


def unsettled(remains: Remains) -> list[RequestEntry]:
    """The payloads of `attempt.unsettled`: one for each attempt without a settlement. The last one of a request also
    carries its end."""
    entries = []
    for pending in remains.requests.values():
        opened = sorted(pending.attempts.values(), key=lambda open_attempt: open_attempt.attempt.number)
        for index, open_attempt in enumerate(opened):
            entries.append(
                RequestEntry(
                    request=pending.request,
                    attempt=open_attempt.attempt,
                    settlement=Settlement(
                        opened=open_attempt.recorded, sequence=open_attempt.sequence, outcome="unsettled"
                    ),
                    close=_close(pending, "unsettled", None) if index == len(opened) - 1 else None,
                    lane=open_attempt.lane,
                )
            )
    return entries


def interrupted(remains: Remains) -> list[RequestEntry]:
    """The payloads of `request.closed` for requests whose attempts are all settled, but which were to have another.

    They end as their last attempt did; `error` is `interrupted`.
    """
    return [
        RequestEntry(
            request=pending.request, close=_close(pending, pending.outcome, "interrupted"), opened=pending.arrived
        )
        for pending in remains.requests.values()
        if not pending.attempts
    ]


def _take(requests: dict[str, OpenRequest], line: Line) -> None:
    """Take one entry into account."""
    try:
        if line.kind in ("request.opened", "attempt.opened"):
            _open(requests, line, decode_request(line.bytes))
        elif line.kind == "attempt.settled":
            _settle(requests, line)
        elif line.kind in ("request.settled", "request.closed"):
            requests.pop(_closed_decoder.decode(line.bytes).request.id, None)
    except UNREADABLE as error:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: not a {line.kind} entry: {error}") from error


def _open(requests: dict[str, OpenRequest], line: Line, entry: RequestEntry) -> None:
    attempt = entry.attempt
    if attempt is None:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without an attempt")
    pending = requests.get(entry.request.id)
    if pending is None:
        pending = requests[entry.request.id] = OpenRequest(entry.request, arrived=line.recorded)
    pending.made = max(pending.made, attempt.number)
    target = f"{attempt.vendor}/{attempt.model_sent}"
    if not pending.targets or pending.targets[-1] != target:
        pending.targets.append(target)
    pending.attempts[line.lane, line.sequence] = OpenAttempt(attempt, line.lane, line.sequence, line.recorded)


def _settle(requests: dict[str, OpenRequest], line: Line) -> None:
    settled = _settled_decoder.decode(line.bytes)
    pending = requests.get(settled.request.id)
    if pending is not None:
        pending.attempts.pop((settled.lane or line.lane, settled.settlement.sequence), None)
        pending.bases.append(settled.settlement.basis)
        pending.outcome = settled.settlement.outcome


def _close(pending: OpenRequest, outcome: str, error: str | None) -> Close:
    return Close(
        outcome=outcome,
        attempts=pending.made,
        route=">".join(pending.targets),
        error=error,
        basis=weakest_basis(pending.bases + ["unreported"] * len(pending.attempts)),
        client="gone",
    )


def _end_of_whole_lines(descriptor: int) -> int:
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\n") + 1
