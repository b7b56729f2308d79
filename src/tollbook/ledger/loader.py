"""The loader: batches of the journal become rows, exactly once.

The rows of all tables, the deltas of the totals, the open attempts and the position are committed in one
transaction. A loader that is killed begins again at the last position that was committed.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

import fcntl
import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from tollbook.core.clock import Clock, now
from tollbook.core.faults import BookLocked
from tollbook.journal.objects import ObjectStore
from tollbook.journal.replay import Batch, replay
from tollbook.ledger import location
from tollbook.ledger.fold import Opening, Rows, Standing, State, decode_lanes, fold
from tollbook.ledger.hearing import gather, holds_spans
from tollbook.ledger.housekeeping import Housekeeping, Upkeep
from tollbook.ledger.lake import Lake, retried
from tollbook.ledger.lines import open_batches
from tollbook.ledger.schema import ATTEMPTS, CHARGES, OPEN_ATTEMPTS, STATEMENT_LINES, TABLES, quote
from tollbook.ledger.statement_rows import line_rows
from tollbook.ledger.values import as_folded

LINES_PER_COMMIT: Final = 50_000
"""How much a catch-up commits at once: a commit costs as much as folding a thousand requests, rows cost memory."""


class Writer:
    """The one writer of one ledger directory."""

    def __init__(self, directory: Path, *, upkeep: Upkeep | None = None, clock: Clock = now) -> None:
        """Raises BookLocked when another process writes this ledger."""
        self.directory: Final = directory
        self._objects: Final = ObjectStore(location.book_of(directory))
        self._lock = _lock(directory)
        self._housekeeping = Housekeeping(upkeep or Upkeep(), clock)
        self._lake = Lake(directory, read_only=False)
        self._lake.create_tables()
        self._housekeeping.begin(self._lake)
        self._state = State()
        self._has_open = False
        self._is_known = False
        self._known_state()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> int:
        """Number of the last heads entry that is in the ledger; 0 when there is none."""
        return self._known_state().position

    @property
    def lake(self) -> Lake:
        """The writer's own connection, between two commits."""
        return self._lake

    def load(self, batches: Iterable[Batch]) -> int:
        """Fold batches in one transaction and give the new position. Batches that are in the ledger are skipped.

        Raises BrokenPromise when a position is missing; nothing is then loaded.
        """
        rows: Rows = defaultdict(list)
        state = self._known_state()
        fresh = [batch for batch in batches if batch.position > state.position]
        try:
            with _no_collection():
                gather(self._lake, state.evidence, fresh)
                for batch in fresh:
                    fold(state, batch, rows)
                if rows:
                    retried(lambda: self._commit(rows))
        except BaseException:
            self._is_known = False
            raise
        if rows and self._housekeeping.after_commit(self._lake):
            self._lake.close()
            self._lake = Lake(self.directory, read_only=False)
        return state.position

    def catch_up(self, batches: Iterable[Batch], progress: Callable[[int], None] | None = None) -> int:
        """Load any number of batches in commits of bounded size; `progress` is told each new position."""
        for some in _bounded(batches):
            position = self.load(some)
            if progress is not None:
                progress(position)
        return self.position

    def close(self) -> None:
        """Give the ledger back."""
        self._lake.close()
        self._lock.close()

    def _commit(self, rows: Rows) -> None:
        lake, still_open = self._lake, [opening.as_row() for opening in self._state.open.values()]
        with lake.transaction():
            for table in TABLES:
                lake.insert(table, rows.get(table.name, []))
            for statement in rows.get("statements", []):
                for lines in line_rows(self._objects, statement):
                    lake.insert(STATEMENT_LINES, lines)
            if self._has_open:
                lake.clear(OPEN_ATTEMPTS)
            lake.insert(OPEN_ATTEMPTS, still_open)
        self._has_open = bool(still_open)

    def _known_state(self) -> State:
        """The state; read back from the ledger at first, and after a load that failed half-way."""
        if not self._is_known:
            self._recover()
            self._is_known = True
        return self._state

    def _recover(self) -> None:
        """Read the state back from the ledger: what was last committed, and nothing else, has happened."""
        lake = self._lake
        last = lake.rows(
            "SELECT number, digest, epoch_us(recorded), lanes, interrupted FROM positions "
            "WHERE number = (SELECT max(number) FROM positions)"
        )
        self._state = State()
        if last:
            number, digest, recorded, lanes, interrupted = last[0]
            self._state = State(number, digest, recorded, decode_lanes(lanes), {}, set(interrupted))
        names = ", ".join(quote(name) for name in OPEN_ATTEMPTS.names)
        for values in lake.rows(f"SELECT {names} FROM open_attempts"):
            row = tuple(as_folded(value) for value in values)
            named = dict(zip(OPEN_ATTEMPTS.names, row, strict=True))
            opening = Opening(named["opened_position"], named["opened_digest"], named["opened_kind"], None, row)
            self._state.open[named["opened_lane"], named["opened_sequence"]] = opening
        self._has_open = bool(self._state.open)
        self._state.unsettled = _unsettled(lake)
        self._state.batches = open_batches(lake)
        self._state.evidence.active = holds_spans(lake)


class Loader:
    """Loads a book's current ledger, and follows when a rebuild has put another one in its place."""

    def __init__(self, book_root: Path, *, upkeep: Upkeep | None = None, clock: Clock = now) -> None:
        """Open the book's ledger, or begin one. A ledger of another release is left alone: a new one is begun beside
        it and becomes current at once, to be caught up from the journal."""
        self._book_root = book_root
        self._options: dict[str, Any] = {"upkeep": upkeep, "clock": clock}
        self._writer = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> int:
        """Number of the last heads entry that is in the ledger; 0 when there is none."""
        return self._writer.position

    @property
    def lake(self) -> Lake:
        """The loader's own connection, between two commits."""
        return self._writer.lake

    def load(self, batches: Iterable[Batch]) -> int:
        """Load batches, in transactions of bounded size, and give the new position; those already loaded are skipped.

        Raises BrokenPromise when a position is missing between the ledger's and the batches'.
        """
        if location.current(self._book_root) != self._writer.directory:
            self._writer.close()
            self._writer = self._open()
            self.catch_up()
        return self._writer.catch_up(batches)

    def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Load whatever the journal holds beyond the ledger's position."""
        return self._writer.catch_up(replay(self._book_root, self.position), progress)

    def close(self) -> None:
        """Give the ledger back."""
        self._writer.close()

    def _open(self) -> Writer:
        directory = location.current(self._book_root)
        if directory is not None and location.is_readable(directory.name):
            return Writer(location.make(self._book_root, directory.name), **self._options)
        name = location.next_name(self._book_root)
        writer = Writer(location.make(self._book_root, name), **self._options)
        location.switch(self._book_root, name)
        return writer


def _unsettled(lake: Lake) -> dict[tuple[str, int], Standing]:
    """The attempts that were ever booked as unsettled or as going on, each with the row that stands for it now."""
    names = ", ".join(quote(name) for name in ATTEMPTS.names)
    buried = (
        "SELECT opened_lane, opened_sequence FROM attempts "
        "WHERE kind = 'attempt.unsettled' OR list_contains(flags, 'background')"
    )
    standing: dict[tuple[str, int], Standing] = {}
    found = lake.rows(
        f"SELECT {names} FROM attempts WHERE (opened_lane, opened_sequence) IN ({buried}) "
        "ORDER BY position, recorded, lane, sequence, rating NULLS FIRST, amount_expected NULLS FIRST"
    )
    for values in found:
        row = tuple(as_folded(value) for value in values)
        named = dict(zip(ATTEMPTS.names, row, strict=True))
        charges = [
            tuple(as_folded(value) for value in charge)
            for charge in lake.rows(
                f"SELECT {', '.join(quote(name) for name in CHARGES.names)} FROM charges "
                "WHERE request_id = $1 AND lane = $2 AND sequence = $3 AND rating = $4 ORDER BY line",
                [named["request_id"], named["lane"], named["sequence"], named["rating"]],
            )
        ]
        name = (named["opened_lane"], named["opened_sequence"])
        former = standing.get(name)
        background = former.background if former is not None else "background" in (named["flags"] or ())
        standing[name] = Standing(row, charges, background)
    return standing


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cycle collector: rows hold no cycles, and walking them again and again takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _bounded(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Batches in groups of at most `LINES_PER_COMMIT` lines, or of one."""
    group: list[Batch] = []
    lines = 0
    for batch in batches:
        if group and lines + len(batch.lines) > LINES_PER_COMMIT:
            yield group
            group, lines = [], 0
        group.append(batch)
        lines += len(batch.lines)
    if group:
        yield group


def _lock(directory: Path) -> Any:
    file = (directory / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BookLocked(f"another process writes the ledger {directory}: is `tollbook serve` running?") from None
    return file
