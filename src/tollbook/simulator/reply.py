"""What goes back over the wire, ready to be written: head, pieces, pace and how it ends."""

from collections.abc import Callable, Container, Sequence
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from tollbook.simulator.answer import Event

_CLOSING_CHUNK: Final = b"0\r\n\r\n"


class Ending(Enum):
    """What happens to the connection after the last piece."""

    KEEP = "kept open for the next request"
    CLOSE = "closed"
    RESET = "reset (RST)"
    HANG = "left open, silent, until the client leaves"


class Reply(Struct):
    """An answer as bytes.

    `pieces` are the body, each with the output tokens generated when it is sent, `generated` those of a reply that
    has none; `whole` tells whether the pieces are the whole answer. `settle` is called with the tokens generated and
    how it ended, before the last piece or when the reply is given up.
    """

    head: bytes = b""
    pieces: list[tuple[bytes, int]] = []  # msgspec copies an empty default
    ending: Ending = Ending.KEEP
    whole: bool = True
    generated: int = 0
    first_byte_ms: int = 0
    chunk_ms: int = 0
    one_by_one: bool = False
    status: int | None = 200
    """None when no answer is begun."""
    settle: Callable[[int, str], None] | None = None

    @property
    def planned(self) -> str:
        """How it ends when the client stays to the end."""
        if self.whole:
            return "answered"
        return "unanswered" if not self.head else "broken_off"


def status_line(status: int) -> bytes:
    """`HTTP/1.1 200 OK`, with its end; 529 is known too."""
    phrase = "Overloaded" if status == 529 else HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


@lru_cache(64)
def date_line(seconds: int) -> bytes:
    return f"date: {formatdate(seconds, usegmt=True)}\r\n".encode()


def length_lines(length: int, content_type: str = "application/json") -> bytes:
    """The headers of a buffered body, and the end of the head."""
    return f"content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n".encode()


def stream_lines(chunked: bool, content_type: str) -> bytes:
    """The headers of a stream, and the end of the head; without chunks its end is the connection's."""
    framing = "transfer-encoding: chunked" if chunked else "connection: close"
    return f"content-type: {content_type}\r\ncache-control: no-cache\r\n{framing}\r\n\r\n".encode()


def event_bytes(event: Event, quirks: Container[str]) -> bytes:
    """One event as Server-Sent Events text, bent by its quirks."""
    gap = b"" if "no_space" in quirks else b" "
    end = b"\r\n" if "crlf" in quirks else b"\n"
    lines = [b"event:" + gap + event.name.encode()] if event.name else []
    data = event.data
    if "multiline" in quirks and data.startswith(b"{"):
        # Line ends between JSON members are white space, so the joined lines are the same object.
        first, comma, rest = data.partition(b",")
        data = first + comma + b"\n" + rest if comma else data
    lines += [b"data:" + gap + line for line in data.split(b"\n")]
    if "comments" in quirks:
        lines.insert(0, b": keep-alive")
    return end.join(lines) + end + end


def chunked(pieces: Sequence[tuple[bytes, int]], closed: bool) -> list[tuple[bytes, int]]:
    """Pieces in HTTP/1.1 chunked transfer coding; `closed` adds the last chunk, which ends the message."""
    coded = [(b"%x\r\n%s\r\n" % (len(data), data), generated) for data, generated in pieces]
    if closed:
        coded.append((_CLOSING_CHUNK, pieces[-1][1] if pieces else 0))
    return coded
