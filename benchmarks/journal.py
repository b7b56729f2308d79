"""The journal: what an entry costs to append, when it is durable, and how fast a book is verified."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from threading import Semaphore
from typing import Final

from benchmarks import sample, subject
from tollbook.assembly import service
from tollbook.core.clock import now
from tollbook.journal.book import Book
from tollbook.journal.lane import Lane
from tollbook.journal.sync import GroupSync, SyncMode
from tollbook.journal.tail import read_lane
from tollbook.journal.verify import verify

ROUNDS: Final = 5
REQUESTS: Final = 20_000
DURABLE_SECONDS: Final = 1.5


def run(requests: int = 100_000) -> None:
    """Print what the journal costs; `requests` is the size of the book that is verified."""
    subject.KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=subject.KEPT, prefix="run-") as directory:
        root = Path(directory)
        book = service.init(root / "appended")
        _append(book)
        _sync_modes(book)
        (root / "verified").mkdir()
        _verify(root / "verified", requests)


def _append(book: Book) -> None:
    entries = sample.entries(REQUESTS)
    size = sum(len(payload) for _, payload in entries) / REQUESTS
    print(f"journal: requests of the standard mix, {len(entries) / REQUESTS:.2f} entries, {size:,.0f} bytes of payload")
    modes: tuple[SyncMode, ...] = ("off", "periodic")
    for mode in modes:
        wall, cpu = [], []
        for _ in range(ROUNDS):
            with _Lane(book, mode) as one:
                start, start_cpu = time.perf_counter(), time.thread_time()
                for kind, payload in entries:
                    one.lane.append(kind, payload)
                wall.append((time.perf_counter() - start) / len(entries) * 1e6)
                cpu.append((time.thread_time() - start_cpu) / len(entries) * 1e6)
        print(f"  append, sync {mode:9}  {min(cpu):6.1f} us of CPU, {median(wall):6.1f} us of time per entry")


def _sync_modes(book: Book) -> None:
    """How long one entry waits until it is durable, alone and with others that wait beside it."""
    kind, payload = sample.entries(1)[0]
    modes: tuple[SyncMode, ...] = ("before_forward", "periodic")
    for mode in modes:
        for waiting in (1, 64):
            with _Lane(book, mode) as one:
                waits = one.durable(kind, payload, waiting)
            middle, worst = median(waits) * 1e3, sorted(waits)[len(waits) * 99 // 100] * 1e3
            rate = len(waits) / DURABLE_SECONDS
            print(
                f"  durable, sync {mode:14}, {waiting:2} waiting: {middle:6.2f} ms (p99 {worst:.2f} ms), "
                f"{rate:,.0f} entries/s"
            )


def _verify(directory: Path, requests: int) -> None:
    made = sample.make(directory, requests)
    lane = max((made.root / "lanes").glob("worker-*"))
    size = sum(len(line.bytes) for line in read_lane(lane))

    def chain() -> None:
        for _ in read_lane(lane):
            pass

    def whole() -> None:
        found = verify(made.root).findings
        assert not found, found

    print(f"  a book of {requests:,} requests, {size / 1e6:,.0f} MB")
    for name, call in (("chain of one lane", chain), ("verify, all of it", whole)):
        seconds = _best(call)
        print(f"  {name:20} {size / 1e6 / seconds:6.0f} MB/s of CPU, {requests / seconds:,.0f} requests/s")


class _Lane:
    """A lane with its sync thread, in a `with` block."""

    def __init__(self, book: Book, mode: SyncMode) -> None:
        self.lane: Final[Lane] = sample.open_lane(book, "worker", now)
        self._sync: Final = GroupSync(self.lane, mode)

    def __enter__(self) -> "_Lane":
        return self

    def __exit__(self, *_: object) -> None:
        self._sync.stop()
        self.lane.close("stopped")

    def durable(self, kind: str, payload: bytes, waiting: int) -> list[float]:
        """Append with at most so many entries waiting; how long each waited, in seconds."""
        waits: list[float] = []
        free = Semaphore(waiting)
        until = time.perf_counter() + DURABLE_SECONDS

        def wait_for(sequence: int, since: float) -> None:
            def told(fault: Exception | None) -> None:
                assert fault is None, fault
                waits.append(time.perf_counter() - since)
                free.release()

            self._sync.request(sequence, told)

        while time.perf_counter() < until:
            free.acquire()
            sequence, _ = self.lane.append(kind, payload)
            wait_for(sequence, time.perf_counter())
        for _ in range(waiting):
            free.acquire()
        return waits


def _best(call: Callable[[], None]) -> float:
    """Seconds of CPU of one call, the best of some."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


if __name__ == "__main__":
    run()
