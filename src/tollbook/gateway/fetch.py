"""One GET of our own to a vendor: the answer as it comes, never more of it in memory than a little.

It goes through the same connections as requests of clients do: the vendor's address is judged, its certificate is
checked, the secret goes to that host and nowhere else, and no redirect is followed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tollbook.core.faults import Fault
from tollbook.core.settings import Timeouts
from tollbook.gateway.message import Headers
from tollbook.gateway.upstream import Pool, VendorAddress, VendorConnection

HELD: Final = 256 * 1024
"""Bytes that wait to be taken before the vendor is made to wait."""


class FetchFailed(Fault):
    """There was no whole answer. The message is a short class (`timeout`, `closed`, `connect_timeout`, ...)."""

    code = "fetch_failed"


class Fetch:
    """An answer under way; a `Listener`."""

    def __init__(self, data: bytes, timeouts: Timeouts) -> None:
        self._data: Final = data
        self._timeouts: Final = timeouts
        self._connection: VendorConnection | None = None
        self._parts: Final[deque[bytes]] = deque()
        self._held = 0
        self._news: Final = asyncio.Event()
        self._ended = False
        self._lost: str | None = None
        self.status = 0
        self.headers: Headers = []

    async def head(self, pool: Pool) -> None:
        """Send it and wait for the answer's head. Raises FetchFailed."""
        pool.connect(self, self._timeouts.connect)
        while not self.status:
            await self._wait(self._timeouts.first_byte)

    async def parts(self) -> AsyncIterator[bytes]:
        """The answer's body as it comes. Raises FetchFailed when it breaks off."""
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._held -= len(part)
                if self._held < HELD and self._connection is not None and not self._ended:
                    self._connection.resume()
                yield part
            if self._ended:
                return
            await self._wait(self._timeouts.idle)

    async def whole(self, limit: int) -> bytes:
        """The whole body. Raises FetchFailed when it breaks off or is longer."""
        body = bytearray()
        async for part in self.parts():
            body += part
            if len(body) > limit:
                raise FetchFailed("answer_too_large")
        return bytes(body)

    def leave(self) -> None:
        """Nothing more is wanted."""
        if self._connection is not None and not self._ended and self._lost is None:
            self._connection.abandon()
        self._ended = True

    async def _wait(self, seconds: float) -> None:
        if self._lost is None:
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                raise FetchFailed("timeout") from None
        self._news.clear()
        if self._lost is not None and not self._parts:
            raise FetchFailed(self._lost)

    # --- what the connection tells

    def connected(self, connection: VendorConnection) -> None:
        if self._ended:
            connection.abandon()
            return
        self._connection = connection
        connection.send(self, self._data)

    def connect_failed(self, why: str) -> None:
        self.connection_lost(why)

    def answer_began(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._news.set()

    def answer_data(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)
        if self._held >= HELD and self._connection is not None:
            self._connection.pause()
        self._news.set()

    def answer_ended(self) -> None:
        self._ended = True
        if self._connection is not None:
            self._connection.resume()  # it may serve another request by now
        self._news.set()

    def connection_lost(self, why: str) -> None:
        self._lost = why
        self._news.set()


@asynccontextmanager
async def fetch(
    pool: Pool, address: VendorAddress, path: str, headers: Headers, timeouts: Timeouts
) -> AsyncIterator[Fetch]:
    """The answer to a GET of a path below a vendor's address, its head read; `headers` are the credentials and what
    the format needs. Raises FetchFailed."""
    own: Headers = [(b"host", address.authority.encode("latin-1")), (b"accept-encoding", b"identity")]
    lines = b"".join(b"%b: %b\r\n" % line for line in [*own, (b"accept", b"*/*"), *headers])
    asked = Fetch(f"GET {address.path}{path} HTTP/1.1\r\n".encode("latin-1") + lines + b"\r\n", timeouts)
    try:
        await asked.head(pool)
        yield asked
    finally:
        asked.leave()
