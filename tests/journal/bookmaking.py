"""Small books for tests: a clock that can be told, lanes with requests in them, and a book's writer."""

import itertools
import os
from pathlib import Path

from tollbook.journal.book import Book
from tollbook.journal.closing import drop_torn, examine
from tollbook.journal.entry import (
    FORMAT,
    Attempt,
    Close,
    LaneBegin,
    LaneClosed,
    LaneOpened,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    encode_payload,
)
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane

START = 1_795_436_400_000_000
RELEASE = "0.1.0-test"
ACTOR = "local:test@host, unauthenticated"


class ToldClock:
    """A clock that moves 1 ms at each look, and further when told."""

    def __init__(self, instant: int = START) -> None:
        self.instant = instant

    def __call__(self) -> int:
        self.instant += 1000
        return self.instant

    def forward(self, seconds: int) -> None:
        self.instant += seconds * 1_000_000


def make_book(directory: Path, clock: ToldClock) -> Book:
    return Book.create(directory / "book", release=RELEASE, actor=ACTOR, clock=clock)


def open_writer(book: Book, clock: ToldClock, **options: Path) -> BookLane:
    return BookLane.open(book, release=RELEASE, clock=clock, **options)


def begin_lane(
    book: Book, role: str, clock: ToldClock, *, segment_bytes: int = 1 << 26, heads: str | None = None
) -> Lane:
    name = book.new_lane_name(role, clock)
    begin = LaneBegin(
        book=book.id,
        lane=name,
        role=role,
        format=FORMAT,
        release=RELEASE,
        configuration="c" * 64,
        host="host",
        process=os.getpid(),
        heads=heads,
    )
    return Lane.create(book.lane_directory(name), begin, clock=clock, ballast=0, segment_bytes=segment_bytes)


_numbers = itertools.count(1)


def serve_request(
    lane: Lane, *, tenant: str = "acme", amount: str = "0.000125", user: str | None = None, recharge: str | None = None
) -> None:
    """One request of two entries, worth `amount`."""
    request = Request(
        id=f"0199e0c5-0000-7000-8000-{next(_numbers):012x}",
        tenant=tenant,
        key="prod",
        endpoint="openai.chat",
        model_asked="m",
        policy="p",
        user=user,
    )
    attempt = Attempt(number=1, vendor="openai", vendor_key="main", model_sent="m", reason="first")
    sequence, opened = lane.append("request.opened", encode_payload(RequestEntry(request=request, attempt=attempt)))
    settled = RequestEntry(
        request=request,
        attempt=attempt,
        settlement=Settlement(opened=opened, sequence=sequence, outcome="ok", usage={"input": 10}),
        rating=Rating(book="b" * 64, adapter="a", charges=[("input", 10, "0.0000125", None, amount, recharge, "row")]),
        close=Close(outcome="ok", attempts=1),
    )
    lane.append("request.settled", encode_payload(settled))


def register(supervisor: Lane, lane: str, role: str = "worker") -> None:
    supervisor.append("lane.opened", encode_payload(LaneOpened(lane=lane, role=role)))
    supervisor.sync()


def reap(supervisor: Lane, directory: Path, role: str = "worker", reason: str = "died") -> None:
    """What a supervisor does with a lane whose writer is dead."""
    remains = examine(directory)
    drop_torn(directory)
    closed = LaneClosed(
        lane=directory.name,
        role=role,
        reason=reason,
        last=remains.sequence,
        digest=remains.digest,
        torn=remains.torn,
    )
    supervisor.append("lane.closed", encode_payload(closed))
    supervisor.sync()


def abandon(lane: Lane) -> None:
    """What `kill -9` of a lane's writer does: its descriptors close, and nothing more is written."""
    lane._let_go()
