"""Reading the journal as batches: the lines that each heads cover, the same in every reading."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.core.faults import NotFound, Tampered
from tollbook.journal.entry import LaneHead
from tollbook.journal.heads import book_lines, decode_heads, heads_number
from tollbook.journal.line import Line
from tollbook.journal.tail import LaneTail

_READ_BYTES: Final = 1 << 20


class Batch(NamedTuple):
    """The lines that one heads entry covers and the one before does not, by lane and sequence; heads lines left out.

    `position` is the number of that heads entry, `digest` and `recorded` are those of its line.
    """

    position: int
    digest: str
    recorded: int
    lines: list[Line]


def replay(book_root: Path, after_position: int = 0) -> Iterator[Batch]:
    """The batches of a book after a position, in order, from the journal alone.

    Raises NotFound when the book has no such position, Tampered when a lane is not what heads say of it.
    """
    readers: dict[str, _Reader] = {}
    reached = 0
    for line in book_lines(book_root):
        number = heads_number(line.bytes) if line.kind == "heads" else None
        if number is None or number < after_position:
            continue
        heads = decode_heads(line)
        if number == after_position:
            readers = {
                head.lane: _Reader(book_root, head.lane, head.last)
                for head in heads.lanes
                if head.lane not in heads.closed
            }
            reached = number
            continue
        if number != reached + 1:
            raise Tampered(f"heads {number} follow heads {reached}; run: tollbook verify")
        reached = number
        lines: list[Line] = []
        for head in sorted(heads.lanes, key=lambda head: head.lane):
            reader = readers.get(head.lane)
            if reader is None:
                reader = readers[head.lane] = _Reader(book_root, head.lane)
            lines += (covered for covered in reader.up_to(head) if covered.kind != "heads")
        for lane in heads.closed:
            readers.pop(lane).close()
        yield Batch(number, line.digest, line.recorded, lines)
    if reached < after_position:
        raise NotFound(f"the book has no position {after_position}: its heads end before; run: tollbook verify")


class _Reader:
    """The lines of one lane, up to one heads after the other; what was read beyond is kept."""

    def __init__(self, book_root: Path, lane: str, last: int = -1) -> None:
        self._tail: Final = LaneTail(book_root / "lanes" / lane, start_after=last)
        self._beyond: deque[Line] = deque()
        self._last = last

    def close(self) -> None:
        self._tail.close()

    def up_to(self, head: LaneHead) -> Iterator[Line]:
        """The lines after those given before, up to and with the one the heads name.

        Raises Tampered when the lane ends before it, or its digest is another.
        """
        while self._last < head.last:
            if not self._beyond:
                self._beyond.extend(self._tail.read(_READ_BYTES))
            if not self._beyond:
                raise Tampered(
                    f"lane {head.lane} ends with entry {self._last}, but heads cover it up to {head.last}: "
                    "its tail was cut; run: tollbook verify"
                )
            line = self._beyond.popleft()
            self._last = line.sequence
            if line.sequence == head.last and line.digest != head.digest:
                raise Tampered(f"lane {head.lane}, entry {head.last} is not what heads say of it; run: tollbook verify")
            yield line
