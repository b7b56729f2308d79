"""Sealing: a finished segment is packed, put on record and only then removed, through every crash."""

import os
from pathlib import Path

import pytest
from bookmaking import ToldClock, abandon, begin_lane, make_book, open_writer, reap, serve_request

from tollbook.core.faults import JournalUnavailable
from tollbook.journal.book import Book
from tollbook.journal.heads import HeadsKeeper
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane
from tollbook.journal.sealing import Sealer
from tollbook.journal.segment import segments
from tollbook.journal.tail import LaneTail, read_lane
from tollbook.journal.tree import Tree
from tollbook.journal.verify import verify


class Scene:
    """A book with a lane of several segments, and its sealer."""

    def __init__(self, directory: Path) -> None:
        self.clock = ToldClock()
        self.book: Book = make_book(directory, self.clock)
        self.open()
        self.lane: Lane = begin_lane(self.book, "worker", self.clock, segment_bytes=3000)
        for _ in range(12):
            serve_request(self.lane)
        self.writer.advance(self.keeper)

    def open(self) -> None:
        self.writer: BookLane = open_writer(self.book, self.clock)
        self.keeper: HeadsKeeper = self.writer.keeper()
        self.sealer = Sealer(self.book, self.writer, self.keeper)

    def kill_writer(self) -> None:
        abandon(self.writer._lane)
        self.writer._lock.release()

    def sealed(self) -> list[bool]:
        return [segment.sealed for segment in segments(self.lane.directory)]

    def lines(self) -> list[bytes]:
        return [line.bytes for line in read_lane(self.lane.directory)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_all_but_the_last_segment_of_a_live_lane_is_sealed(scene: Scene) -> None:
    """What the writer has left is sealed, what it writes is not; nothing of the lines changes."""
    before = scene.lines()
    count = len(scene.sealed())
    assert count > 3
    while scene.sealer.seal_next():
        pass
    assert scene.sealed() == [True] * (count - 1) + [False]
    assert scene.lines() == before
    assert scene.sealer.seal_next() is None


def test_a_finished_lane_is_sealed_whole(scene: Scene) -> None:
    """Once heads listed a lane for the last time its last segment is sealed too."""
    scene.lane.close("stopped")
    while scene.sealer.seal_next():
        pass
    assert scene.sealed()[-1] is False
    scene.writer.advance(scene.keeper)
    while scene.sealer.seal_next():
        pass
    assert set(scene.sealed()) == {True}
    assert verify(scene.book.root, clock=scene.clock).findings == []


def test_a_seal_says_what_the_segment_holds(scene: Scene) -> None:
    """First and last entry, bytes, digest and the lane's root up to there; across a restart of the sealer too."""
    seals = [scene.sealer.seal_next()]
    scene.writer.close("stopped")
    scene.open()
    while (seal := scene.sealer.seal_next()) is not None:
        seals.append(seal)
    mine = [seal for seal in seals if seal is not None and seal.lane == scene.lane.name]
    tree, first = Tree(), 0
    lines = scene.lines()
    for seal in mine:
        part = lines[first : seal.last + 1]
        tree.extend(part)
        assert (seal.first, seal.bytes, seal.root) == (first, sum(map(len, part)) + len(part), tree.root().hex())
        first = seal.last + 1
    assert [seal.segment for seal in mine] == list(range(len(mine)))


def test_packed_segments_are_smaller(tmp_path: Path) -> None:
    """Lines of a real size pack to a fraction."""
    scene = Scene(tmp_path)
    size = segments(scene.lane.directory)[0].path.stat().st_size
    scene.sealer.seal_next()
    assert segments(scene.lane.directory)[0].path.stat().st_size < size / 2


@pytest.mark.parametrize("module", ["os", "pathlib"])
@pytest.mark.parametrize("nth", range(12))
def test_a_crash_at_any_call_loses_nothing_and_is_made_good(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, nth: int, module: str
) -> None:
    """Killed before the n-th write, sync, rename or removal, the next round finishes the work; all still verifies."""
    before = scene.lines()

    class Killed(BaseException):
        pass

    calls = 0

    def deadly(real: object) -> object:
        def call(*arguments: object, **options: object) -> object:
            nonlocal calls
            if calls == nth:
                raise Killed
            calls += 1
            return real(*arguments, **options)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patch:
        if module == "os":
            for name in ("open", "write", "fsync", "fdatasync"):
                patch.setattr(os, name, deadly(getattr(os, name)))
        else:
            for name in ("rename", "unlink"):
                patch.setattr(Path, name, deadly(getattr(Path, name)))
        try:
            for _ in range(3):
                scene.sealer.seal_next()
        except Killed:
            pass
    assert scene.lines() == before
    scene.kill_writer()
    scene.open()
    while scene.sealer.seal_next():
        pass
    scene.writer.advance(scene.keeper)
    assert scene.lines() == before
    assert scene.sealed()[:-1] == [True] * (len(scene.sealed()) - 1)
    files = [path.name for path in scene.lane.directory.iterdir() if path.suffix == ".jsonl"]
    assert len(files) == 1
    assert verify(scene.book.root, clock=scene.clock).findings == []


def test_a_draft_left_by_a_kill_is_removed(scene: Scene) -> None:
    """A kill in the middle of packing leaves a draft, which the next round removes."""
    draft = scene.lane.directory / ".000000.jsonl.zst.0123abcd.tmp"
    draft.write_bytes(b"half")
    assert scene.sealer.seal_next() is not None
    assert not draft.exists()


def test_a_reader_is_not_disturbed(scene: Scene) -> None:
    """A tail that stands in the middle of a segment goes on when that segment is sealed under it."""
    tail = LaneTail(scene.lane.directory)
    lines = tail.read(1)
    while scene.sealer.seal_next():
        pass
    while more := tail.read(1):
        lines += more
    assert [line.bytes for line in lines] == scene.lines()


def test_a_segment_with_a_torn_end_is_not_sealed(scene: Scene) -> None:
    """Only whole lines are sealed: a lane with a segment that ends inside one is left and named, others go on."""
    path = segments(scene.lane.directory)[0].path
    path.write_bytes(path.read_bytes()[:-1])
    other = begin_lane(scene.book, "worker", scene.clock)
    other.close("stopped")
    scene.writer.advance(scene.keeper)
    sealed = []
    while (seal := scene.sealer.seal_next()) is not None:
        sealed.append(seal.lane)
    assert sealed == [other.name]
    assert "whole lines" in str(scene.sealer.broken[scene.lane.name])
    assert path.exists()


def test_a_full_disk_leaves_the_open_segment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the packed form cannot be written the open one stays, and the fault is named."""

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(JournalUnavailable, match="No space left"):
            scene.sealer.seal_next()
    assert not any(scene.sealed())
    assert scene.sealer.seal_next() is not None


def test_a_dead_lane_is_sealed_after_it_was_closed(scene: Scene) -> None:
    """The last segment of a killed writer waits for its closing, which drops a torn line."""
    supervisor = begin_lane(scene.book, "supervisor", scene.clock)
    abandon(scene.lane)
    with segments(scene.lane.directory)[-1].path.open("ab") as file:
        file.write(b'{"v":1')
    while scene.sealer.seal_next():
        pass
    assert scene.sealed()[-1] is False
    reap(supervisor, scene.lane.directory)
    scene.writer.advance(scene.keeper)
    while scene.sealer.seal_next():
        pass
    assert set(scene.sealed()) == {True}
    assert verify(scene.book.root, clock=scene.clock).findings == []
