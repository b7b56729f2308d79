"""What a connection has to say, gathered for one turn of the loop."""

import asyncio
from typing import Final

GATHERED_LIMIT: Final = 64 * 1024


class Outlet:
    """Writes to a transport once the loop has handed out all that had come in.

    The writes of many connections then follow one another, and the code that answers requests is not thrown out of the
    processor's caches by the kernel's after each; pieces for one connection leave together.
    """

    __slots__ = ("_gathered", "_later", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport: Final = transport
        self._later: Final = asyncio.get_running_loop().call_soon
        self._gathered: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take bytes that are to be written in this turn. Many of them go at once: a reader that is slow must show."""
        if not self._gathered:
            self._later(self.flush)
        self._gathered.append(data)
        self._size += len(data)
        if self._size > GATHERED_LIMIT:
            self.flush()

    def flush(self) -> None:
        """Write now, before the transport is closed or asked how much it still holds."""
        gathered = self._gathered
        if gathered:
            self._gathered = []
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))
