"""Handing a running gateway over to another supervisor: the listening socket first, the work one worker at a time.

Over `run/supervisor.sock` the supervisor that serves sends its listening socket to the one that takes over; that one
starts its workers on it, and for each says `retire`, whereupon one of the former's drains and leaves; after the last it
says `leave`. The socket is never closed, so nobody is refused. When the new one dies before `leave`, the former notices
the end of the connection and goes on as if nothing had been.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput, BookLocked

RETIRE: Final = b"retire\n"
LEAVE: Final = b"leave\n"
_ANSWER_SECONDS: Final = 10.0
_LIMIT: Final = 65_536


class Former(Struct, frozen=True):
    """What the supervisor that serves says of itself: its process, its release."""

    process: int
    release: str


def socket_path(root: Path) -> Path:
    return root / "run" / "supervisor.sock"


class Succession:
    """The serving supervisor's side: waits for a successor, and does what it says.

    `begin` is called when one has the listening socket, `retire` for each of its workers that is ready, `leave` once
    it has all, `broken` when it died before.
    """

    def __init__(
        self,
        root: Path,
        listener: socket.socket,
        release: str,
        *,
        begin: Callable[[], None],
        retire: Callable[[], None],
        leave: Callable[[], None],
        broken: Callable[[], None],
    ) -> None:
        self._root: Final = root
        self._listener: Final = listener
        self._told: Final = msgspec.json.encode(Former(os.getpid(), release)) + b"\n"
        self._begin, self._retire, self._leave, self._broken = begin, retire, leave, broken
        self._successor: socket.socket | None = None

    async def wait(self) -> None:
        """Serve one successor after the other until one has taken everything, or until cancelled."""
        loop, path = asyncio.get_running_loop(), socket_path(self._root)
        path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX)
        umask = os.umask(0o177)
        try:
            door.bind(str(path))
        finally:
            os.umask(umask)
        door.listen(4)
        door.setblocking(False)
        ours = path.stat().st_ino
        try:
            while True:
                self._successor, _ = await loop.sock_accept(door)
                if await self._hand_over(self._successor):
                    return  # the connection is closed by our end only, which is what it waits for
                self._successor.close()
        finally:
            door.close()
            if path.exists() and path.stat().st_ino == ours:
                path.unlink()

    async def _hand_over(self, successor: socket.socket) -> bool:
        loop = asyncio.get_running_loop()
        try:
            socket.send_fds(successor, [self._told], [self._listener.fileno()])
        except OSError:
            return False
        successor.setblocking(False)
        self._begin()
        rest = b""
        while data := await _received(loop, successor):
            *words, rest = (rest + data).split(b"\n")
            for word in words:
                if word + b"\n" == RETIRE:
                    self._retire()
                elif word + b"\n" == LEAVE:
                    self._leave()
                    return True
        self._broken()
        return False


async def _received(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(connection, _LIMIT)
    except OSError:
        return b""


class Predecessor:
    """The successor's side: the supervisor that served so far."""

    def __init__(self, root: Path) -> None:
        """Ask for the listening socket. Raises BadInput when nobody serves this book, BookLocked when it is being
        handed over to somebody else."""
        self._connection: Final = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(_ANSWER_SECONDS)
        try:
            self._connection.connect(str(socket_path(root)))
            told, descriptors, _, _ = socket.recv_fds(self._connection, _LIMIT, 1)
        except (FileNotFoundError, ConnectionRefusedError):
            raise BadInput(f"nobody serves {root}: leave --replace out") from None
        except TimeoutError:
            raise BookLocked(f"{root} is being handed over to another process just now; try again") from None
        if not descriptors:
            raise BadInput(f"the gateway that serves {root} did not hand its socket over; see what it says")
        self.listener: Final = socket.socket(fileno=descriptors[0])
        self.told: Final = msgspec.json.decode(told, type=Former)
        self._connection.setblocking(False)

    async def say(self, word: bytes) -> None:
        """`RETIRE` or `LEAVE`; one that died meanwhile needs no word."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, word)
        except OSError:
            return

    async def gone(self) -> None:
        """Return once it has left."""
        loop = asyncio.get_running_loop()
        while await _received(loop, self._connection):
            pass
        self._connection.close()
