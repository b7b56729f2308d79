"""A relay between the road and the simulated vendor that keeps every byte of both directions."""

import asyncio
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit


class Heard(NamedTuple):
    """One request as the vendor got it, or one answer as it gave it."""

    first: bytes
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.headers}


class Wiretap:
    """Listens on a free port; each connection is carried on to the vendor."""

    def __init__(self, vendor_url: str) -> None:
        address = urlsplit(vendor_url)
        self._vendor = (str(address.hostname), address.port)
        self.url = ""
        self.sent: list[bytearray] = []
        self.answered: list[bytearray] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    @property
    def requests(self) -> list[Heard]:
        """All requests so far; the road sends each body with its length."""
        return [heard for stream in self.sent for heard in _messages(bytes(stream))]

    @property
    def answers(self) -> list[Heard]:
        """All answers so far; of a chunked one the body is as it stood on the wire."""
        return [heard for stream in self.answered for heard in _messages(bytes(stream))]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        vendor_reader, vendor_writer = await asyncio.open_connection(*self._vendor)
        up, down = bytearray(), bytearray()
        self.sent.append(up)
        self.answered.append(down)
        await asyncio.gather(_copy(reader, vendor_writer, up), _copy(vendor_reader, writer, down))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()


def _messages(data: bytes) -> list[Heard]:
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        pairs = [line.decode("latin-1").partition(": ") for line in lines]
        headers = [(name.lower(), value) for name, _, value in pairs]
        lengths = [int(value) for name, value in headers if name == "content-length"]
        size = lengths[0] if lengths else rest.index(b"0\r\n\r\n") + 5
        found.append(Heard(first, headers, rest[:size]))
        data = rest[size:]
    return found
