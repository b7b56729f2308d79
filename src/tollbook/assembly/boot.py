"""What a child process is told when it starts, and the channel it is told by.

The channel is a socket pair that the child inherits: lines of JSON both ways. Its end is the supervisor's end, so a
child whose supervisor was killed notices, drains and leaves. Secrets travel here and nowhere else.
"""

import asyncio
import socket
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from tollbook.assembly.reloading import Reloaded
from tollbook.core.settings import Settings

LIMIT: Final = 64 * 1024 * 1024

T = TypeVar("T")


class LaneNames(Struct, frozen=True):
    """Two lanes the supervisor has registered for a worker: the one it writes and the one in reserve."""

    main: str
    spare: str


class CounterPlace(Struct, frozen=True):
    """Where the workers of a node count what limits hold: the file, its regions, and the one that is this worker's."""

    path: str
    regions: int
    own: int


class Policy(Struct, frozen=True, kw_only=True):
    """What a worker goes by and can be given anew while it runs, `number` counting how often. `secrets` are [vendor,
    key name, secret]. Tenants' keys are not among it: they are the registry's."""

    number: int
    settings: Settings
    secrets: list[tuple[str, str, str]]


class WorkerBoot(Struct, frozen=True, kw_only=True):
    """Everything a worker needs. `prices` is the file of the price book in force."""

    policy: Policy
    root: str
    book: str
    release: str
    prices: str
    lanes: LaneNames
    counters: CounterPlace
    heads: str | None = None


class BookBoot(Struct, frozen=True, kw_only=True):
    """What scribe and shipper need: no secret among it."""

    settings: Settings
    root: str
    release: str


class Vault(Struct, frozen=True, kw_only=True):
    """What the desk asks vendors by: `secrets` are [vendor, key name, secret]."""

    settings: Settings
    secrets: list[tuple[str, str, str]]

    def by_key(self) -> dict[tuple[str, str], str]:
        """The secrets by vendor and name of the key."""
        return {(vendor, key): secret for vendor, key, secret in self.secrets}


class DeskBoot(Struct, frozen=True, kw_only=True):
    """What the desk needs."""

    vault: Vault
    root: str


class IngestBoot(Struct, frozen=True, kw_only=True):
    """What the ingest needs. `secrets` are those of its keys, by name."""

    settings: Settings
    root: str
    release: str
    lane: str
    secrets: dict[str, str]
    heads: str | None = None


class FromWorker(Struct, frozen=True, omit_defaults=True):
    """A worker's word: it listens; it needs new lanes because `dead` ones failed; it could not use `unused` ones; it
    goes by the policy of that number."""

    ready: bool = False
    policy: int | None = None
    needs_lanes: bool = False
    dead: list[str] = []
    unused: list[str] = []


class ToWorker(Struct, frozen=True, omit_defaults=True):
    """The supervisor's word: a new policy; that another took over and this one is to leave without a haste; else an
    answer: new lanes, or none yet."""

    lanes: LaneNames | None = None
    policy: Policy | None = None
    retire: bool = False


class FromDesk(Struct, frozen=True, omit_defaults=True):
    """The operator's wish, through the desk: read the configuration anew."""

    reload: bool = False


class ToDesk(Struct, frozen=True, omit_defaults=True):
    """What came of it; or another configuration to go by."""

    reloaded: Reloaded | None = None
    vault: Vault | None = None


def encode(message: Struct) -> bytes:
    """One message as a line."""
    return msgspec.json.encode(message) + b"\n"


def receive(control: socket.socket, kind: type[T]) -> T:
    """The first message, read before there is an event loop. Raises EOFError when the supervisor is gone."""
    parts = bytearray()
    while not parts.endswith(b"\n"):
        # Peeked first: what follows the first line belongs to the event loop's reader.
        data = control.recv(65536, socket.MSG_PEEK)
        if not data or len(parts) > LIMIT:
            raise EOFError("the supervisor has gone")
        end = data.find(b"\n")
        parts += control.recv(len(data) if end < 0 else end + 1)
    return msgspec.json.decode(parts, type=kind)


class Channel:
    """Messages over the pair inside an event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader: Final = reader
        self._writer: Final = writer

    @classmethod
    async def over(cls, control: socket.socket) -> "Channel":
        control.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=control, limit=LIMIT)
        return cls(reader, writer)

    def send(self, message: Struct) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def receive(self, kind: type[T]) -> T | None:
        """The next message; None when the other side is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        return msgspec.json.decode(line, type=kind) if line.endswith(b"\n") else None

    def close(self) -> None:
        self._writer.close()


def supervisor_gone(control: socket.socket) -> bool:
    """Whether the supervisor has gone: its end of the channel is closed."""
    try:
        return not control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
