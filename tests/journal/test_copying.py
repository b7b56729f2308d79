"""A second copy of a book: whole at every instant, resumable, without what was erased."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from bookmaking import ToldClock, abandon, begin_lane, make_book, open_writer, reap, register, serve_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook.core.faults import BadInput
from tollbook.journal import copying
from tollbook.journal.copying import Copier, read_copy
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.sealing import Sealer
from tollbook.journal.tail import lane_directories
from tollbook.journal.verify import verify


def lines_of(root: Path) -> dict[str, bytes]:
    """The open segments of a book."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("lanes/*/*.jsonl"))}


class Busy:
    """A book whose lanes go on, step by step."""

    def __init__(self, directory: Path) -> None:
        self.clock = ToldClock()
        self.book = make_book(directory, self.clock)
        self.writer = open_writer(self.book, self.clock)
        self.keeper = self.writer.keeper()
        self.sealer = Sealer(self.book, self.writer, self.keeper)
        self.supervisor = begin_lane(self.book, "supervisor", self.clock)
        self.workers = [self._worker()]

    def step(self, what: str) -> None:
        if what == "serve":
            serve_request(self.workers[-1])
            self.workers[-1].sync()
        elif what == "heads":
            self.writer.advance(self.keeper)
        elif what == "seal":
            self.sealer.seal_next()
        elif what == "replace":
            dead = self.workers[-1]
            abandon(dead)
            reap(self.supervisor, self.book.lane_directory(dead.name))
            self.workers.append(self._worker())
        elif what == "open":
            register(self.supervisor, self.book.new_lane_name("worker", self.clock))

    def _worker(self) -> Any:
        lane = begin_lane(self.book, "worker", self.clock, segment_bytes=3000)
        register(self.supervisor, lane.name)
        return lane


STEPS = st.lists(st.sampled_from(("serve", "serve", "heads", "seal", "replace")), max_size=25)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=STEPS, between=STEPS, data=st.data())
def test_a_copy_is_whole_after_every_write(
    before: list[str], between: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the book does meanwhile, and wherever the copying breaks off, what is in the copy verifies; the next
    round, by the same process or another, goes on and ends with the same lines."""
    directory = tmp_path_factory.mktemp("busy")
    busy, target = Busy(directory), directory / "copy"
    for what in before:
        busy.step(what)
    copier = Copier(busy.book, target, clock=busy.clock)
    copier.round()
    assert not verify(target).findings
    for what in between:
        busy.step(what)
    limit = data.draw(st.integers(0, 12))
    with pytest.MonkeyPatch.context() as patch:
        _break_after(patch, limit)
        with contextlib.suppress(OSError):
            copier.round()
    assert not verify(target).findings
    if data.draw(st.booleans()):
        copier = Copier(busy.book, target, clock=busy.clock)
    copier.round()
    found = verify(target)
    assert not found.findings and found.position == busy.keeper.number
    assert lines_of(target) == lines_of(busy.book.root)


def _break_after(patch: pytest.MonkeyPatch, writes: int) -> None:
    """Let the copy's disk refuse after so many writes, in the middle of one."""
    left = [writes]

    def failing(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, os.strerror(28))
            return real(*arguments)

        return call

    patch.setattr(copying, "write_whole", failing(copying.write_whole))
    patch.setattr(copying, "_write_at", failing(copying._write_at))


def test_a_line_half_written_is_not_copied(tmp_path: Path) -> None:
    """A copy holds whole lines only; a copy that was damaged is brought right by the next process."""
    busy, target = Busy(tmp_path), tmp_path / "copy"
    busy.step("serve")
    (source,) = busy.book.lane_directory(busy.workers[0].name).glob("*.jsonl")
    whole = source.read_bytes()
    source.write_bytes(whole + b'{"v":1,"p":"')
    Copier(busy.book, target).round()
    copied = target / source.relative_to(busy.book.root)
    assert copied.read_bytes() == whole
    copied.write_bytes(whole[:-7] + b"wrong\nand more\n")
    Copier(busy.book, target).round()
    assert copied.read_bytes() == whole


def test_a_copy_says_what_it_is(tmp_path: Path) -> None:
    """It is made in a directory of its own, never in the book, another book's copy or somebody's files; it is never
    written as a book, and holds no key."""
    busy, target = Busy(tmp_path), tmp_path / "copy"
    busy.step("heads")
    Copier(busy.book, target).round()
    copy = read_copy(target)
    assert copy is not None and copy.book == busy.book.id and copy.position == 1
    assert set(copy.live) == {path.name for path in lane_directories(target)}
    assert verify(target).copied == copy.made and verify(busy.book.root).copied is None
    assert not list((target / "keys").rglob("*.key"))
    with pytest.raises(BadInput, match="is a copy of a book"):
        type(busy.book).open(target).lock()
    other = Busy(tmp_path / "other")
    for wrong, words in ((target, "is a copy of book"), (tmp_path, "is not empty"), (other.book.root / "c", "itself")):
        with pytest.raises(BadInput, match=words):
            Copier(other.book, wrong).round()


def test_a_dead_lane_is_told_in_the_copy_too(tmp_path: Path) -> None:
    """A lane whose writer was dead when the copy was made, and that nobody closed, is a finding of the copy."""
    busy, target = Busy(tmp_path), tmp_path / "copy"
    busy.step("serve")
    abandon(busy.workers[0])
    abandon(busy.supervisor)
    Copier(busy.book, target).round()
    assert {finding.code for finding in verify(target).findings} == {"lane_not_closed"}


def test_an_erasure_reaches_the_copy_at_once(tmp_path: Path) -> None:
    """The round after an erasure leaves no value of the person in any file of the copy; a destroyed key goes, too."""
    busy, target = Busy(tmp_path), tmp_path / "copy"
    personal = PersonalDirectory(busy.book.root)
    personal.remember("acme", "somebody@acme.example", "user", clock=busy.clock)
    personal.remember("acme", "else@acme.example", "user", clock=busy.clock)
    copier = Copier(busy.book, target, personal_keys=True)
    copier.round()
    assert b"somebody@acme" in (target / "personal" / "directory.sqlite").read_bytes()
    (key,) = (target / "keys" / "personal").glob("*.key")
    busy.writer.erase(personal, "acme", "somebody@acme.example", "asked for it", "me")
    (busy.book.root / "keys" / "personal" / key.name).unlink()
    copier.round()
    assert not [path for path in target.rglob("*") if path.is_file() and b"somebody@acme" in path.read_bytes()]
    with sqlite3.connect(target / "personal" / "directory.sqlite") as database:
        assert ("else@acme.example",) in database.execute("SELECT value FROM people").fetchall()
    assert not key.exists()
