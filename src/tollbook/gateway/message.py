"""HTTP/1.1 messages as the road sees them: a request that is whole, and the bytes of an answer's head."""

from http import HTTPStatus
from typing import Any, Final, TypeAlias

from msgspec import Struct

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Header fields in order; names in lower case."""

HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9110, section 7.6.1: never passed on."""

_REASONS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Usual:
    """What was found out from a head, kept for the next request that has the same one: `found` is what `by` made of
    it. What another one found, under another configuration, does not count."""

    __slots__ = ("by", "found")

    def __init__(self) -> None:
        self.by: object = None
        self.found: Any = None


class ClientRequest(Struct):
    """A client's request, complete. `path` is without its query; header names are in lower case; `chunks` is False
    for a client of HTTP/1.0, which cannot take its answer in chunks. `usual` is there when the head is a familiar
    one: then `content-length` in `headers` is that of the first message that had it."""

    method: bytes
    path: bytes
    query: bytes
    headers: Headers
    body: bytes
    keep_alive: bool
    chunks: bool = True
    usual: Usual | None = None

    def header(self, name: bytes) -> bytes | None:
        """The value of the first header of that name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def all(self, name: bytes) -> list[bytes]:
        """The values of all headers of that name, in order."""
        return [value for key, value in self.headers if key == name]


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return _REASONS.get(status) or f"HTTP/1.1 {status} \r\n".encode()


def head(status: int, headers: Headers) -> bytes:
    """An answer's head with its empty line. Values are ours or came through a parser that refuses CR and LF."""
    parts = [status_line(status)]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
