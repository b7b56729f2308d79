"""The writer of one lane: appends lines, each chained to the one before.

A lane is written by the process that created it, once, and never continued by another. It comes into being whole,
with its first line, or not at all. After a failed write or sync it is dead for good: what a failed fdatasync left
behind is unknown, and a second fdatasync may report success although the data is gone (Rebello et al., "Can
Applications Recover from fsync Failures?", USENIX ATC 2020).
"""

import errno
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final, Self

from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.faults import BadInput, BookLocked, JournalUnavailable
from tollbook.core.money import format_amount
from tollbook.journal.entry import FORMAT, KINDS, LINE_LIMIT, LaneBegin, LaneCounts, encode_payload, lane_seed
from tollbook.journal.files import REAL, Files
from tollbook.journal.line import encode_line
from tollbook.journal.segment import BALLAST, LOCK, open_path

BALLAST_BYTES: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 64 * 1024 * 1024
SEGMENT_AGE_S: Final = 600


class Lane:
    """A lane open for writing. `append` and `close` belong to one thread; `sync` may be called from another.

    `sequence`, `digest` and `recorded` are of the last line; `durable` is the last sequence known to be on the disk;
    `dead` says why the lane takes no more entries, and is None while it does; `expected` is the sum of expected
    amounts per currency in picodollars, kept by the caller and told in heartbeats.
    """

    def __init__(
        self, directory: Path, begin: LaneBegin, files: Files, clock: Clock, segment_bytes: int, segment_age_s: int
    ) -> None:
        self.name: Final = begin.lane
        self.directory: Final = directory
        self.sequence = -1
        self.digest = lane_seed(begin.book, begin.lane)
        self.recorded = -1
        self.durable = -1
        self.dead: str | None = None
        self.counts: Final[Counter[str]] = Counter()
        self.expected: Final[dict[str, int]] = {}
        self._files: Final = files
        self._write: Final = files.write
        self._clock: Final = clock
        self._segment_bytes: Final = segment_bytes
        self._segment_age: Final = segment_age_s * SECOND
        self._segment = 0
        self._size = 0
        self._since = 0
        self._lock_descriptor = -1
        self._descriptor = -1
        self._unsyncable = False
        # Held while the segment's descriptor is used by `sync` or replaced by `append`.
        self._swap: Final = Lock()

    @classmethod
    def create(
        cls,
        directory: Path,
        begin: LaneBegin,
        *,
        files: Files = REAL,
        clock: Clock = now,
        ballast: int = BALLAST_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        segment_age_s: int = SEGMENT_AGE_S,
    ) -> Self:
        """Open a new lane in `directory`, which must not exist yet and bears the lane's name; its parent exists.

        The first line is durable on return. `ballast` bytes of disk are set aside for `release_ballast`.

        Raises BookLocked when the lane exists; JournalUnavailable when the disk refuses, and then nothing is left.
        """
        if begin.lane != directory.name or begin.format != FORMAT:
            raise BadInput(f"lane {begin.lane} of format {begin.format} cannot be opened in {directory}")
        # It is built under a hidden name and appears by one rename: no reader ever meets a lane without a first line,
        # nor one whose writer does not hold its lock.
        unborn = directory.with_name(f".{directory.name}.new")
        lane = cls(directory, begin, files, clock, segment_bytes, segment_age_s)
        try:
            files.make_directory(unborn)
        except FileExistsError:
            raise _taken(directory) from None
        except OSError as error:
            raise JournalUnavailable(f"cannot create lane {directory}: {error}") from error
        home = unborn
        try:
            lane._build(unborn, begin, ballast)
            files.rename(unborn, directory)
            home = directory
            files.sync_directory(directory.parent)
        except (OSError, JournalUnavailable) as error:
            lane._discard(home)
            if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise _taken(directory) from None
            raise JournalUnavailable(f"cannot create lane {directory}: {error}") from error
        return lane

    def append(self, kind: str, payload: bytes) -> tuple[int, int]:
        """Write one entry with one write; its sequence and the instant it was recorded, in microseconds.

        On return it survives the death of this process; `sync` makes it survive a power loss.

        Raises BadInput, before anything is written, when the entry cannot be a line; JournalUnavailable when it could
        not be written whole: the lane is then dead, and cut back to its last good line if the disk lets it.
        """
        if self.dead is not None:
            raise JournalUnavailable(f"lane {self.name} takes no more entries: {self.dead}")
        recorded = self._clock()
        if recorded <= self.recorded:
            recorded = self.recorded + 1
        sequence = self.sequence + 1
        line = encode_line(self.digest, sequence, recorded, kind, payload)
        length = len(line) + 1
        if length > LINE_LIMIT + 1 or kind not in KINDS or b"\n" in payload:
            raise _unfit(kind, length - 1)
        if self._size and (self._size + length > self._segment_bytes or recorded - self._since >= self._segment_age):
            self._rotate()
        if not self._size:
            self._since = recorded
        try:
            written = self._write(self._descriptor, line + b"\n")
            if written != length:
                self._write_rest(line[written:] + b"\n")
        except OSError as error:
            raise self._die(f"cannot write: {error}") from error
        self._size += length
        self.digest = sha256(line).hexdigest()
        self.recorded = recorded
        self.counts[kind] += 1
        self.sequence = sequence
        return sequence, recorded

    def sync(self) -> None:
        """Make everything appended so far durable. Does nothing when it is.

        Raises JournalUnavailable when the disk fails, then and ever after: the lane is dead. A lane that died of a
        failed write can still be synced up to its last good line.
        """
        with self._swap:
            if self.durable == self.sequence:
                return
            if self._unsyncable:
                raise JournalUnavailable(f"lane {self.name} is not durable after entry {self.durable}: {self.dead}")
            appended = self.sequence
            try:
                self._files.datasync(self._descriptor)
            except OSError as error:
                self._unsyncable = True
                self.dead = f"cannot sync: {error}"
                raise JournalUnavailable(f"lane {self.name}: {self.dead}") from error
            self.durable = appended

    def heartbeat(self) -> None:
        """Append the running counts of what the lane holds so far."""
        self.append("lane.heartbeat", encode_payload(self._tally(None)))

    def release_ballast(self) -> None:
        """Give the space that was set aside back to the disk, so that attempts in flight can be settled."""
        try:
            self._files.unlink(self.directory / BALLAST)
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalUnavailable(f"cannot release the ballast of lane {self.name}: {error}") from error

    def close(self, reason: str) -> None:
        """End the lane: last line, made durable; ballast and lock given up. A dead lane ends without a last line.

        Raises JournalUnavailable when the last lines cannot be written or made durable, unless a sync failed before;
        the lane is let go all the same. A closed lane may be closed again.
        """
        try:
            if self.dead is None:
                self.append("lane.end", encode_payload(self._tally(reason)))
            if not self._unsyncable:
                self.sync()
                self.release_ballast()
        finally:
            self.dead = self.dead or "it is closed"
            with self._swap:
                self._unsyncable = True
                self._let_go()

    def _build(self, unborn: Path, begin: LaneBegin, ballast: int) -> None:
        files = self._files
        self._lock_descriptor = files.open_new(unborn / LOCK)
        files.lock(self._lock_descriptor)
        if ballast:
            descriptor = files.open_new(unborn / BALLAST)
            try:
                files.allocate(descriptor, ballast)
            finally:
                files.close(descriptor)
        self._descriptor = files.open_new(open_path(unborn, 0))
        self.append("lane.begin", encode_payload(begin))
        self.sync()
        files.sync_directory(unborn)

    def _discard(self, home: Path) -> None:
        """Leave nothing of a lane that could not be created."""
        self._let_go()
        for path in (home / BALLAST, open_path(home, 0), home / LOCK):
            with suppress(OSError):
                self._files.unlink(path)
        with suppress(OSError):
            self._files.remove_directory(home)

    def _rotate(self) -> None:
        """Go on in a new segment file. The finished one is durable first, so that no gap can be left before a line."""
        self.sync()
        files = self._files
        try:
            descriptor = files.open_new(open_path(self.directory, self._segment + 1))
            try:
                files.sync_directory(self.directory)
            except OSError:
                files.close(descriptor)
                raise
        except OSError as error:
            raise self._die(f"cannot begin a segment: {error}") from error
        with self._swap:
            finished, self._descriptor = self._descriptor, descriptor
            self._segment += 1
            self._size = 0
        with suppress(OSError):
            files.close(finished)

    def _write_rest(self, rest: bytes) -> None:
        """What a short write left over. A disk that is full shows itself here."""
        while rest:
            written = self._write(self._descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "the disk takes no more bytes and does not say why")
            rest = rest[written:]

    def _die(self, reason: str) -> JournalUnavailable:
        self.dead = reason
        # A line cut short has no newline and is no entry; whoever closes the lane drops it if this cannot.
        with suppress(OSError):
            self._files.truncate(self._descriptor, self._size)
        return JournalUnavailable(f"lane {self.name}: {reason}")

    def _let_go(self) -> None:
        for descriptor in (self._descriptor, self._lock_descriptor):
            if descriptor >= 0:
                with suppress(OSError):
                    self._files.close(descriptor)
        self._descriptor = self._lock_descriptor = -1

    def _tally(self, reason: str | None) -> LaneCounts:
        expected = {currency: format_amount(pico) for currency, pico in sorted(self.expected.items())}
        return LaneCounts(counts=dict(sorted(self.counts.items())), expected=expected, reason=reason)


def _taken(directory: Path) -> BookLocked:
    return BookLocked(f"lane {directory} exists: a lane is written once, by its creator; use a new name")


def _unfit(kind: str, length: int) -> BadInput:
    if kind not in KINDS:
        return BadInput(f"no kind of entry is called {kind!r}")
    if length > LINE_LIMIT:
        return BadInput(f"a {kind} entry of {length} bytes: a line has at most {LINE_LIMIT}")
    return BadInput(f"the payload of a {kind} entry holds a line break: encode its JSON without any")
