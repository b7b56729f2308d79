"""One client connection: HTTP/1.1 in, replies out, and the ways in which a connection can go wrong."""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools

from tollbook.simulator.call import Call
from tollbook.simulator.delivery import json_reply
from tollbook.simulator.reply import Ending, Reply
from tollbook.simulator.service import Service

LARGEST_BODY: Final = 64 * 2**20

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
_RESET_DELAY: Final = 0.01
"""Seconds between the last write and a reset, for a reset throws away what the client has not received."""


class Connection(asyncio.Protocol):
    """Serves the requests of one connection, one after the other."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[Call] = deque()
        self._call: Call | None = None
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._reply: Reply | None = None
        self._next = 0
        self._done_at = 0
        self._paused = False
        self._due = False
        self._timer: asyncio.Handle | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._service.connect():
            self._reset()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._reply is not None:
            self._give_up(self._reply)
        for call in (*self._waiting, self._call):
            if call is not None:
                self._service.abandon(call)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            body = b'{"error":{"message":"not an HTTP/1.1 request that the simulator reads"}}'
            self._transport.write(json_reply(400, body, keep_alive=False).head + body)
            self._transport.close()
            return
        if self._reply is None:
            self._begin()
        # The books know of a request as soon as its headers are here, whether or not its body or its turn has come.
        for call in (self._call, *self._waiting):
            if call is not None:
                self._service.note(call)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._due and self._reply is not None:
            self._due = False
            self._step(self._reply)

    # httptools

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        path, _, query = self._target.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        chunked = self._parser.get_http_version() != "1.0"
        keep_alive = self._parser.should_keep_alive()
        self._call = self._service.call(method, path, self._headers, keep_alive, chunked, query)
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= LARGEST_BODY:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._call is not None:
            self._call.body = b"".join(self._body)
            self._call.too_large = self._size > LARGEST_BODY
            self._waiting.append(self._call)
            self._call = None

    # Replies

    def _begin(self) -> None:
        """Answer the next request that waits."""
        if not self._waiting:
            return
        self._reply = self._service.reply(self._waiting.popleft())
        self._next = 0
        self._after(self._reply.first_byte_ms, self._open)

    def _open(self, reply: Reply) -> None:
        """Write the head, and the body too when nothing slows it."""
        total = reply.pieces[-1][1] if reply.pieces else reply.generated
        self._done_at = next((at for at, piece in enumerate(reply.pieces) if piece[1] == total), 0)
        if reply.pieces and (reply.chunk_ms or reply.one_by_one):
            self._transport.write(reply.head)
            self._step(reply)
            return
        self._settle(reply, total)
        data = b"".join((reply.head, *(piece for piece, _ in reply.pieces)))
        if data:
            self._transport.write(data)
        self._end(reply)

    def _step(self, reply: Reply) -> None:
        """Write one piece, and plan the next."""
        data, generated = reply.pieces[self._next]
        if self._next == self._done_at:
            self._settle(reply, generated)
        self._next += 1
        self._transport.write(data)
        if self._next == len(reply.pieces):
            self._end(reply)
        elif self._paused:
            self._due = True
        else:
            self._after(reply.chunk_ms, self._step)

    def _after(self, milliseconds: int, act: Callable[[Reply], None]) -> None:
        assert self._reply is not None
        if milliseconds:
            self._timer = self._loop.call_later(milliseconds / 1000, act, self._reply)
        elif act == self._step:
            self._timer = self._loop.call_soon(act, self._reply)
        else:
            act(self._reply)

    def _settle(self, reply: Reply, generated: int) -> None:
        if reply.settle is not None:
            reply.settle(generated, reply.planned)

    def _give_up(self, reply: Reply) -> None:
        """The client left: what was generated until now is all that was used."""
        if reply.settle is not None:
            reply.settle(reply.pieces[self._next - 1][1] if self._next else 0, "client_gone")

    def _end(self, reply: Reply) -> None:
        match reply.ending:
            case Ending.KEEP:
                self._reply = None
                self._begin()
            case Ending.CLOSE:
                self._transport.close()
            case Ending.RESET:
                self._timer = self._loop.call_later(_RESET_DELAY, self._reset)
            case Ending.HANG:
                pass

    def _reset(self) -> None:
        """Send RST instead of FIN: a socket closed with zero linger does that."""
        handle = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        handle.close()
        self._transport.abort()
