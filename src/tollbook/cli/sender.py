"""Sends many prepared HTTP requests over few connections, paced, and counts what came back.

A small client on purpose: replays and the demo send tens of thousands of requests beside the gateway on one machine.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httptools

from tollbook.core.faults import BadInput

TIMEOUT_SECONDS: Final = 60.0
SILENT_LIMIT: Final = 20
"""So many requests without any answer, and none before with one, end the sending."""


class Shot(NamedTuple):
    """One request to send: seconds after the start, path, headers, body; `leave_after` bytes of the answer, if ever."""

    at: float
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    leave_after: int | None = None


class Result(NamedTuple):
    """What came back: status (0: no answer), and the request's id at the gateway if it named one."""

    shot: Shot
    status: int
    request_id: str | None


class Tally:
    """Results counted as they come."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        """Count a result. Raises BadInput when the gateway has answered nothing at all for long."""
        self.statuses[result.status] += 1
        self.results.append(result)
        if self.statuses[0] == len(self.results) >= SILENT_LIMIT:
            raise BadInput(f"the gateway answered none of {SILENT_LIMIT} requests; its log says more")


async def send_all(
    url: str, shots: Iterable[Shot], *, connections: int, progress: Callable[[], None] = lambda: None
) -> Tally:
    """Send every shot at its time, or as soon after it as a connection is free.

    Raises BadInput when the gateway cannot be reached, or answers nothing at all.
    """
    address = _address(url)
    tally = Tally()
    waiting: asyncio.Queue[Shot | None] = asyncio.Queue(maxsize=connections * 2)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_feed(waiting, shots, connections))
            for _ in range(connections):
                tasks.create_task(_work(address, waiting, tally, progress))
    except* BadInput as faults:
        raise faults.exceptions[0] from None
    return tally


async def _feed(waiting: asyncio.Queue[Shot | None], shots: Iterable[Shot], connections: int) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for shot in shots:
        if (early := begun + shot.at - loop.time()) > 0:
            await asyncio.sleep(early)
        await waiting.put(shot)
    for _ in range(connections):
        await waiting.put(None)


class _Address(NamedTuple):
    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str


def _address(url: str) -> _Address:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url!r} is no address of a gateway; give one such as http://127.0.0.1:8080")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return _Address(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/"))


async def _work(
    address: _Address, waiting: asyncio.Queue[Shot | None], tally: Tally, progress: Callable[[], None]
) -> None:
    connection: _Connection | None = None
    try:
        while (shot := await waiting.get()) is not None:
            if connection is None or connection.closed:
                connection = await _connect(address)
            tally.add(await connection.send(shot, address))
            progress()
    finally:
        if connection is not None:
            connection.close()


async def _connect(address: _Address) -> "_Connection":
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(_Connection, address.host, address.port, ssl=address.tls)
    except OSError as fault:
        raise BadInput(
            f"the gateway at {address.host}:{address.port} cannot be reached: {fault}; is it running?"
        ) from None
    return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self._shot: Shot
        self._answer: asyncio.Future[Result]
        self._request_id: str | None = None
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def send(self, shot: Shot, address: _Address) -> Result:
        """Send one request and wait for the end of its answer, or leave as the shot says."""
        self._shot, self._request_id, self._received = shot, None, 0
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        lines = [f"POST {address.prefix}{shot.path} HTTP/1.1", f"host: {address.host}:{address.port}"]
        lines += [f"{name}: {value}" for name, value in shot.headers]
        lines += ["content-type: application/json", f"content-length: {len(shot.body)}", "", ""]
        self._transport.write("\r\n".join(lines).encode() + shot.body)
        try:
            return await asyncio.wait_for(self._answer, TIMEOUT_SECONDS)
        except TimeoutError:
            self.close()
            return Result(shot, 0, self._request_id)

    def close(self) -> None:
        self.closed = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish(0)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._finish(0)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-tollbook-request-id":
            self._request_id = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._received += len(data)
        if self._shot.leave_after is not None and self._received >= self._shot.leave_after:
            self._finish(self._parser.get_status_code())
            self.closed = True
            self._transport.abort()

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        self._finish(self._parser.get_status_code())

    def _finish(self, status: int) -> None:
        if hasattr(self, "_answer") and not self._answer.done():
            self._answer.set_result(Result(self._shot, status, self._request_id))
