"""Replay: the batches of the journal are those that were seen live, whatever the polling."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bookmaking import ToldClock, abandon, begin_lane, make_book, open_writer, reap, serve_request
from hypothesis import given, settings
from hypothesis import strategies as st

from tollbook.core.faults import NotFound, Tampered
from tollbook.journal.book import Book
from tollbook.journal.lane import Lane
from tollbook.journal.replay import Batch, replay
from tollbook.journal.sealing import Sealer
from tollbook.journal.segment import segments
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.journal.verify import verify


class Life:
    """A book that lives by chance: requests, heads, seals, deaths and restarts in any order."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ToldClock()
        self.book = make_book(directory, self.clock)
        self.batches: list[Batch] = []
        self.lanes: list[Lane] = []
        self.supervisor = begin_lane(self.book, "supervisor", self.clock)
        self._open()

    def _open(self) -> None:
        self.writer = open_writer(self.book, self.clock)
        self.keeper = self.writer.keeper()
        self.sealer = Sealer(self.book, self.writer, self.keeper)

    def begin(self) -> None:
        self.lanes.append(begin_lane(self.book, "worker", self.clock, segment_bytes=3000))

    def serve(self) -> None:
        for lane in self.lanes:
            for _ in range(self.chance.randrange(4)):
                serve_request(lane)

    def advance(self) -> None:
        batch = self.writer.advance(self.keeper, self.chance.choice([1, 1 << 20]))
        if batch is not None:
            self.batches.append(batch)

    def poll(self) -> None:
        self.keeper.poll(self.chance.choice([1, 1 << 20]))

    def seal(self) -> None:
        self.sealer.seal_next()

    def end(self) -> None:
        if self.lanes:
            lane = self.lanes.pop()
            if self.chance.random() < 0.5:
                lane.close("stopped")
            else:
                abandon(lane)
            reap(self.supervisor, lane.directory)

    def restart(self) -> None:
        if self.chance.random() < 0.5:
            self.writer.close("stopped")
        else:
            abandon(self.writer._lane)
            self.writer._lock.release()
        self._open()

    def finish(self) -> None:
        for lane in [*self.lanes, self.supervisor]:
            lane.close("stopped")
        while (batch := self.writer.advance(self.keeper)) is not None:
            self.batches.append(batch)
        self.writer.close("stopped")


STEPS = ("begin", "serve", "serve", "advance", "advance", "poll", "seal", "end", "restart")


@given(st.integers(0, 1 << 30), st.lists(st.sampled_from(STEPS), max_size=30))
@settings(max_examples=40, deadline=None)
def test_live_batches_are_replayed_batches(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: list[str]
) -> None:
    """However lanes move, are polled, sealed, killed and restarted: what the scribe saw is what the journal says."""
    life = Life(tmp_path_factory.mktemp("life"), seed)
    for step in steps:
        getattr(life, step)()
    life.finish()
    root = life.book.root
    replayed = list(replay(root))
    assert replayed == life.batches
    for after in (1, len(replayed) // 2, len(replayed)):
        assert list(replay(root, after)) == replayed[after:]
    assert verify(root, clock=life.clock).findings == []


def test_every_line_has_one_position(tmp_path: Path) -> None:
    """All lines of all lanes, heads aside, are in exactly one batch, in order."""
    life = Life(tmp_path, 7)
    for step in STEPS * 6:
        getattr(life, step)()
    life.finish()
    seen: dict[str, list[int]] = {}
    for batch in replay(life.book.root):
        assert batch.lines == sorted(batch.lines, key=lambda line: (line.lane, line.sequence))
        for line in batch.lines:
            seen.setdefault(line.lane, []).append(line.sequence)
    for directory in lane_directories(life.book.root):
        lines = [line.sequence for line in read_lane(directory) if line.kind != "heads"]
        covered = seen.get(directory.name, [])
        # Nothing covers what the last writer wrote after its last heads.
        assert covered == (lines[: len(covered)] if directory.name == life.writer.name else lines)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Book, Lane]]:
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    lane = begin_lane(book, "worker", clock)
    for _ in range(4):
        serve_request(lane)
        writer.advance(keeper)
    lane.close("stopped")
    writer.close("stopped")
    yield book, lane


def test_a_position_that_is_not_there_is_an_error(small: tuple[Book, Lane]) -> None:
    """Asking for what comes after a position that the book does not have is a fault, not an empty answer."""
    book, _ = small
    assert list(replay(book.root, 4)) == []
    with pytest.raises(NotFound, match="no position 5"):
        list(replay(book.root, 5))


def test_a_lane_that_was_cut_is_not_replayed_over(small: tuple[Book, Lane]) -> None:
    """Batches before the cut come; at the cut replay says so."""
    book, lane = small
    path = segments(lane.directory)[-1].path
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines()[:6]))
    batches = replay(book.root)
    assert [next(batches).position, next(batches).position] == [1, 2]
    with pytest.raises(Tampered, match="ends with entry 5"):
        next(batches)


def test_a_lane_that_was_changed_is_not_replayed_over(small: tuple[Book, Lane]) -> None:
    """A changed line stops replay, also the last that heads cover."""
    book, lane = small
    path = segments(lane.directory)[-1].path
    lines = path.read_bytes().splitlines()
    lines[8] = lines[8].replace(b"acme", b"acmf")
    path.write_bytes(b"".join(line + b"\n" for line in lines[:9]))
    with pytest.raises(Tampered, match="entry 8"):
        list(replay(book.root))


def test_lanes_that_ended_are_let_go(tmp_path: Path) -> None:
    """Replaying a book of many lanes keeps only those open that go on."""
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    for _ in range(20):
        begin_lane(book, "worker", clock).close("stopped")
        writer.advance(keeper)
    batches = replay(book.root)
    opened = [len(list(Path("/proc/self/fd").iterdir())) for _ in batches]
    assert max(opened) - min(opened) <= 1


def test_an_empty_book_has_no_batches(tmp_path: Path) -> None:
    """A book that nobody wrote yet replays to nothing."""
    assert list(replay(make_book(tmp_path, ToldClock()).root)) == []
