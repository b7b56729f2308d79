"""The supervisor's own lane: registers lanes before their writers start, closes them after their writers ended."""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.assembly.boot import LaneNames
from tollbook.assembly.child import say
from tollbook.assembly.lanes import REAPED, Left, begin
from tollbook.core.clock import now
from tollbook.core.faults import JournalUnavailable, Tampered
from tollbook.journal.book import Book
from tollbook.journal.closing import Remains, drop_torn, is_live, remove_unborn
from tollbook.journal.entry import LaneClosed, LaneOpened, encode_payload
from tollbook.journal.lane import Lane
from tollbook.journal.tail import lane_directories, read_lane

RETRY_SECONDS: Final = 1.0
BIRTH_SECONDS: Final = 30
"""How long a worker that was started by a former supervisor may take to make the lanes registered for it."""


class Registrar:
    """Writes `lane.opened`, `attempt.unsettled` and `lane.closed`. When its lane fails it goes on in a new one."""

    def __init__(self, book: Book, release: str, configuration: str, ballast: int) -> None:
        self._book: Final = book
        self._release: Final = release
        self._configuration: Final = configuration
        self._ballast: Final = ballast
        self._closed: set[str] = set()
        self._mine: set[str] = set()
        self._lane = self._new_lane()

    @property
    def lane(self) -> str:
        return self._lane.name

    def register(self) -> LaneNames:
        """Two new lanes for a worker, on record. Raises JournalUnavailable."""
        names = LaneNames(self._book.new_lane_name("worker"), self._book.new_lane_name("spare"))
        self._mine |= {names.main, names.spare}
        for name, role in ((names.main, "worker"), (names.spare, "spare")):
            self._append("lane.opened", LaneOpened(lane=name, role=role))
        self._lane.sync()
        return names

    def record(self, kind: str, payload: Struct) -> None:
        """One entry, durable. Raises JournalUnavailable."""
        self._append(kind, payload)
        self._lane.sync()

    def heartbeat(self) -> None:
        """Write the lane's running counts; a failed lane is replaced when the disk lets us."""
        with contextlib.suppress(JournalUnavailable):
            self._usable_lane().heartbeat()

    async def close_lanes(self, names: Iterable[str], reason: str) -> None:
        """Put the end of lanes on record that take no more entries, while their writer still runs."""
        for name in names:
            if name not in self._closed:
                left = await asyncio.to_thread(Left, self._present([name]))
                await self._close(name, left.remains.get(name), reason)

    async def reap(self, names: Iterable[str], reason: str) -> None:
        """After a writer's death: mark what it left open as unsettled, put the end of its lanes on record."""
        names = list(names)
        directories = self._present(names)
        torn = {directory.name: drop_torn(directory) for directory in directories}
        left = await asyncio.to_thread(Left, directories)
        await self._finish(names, left, torn, reason)

    async def reap_former(self) -> bool:
        """Do the same for the lanes of a former supervisor's run. False while a writer of one lives, or may come."""
        remove_unborn(self._book.root)
        former = [path for path in lane_directories(self._book.root) if self._is_former(path)]
        if any(is_live(path) for path in former):
            return False
        supervisors = [path for path in former if path.name.startswith("supervisor-")]
        words = await asyncio.to_thread(FormerWords, supervisors)
        unborn = [name for name in words.opened if not self._book.lane_directory(name).is_dir()]
        if any(name not in words.closed and words.opened[name] + BIRTH_SECONDS * SECOND > now() for name in unborn):
            return False
        self._closed |= words.closed
        # In the order in which they were registered, since a lane may settle what an earlier one opened; those of
        # supervisors last, since they hold the words by which a second try knows what the first has done.
        order = {name: place for place, name in enumerate(words.opened)}
        written = sorted((path.name for path in former if path not in supervisors), key=lambda name: order.get(name, 0))
        names = [*unborn, *written, *(path.name for path in supervisors)]
        if names:
            await self._reap_dead(names)
        return True

    def close(self, reason: str) -> None:
        self._lane.close(reason)

    # --- within

    def _is_former(self, path: Path) -> bool:
        """Book lanes are the scribe's to close; those registered in this run are reaped with their worker."""
        mine = path.name in self._mine or path.name.startswith("book-")
        return not mine and not (path / REAPED).exists()

    async def _reap_dead(self, names: list[str]) -> None:
        directories = self._present(names)
        torn = {directory.name: drop_torn(directory) for directory in directories}
        left = await asyncio.to_thread(Left, directories)
        await self._finish(names, left, torn, "died")

    async def _finish(self, names: list[str], left: Left, torn: dict[str, int], reason: str) -> None:
        for entry in left.unsettled:
            await self._insist("attempt.unsettled", entry)
        for entry in left.interrupted:
            await self._insist("request.closed", entry)
        for name, fault in left.broken.items():
            say(f"lane {name} is left as it is: {fault}")
        sound = [name for name in names if name not in left.broken]
        for name in sound:
            await self._close(name, left.remains.get(name), torn.get(name, 0), reason)
        self._lane.sync()
        for name in sound:
            directory = self._book.lane_directory(name)
            if directory.is_dir():
                (directory / REAPED).touch(mode=0o600)

    async def _close(self, name: str, remains: Remains | None, reason: str) -> None:
        if name in self._closed:
            return
        role = name.partition("-")[0]
        closed = LaneClosed(lane=name, role=role, reason=reason)
        if remains is not None:
            closed = LaneClosed(
                lane=name,
                role=role,
                reason=reason,
                last=remains.sequence,
                digest=remains.digest,
                torn=remains.torn,
            )
        await self._insist("lane.closed", closed)
        self._closed.add(name)

    async def _insist(self, kind: str, payload: Struct) -> None:
        """Write an entry however long the disk refuses: it is written once, because a failed append leaves nothing."""
        while True:
            try:
                self._append(kind, payload)
            except JournalUnavailable as fault:
                say(str(fault))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _append(self, kind: str, payload: Struct) -> None:
        if self._lane.dead is not None:
            failed = self._lane
            with contextlib.suppress(JournalUnavailable):
                failed.release_ballast()
            self._lane = self._new_lane()
        self._lane.append(kind, encode_payload(payload))

    def _new_lane(self) -> Lane:
        name = self._book.new_lane_name("supervisor")
        self._mine.add(name)
        first = begin(self._book.id, name, "supervisor", self._release, self._configuration, known_heads(self._book))
        return Lane.create(self._book.lane_directory(name), first, ballast=self._ballast, clock=now)

    def _present(self, names: Iterable[str]) -> list[Path]:
        paths = (self._book.lane_directory(name) for name in names)
        return [path for path in paths if path.is_dir()]


def known_heads(book: Book) -> str | None:
    """The digest of the last heads that the scribe told of; None when there is none yet."""
    try:
        return (book.root / "run" / "heads").read_text() or None
    except FileNotFoundError:
        return None


def _closed_by(supervisors: list[Path]) -> set[str]:
    """The lanes whose end former supervisors have already put on record."""
    closed: set[str] = set()
    for directory in supervisors:
        with contextlib.suppress(Tampered):
            for line in read_lane(directory):
                if line.kind == "lane.closed":
                    closed.add(msgspec.json.decode(line.bytes, type=LaneClosed).lane)
    return closed
