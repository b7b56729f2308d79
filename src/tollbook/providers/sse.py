"""Server-sent events, cut from a byte stream at any split of its bytes.

Source: WHATWG HTML, "Server-sent events", parsing an event stream: lines end in LF, CR or CRLF, a blank line ends an
event, one space after the colon is optional, a line that begins with a colon is a comment.
"""

import re
from typing import Final, NamedTuple, TypeAlias

EVENT_LIMIT: Final = 1 << 20
"""An event longer than this many bytes is passed on unread, where a reader does not say otherwise."""

_END: Final = rb"(?:\n|\r\n|\r(?=[^\n]))"
_BOUNDARY: Final = re.compile(rb"\n" + _END + rb"|\r\n" + _END + rb"|\r(?!\n)" + _END)
"""A line end and a blank line. A CR at the very end is no match yet: an LF may follow that belongs to it."""

_OVERLAP: Final = 4
"""A boundary whose first bytes came before may begin this many bytes back."""

_OBJECT: Final = (b"data: {", b"data:{")

_CR: Final = 13

_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """What an event says: its name (empty when it has none) and its data."""

    name: bytes
    data: bytes


Piece: TypeAlias = tuple[bytes, bool]
"""Consecutive bytes of a stream, and whether they are one event that can be read; if not, they are part of an event
that is too long."""


def single_event(data: bytes) -> bytes | None:
    """The data of an event, when `data` is exactly one in the shape that vendors use: an object on one line.

    An `event:` line may stand before it; its name is told by the object too, but for errors, which are left to
    `parse_event`.
    """
    if _CR in data:
        return None
    start = 0
    end = len(data) - 2
    first = data.find(b"\n")
    if first != end:
        start = first + 1
        if data.find(b"\n", start) != end or not data.startswith(b"event: ") or data.startswith(b"event: error"):
            return None
    if data.startswith(_OBJECT, start) and data.endswith(b"}\n\n") and end < EVENT_LIMIT - 2:
        return data[start + 5 : end]
    return None


def parse_event(block: bytes) -> Event:
    """An event by the general rules; one without data has empty data."""
    name = b""
    lines: list[bytes] = []
    for line in block.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(name, b"\n".join(lines))


def _ends(data: bytes | bytearray, start: int) -> list[int]:
    """Where events end."""
    if data.find(_CR, start) >= 0:
        return [boundary.end() for boundary in _BOUNDARY.finditer(data, start)]
    ends: list[int] = []
    found = data.find(b"\n\n", start)
    while found >= 0:
        ends.append(found + 2)
        found = data.find(b"\n\n", found + 2)
    return ends


class Splitter:
    """Cuts a stream into events. Holds back what is not whole yet, never more than `limit` bytes."""

    __slots__ = ("_held", "_limit", "_overlong")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._held: Final = bytearray()
        self._limit: Final = limit
        self._overlong = False

    @property
    def clear(self) -> bool:
        """Whether the stream stands between two events."""
        return not self._held and not self._overlong

    def push(self, data: bytes) -> list[Piece]:
        """Take the next bytes; give the pieces that are complete. Pieces and what is held are all bytes, in order."""
        held = self._held
        buffer: bytes | bytearray = data
        search_from = 0
        if held:
            search_from = max(0, len(held) - _OVERLAP)
            held += data
            buffer = held
        pieces: list[Piece] = []
        begin = 0
        for end in _ends(buffer, search_from):
            pieces.append((bytes(buffer[begin:end]), not self._overlong and end - begin <= self._limit))
            self._overlong = False
            begin = end
        if buffer is held:
            del held[:begin]
        else:
            held += data[begin:]
        if len(held) > (_OVERLAP if self._overlong else self._limit):
            with memoryview(held) as view:  # a slice of the buffer itself would be another copy
                pieces.append((bytes(view[:-_OVERLAP]), False))
            del held[:-_OVERLAP]
            self._overlong = True
        return pieces

    def flush(self) -> list[Piece]:
        """What was held when the stream ended."""
        if not self._held:
            return []
        rest = (bytes(self._held), not self._overlong)
        self._held.clear()
        self._overlong = False
        return [rest]
