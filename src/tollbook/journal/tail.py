"""Reading lanes: from the beginning, and on and on as they grow."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import zstandard

from tollbook.core.faults import Tampered
from tollbook.journal.entry import LINE_LIMIT, read_head
from tollbook.journal.line import Break, Chain, Line, read_lines
from tollbook.journal.segment import open_segment, segment_exists, segments

BLOCK: Final = 64 * 1024
"""How much is read and checked at a time: measured best; larger blocks miss the cache, smaller ones repeat overhead."""

_HEAD_BYTES: Final = 256


class BrokenLane(Tampered):
    """A lane that does not hold; `sequence` is the first entry that is wrong or missing, `line` counts from 1."""

    def __init__(self, lane: str, segment: int, line: int, broken: Break) -> None:
        place = f"lane {lane}, segment {segment:06d}, line {line}"
        super().__init__(f"{place}: entry {broken.sequence} {broken.reason}")
        self.lane = lane
        self.segment = segment
        self.line = line
        self.sequence = broken.sequence
        self.reason = broken.reason


def lane_directories(book_root: Path) -> list[Path]:
    """The lanes of a book, by name. A lane that is just being created is not among them."""
    lanes = book_root / "lanes"
    if not lanes.is_dir():
        return []
    return sorted(path for path in lanes.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_lane(directory: Path, after: int = -1) -> Iterator[Line]:
    """The whole lines of a lane after entry `after`, as far as they are written now.

    Heads and numbers are checked, the links between lines are not. Raises Tampered (BrokenLane) at the first line
    that has no readable head or not the next number, after all lines before it were given, and when the lane ends
    before entry `after`.
    """
    with RawLines(directory, after + 1) as raw_lines:
        while raws := raw_lines.read():
            first = raw_lines.sequence - len(raws)
            lines, broken = read_lines(directory.name, first, raws)
            yield from lines[max(0, after + 1 - first) :]
            if broken is not None:
                raise raw_lines.fault(broken)
        raw_lines.reach(after)


class LaneTail:
    """Follows one lane as it grows, checking its chain, through rotation and sealing.

    Only what comes after `start_after` is given. Reading begins with the segment that holds the next entry; how that
    segment's first line links to the segment before it is not checked.
    """

    def __init__(self, directory: Path, start_after: int = -1) -> None:
        self.directory: Final = directory
        self.name: Final = directory.name
        self._start_after: Final = start_after
        self._chain: Final = Chain(directory.name)
        self._raw_lines: RawLines | None = None
        self._fault: BrokenLane | None = None

    @property
    def sequence(self) -> int:
        """The last entry read and found good; -1 when there is none yet."""
        return self._chain.sequence

    @property
    def digest(self) -> str | None:
        """The digest of that entry; None when nothing was read yet."""
        return self._chain.digest

    @property
    def recorded(self) -> int:
        """When that entry was recorded, in microseconds; -1 when nothing was read yet."""
        return self._chain.recorded

    @property
    def torn(self) -> int:
        """Bytes read after the last newline: a line that is being written, or was cut short."""
        return self._raw_lines.torn if self._raw_lines is not None else 0

    def read(self, limit_bytes: int = 1 << 20) -> list[Line]:
        """The whole lines appended since, about `limit_bytes` of them; none when nothing is new.

        Raises Tampered (BrokenLane) where the lane does not hold, after all lines before that were given: at this
        call or, when there were any to give, at the next.
        """
        lines: list[Line] = []
        while self._fault is None and limit_bytes > 0:
            try:
                new = self._read_block()
            except BrokenLane as fault:
                self._fault = fault
                break
            if new is None:
                break
            lines += new
            # Blocks on the way to `start_after` give nothing and do not count: an empty answer means the lane's end.
            limit_bytes -= BLOCK if new else 0
        if self._fault is not None and not lines:
            raise self._fault
        return lines

    def close(self) -> None:
        """Let the open file go; the tail is not read again."""
        if self._raw_lines is not None:
            self._raw_lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read_block(self) -> list[Line] | None:
        """The next good lines of about one block, less those not asked for; None when there are none yet."""
        if self._raw_lines is None:
            self._raw_lines = RawLines(self.directory, self._start_after + 1)
        raws = self._raw_lines.read()
        if not raws:
            self._raw_lines.reach(self._start_after)
            return None
        first = self._raw_lines.sequence - len(raws)
        if first and self._chain.digest is None:
            self._chain.resume(raws[0])
        lines, broken = self._chain.extend(raws)
        if broken is not None:
            self._fault = self._raw_lines.fault(broken)
        return lines[max(0, self._start_after + 1 - first) :]


class RawLines:
    """The whole lines of a lane as bytes, a block at a time, from the segment that holds entry `sequence` on.

    `sequence` is the number the next line must have; `torn` counts the bytes after the last newline.
    """

    def __init__(self, directory: Path, sequence: int) -> None:
        self._directory: Final = directory
        self._segment, self._segment_first = _segment_holding(directory, sequence)
        self.sequence = self._segment_first
        self._stream: BinaryIO | None = None
        self._rest = b""
        self._finished = False
        self._looked_beyond = False

    @property
    def torn(self) -> int:
        return len(self._rest)

    def read(self) -> list[bytes]:
        """Whole lines without their newlines, of one segment; none when there are no more yet.

        Raises BrokenLane when a segment is missing, ends inside a line, cannot be decompressed, or has a line that
        is too long.
        """
        while True:
            if self._stream is None and not self._open():
                return []
            block = self._read_block()
            if block:
                raws = (self._rest + block).split(b"\n")
                self._rest = raws.pop()
                if len(self._rest) > LINE_LIMIT:
                    raise self._stop(f"is longer than {LINE_LIMIT} bytes")
                if raws:
                    self.sequence += len(raws)
                    return raws
            elif self._finished:
                self._go_on()
            elif self._has_next():
                # Lines may have been appended between the read and this look: read once more before going on.
                self._finished = True
            elif self._rest and isinstance(self._stream, zstandard.ZstdDecompressionReader):
                raise self._stop("is cut short: its sealed segment ends inside it")
            else:
                return []

    def reach(self, sequence: int) -> None:
        """Raise BrokenLane unless everything up to an entry that was known to exist has been read."""
        if self.sequence <= sequence:
            raise self._stop(f"is missing: the lane ends before it, but entry {sequence} was there")

    def fault(self, broken: Break) -> BrokenLane:
        """A break in the lines just read, with its place."""
        segment, line = self._segment, broken.sequence - self._segment_first + 1
        return BrokenLane(self._directory.name, segment, line, broken)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _open(self) -> bool:
        self._stream = open_segment(self._directory, self._segment)
        if self._stream is None and self._later():
            raise self._stop("is missing: its segment's file is gone, later ones are there")
        return self._stream is not None

    def _has_next(self) -> bool:
        """Whether the segment has a successor. Whether one is missing before later ones is looked at once a segment."""
        number = self._segment + 1
        if segment_exists(self._directory, number):
            return True
        if self._looked_beyond:
            return False
        self._looked_beyond = True
        later = self._later()
        if later and number not in later:
            raise self._stop("is missing: its segment's file is gone, later ones are there")
        return number in later

    def _later(self) -> set[int]:
        return {segment.number for segment in segments(self._directory) if segment.number > self._segment}

    def _read_block(self) -> bytes:
        assert self._stream is not None
        try:
            return self._stream.read(BLOCK)
        except zstandard.ZstdError as error:
            raise self._stop(f"cannot be read: the sealed segment does not decompress ({error})") from error

    def _go_on(self) -> None:
        """To the next segment."""
        if self._rest:
            raise self._stop("is cut short: its segment ends inside it, but another follows")
        self.close()
        self._segment += 1
        self._segment_first = self.sequence
        self._finished = self._looked_beyond = False

    def _stop(self, reason: str) -> BrokenLane:
        return self.fault(Break(self.sequence, reason, 0))


def _segment_holding(directory: Path, sequence: int) -> tuple[int, int]:
    """The segment in which an entry stands, or will, and the number of that segment's first entry."""
    if sequence > 0:
        for segment in reversed(segments(directory)):
            first = _first_sequence(directory, segment.number)
            if first is not None and first <= sequence:
                return segment.number, first
    return 0, 0


def _first_sequence(directory: Path, number: int) -> int | None:
    """The number of a segment's first entry; None when it has none yet, or none that can be read."""
    stream = open_segment(directory, number)
    if stream is None:
        return None
    with stream:
        try:
            head = read_head(stream.read(_HEAD_BYTES))
        except zstandard.ZstdError:
            return None
    return head.sequence if head is not None else None
