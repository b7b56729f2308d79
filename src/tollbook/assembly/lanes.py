"""The lanes of one worker, and the closing of lanes whose writer has gone."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tollbook.assembly.boot import LaneNames, WorkerBoot
from tollbook.core.faults import JournalUnavailable, Tampered
from tollbook.journal.closing import Remains, ended_in_order, examine, interrupted, unsettled
from tollbook.journal.entry import FORMAT, LaneBegin
from tollbook.journal.lane import Lane
from tollbook.journal.sync import GroupSync


def begin(book: str, lane: str, role: str, release: str, configuration: str, heads: str | None) -> LaneBegin:
    """The first line of a lane written by this process."""
    return LaneBegin(
        book=book,
        lane=lane,
        role=role,
        format=FORMAT,
        release=release,
        configuration=configuration,
        host=socket.gethostname(),
        process=os.getpid(),
        heads=heads,
    )


class WorkerLanes:
    """A worker's lane and its spare, each with a thread that syncs it. Lanes that failed stay locked until the worker
    ends, because what was opened in them may still be settled by it elsewhere. `configuration` is the digest of the one
    in force, which new lanes are bound to."""

    def __init__(self, boot: WorkerBoot) -> None:
        self._boot: Final = boot
        self.configuration = boot.policy.settings.digest
        self._kept: Final[list[tuple[Lane, GroupSync]]] = []
        self.main, self._sync, self.spare = self._open(boot.lanes)

    def durable(self, sequence: int, then: Callable[[Exception | None], None]) -> None:
        """Call back, on the loop, once an entry of the lane in use is on disk."""
        loop = asyncio.get_running_loop()
        self._sync.request(sequence, lambda fault: _back(loop, then, fault))

    def replace(self, names: LaneNames) -> None:
        """Go on with new lanes. Raises JournalUnavailable when they cannot be made."""
        self.main, self._sync, self.spare = self._open(names)

    def retire(self) -> None:
        """End the spares of before: nothing was opened in them, and what they settled is written."""
        for lane, sync in self._kept:
            if lane.dead is None and lane not in (self.main, self.spare):
                _end(lane, sync, "replaced")

    def dead(self) -> list[str]:
        """The lanes that take no more entries."""
        return [lane.name for lane, _ in self._kept if lane.dead is not None]

    def unused(self, names: LaneNames) -> list[str]:
        """Which of some registered lanes were never made."""
        made = {lane.name for lane, _ in self._kept}
        return [name for name in (names.main, names.spare) if name not in made]

    def close(self, reason: str) -> None:
        """End all lanes."""
        for lane, sync in self._kept:
            _end(lane, sync, reason)

    def _open(self, names: LaneNames) -> tuple[Lane, GroupSync, Lane]:
        journal = self._boot.policy.settings.journal
        # The spare first: when it has its ballast, the disk has room for what is in flight.
        spare = self._create(names.spare, "spare", journal.ballast)
        try:
            main = self._create(names.main, "worker", 0)
        except JournalUnavailable:
            spare.close("unused")
            raise
        for lane in (spare, main):
            self._kept.append((lane, GroupSync(lane, journal.sync)))
        return main, self._kept[-1][1], spare

    def _create(self, name: str, role: str, ballast: int) -> Lane:
        boot, journal = self._boot, self._boot.policy.settings.journal
        first = begin(boot.book, name, role, boot.release, self.configuration, boot.heads)
        return Lane.create(
            Path(boot.root) / "lanes" / name,
            first,
            ballast=ballast,
            segment_bytes=journal.segment_bytes,
            segment_age_s=journal.segment_age,
        )


def _end(lane: Lane, sync: GroupSync, reason: str) -> None:
    """End a lane; one that cannot be ended is left for the supervisor to close."""
    sync.stop()
    with contextlib.suppress(JournalUnavailable):
        lane.close(reason)


def _back(loop: asyncio.AbstractEventLoop, then: Callable[[Exception | None], None], fault: Exception | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(then, fault)


class Left:
    """What the lanes of one or more dead writers leave: how each ended, which attempts nobody settled, which requests
    were to have another attempt. A lane that does not verify is `broken`: it is left as it is, for people to look at.
    """

    def __init__(self, directories: Iterable[Path], borne_by: str = "platform") -> None:
        lanes = list(directories)
        told = [(directory.name, ended_in_order(directory)) for directory in lanes]
        # One lane may settle what another opened, so it is all of them or none.
        whole = {name: remains for name, remains in told if remains is not None}
        self.remains: Final[dict[str, Remains]] = whole if len(whole) == len(lanes) else {}
        self.broken: Final[dict[str, Tampered]] = {}
        last: Remains | None = None
        for directory in () if self.remains else lanes:
            try:
                last = self.remains[directory.name] = examine(directory, last)
            except Tampered as fault:
                self.broken[directory.name] = fault
        self.unsettled: Final = unsettled(last, borne_by) if last is not None else []
        self.interrupted: Final = interrupted(last) if last is not None else []
