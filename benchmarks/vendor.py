"""A vendor that costs as little as Python can: a fixed answer at once, or a stream whose pieces come at a fixed pace.

Plain sockets and epoll in one thread. All streams are served by one tick, because a timer per stream would cost more
than the piece it sends. A stream whose reader is slow waits; its pieces are never put together.
"""

import argparse
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import httptools

from benchmarks import wire

_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_0123456789abcdef\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(wire.answered()), wire.answered())
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_0123456789abcdef\r\n"
    b"x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n"  # nginx passes a stream on as it comes only if told
)
_LAST_CHUNK: Final = b"0\r\n\r\n"
IDLE_SECONDS: Final = 0.05
HANDSHAKE_SECONDS: Final = 5.0


def _streamed(*, usage: bool) -> list[bytes]:
    """What is written at each tick: the head goes with the first piece, the end of the body with the last."""
    parts = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in wire.pieces(usage=usage)]
    return [_STREAM_HEAD + parts[0], *parts[1:-1], parts[-1] + _LAST_CHUNK]


_STREAMS: Final = {usage: _streamed(usage=usage) for usage in (False, True)}


class Connection:
    """One client of the vendor."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket: Final = connected
        self.writes: Iterator[bytes] | None = None
        self._waiting = b""
        self._body = b""
        self._parser = httptools.HttpRequestParser(self)

    def readable(self) -> bool:
        """Take what has come; False when the client has left."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        if data:
            self._parser.feed_data(data)
        return bool(data)

    def tick(self) -> bool:
        """Send the stream's next piece; False when it was the last."""
        data = self._waiting or next(self.writes or iter(()), b"")
        if not data:
            self.writes = None
            return False
        try:
            sent = self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            return False
        self._waiting = data[sent:]
        return True

    # --- httptools

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        asked = self._body.replace(b" ", b"")
        if b'"stream":true' in asked:
            self.writes = iter(_STREAMS[b'"include_usage":true' in asked])
        else:
            self.socket.send(_ANSWER)


class Vendor:
    """Accepts connections and serves them until it is killed."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext | None, pace: float) -> None:
        self._listener: Final = listener
        listener.setblocking(False)
        self._context: Final = context
        self._pace: Final = pace
        self._epoll: Final = select.epoll()
        self._connections: Final[dict[int, Connection]] = {}
        self._streams: Final[set[Connection]] = set()

    def serve(self) -> None:
        self._epoll.register(self._listener, select.EPOLLIN)
        due = time.monotonic()
        while True:
            left = due - time.monotonic() if self._streams else IDLE_SECONDS
            # epoll can wait for whole milliseconds only: what is less is slept, and whoever comes meanwhile waits.
            for descriptor, _ in self._epoll.poll(max(0.0, left - 0.001)):
                self._take(descriptor)
            if self._streams and left < 0.002:
                time.sleep(max(0.0, due - time.monotonic()))
                due = max(due + self._pace, time.monotonic())
                self._tick()

    def _tick(self) -> None:
        for stream in [one for one in self._streams if not one.tick()]:
            self._streams.discard(stream)

    def _take(self, descriptor: int) -> None:
        if descriptor == self._listener.fileno():
            with suppress(BlockingIOError):
                while True:
                    self._accept()
            return
        connection = self._connections[descriptor]
        alive = connection.readable()
        if connection.writes is not None:
            self._streams.add(connection)
        if not alive:
            self._streams.discard(connection)
            self._epoll.unregister(descriptor)
            del self._connections[descriptor]
            connection.socket.close()

    def _accept(self) -> None:
        connected, _ = self._listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            connected.settimeout(HANDSHAKE_SECONDS)
            try:
                connected = self._context.wrap_socket(connected, server_side=True)
            except OSError:
                return  # who does not trust the certificate says so on its own side
        connected.setblocking(False)
        self._connections[connected.fileno()] = Connection(connected)
        self._epoll.register(connected, select.EPOLLIN)


def main() -> None:
    """Entry point of `python -m benchmarks.vendor`."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--chain")
    options.add_argument("--key")
    options.add_argument("--pace", type=float, default=0.001, help="seconds between two pieces of a stream")
    chosen = options.parse_args()
    context = None
    if chosen.chain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(chosen.chain, chosen.key)
    Vendor(socket.create_server(("127.0.0.1", chosen.port), backlog=2048), context, chosen.pace).serve()


if __name__ == "__main__":
    main()
