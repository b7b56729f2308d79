"""What the book's and the supervisors' lanes put on record of other lanes: openings, ends, seals; and of the book."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from tollbook.core.faults import Tampered
from tollbook.journal.book import Book
from tollbook.journal.entry import BookCreated, LaneClosed, LaneOpened, SegmentSealed
from tollbook.journal.finding import Finding
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.tail import lane_directories, read_lane

_decoders: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "lane.opened": msgspec.json.Decoder(LaneOpened),
    "lane.closed": msgspec.json.Decoder(LaneClosed),
    "segment.sealed": msgspec.json.Decoder(SegmentSealed),
    "book.created": msgspec.json.Decoder(BookCreated),
}


class LaneRecord:
    """Openings with their instants, closings and seals by lane, the first of each; and the last entry that a lane must
    have by its closing and its seals (`ends`)."""

    def __init__(self, book: Book) -> None:
        self.opened: Final[dict[str, int]] = {}
        self.closed: Final[dict[str, LaneClosed]] = {}
        self.seals: Final[dict[tuple[str, int], SegmentSealed]] = {}
        self.ends: Final[dict[str, int]] = {}
        self.findings: Final[list[Finding]] = []
        self._book: Final = book
        for line in _told(book.root):
            self._take(line)

    def _take(self, line: Line) -> None:
        try:
            payload = _decoders[line.kind].decode(line.bytes)
        except UNREADABLE as fault:
            self._find("entry_unreadable", line, f"{line.kind} cannot be read ({fault})")
            return
        if isinstance(payload, LaneOpened):
            if payload.lane in self.opened:
                self._find("lane_opened_twice", line, f"lane {payload.lane} was opened before: one opening is false")
            self.opened.setdefault(payload.lane, line.recorded)
        elif isinstance(payload, LaneClosed):
            self.closed.setdefault(payload.lane, payload)
            self._end(payload.lane, payload.last)
        elif isinstance(payload, SegmentSealed):
            self.seals.setdefault((payload.lane, payload.segment), payload)
            self._end(payload.lane, payload.last)
        elif payload.book != self._book.id or payload.key != self._book.key:
            self._find("key_differs", line, "the book was born with another key or id than book.json names")

    def _end(self, lane: str, last: int) -> None:
        self.ends[lane] = max(last, self.ends.get(lane, -1))

    def _find(self, code: str, line: Line, message: str) -> None:
        advice = "compare with a backup of the book made before"
        where = f"lane {line.lane}, entry {line.sequence}"
        self.findings.append(Finding(code, line.lane, line.sequence, f"{where}: {message}; {advice}"))


def _told(book_root: Path) -> Iterator[Line]:
    """The entries that speak of lanes or of the book, in book and supervisor lanes.

    A lane that cannot be read to its end is read as far as it can: inspecting it names the entry.
    """
    for directory in lane_directories(book_root):
        if directory.name.startswith(("book-", "supervisor-")):
            try:
                yield from (line for line in read_lane(directory) if line.kind in _decoders)
            except Tampered:
                continue
