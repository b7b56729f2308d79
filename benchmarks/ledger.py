"""The ledger: how fast a journal is loaded and rebuilt on one core, and how long people wait for answers."""

import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import sample, subject
from benchmarks.machine import cores
from tollbook.core.clock import SECOND, now
from tollbook.ledger.loader import Loader
from tollbook.ledger.reader import Reader
from tollbook.ledger.rebuild import rebuild
from tollbook.ledger.report import report
from tollbook.ledger.trace import trace

TRACES: Final = 20
_SEED: Final = 1


def run(requests: int = 200_000) -> None:
    """Print what a ledger of so many requests costs. 1,000,000 requests take about 3 GB of disk and some minutes."""
    subject.KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=subject.KEPT, prefix="run-") as directory, _one_core():
        began = time.perf_counter()
        made = sample.make(Path(directory), requests)
        lanes = sum(path.stat().st_size for path in (made.root / "lanes").rglob("*.jsonl"))
        print(
            f"ledger: {requests:,} requests of the standard mix, {lanes / 1e6:,.0f} MB of journal "
            f"(made in {time.perf_counter() - began:.0f} s), one core"
        )
        _load(made.root, requests)
        _rebuild(made.root, requests)
        _ask(made)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"  memory at most: {peak:,.0f} MB")


def _load(root: Path, requests: int) -> None:
    with Loader(root) as loader:
        _print_rate("load, totals included", requests, loader.catch_up)


def _rebuild(root: Path, requests: int) -> None:
    """Rebuilding reads the journal, folds it, and takes and compares the digests of all tables."""
    _print_rate("rebuild, with digests", requests, lambda: rebuild(root))


def _ask(made: sample.Sample) -> None:
    until = now()
    since = until - sample.DAYS * 86_400 * SECOND
    first = _timed(lambda: trace(made.root, made.ids[0]))
    with Reader(made.root) as reader:
        chosen = random.Random(_SEED).choices(made.ids, k=TRACES)
        traces = [_timed(partial(trace, reader, one)) for one in chosen]
        questions: dict[str, Callable[[], object]] = {
            "a month by tenant, model, day": lambda: report(
                reader, ["tenant", "model", "day"], since=since, until=until
            ),
            "a day by tenant": lambda: report(reader, ["tenant"], since=until - 86_400 * SECOND, until=until),
        }
        print(f"  trace by id, new reader {first * 1e3:10,.0f} ms")
        print(f"  trace by id             {median(traces) * 1e3:10,.0f} ms (at most {max(traces) * 1e3:,.0f})")
        for name, ask in questions.items():
            answers = [_timed(ask) for _ in range(3)]
            print(f"  {name:30}{median(answers) * 1e3:4,.0f} ms (first {answers[0] * 1e3:,.0f})")


def _print_rate(name: str, requests: int, call: Callable[[], object]) -> None:
    """Requests a second of processor time, which others on the machine do not change, and of time as it went by."""
    start = time.process_time()
    seconds = _timed(call)
    spent = time.process_time() - start
    print(f"  {name:23} {requests / spent:10,.0f} requests/s of CPU, {requests / seconds:,.0f} requests/s")


def _timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process, with all threads it starts, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


if __name__ == "__main__":
    run()
