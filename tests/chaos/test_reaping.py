"""Reaping at every crash point: whatever a supervisor was doing when it died, its successors say all of it once."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from chaos_books import attempts, journaled, request_counts

from tollbook.assembly import reaping
from tollbook.assembly.lanes import begin
from tollbook.assembly.reaping import Registrar
from tollbook.assembly.service import init
from tollbook.core.clock import now
from tollbook.core.identity import new_request_id
from tollbook.gateway.recorder import Recorder
from tollbook.journal.book import Book
from tollbook.journal.entry import Attempt, Close, Request, Settlement
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.journal.verify import verify
from tollbook.ledger.loader import Loader

CRASHED = 9
MOST_STEPS = 60
LOADED_STEPS = 6
"""At every how many-th step the ledger is loaded and looked at, too."""


def apart(work: Callable[[], None], crash_at: int | None = None) -> int:
    """Do something in a process of its own, which dies before its n-th step, as if by kill -9; its exit code.

    A step is an entry appended, a lane cut or a marker set.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        if crash_at is not None:
            _crash_before_step(crash_at)
        work()
        code = 0
    finally:
        os._exit(code)


def _crash_before_step(number: int) -> None:
    steps = iter(range(number))

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if next(steps, None) is None:
                os._exit(CRASHED)
            return real(*arguments, **named)

        return step

    for owner, name in ((Lane, "append"), (Path, "touch"), (reaping, "drop_torn")):
        setattr(owner, name, counted(getattr(owner, name)))


def new_registrar(book: Book) -> Registrar:
    return Registrar(book, "test", "", 0)


def leave_work(book: Book) -> None:
    """What a supervisor and its worker leave when both are killed: attempts in every state, in lanes that failed and
    their spares, and lanes that were registered and never made."""
    registrar = new_registrar(book)
    names, unborn = registrar.register(), registrar.register()
    assert unborn != names

    def lane(name: str, role: str) -> Lane:
        return Lane.create(book.lane_directory(name), begin(book.id, name, role, "test", "", None), ballast=4096)

    first = lane(names.main, "worker")
    recorder = Recorder(first, lane(names.spare, "spare"), now, lambda: None)
    requests = [_request() for _ in range(4)]
    opened = [recorder.open(_encoded(request), _attempt(1)) for request in requests]
    settled = [_settlement(one.recorded, one.sequence) for one in opened]
    recorder.settle(opened[0], settled[0], None, Close(outcome="ok"))
    recorder.settle(opened[1], settled[1], None, None)  # to be tried again
    first.dead = "a failing disk"
    recorder.settle(opened[2], settled[2], None, Close(outcome="ok"))
    later = registrar.register()
    recorder.use(lane(later.main, "worker"), lane(later.spare, "spare"))
    other = recorder.open(_encoded(_request()), _attempt(1))
    recorder.settle(other, _settlement(other.recorded, other.sequence), None, None)
    recorder.open(_encoded(requests[1]), _attempt(2))
    with (book.lane_directory(later.main) / "000000.jsonl").open("ab") as file:
        file.write(b'{"v":1,"p":"00')


def _request() -> Request:
    return Request(id=new_request_id(now()), tenant="acme", key="main", endpoint="openai.chat", model_asked="m")


def _encoded(request: Request) -> bytes:
    return msgspec.json.encode(request)


def _attempt(number: int) -> Attempt:
    return Attempt(number=number, vendor="openai", vendor_key="main", model_sent="m")


def _settlement(opened: int, sequence: int) -> Settlement:
    return Settlement(opened=opened, sequence=sequence, outcome="ok", basis="computed")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    """A book that a killed supervisor left; its successors need not wait for a worker that may still come."""
    monkeypatch.setattr(reaping, "BIRTH_SECONDS", 0)
    made = init(tmp_path / "book")
    assert apart(lambda: leave_work(made)) == 0
    yield made


def reap(book: Book) -> None:
    """A start of the supervisor that reaps and is then killed."""
    assert asyncio.run(new_registrar(book).reap_former())


def entries(book: Book, *kinds: str) -> list[dict[str, Any]]:
    """The entries of these kinds in all lanes."""
    lines = (line for directory in lane_directories(book.root) for line in read_lane(directory))
    return [msgspec.json.decode(line.bytes) for line in lines if line.kind in kinds]


def check_journal(book: Book) -> None:
    """Everything that was left is on record once: attempts, ends of requests, ends of lanes."""
    opened, settled = journaled(book.root)
    assert opened == settled and set(opened.values()) == {1} and len(opened) == 6
    over = entries(book, "request.settled", "attempt.unsettled", "request.closed")
    ends = Counter(entry["request"]["id"] for entry in over if "close" in entry)
    assert set(ends.values()) == {1} and len(ends) == 5
    closed = Counter(entry["lane"] for entry in entries(book, "lane.closed"))
    assert set(closed.values()) == {1}
    assert sum(lane.startswith(("worker-", "spare-")) for lane in closed) == 6
    # The last supervisor was killed, too; nothing else is to be found.
    assert {(one.code, str(one.lane)[:10]) for one in verify(book.root).findings} == {("lane_not_closed", "supervisor")}


def check_ledger(book: Book) -> None:
    """The ledger holds it once."""
    lane = BookLane.open(book, release="test")
    keeper = lane.keeper()
    while lane.advance(keeper) is not None:
        continue
    lane.close("done")
    with Loader(book.root) as loader:
        loader.catch_up()
    assert Counter(row.outcome for row in attempts(book.root)) == {"ok": 4, "unsettled": 2}
    counts = request_counts(book.root)
    assert len(counts) == 5 and set(counts.values()) == {1}


def test_what_a_killed_supervisor_left_is_said_once(book: Book) -> None:
    """Attempts without a settlement are unsettled, requests between two attempts end, what a spare settled is settled,
    lanes are closed, also those never made; a second start has nothing to add."""
    assert apart(lambda: reap(book)) == 0
    assert apart(lambda: reap(book)) == 0
    check_journal(book)
    check_ledger(book)


def test_a_supervisor_killed_at_any_step_of_reaping_doubles_nothing(tmp_path: Path, book: Book) -> None:
    """For every entry, cut and marker of reaping: when the supervisor dies just before it, the next start says what is
    missing and nothing twice."""
    for step in range(1, MOST_STEPS):
        copy = Path(shutil.copytree(book.root, tmp_path / f"book-{step}"))
        start = partial(reap, Book.open(copy))
        crashed = apart(start, crash_at=step)
        assert apart(start) == 0
        check_journal(Book.open(copy))
        if step % LOADED_STEPS == 0:
            check_ledger(Book.open(copy))
        shutil.rmtree(copy)
        if crashed == 0:
            assert step > 15, "reaping has too few steps: this test shows nothing"
            return
        assert crashed == CRASHED
    raise AssertionError("reaping does not end")
