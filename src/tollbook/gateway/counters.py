"""Counts of the last minute that all workers of a node see: a file of integers, mapped by each of them.

Each worker writes into a region of its own and reads those of the others, so nothing is locked and no count is lost: a
limit is exact but for requests that two workers admit within the same microseconds. A worker's region is empty when it
begins: what its predecessor had under way is over.
"""

import mmap
import os
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.core.clock import SECOND

MINUTE: Final = 60 * SECOND
ROWS: Final = 8_192
"""Scopes that a worker can count; what comes above is counted by this worker alone."""

_FIELDS: Final = 9
_KEY, _MINUTE, _REQUESTS, _REQUESTS_BEFORE, _TOKENS, _TOKENS_BEFORE, _RUNNING, _STREAMS, _HELD = range(_FIELDS)
_REGION: Final = ROWS * _FIELDS
_PROBES: Final = 64


class Used(NamedTuple):
    """What a scope has used: requests and tokens of the last 60 s, and requests, streams and tokens under way."""

    requests: int
    tokens: int
    running: int
    streams: int
    held: int


class Counters:
    """The regions of all workers; `own` is the number of this worker's."""

    def __init__(self, memory: memoryview, regions: int, own: int) -> None:
        self._memory: Final = memory
        self._regions: Final = regions
        self._own: Final = own
        self._scopes: Final[dict[str, Scope]] = {}
        start = own * _REGION
        self._memory[start : start + _REGION] = memoryview(bytes(8 * _REGION)).cast("q")

    @classmethod
    def shared(cls, path: Path, regions: int, own: int) -> "Counters":
        """The counters in a file that `make` made."""
        with path.open("r+b") as file:
            return cls(memoryview(mmap.mmap(file.fileno(), 0)).cast("q"), regions, own)

    @classmethod
    def alone(cls) -> "Counters":
        """Counters of a worker that shares them with nobody."""
        return cls(memoryview(bytearray(8 * _REGION)).cast("q"), 1, 0)

    @staticmethod
    def make(path: Path, regions: int) -> None:
        """An empty file for so many workers, in the place of a former one, which stays with those who still map it."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        os.truncate(descriptor, 8 * _REGION * regions)
        os.close(descriptor)

    @staticmethod
    def clear(path: Path, region: int) -> None:
        """Empty the region of a worker that is no more: what it had under way is over."""
        with path.open("r+b") as file:
            os.pwrite(file.fileno(), bytes(8 * _REGION), 8 * _REGION * region)

    def scope(self, *names: str) -> "Scope":
        """The counts that belong to some names, the same in all workers."""
        name = "\n".join(names)
        found = self._scopes.get(name)
        if found is None:
            found = self._scopes[name] = Scope(self._memory, _key_of(*names), self._own, self._regions)
        return found


class Scope:
    """The counts of one scope. Instants are in microseconds."""

    __slots__ = ("_at", "_elsewhere", "_key", "_memory", "_own")

    def __init__(self, memory: memoryview, key: int, own: int, regions: int) -> None:
        self._key: Final = key
        place = _place(memory, own, key, take=True)
        self._memory, self._at = (memory, place) if place is not None else (memoryview(bytearray(72)).cast("q"), 0)
        self._own: Final = memory
        self._elsewhere: Final[dict[int, int | None]] = {region: None for region in range(regions) if region != own}

    def used(self, instant: int) -> Used:
        """What all workers have used."""
        minute, past = divmod(instant, MINUTE)
        left = MINUTE - past
        memory, at = self._memory, self._at
        total = _read(memory, at, minute, left)
        for region, place in self._elsewhere.items():
            if place is None or self._own[place + _KEY] != self._key:
                place = self._elsewhere[region] = _place(self._own, region, self._key, take=False)
            if place is not None:
                total = Used(*map(int.__add__, total, _read(self._own, place, minute, left)))
        return total

    def begin(self, instant: int, tokens: int, *, stream: bool) -> None:
        """One more request under way, which holds as many tokens until it is known how many it used."""
        memory, at = self._turned(instant)
        memory[at + _REQUESTS] += 1
        memory[at + _RUNNING] += 1
        memory[at + _STREAMS] += stream
        memory[at + _HELD] += tokens

    def end(self, instant: int, held: int, used: int, *, stream: bool) -> None:
        """It is over, and used so many tokens in place of those it held."""
        memory, at = self._turned(instant)
        memory[at + _TOKENS] += used
        memory[at + _RUNNING] -= 1
        memory[at + _STREAMS] -= stream
        memory[at + _HELD] -= held

    def _turned(self, instant: int) -> tuple[memoryview, int]:
        """The row, with this minute's counts in the first place."""
        memory, at, minute = self._memory, self._at, instant // MINUTE
        since = memory[at + _MINUTE]
        if since < minute:
            running = minute - since == 1
            for field in (_REQUESTS, _TOKENS):
                memory[at + field + 1] = memory[at + field] if running else 0
                memory[at + field] = 0
            memory[at + _MINUTE] = minute
        return memory, at


class Gauges:
    """The counters as somebody sees them who counts nothing: all regions are read, none is written."""

    def __init__(self, data: bytes) -> None:
        self._memory: Final = memoryview(data).cast("q")

    def used(self, instant: int, *names: str) -> Used:
        """What all workers have used of a scope."""
        key, (minute, past) = _key_of(*names), divmod(instant, MINUTE)
        total = Used(0, 0, 0, 0, 0)
        for region in range(len(self._memory) // _REGION):
            place = _place(self._memory, region, key, take=False)
            if place is not None:
                total = Used(*map(int.__add__, total, _read(self._memory, place, minute, MINUTE - past)))
        return total


def _key_of(*names: str) -> int:
    return int.from_bytes(blake2b("\n".join(names).encode(), digest_size=8).digest(), signed=True) or 1


def _read(memory: memoryview, at: int, minute: int, left: int) -> Used:
    """A row's counts: this minute's, and of the one before the share that lies within the last 60 s."""
    since = memory[at + _MINUTE]
    if since == minute:
        requests = memory[at + _REQUESTS] + memory[at + _REQUESTS_BEFORE] * left // MINUTE
        tokens = memory[at + _TOKENS] + memory[at + _TOKENS_BEFORE] * left // MINUTE
    elif since == minute - 1:
        requests = memory[at + _REQUESTS] * left // MINUTE
        tokens = memory[at + _TOKENS] * left // MINUTE
    else:
        requests = tokens = 0
    return Used(requests, tokens, memory[at + _RUNNING], memory[at + _STREAMS], memory[at + _HELD])


def _place(memory: memoryview, region: int, key: int, *, take: bool) -> int | None:
    """Where a region has the row of a key; with `take` it gets one. None when there is none."""
    start = region * _REGION
    for probe in range(_PROBES):
        at = start + (key + probe) % ROWS * _FIELDS
        found = memory[at + _KEY]
        if found == key:
            return at
        if not found:
            if take:
                memory[at + _KEY] = key
                return at
            return None
    return None
