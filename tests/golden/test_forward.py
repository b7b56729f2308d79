"""What a later release may write, this one reads: kinds and members that it does not know break nothing."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "journal"))

from bookmaking import ToldClock, begin_lane, make_book, open_writer, register, serve_request

from tollbook.journal.closing import examine
from tollbook.journal.entry import KINDS, encode_payload
from tollbook.journal.lane import Lane
from tollbook.journal.verify import verify
from tollbook.ledger.rebuild import rebuild
from tollbook.ledger.report import report


def write_book(directory: Path, monkeypatch: pytest.MonkeyPatch, *, later: bool) -> Path:
    """A book with two requests; `later` as a release would write it that knows more."""
    clock = ToldClock()
    book = make_book(directory, clock)
    writer = open_writer(book, clock)
    supervisor, lane = begin_lane(book, "supervisor", clock), begin_lane(book, "worker", clock)
    register(supervisor, lane.name)
    append = Lane.append

    def knowing(self: Lane, kind: str, payload: bytes) -> tuple[int, int]:
        if kind == "heads":  # their writer signs the bytes as this release makes them
            return append(self, kind, payload)
        return append(self, kind, payload + b',"of_a_later_release":{"more":[1,"2",null]}')

    with monkeypatch.context() as patch:
        if later:
            patch.setattr(Lane, "append", knowing)
            patch.setitem(KINDS, "later.kind", "what a later release knows")
            for one in (supervisor, lane):
                one.append("later.kind", encode_payload({"says": "something new"}))
            writer.append("later.kind", {"says": "something else"})  # type: ignore[arg-type]
        for number in range(2):
            monkeypatch.setattr("bookmaking._numbers", iter([number + 1]))
            serve_request(lane)
        lane.heartbeat()
        writer.advance(writer.keeper())
    return book.root


def test_what_a_later_release_adds_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A book with kinds and members of a later release verifies, folds to the same figures as without them,
    and its lanes can be closed after a crash: a release that was rolled back can work on."""
    now, later = (write_book(tmp_path / str(one), monkeypatch, later=one) for one in (False, True))
    for root in (now, later):
        assert verify(root).findings == []
        rebuild(root)
    by = ["tenant", "model_asked", "outcome"]
    assert report(later, by)["rows"] == report(now, by)["rows"] != []
    (lane,) = (later / "lanes").glob("worker-*")
    assert examine(lane).requests == {}
