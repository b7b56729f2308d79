"""The supervisor's own lane: registers lanes before their writers start, closes them after their writers ended."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.assembly.boot import LaneNames
from tollbook.assembly.child import say
from tollbook.assembly.lanes import Left, begin
from tollbook.core.clock import SECOND, now
from tollbook.core.faults import JournalUnavailable, Tampered
from tollbook.journal.book import Book
from tollbook.journal.closing import Remains, drop_torn, is_live, remove_unborn
from tollbook.journal.entry import LaneClosed, LaneOpened, encode_payload
from tollbook.journal.lane import Lane
from tollbook.journal.line import Line
from tollbook.journal.segment import REAPED
from tollbook.journal.tail import lane_directories, read_lane

RETRY_SECONDS: Final = 1.0
BIRTH_SECONDS: Final = 5
"""How long after its supervisor's death a worker could still make the lanes that were registered for it: it looks
whether the supervisor is there just before."""


class Registrar:
    """Writes `lane.opened`, `attempt.unsettled` and `lane.closed`. When its lane fails it goes on in a new one.

    `borne_by` is who bears an attempt whose worker died.
    """

    def __init__(self, book: Book, release: str, configuration: str, ballast: int, borne_by: str = "platform") -> None:
        self._book: Final = book
        self._release: Final = release
        self._configuration = configuration
        self._ballast: Final = ballast
        self._borne_by = borne_by
        self._closed: set[str] = set()
        self._mine: set[str] = set()
        self._lane = self._new_lane()

    def go_by(self, configuration: str, borne_by: str) -> None:
        """Bind new lanes to another configuration, whose rules say who bears what died."""
        self._configuration, self._borne_by = configuration, borne_by

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

    def register_one(self, role: str) -> str:
        """A new lane for a writer of another role, on record. Raises JournalUnavailable."""
        name = self._book.new_lane_name(role)
        self._mine.add(name)
        self._append("lane.opened", LaneOpened(lane=name, role=role))
        self._lane.sync()
        return name

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
                if name not in left.broken:
                    await self._close(name, left.remains.get(name), 0, reason)

    async def reap(self, names: Sequence[str], reason: str, told: Sequence[str] = ()) -> None:
        """After a writer's death: mark what it left open as unsettled, put the end of its lanes on record.

        `names` are in the order in which the lanes were registered; `told` are lanes of former supervisors, who may
        have said part of it.
        """
        directories = self._present([*told, *names])
        torn = {directory.name: _drop_torn(directory) for directory in directories}
        left = await asyncio.to_thread(Left, directories, self._borne_by)
        for entry in left.unsettled:
            await self._insist("attempt.unsettled", entry)
        for entry in left.interrupted:
            await self._insist("request.closed", entry)
        for name, fault in left.broken.items():
            say(f"lane {name} is left as it is: {fault}")
        sound = [name for name in names if name not in left.broken]
        for name in sound:
            await self._close(name, left.remains.get(name), torn.get(name, 0), reason)
        self._mark_reaped(sound)

    async def reap_former(self) -> bool:
        """Do the same for the lanes of a former supervisor's run. False while a writer of one lives, or may come."""
        remove_unborn(self._book.root)
        former = [path for path in lane_directories(self._book.root) if self._is_former(path)]
        if any(is_live(path) for path in former):
            return False
        supervisors = [path for path in former if path.name.startswith("supervisor-")]
        words = await asyncio.to_thread(FormerWords, supervisors)
        self._closed |= words.closed
        unborn = {name for name in words.opened if not self._present([name])}
        awaited = unborn.intersection(words.open_since(now() - BIRTH_SECONDS * SECOND))
        # In the order in which they were registered, since a lane may settle what an earlier one opened. Those of
        # supervisors last: they hold the words by which a second try knows what the first has done.
        order = {name: place for place, name in enumerate(words.opened)}
        written = {path.name for path in former if path not in supervisors}
        names = written | (unborn - awaited)
        told = [path.name for path in supervisors]
        await self.reap(sorted(names, key=lambda name: order.get(name, -1)), "died", told)
        if not awaited:
            await self.reap(told, "died")
        return not awaited

    def close(self, reason: str) -> None:
        self._lane.close(reason)

    # --- within

    def _is_former(self, path: Path) -> bool:
        """Book lanes are the scribe's to close; those registered in this run are reaped with their worker."""
        mine = path.name in self._mine or path.name.startswith("book-")
        return not mine and not (path / REAPED).exists()

    def _mark_reaped(self, names: list[str]) -> None:
        """Once all that was said of these lanes is durable; else the next start looks at them again."""
        try:
            self._lane.sync()
        except JournalUnavailable as fault:
            say(str(fault))
            return
        with contextlib.suppress(OSError):  # a full disk: the next start reads these lanes once more
            for directory in self._present(names):
                (directory / REAPED).touch(mode=0o600)

    async def _close(self, name: str, remains: Remains | None, torn: int, reason: str) -> None:
        if name in self._closed:
            return
        closed = LaneClosed(lane=name, role=role_of(name), reason=reason)
        if remains is not None:
            closed = LaneClosed(
                lane=name,
                role=role_of(name),
                reason="ended" if remains.ended else reason,
                last=remains.sequence,
                digest=remains.digest,
                torn=torn + remains.torn,
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
        self._usable_lane().append(kind, encode_payload(payload))

    def _usable_lane(self) -> Lane:
        """The lane in use. A failed one gives up its ballast, and its end is the first entry of the one after it."""
        failed = self._lane
        if failed.dead is None:
            return failed
        with contextlib.suppress(JournalUnavailable):
            failed.release_ballast()
            failed.sync()
        self._lane = self._new_lane()
        closed = LaneClosed(
            lane=failed.name, role="supervisor", reason="failed", last=failed.sequence, digest=failed.digest
        )
        self._lane.append("lane.closed", encode_payload(closed))
        self._closed.add(failed.name)
        return self._lane

    def _new_lane(self) -> Lane:
        """A lane of our own; on a disk too full for the ballast, without it."""
        try:
            return self._create_lane(self._ballast)
        except JournalUnavailable:
            return self._create_lane(0)

    def _create_lane(self, ballast: int) -> Lane:
        name = self._book.new_lane_name("supervisor")
        self._mine.add(name)
        first = begin(self._book.id, name, "supervisor", self._release, self._configuration, known_heads(self._book))
        return Lane.create(self._book.lane_directory(name), first, ballast=ballast, clock=now)

    def _present(self, names: Iterable[str]) -> list[Path]:
        paths = (self._book.lane_directory(name) for name in names)
        return [path for path in paths if path.is_dir()]


def _drop_torn(directory: Path) -> int:
    """How many bytes of a torn line were dropped; what a failing disk keeps is seen when the lane is examined."""
    try:
        return drop_torn(directory)
    except OSError as fault:
        say(f"the end of lane {directory.name} cannot be cut: {fault}")
        return 0


def role_of(lane: str) -> str:
    """The role in a lane's name."""
    return lane.partition("-")[0]


def known_heads(book: Book) -> str | None:
    """The digest of the last heads that the scribe told of; None when there is none yet."""
    try:
        return (book.root / "run" / "heads").read_text() or None
    except FileNotFoundError:
        return None


class FormerWords:
    """What former supervisors have put on record: lanes opened, in this order and when; lanes closed."""

    def __init__(self, supervisors: list[Path]) -> None:
        self.opened: Final[dict[str, int]] = {}
        self.closed: Final[set[str]] = set()
        for directory in supervisors:
            with contextlib.suppress(Tampered):  # reaping it says so
                for line in read_lane(directory):
                    self._take(line)

    def open_since(self, instant: int) -> list[str]:
        """The lanes opened after an instant and not closed."""
        return [name for name, opened in self.opened.items() if opened > instant and name not in self.closed]

    def _take(self, line: Line) -> None:
        if line.kind == "lane.opened":
            self.opened[msgspec.json.decode(line.bytes, type=LaneOpened).lane] = line.recorded
        elif line.kind == "lane.closed":
            self.closed.add(msgspec.json.decode(line.bytes, type=LaneClosed).lane)
