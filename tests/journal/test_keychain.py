"""Signing keys that follow one another: the old signs the new, and each counts for its time."""

import json
import shutil
from pathlib import Path

import pytest
from bookmaking import ACTOR, ToldClock, begin_lane, make_book, open_writer, serve_request

from tollbook.core.faults import BadInput, Tampered
from tollbook.journal.book import Book
from tollbook.journal.checkpoint import Checkpoint
from tollbook.journal.keychain import read_keys
from tollbook.journal.recording import BookLane
from tollbook.journal.verify import verify


def go_on(book: Book, writer: BookLane, clock: ToldClock) -> int:
    """Some more heads; their number."""
    lane = begin_lane(book, "worker", clock)
    serve_request(lane)
    lane.close("stopped")
    keeper = writer.keeper() if not hasattr(writer, "kept") else writer.kept
    writer.kept = keeper  # type: ignore[attr-defined]
    writer.advance(keeper)
    return keeper.number


def codes(root: Path, note: bytes | None = None) -> set[str]:
    return {finding.code for finding in verify(root, checkpoint=note).findings if not finding.code.startswith("lane_")}


def test_checkpoints_before_and_after_a_new_key_both_hold(tmp_path: Path) -> None:
    """A checkpoint of the old key verifies for ever; the new key signs what comes; the old key signs nothing later."""
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    writer = open_writer(book, clock)
    go_on(book, writer, clock)
    before, old = (book.checkpoints / "latest").read_bytes(), book.signer()
    entry = writer.replace_key("routine", ACTOR)
    assert entry.since == 1 and entry.previous == book.key != entry.key
    number = go_on(book, writer, clock)
    after = (book.checkpoints / "latest").read_bytes()
    assert codes(book.root, before) == codes(book.root, after) == set()
    forged = old.sign(Checkpoint(book.origin, number, b"\0" * 32))
    assert codes(book.root, forged) == {"checkpoint_unusable"}
    writer.close("stopped")
    again = open_writer(book, clock)
    again.replace_key("routine", ACTOR)
    again.close("stopped")
    assert [link.signed for link in read_keys(book.root, book.id, book.key).links] == [True] * 3
    assert verify(book.root).keys[-1].key == book.signer(verify(book.root).keys[-1].key).verification_key


def test_a_stolen_key_counts_up_to_the_position_declared(tmp_path: Path) -> None:
    """What a compromised key signed beyond the last position trusted is refused, also what it signed in its time."""
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    writer = open_writer(book, clock)
    go_on(book, writer, clock)
    early = (book.checkpoints / "latest").read_bytes()
    go_on(book, writer, clock)
    late = (book.checkpoints / "latest").read_bytes()
    with pytest.raises(BadInput, match="cannot be trusted up to position 9"):
        writer.replace_key("compromised", ACTOR, 9)
    writer.replace_key("compromised", ACTOR, 1)
    go_on(book, writer, clock)
    assert codes(book.root, early) == set()
    assert codes(book.root, late) == {"checkpoint_unusable"}
    writer.close("stopped")
    assert open_writer(book, clock).recovered.number >= 3


@pytest.mark.parametrize("change", ["key", "reason", "trusted", "signature"])
def test_a_changed_rotation_is_named(tmp_path: Path, change: str) -> None:
    """Whoever can write the book's lane, and has no key of it, cannot bring in a key of his own."""
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    forged = make_book(tmp_path / "other", clock).signer()
    writer = open_writer(book, clock)
    go_on(book, writer, clock)
    entry = writer.replace_key("compromised", ACTOR, 1)
    go_on(book, writer, clock)
    writer.close("stopped")
    new = {
        "key": forged.verification_key,
        "reason": "routine",
        "trusted": 0,
        "signature": forged.note("tollbook signing key\n").decode(),
    }[change]
    for path in book.root.glob("lanes/book-*/*.jsonl"):
        old = json.dumps(getattr(entry, change), ensure_ascii=False)
        path.write_text(
            path.read_text().replace(f'"{change}":{old}', f'"{change}":{json.dumps(new, ensure_ascii=False)}')
        )
    assert "key_chain_broken" in codes(book.root)
    with pytest.raises(Tampered, match="signing key"):
        open_writer(book, clock)


def test_a_lost_key_is_replaced_without_its_signature(tmp_path: Path) -> None:
    """A book whose key is gone goes on with another, and everybody who verifies is told that nobody vouched for it."""
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    writer = open_writer(book, clock)
    go_on(book, writer, clock)
    writer.close("stopped")
    (book.root / "keys" / "signing.key").unlink()
    with pytest.raises(BadInput, match="cannot be used"):
        open_writer(book, clock)
    writer = BookLane.open(book, release="1", clock=clock, lost=True)
    writer.replace_key("lost", ACTOR)
    go_on(book, writer, clock)
    writer.close("stopped")
    found = verify(book.root)
    assert codes(book.root) == set() and [link.signed for link in found.keys] == [True, False]
    open_writer(book, clock).close("stopped")


@pytest.mark.parametrize("recorded", [True, False])
def test_an_interrupted_replacement_is_finished_or_forgotten(tmp_path: Path, recorded: bool) -> None:
    """A crash after the entry leaves the new key in force, one before it the old."""
    clock = ToldClock()
    book = make_book(tmp_path, clock)
    writer = open_writer(book, clock)
    go_on(book, writer, clock)
    keys = book.root / "keys"
    old = (keys / "signing.key").read_bytes()
    if recorded:
        writer.replace_key("routine", ACTOR)
        shutil.copy(keys / "signing.key", keys / "signing.key.next")
        (keys / "signing.key").write_bytes(old)
    else:
        book.next_signer()
    writer.close("stopped")
    again = open_writer(book, clock)
    go_on(book, again, clock)
    again.close("stopped")
    assert codes(book.root) == set()
    assert ((keys / "signing.key").read_bytes() != old) == recorded
