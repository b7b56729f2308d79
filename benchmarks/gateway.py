"""The road: requests a second, processor time, latency and memory, beside whichever peers are installed.

What is measured has one core, the load generator and the vendor have the other. Rounds are interleaved (A B C A B C),
so that what disturbs the machine disturbs all; a ratio is the median of the ratios of each round.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import zstandard
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import certificate, subject
from benchmarks.load import Load, Turn, vendor
from benchmarks.process import BenchFault
from benchmarks.subject import Subject, Tollbook

OURS: Final = "tollbook"
LATENCY_RATE: Final = 1_000
HELD_STREAMS: Final = 1_000
DISTURBED: Final = 0.03
"""The share of the measured core that others may take before a turn is taken again."""
PAUSE_SECONDS: Final = 5.0
QUICK: Final = ("direct", "tollbook", "nginx", "envoy")
"""Those that can carry 1,000 requests a second, or 1,000 streams, on one core."""

Measure = Callable[[Load, Subject], Turn]


class Options(NamedTuple):
    """What to run: the subjects by name, how long a turn lasts, how many turns each has, and how often a turn is taken
    again in which others disturbed the measured core."""

    subjects: Sequence[str]
    seconds: int
    rounds: int
    patience: int


class Bench:
    """A run in a directory of its own."""

    def __init__(self, directory: Path, options: Options, console: Console) -> None:
        self._directory: Final = directory
        self._options: Final = options
        self._console: Final = console
        self._certificate: Final = certificate.make(directory)
        self._load: Final = Load(directory, self._certificate)

    def all(self) -> None:
        """Every table of the gateway."""
        for tls in (False, True):
            self.buffered(tls)
        for tls in (False, True):
            self.streamed(tls)
        self.latency()
        self.memory()
        self.journal()

    def buffered(self, tls: bool) -> None:
        """Requests a second, and processor time per request."""
        seconds = self._options.seconds

        def measure(load: Load, one: Subject) -> Turn:
            return load.flood(one, seconds)

        turns = self._interleaved(measure, tls=tls, stream=False)
        self._table("buffered, 32 connections", tls, "request", turns, lambda turn: turn.requests)

    def streamed(self, tls: bool) -> None:
        """Processor time per chunk of 64 streams of 100 chunks, one each millisecond."""
        seconds = self._options.seconds

        def measure(load: Load, one: Subject) -> Turn:
            return load.streams(one, seconds)

        turns = self._interleaved(measure, tls=tls, stream=True)
        self._table("streamed, 64 streams of 100 chunks, 1 ms apart", tls, "chunk", turns, lambda turn: turn.events)

    def latency(self) -> None:
        """Latency at a fixed rate, and how much of it each subject adds."""
        seconds = self._options.seconds

        def measure(load: Load, one: Subject) -> Turn:
            return load.rate(one, seconds, LATENCY_RATE)

        turns = self._interleaved(measure, tls=False, stream=False, among=QUICK)
        table = Table(
            "", "p50 us", "p99 us", "added p50", "added p99", "others", title=f"latency at {LATENCY_RATE:,} requests/s"
        )
        for name, own in turns.items():
            cells = [spread([turn.p50 for turn in own]), spread([turn.p99 for turn in own])]
            pairs = list(zip(own, turns.get("direct", own), strict=True))
            cells.append(spread([mine.p50 - other.p50 for mine, other in pairs]) if name != "direct" else "-")
            cells.append(spread([mine.p99 - other.p99 for mine, other in pairs]) if name != "direct" else "-")
            table.add_row(name, *cells, f"{max(turn.others for turn in own):.0%}")
        self._print(table)

    def memory(self) -> None:
        """Memory of the proxy with many open streams."""
        table = Table("", "MB idle", "MB most", "kB a stream", title=f"memory with {HELD_STREAMS:,} open streams")
        with self._started(QUICK[1:], tls=False, stream=True, pace=0.1) as subjects:
            for one in subjects:
                before, most = self._load.held(one, HELD_STREAMS)
                each = (most - before) / HELD_STREAMS / 1e3
                table.add_row(one.name, f"{before / 1e6:.1f}", f"{most / 1e6:.1f}", f"{each:.1f}")
        self._print(table)

    def journal(self) -> None:
        """Bytes that a simple request takes in the journal."""
        with self._started([OURS], tls=False, stream=False) as subjects:
            for one in subjects:
                assert isinstance(one, Tollbook)
                before = one.journal_bytes()
                turn = self._load.rate(one, 2, 500)
                data = one.journal_tail(before)
                each, packed = len(data) / turn.requests, len(zstandard.compress(data, 3)) / turn.requests
                self._console.print(
                    f"journal of a simple request: {each:,.0f} bytes, {packed:,.0f} when sealed (zstd)\n"
                )

    def _interleaved(
        self, measure: Measure, *, tls: bool, stream: bool, among: Sequence[str] = subject.NAMES
    ) -> dict[str, list[Turn]]:
        """So many turns of each subject, one of each per round."""
        turns: dict[str, list[Turn]] = {}
        with self._started(among, tls=tls, stream=stream) as subjects:
            for one in subjects:
                measure(self._load, one)  # to warm up
            for _ in range(self._options.rounds):
                for one in subjects:
                    turns.setdefault(one.name, []).append(self._undisturbed(measure, one))
        return turns

    def _undisturbed(self, measure: Measure, one: Subject) -> Turn:
        """One turn; of several that were disturbed, the one that was least."""
        best = measure(self._load, one)
        for _ in range(self._options.patience):
            if best.others <= DISTURBED:
                break
            time.sleep(PAUSE_SECONDS)
            best = min(best, measure(self._load, one), key=lambda turn: turn.others)
        return best

    @contextmanager
    def _started(
        self, among: Sequence[str], *, tls: bool, stream: bool, pace: float = 0.001
    ) -> Iterator[list[Subject]]:
        """The chosen subjects, all in front of one vendor. One that cannot be started is told and left out."""
        chosen = [name for name in self._options.subjects if name in among]
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._directory)))
            upstream = stack.enter_context(vendor(directory, self._certificate, tls=tls, stream=stream, pace=pace))
            subjects: list[Subject] = []
            for name in chosen:
                try:
                    subjects.append(stack.enter_context(subject.start(name, upstream, directory, stream=stream)))
                except BenchFault as fault:
                    self._console.print(f"{name} is left out: {fault}", markup=False)
            yield subjects

    def _table(
        self, title: str, tls: bool, unit: str, turns: dict[str, list[Turn]], done: Callable[[Turn], int]
    ) -> None:
        """What each subject did and what it cost, and tollbook's ratio to each."""
        over = "TLS 1.3 to the vendor" if tls else "plaintext to the vendor"
        ours_to = (f"{OURS}: {unit}s/s", f"{OURS}: by CPU")
        headings = ("", f"{unit}s/s", f"CPU us/{unit}", "core busy", "others", *ours_to, "errors")
        table = Table(*headings, title=f"{title}; {over}")
        ours = turns.get(OURS)
        for name, own in turns.items():
            rates = [done(turn) / turn.seconds for turn in own]
            costs = [turn.cpu / max(done(turn), 1) * 1e6 for turn in own]
            ratios = ["", ""]
            if ours is not None and name not in (OURS, "direct"):
                rate = [done(mine) / mine.seconds / other for mine, other in zip(ours, rates, strict=True)]
                cost = [other / (mine.cpu / done(mine) * 1e6) for mine, other in zip(ours, costs, strict=True)]
                ratios = [f"{ratio(rate)} x", f"{ratio(cost)} x"]
            busy = median(turn.cpu / turn.seconds for turn in own)
            told = ["-", "-"] if name == "direct" else [spread(costs), f"{busy:.0%}"]
            others = f"{max(turn.others for turn in own):.0%}"
            table.add_row(name, spread(rates), *told, others, *ratios, str(sum(turn.errors for turn in own)))
        self._print(table)
        if ours is not None:
            beside = median(turn.book_cpu / max(done(turn), 1) * 1e6 for turn in ours)
            behind = median(turn.caught_up for turn in ours)
            self._console.print(
                f"  scribe, desk and supervisor: {beside:.1f} us of CPU per {unit} on the other core, "
                f"every request in the ledger {behind:.1f} s after the load\n"
            )

    def _print(self, table: Table) -> None:
        table.box = box.MARKDOWN  # so that it can be put into a page as it is
        table.title_justify = "left"
        for column in table.columns[1:]:
            column.justify = "right"
        self._console.print(table)


def spread(values: Sequence[float]) -> str:
    """The median of some values, and the least and greatest."""
    digits = 0 if median(values) >= 1000 else 1
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} .. {max(values):,.{digits}f})"


def ratio(values: Sequence[float]) -> str:
    """The median of some ratios, to two or three digits."""
    return f"{median(values):.2f}" if median(values) < 10 else f"{median(values):.0f}"


def run(subjects: Sequence[str] = subject.NAMES, seconds: int = 3, rounds: int = 3, patience: int = 2) -> None:
    """Print the tables of the gateway, for the subjects named and installed."""
    console = Console(width=160)
    present: list[str] = []
    for name in subjects:
        fault = subject.missing(name)
        if fault is None:
            present.append(name)
        else:
            console.print(f"{name} is left out: {fault}", markup=False)
    told = ", ".join(f"{name} {subject.version(name)}" for name in present if name != "direct")
    console.print(f"subjects: {told}\n", highlight=False)
    subject.KEPT.mkdir(exist_ok=True)
    # Not in a temporary directory of the system, which may lie in memory: the journal must meet a disk.
    with tempfile.TemporaryDirectory(dir=subject.KEPT, prefix="run-") as directory:
        Bench(Path(directory), Options(present, seconds, rounds, patience), console).all()
