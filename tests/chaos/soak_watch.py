"""What is watched while a soak runs: memory and descriptors of each process, and when ended requests can be seen."""

import time
import urllib.error
import urllib.request
from collections import Counter, deque
from itertools import combinations
from statistics import median
from typing import NamedTuple

from chaos_house import KEYS, ROLES, House
from soak_load import Ended, PacedLoad

from tollbook.core.faults import NotFound
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Reader

MIB = 1 << 20

WORKER_FLOOR, DESK_FLOOR, SCRIBE_FLOOR, SCRIBE_FLOOR_SHORT = 4 * MIB, 16 * MIB, 24 * MIB, 64 * MIB
GROWTH_PER_REQUEST = 16
"""A process is flat when the slope of its memory, over the time that was measured, comes to no more than a floor and,
for a worker, 16 bytes for each request of that time. A leaked object is 50 bytes and more; what has its bounds (answers
kept for idempotency keys, requests that were not answered) is still filling in a short run. The scribe and the desk
hold DuckDB, which takes memory for each merge of files (every 60 commits) and gives it back late: the first minutes
are all steps."""
LONG_SECONDS = 600.0
"""From here on the scribe has to be flatter."""

DESCRIPTORS_SLACK = 24
"""Connections come and go: a process has at most so many more open descriptors at the end than at the beginning."""

LOOKS = 300
"""Of more samples than these every nth is taken for the slope."""


class Look(NamedTuple):
    """A process at an instant (seconds)."""

    at: float
    resident: int
    descriptors: int
    threads: int


class Course(NamedTuple):
    """How a process did: memory at the beginning and the end of what was measured, the most there was, and by how much
    it grew by its slope, which may be by `allowed` (bytes); descriptors at the beginning and the end."""

    name: str
    first: int
    last: int
    most: int
    grown: int
    allowed: int
    descriptors: tuple[int, int]
    threads: tuple[int, int]

    @property
    def flat(self) -> bool:
        return self.grown <= self.allowed and self.descriptors[1] <= self.descriptors[0] + DESCRIPTORS_SLACK


class Watch:
    """Looks at every process of a house; none may be replaced."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._processes = {
            f"{role} {number}" if role == "worker" else role: process
            for role in ROLES
            for number, process in enumerate(house.children(role))
        }
        assert house.supervisor is not None
        self.looks: dict[str, list[Look]] = {name: [] for name in self._processes}

    def look(self) -> None:
        """One sample of each."""
        now = time.monotonic()
        for name, process in self._processes.items():
            with process.oneshot():
                found = Look(now, process.memory_info().rss, process.num_fds(), process.num_threads())
            self.looks[name].append(found)

    def cpu(self, role: str) -> float:
        """Processor seconds that the processes of a role have used so far."""
        told = [process.cpu_times() for name, process in self._processes.items() if name.startswith(role)]
        return sum(times.user + times.system for times in told)

    def courses(self, requests: int) -> list[Course]:
        """How each did while so many requests passed."""
        return [course(name, looks, requests) for name, looks in self.looks.items()]


def course(name: str, looks: list[Look], requests: int) -> Course:
    """The course of a process, from its samples after the warm-up."""
    third = max(1, len(looks) // 3)
    begin, end = looks[:third], looks[-third:]
    return Course(
        name=name,
        first=int(median(look.resident for look in begin)),
        last=int(median(look.resident for look in end)),
        most=max(look.resident for look in looks),
        grown=int(slope(looks) * (looks[-1].at - looks[0].at)),
        allowed=allowed(name, looks[-1].at - looks[0].at, requests),
        descriptors=(int(median(look.descriptors for look in begin)), int(median(look.descriptors for look in end))),
        threads=(int(median(look.threads for look in begin)), int(median(look.threads for look in end))),
    )


def allowed(name: str, seconds: float, requests: int) -> int:
    """Bytes that a process may grow by in so many seconds and requests."""
    if name.startswith("worker"):
        return WORKER_FLOOR + GROWTH_PER_REQUEST * requests
    if name == "desk":
        return DESK_FLOOR
    return SCRIBE_FLOOR if seconds >= LONG_SECONDS else SCRIBE_FLOOR_SHORT


def slope(looks: list[Look]) -> float:
    """Bytes a second, by Theil and Sen: the middle of the slopes of all pairs, so that no spike counts."""
    taken = looks[:: max(1, len(looks) // LOOKS)]
    slopes = [(b.resident - a.resident) / (b.at - a.at) for a, b in combinations(taken, 2) if b.at > a.at]
    return median(slopes) if slopes else 0.0


class Sight(NamedTuple):
    """Of a request: seconds from the end of its answer to its entry in the journal, and until the ledger showed it."""

    settled: float
    visible: float


class Visibility:
    """Looks for requests that have just ended, in the ledger as anybody may read it, and asks the desk for one of those
    that it found."""

    def __init__(self, house: House, load: PacedLoad) -> None:
        self._reader = Reader(house.book)
        self._load = load
        self._url = house.url
        self._waiting: dict[str, Ended] = {}
        self.asked: Counter[int] = Counter()
        self.seen: list[Sight] = []
        self.behind: deque[float] = deque(maxlen=100_000)

    def look(self) -> None:
        """Look once."""
        while self._load.sample:
            ended = self._load.sample.popleft()
            self._waiting[ended.request_id] = ended
        if not self._waiting:
            return
        marks = ", ".join(f"${number + 1}" for number in range(len(self._waiting)))
        statement = f"SELECT request_id, epoch_us(recorded) FROM requests WHERE request_id IN ({marks})"

        def query(lake: Lake) -> list[tuple[str, int]]:
            ((newest,),) = lake.rows("SELECT max(epoch_us(recorded)) FROM positions")
            self.behind.append(time.time() - newest / 1e6)
            return [(name, recorded) for name, recorded in lake.rows(statement, list(self._waiting))]

        try:
            found = self._reader.read(query)
        except NotFound:
            return
        now = time.time()
        for name, recorded in found:
            ended = self._waiting.pop(name)
            self.seen.append(Sight(recorded / 1e6 - ended.at, now - ended.at))
        if found:
            self._ask(ended)

    def _ask(self, ended: Ended) -> None:
        """Ask for a request as its tenant."""
        headers = {"authorization": f"Bearer {KEYS[ended.tenant]}"}
        asked = urllib.request.Request(f"{self._url}/tollbook/v1/requests/{ended.request_id}", headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                self.asked[answer.status] += 1
        except urllib.error.HTTPError as refused:
            self.asked[refused.code] += 1

    @property
    def unseen(self) -> int:
        """Requests that ended and have not been seen yet."""
        return len(self._waiting) + len(self._load.sample)

    def close(self) -> None:
        self._reader.close()


def quantile(values: list[float], share: float) -> float:
    """The value that a share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
