"""The vendor's own books: what it received and what it billed.

One JSON line each, appended with one write the moment it is true, so that the books of a simulator that is killed
are complete. No key stands in them, only the account made from it.
"""

import hashlib
import os
import pathlib
from functools import lru_cache
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

RECEIVED: Final = "received.jsonl"
BILLED: Final = "billed.jsonl"
ENDED: Final = "ended.jsonl"

_Line = TypeVar("_Line", bound=Struct)


class Received(Struct, frozen=True, kw_only=True):
    """A request whose headers arrived. `model_asked` is None when its body could not be read or came later.

    `format` and `operation` say what the path leads to: None when it leads nowhere.
    """

    instant: str
    vendor: str | None
    path: str
    vendor_request_id: str
    attempt_id: str | None
    request_id: str | None
    account: str | None
    model_asked: str | None
    format: str | None = None
    operation: str | None = None


class Ended(Struct, frozen=True, kw_only=True):
    """How a received request ended, from the vendor's side.

    `status` is that of the answer, None when none was begun; `ending` is one of ENDINGS; `billed` says whether a
    billed line was written for it by then (work that is done later has its line later).
    """

    instant: str
    vendor_request_id: str
    attempt_id: str | None
    request_id: str | None
    status: int | None
    ending: str
    billed: bool


ENDINGS: Final = ("answered", "broken_off", "unanswered", "client_gone")
"""The whole answer was sent; it was broken off by the vendor; nothing was sent; the client left before its end."""


class Billed(Struct, frozen=True, kw_only=True):
    """Work that the vendor charges for: usage in its own field names, the amount as exact decimal text.

    `complete` is False when the client never got the whole answer; `vendor_request_id` is the id of the received line.
    `counts` is the usage in plain terms: classes that do not overlap, those that are zero left out. A line of a batch
    has the ids of the batch and of the line, a request id of its own, and the attempt id of the request that created
    the batch.
    """

    instant: str
    vendor: str
    vendor_request_id: str
    response_id: str
    attempt_id: str | None
    request_id: str | None
    account: str
    model_asked: str
    model_served: str
    tier: str
    usage: dict[str, object]
    amount: str
    currency: str
    complete: bool
    format: str = ""
    operation: str = ""
    counts: dict[str, int] = {}
    geo: str | None = None
    speed: str | None = None
    batch_id: str | None = None
    custom_id: str | None = None


class Books:
    """The books of one simulator: in a directory, or in memory when there is none."""

    def __init__(self, directory: pathlib.Path | None = None) -> None:
        self.directory = directory
        self._received: _Lines[Received] = _Lines(Received, directory and directory / RECEIVED)
        self._billed: _Lines[Billed] = _Lines(Billed, directory and directory / BILLED)
        self._ended: _Lines[Ended] = _Lines(Ended, directory and directory / ENDED)

    @property
    def received(self) -> list[Received]:
        """All requests received, in order."""
        return self._received.lines()

    @property
    def billed(self) -> list[Billed]:
        """All work billed, in order."""
        return self._billed.lines()

    @property
    def ended(self) -> list[Ended]:
        """How requests ended, in order."""
        return self._ended.lines()

    def receive(self, line: Received) -> None:
        self._received.append(line)

    def bill(self, line: Billed) -> None:
        self._billed.append(line)

    def end(self, line: Ended) -> None:
        self._ended.append(line)

    def clear(self) -> None:
        """Empty the books."""
        for lines in (self._received, self._billed, self._ended):
            lines.clear()

    def close(self) -> None:
        for lines in (self._received, self._billed, self._ended):
            lines.close()


def read_books(directory: pathlib.Path) -> tuple[list[Received], list[Billed]]:
    """The books of a simulator that runs, or ran, elsewhere: received and billed lines."""
    return _read(directory / RECEIVED, Received), _read(directory / BILLED, Billed)


def read_endings(directory: pathlib.Path) -> list[Ended]:
    """How the requests ended that a simulator received elsewhere."""
    return _read(directory / ENDED, Ended)


@lru_cache(4096)
def account_of(key: str) -> str:
    """The account that a vendor key belongs to: `acct_` and 12 digits of the key's digest."""
    return "acct_" + hashlib.sha256(key.encode()).hexdigest()[:12]


class _Lines(Generic[_Line]):
    """Lines of one kind, on file or in memory."""

    def __init__(self, kind: type[_Line], path: pathlib.Path | None) -> None:
        self._kind = kind
        self._path = path
        self._kept: list[_Line] = []
        self._file = -1
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def lines(self) -> list[_Line]:
        return list(self._kept) if self._path is None else _read(self._path, self._kind)

    def append(self, line: _Line) -> None:
        if self._path is None:
            self._kept.append(line)
            return
        data = msgspec.json.encode(line) + b"\n"
        if os.write(self._file, data) != len(data):
            raise OSError(f"{self._path}: a line of the vendor's books was cut short; is the disk full?")

    def clear(self) -> None:
        self._kept.clear()
        if self._file >= 0:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _read(path: pathlib.Path, kind: type[_Line]) -> list[_Line]:
    if not path.exists():
        return []
    decode = msgspec.json.Decoder(kind).decode
    return [decode(line) for line in path.read_bytes().splitlines()]
