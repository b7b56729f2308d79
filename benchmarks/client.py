"""A load generator without C: keeps connections busy, or sends at a fixed rate whatever is outstanding.

Plain sockets and epoll in one thread. Prints one JSON object: requests, errors, events, seconds, and latencies in
microseconds from just before the request is written to the last byte read.
"""

import argparse
import json
import select
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httptools

CONNECT_SECONDS: Final = 10.0


class Address:
    """Where requests go, and how connections to it are made."""

    def __init__(self, url: str, authority: str | None) -> None:
        parts = urlsplit(url)
        self.host: Final = parts.hostname or "127.0.0.1"
        self.port: Final = parts.port or 80
        self.path: Final = parts.path
        self._context = ssl.create_default_context(cafile=authority) if parts.scheme == "https" else None

    def dial(self) -> socket.socket:
        connected = socket.create_connection((self.host, self.port), CONNECT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            connected = self._context.wrap_socket(connected, server_hostname=self.host)
        connected.setblocking(False)
        return connected

    def request(self, body: bytes, headers: list[str]) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class Connection:
    """One client connection; `over` is called when an answer is whole or the connection is lost."""

    def __init__(self, address: Address, over: Callable[["Connection"], None]) -> None:
        self.socket: Final = address.dial()
        self.failed = False
        self.busy = False
        self.events = 0
        self.since = 0.0
        self._over: Final = over
        self._parser = httptools.HttpResponseParser(self)

    def send(self, data: bytes) -> None:
        self.busy = True
        self._parser = httptools.HttpResponseParser(self)
        self.since = time.perf_counter()
        self.socket.send(data)

    def readable(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        if data:
            self._parser.feed_data(data)
        elif self.busy:
            self.failed = True
            self._over(self)

    # --- httptools

    def on_body(self, data: bytes) -> None:
        self.events += data.count(b"data: ")

    def on_message_complete(self) -> None:
        self.failed = self._parser.get_status_code() != 200
        self._over(self)


class Load:
    """What was done so far."""

    def __init__(self, address: Address, data: bytes) -> None:
        self._address: Final = address
        self._data: Final = data
        self._epoll: Final = select.epoll()
        self._connections: Final[dict[int, Connection]] = {}
        self._latencies: Final[list[float]] = []
        self._started = 0.0
        self._until = 0.0
        self._errors = 0
        self._repeats = False

    def keep_busy(self, connections: int, seconds: float) -> None:
        """So many connections, each sending as soon as it has its answer."""
        self._repeats = True
        opened = [self._open() for _ in range(connections)]
        self._begin(seconds)
        for connection in opened:
            connection.send(self._data)
        while time.perf_counter() < self._until:
            self._read(0.05)

    def keep_rate(self, rate: float, connections: int, seconds: float) -> None:
        """So many requests a second, sent when they are due; a further connection is made when none is free."""
        for _ in range(connections):
            self._open()
        self._begin(seconds)
        due = self._started
        while due < self._until:
            while (now := time.perf_counter()) < due:
                if not self._read(0):
                    time.sleep(min(0.0001, due - now))  # epoll can wait for whole milliseconds only
            free = next((one for one in self._connections.values() if not one.busy), None)
            (free or self._open()).send(self._data)
            due += 1 / rate

    def drain(self, seconds: float) -> None:
        """Wait for the answers that are still to come."""
        until = time.perf_counter() + seconds
        while any(one.busy for one in self._connections.values()) and time.perf_counter() < until:
            self._read(0.05)

    def result(self) -> dict[str, float | int]:
        """Totals, and the middle and the hundredth worst latency."""
        ordered = sorted(self._latencies) or [0.0]
        return {
            "requests": len(self._latencies),
            "errors": self._errors,
            "events": sum(connection.events for connection in self._connections.values()),
            "seconds": time.perf_counter() - self._started,
            "p50_us": ordered[len(ordered) // 2] * 1e6,
            "p99_us": ordered[len(ordered) * 99 // 100] * 1e6,
        }

    def _begin(self, seconds: float) -> None:
        self._started = time.perf_counter()
        self._until = self._started + seconds

    def _open(self) -> Connection:
        connection = Connection(self._address, self._over)
        self._connections[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        return connection

    def _over(self, connection: Connection) -> None:
        connection.busy = False
        if connection.failed:
            self._errors += 1
        else:
            self._latencies.append(time.perf_counter() - connection.since)
        if self._repeats and time.perf_counter() < self._until:
            connection.send(self._data)

    def _read(self, seconds: float) -> int:
        ready = self._epoll.poll(seconds)
        for descriptor, _ in ready:
            self._connections[descriptor].readable()
        return len(ready)


def main() -> None:
    """Entry point of `python -m benchmarks.client`."""
    options = argparse.ArgumentParser()
    options.add_argument("url")
    options.add_argument("--body", type=Path, required=True, help="file with the body of each request")
    options.add_argument("--header", action="append", default=[], help="a further header, as `Name: value`")
    options.add_argument("--authority", help="certificates to trust, for https")
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rate", type=float, help="requests a second; without it, as many as are answered")
    options.add_argument("--drain", type=float, default=10.0, help="how long to wait for the last answers, in seconds")
    chosen = options.parse_args()
    address = Address(chosen.url, chosen.authority)
    load = Load(address, address.request(chosen.body.read_bytes(), chosen.header))
    if chosen.rate:
        load.keep_rate(chosen.rate, chosen.connections, chosen.seconds)
    else:
        load.keep_busy(chosen.connections, chosen.seconds)
    load.drain(chosen.drain)
    print(json.dumps(load.result()))


if __name__ == "__main__":
    main()
