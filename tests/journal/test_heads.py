"""Heads: which lanes they list, from when to when, and that they go on after any stop."""

import os
import time
from pathlib import Path

import pytest
from bookmaking import (
    ToldClock,
    abandon,
    begin_lane,
    make_book,
    open_writer,
    reap,
    register,
    serve_request,
)

from tollbook.core.faults import BookLocked, JournalUnavailable, Tampered
from tollbook.journal.book import Book
from tollbook.journal.entry import Heads, LaneClosed, encode_payload
from tollbook.journal.heads import HeadsKeeper, book_lines, decode_heads, recover
from tollbook.journal.recording import BookLane
from tollbook.journal.segment import segments
from tollbook.journal.tail import read_lane
from tollbook.journal.tree import Tree
from tollbook.journal.verify import verify


@pytest.fixture
def clock() -> ToldClock:
    return ToldClock()


@pytest.fixture
def book(tmp_path: Path, clock: ToldClock) -> Book:
    return make_book(tmp_path, clock)


def all_heads(book: Book) -> list[Heads]:
    return [decode_heads(line) for line in book_lines(book.root) if line.kind == "heads"]


def listed(heads: Heads) -> dict[str, int]:
    return {head.lane: head.last for head in heads.lanes}


def test_heads_say_how_far_each_lane_had_got(book: Book, clock: ToldClock) -> None:
    """Sequence, digest, instant and tree root of each lane are those of its lines."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    lane = begin_lane(book, "worker", clock)
    serve_request(lane)
    writer.advance(keeper)
    [heads] = all_heads(book)
    assert heads.number == 1
    assert heads.previous is None
    assert heads.opened == sorted([writer.name, lane.name])
    tree = Tree()
    tree.extend(line.bytes for line in read_lane(lane.directory))
    [head] = [head for head in heads.lanes if head.lane == lane.name]
    assert (head.last, head.digest, head.recorded) == (lane.sequence, lane.digest, lane.recorded)
    assert head.root == tree.root().hex()


def test_nothing_new_makes_no_heads(book: Book, clock: ToldClock) -> None:
    """The book's own heads are no news: a quiet book stays quiet."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    assert writer.advance(keeper) is not None
    assert writer.advance(keeper) is None
    writer.heartbeat()
    assert writer.advance(keeper) is not None
    assert writer.advance(keeper) is None
    assert len(all_heads(book)) == 2


def test_an_open_lane_stays_listed_and_an_ended_one_is_listed_last_when_it_ends(book: Book, clock: ToldClock) -> None:
    """A lane is in `opened` once, in all heads until it ends, in `closed` once, and never again."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    quiet, busy = begin_lane(book, "worker", clock), begin_lane(book, "worker", clock)
    for _ in range(3):
        serve_request(busy)
        writer.advance(keeper)
    busy.close("stopped")
    writer.advance(keeper)
    serve_request(quiet)
    writer.advance(keeper)
    heads = all_heads(book)
    assert [listed(one).get(quiet.name) for one in heads] == [0, 0, 0, 0, 2]
    assert [listed(one).get(busy.name) for one in heads] == [2, 4, 6, 7, None]
    assert [busy.name in one.opened for one in heads] == [True, False, False, False, False]
    assert [busy.name in one.closed for one in heads] == [False, False, False, True, False]
    assert keeper.is_finished(busy.name)
    assert not keeper.is_finished(quiet.name)
    assert [one.previous for one in heads[1:]] == [
        line.digest for line in book_lines(book.root) if line.kind == "heads"
    ][:-1]


def test_a_dead_lane_ends_where_its_closing_says(book: Book, clock: ToldClock) -> None:
    """Without `lane.end` it is the supervisor's word that ends a lane; until it comes the lane stays listed."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    supervisor, lane = begin_lane(book, "supervisor", clock), begin_lane(book, "worker", clock)
    serve_request(lane)
    abandon(lane)
    writer.advance(keeper)
    assert not keeper.is_finished(lane.name)
    reap(supervisor, lane.directory)
    writer.advance(keeper)
    assert keeper.is_finished(lane.name)
    assert all_heads(book)[-1].closed == [lane.name]


def test_a_lane_that_remained_empty_is_never_listed(book: Book, clock: ToldClock) -> None:
    """A directory without a whole first line is not a lane yet; closed so, it never becomes one."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    supervisor = begin_lane(book, "supervisor", clock)
    directory = book.lane_directory(book.new_lane_name("worker", clock))
    directory.mkdir()
    register(supervisor, directory.name)
    writer.advance(keeper)
    (directory / "000000.jsonl").write_bytes(b'{"v":1,"p":"')
    writer.advance(keeper)
    closed = LaneClosed(lane=directory.name, role="worker", reason="died", torn=12)
    supervisor.append("lane.closed", encode_payload(closed))
    writer.advance(keeper)
    assert all(directory.name not in listed(heads) for heads in all_heads(book))


def test_a_lane_made_within_one_tick_of_the_clock_is_not_overlooked(book: Book, clock: ToldClock) -> None:
    """Two lanes made so fast that the directory's time is the same for both are both found."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    lanes = book.root / "lanes"
    tick = time.time_ns()
    for _ in range(3):
        lane = begin_lane(book, "worker", clock)
        os.utime(lanes, ns=(tick, tick))
        writer.advance(keeper)
        assert lane.name in all_heads(book)[-1].opened


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_heads_go_on_after_a_stop(book: Book, clock: ToldClock, end: str) -> None:
    """A new writer goes on with the next number, chained to the last, for lanes old, grown, ended and new."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    supervisor = begin_lane(book, "supervisor", clock)
    growing, ending = begin_lane(book, "worker", clock), begin_lane(book, "worker", clock)
    writer.advance(keeper)
    serve_request(growing)
    serve_request(ending)
    writer.advance(keeper)
    if end == "closed":
        writer.close("stopped")
    else:
        kill(writer)
    serve_request(growing)
    abandon(ending)
    reap(supervisor, ending.directory)
    fresh = begin_lane(book, "worker", clock)
    again = open_writer(book, clock)
    keeper = again.keeper()
    assert again.advance(keeper) is not None
    assert again.advance(keeper) is None
    heads = all_heads(book)
    assert [one.number for one in heads] == [1, 2, 3]
    assert heads[-1].opened == sorted([fresh.name, again.name])
    assert heads[-1].closed == sorted([ending.name, writer.name])
    assert listed(heads[-1])[growing.name] == growing.sequence
    for lane in (supervisor, growing, fresh):
        lane.close("stopped")
    again.close("stopped")
    assert verify(book.root, clock=clock).findings == []


def kill(writer: BookLane) -> None:
    """What `kill -9` does to the book's writer."""
    abandon(writer._lane)
    writer._lock.release()


def test_a_closing_that_was_read_before_a_stop_is_not_forgotten(book: Book, clock: ToldClock) -> None:
    """A lane whose end was told, but not reached by the last heads, ends with a later writer's heads."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    supervisor, lane = begin_lane(book, "supervisor", clock), begin_lane(book, "worker", clock)
    writer.advance(keeper)
    abandon(lane)
    # These heads cover the supervisor's word about a lane of which they have one line less.
    heads = HeadsKeeper(book, recover(book.root))
    reap(supervisor, lane.directory)
    supervisor.close("stopped")
    heads.poll()
    written = heads.next_heads()
    assert written is not None
    less = Heads(
        number=written.number,
        previous=written.previous,
        lanes=written.lanes,
        closed=[name for name in written.closed if name != lane.name],
    )
    writer._write_heads(less)
    kill(writer)
    (book.checkpoints / "latest").unlink()
    again = open_writer(book, clock)
    keeper = again.keeper()
    again.advance(keeper)
    assert lane.name in all_heads(book)[-1].closed
    assert keeper.is_finished(lane.name)


def test_a_killed_writer_is_closed_by_the_next(book: Book, clock: ToldClock) -> None:
    """Who holds the book's lock puts the end of a dead book lane on record, torn line and all; once."""
    writer = open_writer(book, clock)
    writer.advance(writer.keeper())
    kill(writer)
    with segments(book.lane_directory(writer.name))[-1].path.open("ab") as file:
        file.write(b'{"v":1,"p":"torn')
    for _ in range(2):
        again = open_writer(book, clock)
        again.advance(again.keeper())
        again.close("stopped")
    closed = [line for line in book_lines(book.root) if line.kind == "lane.closed"]
    assert segments(book.lane_directory(writer.name))[-1].path.read_bytes().endswith(b"}\n")
    assert len(closed) == 1
    assert b'"torn":16' in closed[0].bytes
    assert verify(book.root, clock=clock).findings == []


def test_only_one_process_writes_the_book(book: Book, clock: ToldClock) -> None:
    """A second writer is refused as long as the first is there, and gets in when it has gone."""
    writer = open_writer(book, clock)
    with pytest.raises(BookLocked, match=str(os.getpid())):
        open_writer(book, clock)
    writer.close("stopped")
    open_writer(book, clock).close("stopped")


def test_a_writer_refuses_to_go_on_from_cut_heads(book: Book, clock: ToldClock) -> None:
    """Heads that were signed and are not there any more are no ground to write on."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    for _ in range(3):
        writer.heartbeat()
        writer.advance(keeper)
    writer.close("stopped")
    path = segments(book.lane_directory(writer.name))[-1].path
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines()[:-3]))
    with pytest.raises(Tampered, match="signs 3 heads"):
        open_writer(book, clock)
    # The refusal leaves nothing behind: neither the lock nor a lane.
    with book.lock():
        assert len(list((book.root / "lanes").iterdir())) == 1


def test_the_birth_is_recorded_once(book: Book, clock: ToldClock) -> None:
    """The first writer records the book's birth with its key; no later one does."""
    for _ in range(3):
        writer = open_writer(book, clock)
        writer.advance(writer.keeper())
        writer.close("stopped")
    births = [line for line in book_lines(book.root) if line.kind == "book.created"]
    assert len(births) == 1
    assert book.key.encode() in births[0].bytes


def test_a_lane_that_breaks_is_left_and_the_others_go_on(book: Book, clock: ToldClock) -> None:
    """Heads never cover a line that does not follow; one broken lane does not stop the book."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    broken, sound = begin_lane(book, "worker", clock), begin_lane(book, "worker", clock)
    writer.advance(keeper)
    with segments(broken.directory)[-1].path.open("ab") as file:
        file.write(b"not an entry\n")
    serve_request(sound)
    batch = writer.advance(keeper)
    assert batch is not None
    assert {line.lane for line in batch.lines} == {sound.name}
    assert list(keeper.broken) == [broken.name]
    assert listed(all_heads(book)[-1])[broken.name] == 0


def test_a_lane_changed_while_nobody_looked_is_left_where_heads_had_it(book: Book, clock: ToldClock) -> None:
    """After a restart a lane that is not what heads say is named and listed as it was."""
    writer = open_writer(book, clock)
    lane = begin_lane(book, "worker", clock)
    serve_request(lane)
    writer.advance(writer.keeper())
    writer.close("stopped")
    path = segments(lane.directory)[-1].path
    path.write_bytes(path.read_bytes().replace(b"acme", b"acmf"))
    again = open_writer(book, clock)
    keeper = again.keeper()
    again.advance(keeper)
    assert list(keeper.broken) == [lane.name]
    heads = all_heads(book)
    assert [head for head in heads[-1].lanes if head.lane == lane.name] == [
        head for head in heads[0].lanes if head.lane == lane.name
    ]


def test_heads_in_disorder_are_refused(book: Book, clock: ToldClock) -> None:
    """Recovering reads every heads entry: a missing number is not passed over."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    writer.advance(keeper)
    writer._write_heads(Heads(number=3, lanes=[]))
    with pytest.raises(Tampered, match="heads 3 follow heads 1"):
        recover(book.root)


def test_heads_wait_for_lines_to_be_durable(book: Book, clock: ToldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What heads cover is flushed before they are written; when it cannot be, there are no heads."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    lane = begin_lane(book, "worker", clock)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(JournalUnavailable, match="cannot be made durable"):
            writer.advance(keeper)
    assert all_heads(book) == []
    batch = writer.advance(keeper)
    assert batch is not None
    assert lane.name in {line.lane for line in batch.lines}


def test_checkpoints_are_kept_and_sent_to_the_anchor(tmp_path: Path, book: Book, clock: ToldClock) -> None:
    """The latest is there after every heads; a numbered one every ten minutes and at the close, each also outside."""
    anchor = tmp_path / "elsewhere"
    anchor.mkdir()
    writer = open_writer(book, clock, anchor=anchor)
    keeper = writer.keeper()
    for seconds in (0, 1, 1, 600, 1):
        clock.forward(seconds)
        writer.heartbeat()
        writer.advance(keeper)
    assert sorted(path.name for path in book.checkpoints.iterdir()) == ["1", "4", "latest"]
    writer.close("stopped")
    assert sorted(path.name for path in book.checkpoints.iterdir()) == ["1", "4", "5", "latest"]
    assert sorted(path.name for path in anchor.iterdir()) == [f"{book.id}-{number}" for number in (1, 4, 5)]
    outside = (anchor / f"{book.id}-4").read_bytes()
    found = verify(book.root, checkpoint=outside, clock=clock)
    assert (found.findings, found.anchor, found.checkpoint) == ([], 4, 5)


def test_an_anchor_that_is_away_is_told_and_does_not_stop_the_book(
    tmp_path: Path, book: Book, clock: ToldClock
) -> None:
    """The copy outside is tried again; meanwhile the fault can be shown."""
    anchor = tmp_path / "elsewhere"
    writer = open_writer(book, clock, anchor=anchor)
    assert writer.advance(writer.keeper()) is not None
    assert writer.anchor_fault is not None
    assert "No such file" in writer.anchor_fault
    anchor.mkdir()
    writer.keep_checkpoint()
    assert writer.anchor_fault is None
    writer.close("stopped")
