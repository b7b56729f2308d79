"""A book is made whole or not at all, opened or refused with a word on what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bookmaking import ACTOR, RELEASE, START, ToldClock, make_book

from tollbook.core.faults import BadInput, BookLocked
from tollbook.journal.book import Book, is_lane_name
from tollbook.journal.checkpoint import Checkpoint, verify_checkpoint


def test_a_new_book_opens_as_it_was_made(tmp_path: Path) -> None:
    """What `book.json` says is what was made, and its key verifies what the signer signs."""
    book = make_book(tmp_path, ToldClock())
    assert Book.open(book.root) == book
    assert (book.release, book.actor, book.created) == (RELEASE, ACTOR, START + 1000)
    assert book.origin == f"tollbook/{book.id}"
    told = json.loads((book.root / "book.json").read_bytes())
    assert told["format"] == 1
    checkpoint = Checkpoint(book.origin, 0, bytes(32))
    assert verify_checkpoint(book.signer().sign(checkpoint), book.key) == checkpoint


def test_a_book_is_private(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        book = make_book(tmp_path, ToldClock())
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in [book.root, *book.root.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_book_can_be_made_in_an_empty_or_missing_directory(tmp_path: Path) -> None:
    """Parents are made as needed; an empty directory becomes the book."""
    assert make_book(tmp_path / "a" / "b", ToldClock()).root == tmp_path / "a" / "b" / "book"
    (tmp_path / "book").mkdir()
    assert make_book(tmp_path, ToldClock()).root.joinpath("book.json").is_file()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A book, a directory with something in it, and a file are refused, and stay as they are."""
    book = make_book(tmp_path, ToldClock())
    with pytest.raises(BadInput, match="is a book already"):
        make_book(tmp_path, ToldClock())
    assert Book.open(book.root) == book
    (tmp_path / "full" / "book").mkdir(parents=True)
    (tmp_path / "full" / "book" / "notes.txt").write_text("mine")
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "book").write_text("mine")
    for place in ("full", "file"):
        with pytest.raises(BadInput, match="not an empty directory"):
            make_book(tmp_path / place, ToldClock())
        assert [path.name for path in (tmp_path / place).iterdir()] == ["book"]


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_a_book_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Whatever call the disk refuses, there is no half of a book."""
    calls = 0
    real = getattr(os, call)

    def fail(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3 or call == "rename":
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(BadInput, match="No space left on device"):
            make_book(tmp_path, ToldClock())
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_book_is_refused_with_a_word_on_what_to_do(tmp_path: Path) -> None:
    """Opening nothing, a book of a later format or a damaged identity says what to do."""
    with pytest.raises(BadInput, match="make one with: tollbook init"):
        Book.open(tmp_path / "nothing")
    book = make_book(tmp_path, ToldClock())
    identity = book.root / "book.json"
    told = json.loads(identity.read_bytes())
    for change, wanted in (
        ({**told, "format": 2}, "use a later release"),
        ({**told, "key": None}, "lacks key"),
        ({**told, "created": "yesterday"}, "not an instant"),
        ([], "not a JSON object"),
    ):
        identity.write_text(json.dumps(change))
        with pytest.raises(BadInput, match=wanted):
            Book.open(book.root)
    identity.write_text("{")
    with pytest.raises(BadInput, match="restore it from a backup"):
        Book.open(book.root)


def test_the_signing_key_must_be_the_books(tmp_path: Path) -> None:
    """A key that is gone, cut or another's signs nothing."""
    book = make_book(tmp_path, ToldClock())
    key = book.root / "keys" / "signing.key"
    key.write_bytes(bytes(32))
    with pytest.raises(BadInput, match="not the one the book names"):
        book.signer()
    key.write_bytes(bytes(31))
    with pytest.raises(BadInput, match="cannot be used"):
        book.signer()
    key.unlink()
    with pytest.raises(BadInput, match="restore it from a backup"):
        book.signer()


def test_lane_names_say_role_and_second_and_do_not_repeat(tmp_path: Path) -> None:
    """A name is role, UTC second and eight digits; two of the same second differ."""
    book = make_book(tmp_path, ToldClock())
    names = {book.new_lane_name("worker", lambda: START) for _ in range(100)}
    assert len(names) == 100
    for name in names:
        assert name.startswith("worker-20261123T122000Z-")
        assert is_lane_name(name)
    assert not is_lane_name("clerk-20261123T122000Z-00000000")
    with pytest.raises(ValueError, match="is no role"):
        book.new_lane_name("clerk")


def test_the_lock_is_one_processes_and_dies_with_it(tmp_path: Path) -> None:
    """Another process is refused and told who holds the lock; when the holder is killed, it is free."""
    book = make_book(tmp_path, ToldClock())
    code = (
        "import sys, pathlib; from tollbook.journal.book import Book\n"
        "lock = Book.open(pathlib.Path(sys.argv[1])).lock(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(book.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BookLocked, match=f"process {holder.pid} "):
            book.lock()
    finally:
        holder.kill()
        holder.communicate()
    with book.lock(), pytest.raises(BookLocked, match=f"process {os.getpid()} "):
        book.lock()
    book.lock().release()
