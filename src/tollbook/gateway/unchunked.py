"""Answers for clients of HTTP/1.0, which know no chunks: a stream comes as it is and ends where its connection does."""

from collections.abc import Callable
from typing import Final

import httptools

from tollbook.gateway.message import Headers, head


class Unchunked:
    """Takes one answer as it is written for everybody, and writes it without chunks (RFC 9112, section 6.1)."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write: Final = write
        self._parser: Final = httptools.HttpResponseParser(self)
        self._headers: Headers = []

    def feed(self, data: bytes) -> None:
        """More of the answer; it is our own, so it can be parsed."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name != b"transfer-encoding":
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._write(head(self._parser.get_status_code(), [*self._headers, (b"connection", b"close")]))

    def on_body(self, data: bytes) -> None:
        self._write(data)
