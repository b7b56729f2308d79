"""One client's connection: parses requests, hands each to the road in turn, writes what comes back."""

import asyncio
import socket
import struct
from functools import lru_cache
from typing import Any, Final, Protocol

import httptools

from tollbook.gateway.familiar import FamiliarHead
from tollbook.gateway.message import ClientRequest, Headers
from tollbook.gateway.outlet import Outlet
from tollbook.gateway.unchunked import Unchunked

HEADERS_LIMIT: Final = 64 * 1024
HEADER_COUNT_LIMIT: Final = 128
PIPELINE_LIMIT: Final = 16
LINGER_SECONDS: Final = 2.0
"""How long what a refused client still sends is read and thrown away (RFC 9112, section 9.6)."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing resets the connection."""

_FRAMING: Final = frozenset((b"expect", b"content-length"))

_Problem = tuple[int, str, str]
_MALFORMED: Final[_Problem] = (400, "malformed_request", "this is not HTTP/1.1 that can be read in one way only")
_UPGRADE: Final[_Problem] = (501, "upgrade_unsupported", "this gateway speaks neither WebSocket nor HTTP/2")
_HEADERS_TOO_LARGE: Final[_Problem] = (
    431,
    "headers_too_large",
    f"headers are limited to {HEADERS_LIMIT} bytes and {HEADER_COUNT_LIMIT} fields",
)


class Exchange(Protocol):
    """One request being answered. The connection tells it of the client; it tells the connection when it is done."""

    def client_gone(self) -> None:
        """The client closed its side before the answer was whole."""
        ...

    def client_slow(self) -> None:
        """The client's buffer is full: stop producing."""
        ...

    def client_ready(self) -> None:
        """The client's buffer has room again."""
        ...


class Road(Protocol):
    """What a connection hands whole requests to."""

    @property
    def body_limit(self) -> int: ...

    @property
    def connections(self) -> "set[ClientConnection]": ...

    def handle(self, connection: "ClientConnection", request: ClientRequest) -> Exchange | None:
        """Begin to answer; None when it was answered at once."""
        ...

    def malformed(self, connection: "ClientConnection", status: int, code: str, message: str) -> None:
        """Answer what is not a request."""
        ...


@lru_cache(maxsize=256)
def _split(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target. Most clients ask for a few only."""
    parsed = httptools.parse_url(url)
    return parsed.path or b"/", parsed.query or b""


class ClientConnection(asyncio.Protocol):
    """Serves one connection, one request at a time; pipelined requests wait their turn, bounded."""

    def __init__(self, road: Road) -> None:
        self._road: Final = road
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._outlet: Outlet
        self._exchange: Exchange | None = None
        self._waiting: list[ClientRequest] = []
        self._busy = False
        self._slow = False
        self._unchunked: Unchunked | None = None
        self._between = True
        self._data = b""
        self._familiar: Final = FamiliarHead()
        self.closed = False
        self.draining = False
        self._time: Final = asyncio.get_running_loop().time
        self.since = self._time()
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._headers_size = 0
        self._body: bytes | bytearray = b""
        self._body_size = 0
        self._whole_head = False
        self._overflow: _Problem | None = None

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclasses
        self._outlet = Outlet(self._transport)
        self._road.connections.add(self)

    def connection_lost(self, fault: Exception | None) -> None:
        self.closed = True
        self._road.connections.discard(self)
        self._waiting.clear()
        if self._exchange is not None:
            self._exchange.client_gone()

    def data_received(self, data: bytes) -> None:
        if self.closed or self._overflow:
            return
        if self._between and not self._busy:
            request = self._familiar.read(data, self._road.body_limit)
            if request is not None:
                if not self._transport.is_closing():
                    self.since = self._time()
                    self._begin(request)
                return
            self._data = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._overflow = self._overflow or _UPGRADE
        except httptools.HttpParserCallbackError:
            raise  # a fault of ours, not of the client
        except httptools.HttpParserError:
            self._overflow = self._overflow or _MALFORMED
        if self._headers_size > HEADERS_LIMIT:
            self._overflow = _HEADERS_TOO_LARGE
        if self._overflow is not None and not self._transport.is_closing():
            self._refuse(*self._overflow)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._slow = True
        if self._exchange is not None:
            self._exchange.client_slow()

    def resume_writing(self) -> None:
        self._slow = False
        if self._exchange is not None:
            self._exchange.client_ready()

    # --- httptools

    def on_message_begin(self) -> None:
        if self._overflow is not None:
            return  # nothing is read after what cannot be answered
        self._between = False
        self._reset()
        self.since = self._time()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._headers_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_size += len(name) + len(value)
        # Trailers are dropped: a proxy before us may have judged the head only (RFC 9110, section 6.5.1).
        if self._headers_size <= HEADERS_LIMIT and not self._whole_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._whole_head = True
        if self._headers_size > HEADERS_LIMIT or len(self._headers) > HEADER_COUNT_LIMIT:
            self._overflow = _HEADERS_TOO_LARGE
            return
        if not self._headers and self._parser.get_http_version() == "0.9":
            self._overflow = _MALFORMED
            return
        if self._parser.should_upgrade():
            self._overflow = _UPGRADE  # decided here: the parser takes the body of such a request for another protocol
            return
        for name, value in self._headers:
            if name not in _FRAMING:
                continue
            if name == b"expect" and value.lower() == b"100-continue" and not self._busy and not self._old():
                self._outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif name == b"content-length" and int(value) > self._road.body_limit:
                self._too_large()

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._road.body_limit:
            self._too_large()
        elif not self._body:
            self._body = data
        else:
            # One buffer: a list of the pieces would cost a hundred times what a client sends in tiny chunks.
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        if self._overflow is not None or self._transport.is_closing():
            return
        try:
            path, query = _split(self._url)
        except httptools.HttpParserInvalidURLError:
            self._overflow = _MALFORMED
            return
        old = self._old()
        request = ClientRequest(
            method=self._parser.get_method(),
            path=path,
            query=query,
            headers=self._headers,
            body=bytes(self._body),
            keep_alive=self._parser.should_keep_alive() and not old,
            chunks=not old,
        )
        self._between = True
        data, self._data = self._data, b""
        self._familiar.learn(data, request)
        if self._busy:
            self._queue(request)
        else:
            self._begin(request)

    # --- for the road

    def write(self, data: bytes) -> None:
        """Send bytes to the client; nothing happens when it is gone."""
        if self.closed:
            return
        if self._unchunked is None:
            self._outlet.write(data)
        else:
            self._unchunked.feed(data)

    def done(self, keep_alive: bool) -> None:
        """The answer is whole: take the next request or close."""
        self._exchange = None
        self._busy = False
        self.since = self._time()
        if not keep_alive or self.draining:
            self.close()
        elif self._waiting:
            # Not at once: requests that are answered without waiting would pile up on the stack.
            self._busy = True
            asyncio.get_running_loop().call_soon(self._resume)

    def close(self) -> None:
        """Close once what was written is sent."""
        if not self.closed:
            self._outlet.flush()
            self._transport.close()

    def expire(self) -> None:
        """Close a connection that is not used any more, although its client may never take what was written."""
        self._outlet.flush()
        if not self.closed and self._transport.get_write_buffer_size():
            self._transport.abort()
        self.close()

    def abort(self) -> None:
        """Cut the connection: the client must see that the answer is not whole."""
        if self.closed:
            return
        self._outlet.flush()
        if self._unchunked is not None:  # without chunks, an orderly end would say that the answer is whole
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return not self._busy

    @property
    def peer(self) -> Any:
        return self._transport.get_extra_info("peername")

    def _resume(self) -> None:
        if self.closed or self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._begin(self._waiting.pop(0))

    def _old(self) -> bool:
        """Whether the message being parsed is of HTTP/1.0."""
        return bool(self._parser.get_http_version() == "1.0")

    def _begin(self, request: ClientRequest) -> None:
        self._busy = True
        if not request.chunks:
            self._unchunked = Unchunked(self._outlet.write)
        exchange = self._road.handle(self, request)
        if self._busy:
            self._exchange = exchange
            if self._slow and exchange is not None:
                exchange.client_slow()

    def _queue(self, request: ClientRequest) -> None:
        self._waiting.append(request)
        if len(self._waiting) >= PIPELINE_LIMIT:
            self._transport.pause_reading()

    def _too_large(self) -> None:
        limit = self._road.body_limit
        self._overflow = (413, "body_too_large", f"the body is larger than {limit} bytes (gateway.body_limit)")

    def _refuse(self, status: int, code: str, message: str) -> None:
        if self._busy:
            self.abort()
            return
        self._overflow = (status, code, message)
        self._road.malformed(self, status, code, message)
        # A socket closed with bytes unread resets the connection, and the client may never see why it is refused.
        self._outlet.flush()
        if self._transport.can_write_eof():  # TLS cannot
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.close)
