"""Rebuilding: the same ledger from the journal alone, beside the one in use."""

from pathlib import Path

import pytest

from tollbook.core.faults import BookLocked, NotFound
from tollbook.journal.book import Book
from tollbook.journal.entry import (
    FORMAT,
    Attempt,
    Close,
    LaneBegin,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    encode_payload,
)
from tollbook.journal.heads import HeadsKeeper
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane
from tollbook.journal.replay import replay
from tollbook.ledger import loader as loading
from tollbook.ledger import location
from tollbook.ledger.digests import table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Loader, Writer
from tollbook.ledger.reader import Reader, read
from tollbook.ledger.rebuild import rebuild
from tollbook.ledger.report import report


class Running:
    """A book with one worker's lane and its writer, as `serve` has them."""

    def __init__(self, root: Path) -> None:
        self.book = Book.create(root, release="0.1.0", actor="local:test@host, unauthenticated")
        name = self.book.new_lane_name("worker")
        begin = LaneBegin(
            book=self.book.id,
            lane=name,
            role="worker",
            format=FORMAT,
            release="0.1.0",
            configuration="",
            host="h",
            process=1,
        )
        self.lane = Lane.create(self.book.lane_directory(name), begin, ballast=0)
        self.writer = BookLane.open(self.book, release="0.1.0")
        self.keeper: HeadsKeeper = self.writer.keeper()
        self.requests = 0

    def serve(self, count: int) -> None:
        for _ in range(count):
            self.requests += 1
            request = Request(
                id=f"0199e0c5-0000-7000-8000-{self.requests:012x}", tenant="a", key="k", endpoint="openai.chat"
            )
            attempt = Attempt(number=1, vendor="v", vendor_key="m", model_sent="x", reason="first")
            entry = RequestEntry(request=request, attempt=attempt)
            sequence, opened = self.lane.append("request.opened", encode_payload(entry))
            settled = RequestEntry(
                request=request,
                attempt=attempt,
                settlement=Settlement(opened=opened, sequence=sequence, outcome="ok", usage={"input": 1}),
                rating=Rating(book="b", adapter="a", charges=[("input", 1, "0.1", "0.1", "0.1", "0.1", None)]),
                close=Close(outcome="ok", attempts=1),
            )
            self.lane.append("request.settled", encode_payload(settled))

    def load(self, loader: Loader) -> None:
        batch = self.writer.advance(self.keeper)
        assert batch is not None
        loader.load([batch])


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path / "book")


def test_a_rebuilt_ledger_is_the_same(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the journal alone, in other batches, every table has the digests of the live one; the pointer moves, and
    the old ledger stays."""
    root = running.book.root
    with Loader(root) as loader:
        for _ in range(4):
            running.serve(3)
            running.load(loader)
    live, before = location.require_current(root), read(root, table_digests)
    monkeypatch.setattr(loading, "LINES_PER_COMMIT", 10)
    seen: list[int] = []
    rebuilt = rebuild(root, seen.append)
    assert (rebuilt.compared, rebuilt.differences, rebuilt.position) == (4, {}, 4)
    assert seen[-1] == 4 and len(seen) > 1
    assert location.require_current(root) == rebuilt.directory != live
    assert live.is_dir()
    assert read(root, table_digests) == rebuilt.digests == before


def test_a_rebuild_without_a_ledger_makes_one(running: Running) -> None:
    """A journal whose ledger was deleted comes back; with nothing recorded there is nothing to make."""
    root = running.book.root
    with pytest.raises(NotFound, match="no position"):
        rebuild(root)
    running.serve(2)
    running.writer.advance(running.keeper)
    rebuilt = rebuild(root)
    assert (rebuilt.compared, report(root, [])["total"]["requests"]) == (None, 2)


def test_a_wrong_ledger_is_replaced_and_the_difference_told(running: Running) -> None:
    """The journal is what holds: a ledger that was tampered with is found out by table and day."""
    root = running.book.root
    with Loader(root) as loader:
        running.serve(2)
        running.load(loader)
    with Lake(location.require_current(root), read_only=False) as lake, lake.transaction():
        lake.rows("UPDATE charges SET amount_expected = 0")
    rebuilt = rebuild(root)
    assert list(rebuilt.differences) == ["charges"] and len(rebuilt.differences["charges"]) == 1
    assert report(root, [])["total"]["amount_usd"] == "0.2"


def test_a_rebuild_that_was_broken_off_goes_on(running: Running) -> None:
    """The unfinished ledger is taken up where it was, and is never read before it is whole."""
    root = running.book.root
    with Loader(root) as loader:
        for _ in range(3):
            running.serve(1)
            running.load(loader)
    live = location.require_current(root)
    name = location.next_name(root)
    unfinished = location.make(root, name)
    (unfinished / location.BUILDING).touch()
    with Writer(unfinished) as writer:
        writer.load([next(replay(root))])
        with pytest.raises(BookLocked):
            rebuild(root)
    assert location.require_current(root) == live
    seen: list[int] = []
    rebuilt = rebuild(root, seen.append)
    assert (rebuilt.directory, seen, rebuilt.differences) == (unfinished, [3], {})


def test_a_running_loader_and_reader_follow_the_new_ledger(running: Running) -> None:
    """While `serve` runs, a rebuild puts the next ledger in place: the loader goes on in it, loading what it lacks
    from the journal, and an open reader reads it."""
    root = running.book.root
    with Loader(root) as loader:
        running.serve(1)
        running.load(loader)
        with Reader(root) as reader:
            assert report(reader, [])["total"]["requests"] == 1
            rebuilt = rebuild(root)
            running.serve(1)
            batch = running.writer.advance(running.keeper)
            running.serve(1)
            running.load(loader)
            assert batch is not None and loader.position == 3
            assert location.require_current(root) == rebuilt.directory
            assert report(reader, [])["total"]["requests"] == 3
