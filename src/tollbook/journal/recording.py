"""The book's own lane and its one writer: heads, signed checkpoints, and what people cause."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.faults import BadInput, Tampered
from tollbook.journal.book import Book, BookLock
from tollbook.journal.checkpoint import Checkpoint, Signer, parse_checkpoint, verify_checkpoint
from tollbook.journal.closing import drop_torn, examine, is_live
from tollbook.journal.entry import (
    FORMAT,
    BookCreated,
    Heads,
    KeyRotated,
    LaneBegin,
    LaneClosed,
    PersonalErased,
    encode_payload,
)
from tollbook.journal.files import write_whole
from tollbook.journal.heads import HeadsKeeper, Recovered, recover
from tollbook.journal.keychain import REASONS, KeyChain, Link, read_keys, statement
from tollbook.journal.lane import Lane
from tollbook.journal.line import encode_line
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.replay import Batch
from tollbook.journal.tail import lane_directories

CHECKPOINT_SECONDS: Final = 600
"""How often a checkpoint is kept under its number, and sent to the anchor, besides at each seal and at the close."""


class BookLane:
    """Writes the book's lane under `run/book.lock`: one process at a time, each with a lane of its own.

    After every heads entry the checkpoint over all heads is signed and put at `checkpoints/latest`; now and then also
    under its number and, when there is an `anchor` directory, as a copy there.
    """

    def __init__(
        self, book: Book, lock: BookLock, lane: Lane, recovered: Recovered, keys: KeyChain, signer: Signer, clock: Clock
    ) -> None:
        self._book: Final = book
        self._lock: Final = lock
        self._lane: Final = lane
        self._clock: Final = clock
        self._tree: Final = recovered.tree
        self._keys: Final = keys
        self._signer = signer
        self._note = b""
        self._kept_at = 0
        self.recovered: Final = recovered
        self.anchor: Path | None = None
        self.anchor_fault: str | None = None
        """Why the last checkpoint could not be copied to the anchor; None when it was."""

    @classmethod
    def open(
        cls,
        book: Book,
        *,
        release: str,
        configuration: str = "",
        anchor: Path | None = None,
        clock: Clock = now,
        lost: bool = False,
    ) -> "BookLane":
        """Become the book's writer: a new lane, with the book's birth as its first entry if that is not on record.

        With `lost` the signing key is not there; `replace_key` must be the next that is asked.

        Raises BookLocked when another process writes it, Tampered when its heads are not those last signed,
        JournalUnavailable when the lane cannot be made.
        """
        lock = book.lock()
        try:
            keys = read_keys(book.root, book.id, book.key)
            recovered = _recover_signed(book, keys)
            signer = book.next_signer() if lost else book.signer(keys.current)
            name = book.new_lane_name("book", clock)
            begin = LaneBegin(
                book=book.id,
                lane=name,
                role="book",
                format=FORMAT,
                release=release,
                configuration=configuration,
                host=socket.gethostname(),
                process=os.getpid(),
                heads=recovered.digest,
            )
            lane = Lane.create(book.lane_directory(name), begin, clock=clock, ballast=0)
            writer = cls(book, lock, lane, recovered, keys, signer, clock)
            writer.anchor = anchor
            writer._settle_in()
        except BaseException:
            lock.release()
            raise
        return writer

    @property
    def name(self) -> str:
        return self._lane.name

    @property
    def book(self) -> str:
        """The id of the book."""
        return self._book.id

    @property
    def last(self) -> tuple[int, str]:
        """Sequence and digest of the lane's last entry."""
        return self._lane.sequence, self._lane.digest

    @property
    def recorded(self) -> int:
        """The instant of the lane's last entry."""
        return self._lane.recorded

    def keeper(self) -> HeadsKeeper:
        """A keeper of this book's heads, from where they stood when this lane was opened."""
        return HeadsKeeper(self._book, self.recovered)

    def append(self, kind: str, payload: Struct) -> tuple[int, str]:
        """Write one entry, durably; its sequence and digest. Raises JournalUnavailable."""
        sequence, _ = self._lane.append(kind, encode_payload(payload))
        self._lane.sync()
        return sequence, self._lane.digest

    def append_all(self, kind: str, payloads: Iterable[bytes]) -> None:
        """Write several entries of one kind, their payloads encoded (`encode_payload`), durable together on return.

        Raises JournalUnavailable: then some of them may be there.
        """
        for payload in payloads:
            self._lane.append(kind, payload)
        self._lane.sync()

    def erase(self, directory: PersonalDirectory, tenant: str, value: str, basis: str, actor: str) -> PersonalErased:
        """Erase what names a person: first on record, so that it is done again if it is interrupted; then done.

        `basis` says why. Raises BadInput when it names the person: it would keep what shall be erased.
        """
        if value in basis:
            raise BadInput("the basis of an erasure must not hold the value that is erased; say it without")
        erasure = directory.erasable(tenant, value, clock=self._clock)
        reason = directory.remember(tenant, basis, "basis", clock=self._clock)
        entry = PersonalErased(tenant=tenant, digests=erasure.digests, values=erasure.values, basis=reason, actor=actor)
        self.append("personal.erased", entry)
        directory.erase(tenant, value, clock=self._clock)
        return entry

    def replace_key(self, reason: str, actor: str, trusted: int | None = None) -> KeyRotated:
        """Sign by a new key from here on: first on record, then in its place; the old one is gone after that.

        `trusted` is the last position up to which checkpoints by the old key count. Raises BadInput when that is later
        than now, or the reason is none of the list.
        """
        since = self._tree.size
        if reason not in REASONS:
            raise BadInput(f"{reason!r} is no reason to replace a signing key: {', '.join(REASONS)}")
        if trusted is not None and not 0 <= trusted <= since:
            raise BadInput(f"the old key cannot be trusted up to position {trusted}: the book is at {since}")
        former, lost = self._signer, reason == "lost"
        following = former if lost else self._book.next_signer()
        key = following.verification_key
        note = None if lost else former.note(statement(self._book.id, since, key, reason, trusted)).decode()
        entry = KeyRotated(
            previous=self._keys.current,
            key=key,
            since=since,
            reason=reason,
            actor=actor,
            trusted=trusted,
            signature=note,
        )
        self.append("key.rotated", entry)
        self._signer = self._book.signer(key)
        self._keys.links.append(Link(key, since, reason, trusted, not lost))
        return entry

    def sign(self, text: str) -> str:
        """Lines of text as a note signed by the book's key. The text must say what it is: no checkpoint begins so."""
        if not text.startswith("tollbook "):
            raise ValueError("what the book signs begins with its name")
        return self._signer.note(text).decode()

    def heartbeat(self) -> None:
        """Write running counts; at least every 5 s."""
        self._lane.heartbeat()

    def advance(self, keeper: HeadsKeeper, limit_bytes: int = 8 << 20) -> Batch | None:
        """Read what lanes brought and, when they did, write heads over it and sign; what those heads cover.

        Raises JournalUnavailable when it cannot be written.
        """
        keeper.poll(limit_bytes)
        heads = keeper.next_heads()
        if heads is None:
            return None
        recorded, digest, line = self._write_heads(heads)
        self._tree.append(line)
        self._sign()
        return Batch(heads.number, digest, recorded, keeper.written(heads, digest))

    def keep_checkpoint(self) -> None:
        """Keep the last checkpoint under its number, and send it to the anchor."""
        if not self._note:
            return
        name = str(self._tree.size)
        self._kept_at = self._clock()
        write_whole(self._book.checkpoints / name, self._note)
        if self.anchor is None:
            return
        try:
            write_whole(self.anchor / f"{self._book.id}-{name}", self._note)
            self.anchor_fault = None
        except OSError as fault:
            self.anchor_fault = f"checkpoint {name} could not be copied to {self.anchor}: {fault.strerror}"

    def close(self, reason: str) -> None:
        """End the lane and give up the lock."""
        try:
            self.keep_checkpoint()
            self._lane.close(reason)
        finally:
            self._lock.release()

    def _write_heads(self, heads: Heads) -> tuple[int, str, bytes]:
        payload = encode_payload(heads)
        before = self._lane.digest
        sequence, recorded = self._lane.append("heads", payload)
        self._lane.sync()
        return recorded, self._lane.digest, encode_line(before, sequence, recorded, "heads", payload)

    def _sign(self) -> None:
        self._note = self._signer.sign(Checkpoint(self._book.origin, self._tree.size, self._tree.root()))
        write_whole(self._book.checkpoints / "latest", self._note)
        if self._clock() - self._kept_at >= CHECKPOINT_SECONDS * SECOND:
            self.keep_checkpoint()

    def _settle_in(self) -> None:
        """Put the book's birth on record, and the end of former book lanes whose writer died: who holds the lock is
        the only one who can tell."""
        if not self.recovered.created:
            born = BookCreated(book=self._book.id, key=self._book.key, actor=self._book.actor)
            self.append("book.created", born)
        for directory in lane_directories(self._book.root):
            if directory.name.startswith("book-") and self._lacks_end(directory):
                self._bury(directory)

    def _lacks_end(self, directory: Path) -> bool:
        lane = directory.name
        finished = lane in self.recovered.known and lane not in self.recovered.lanes
        return not finished and lane not in self.recovered.ends and not is_live(directory)

    def _bury(self, directory: Path) -> None:
        try:
            remains = examine(directory)
        except Tampered:
            return  # The keeper of heads leaves such a lane where it was last good, and verify names the entry.
        if remains.ended:
            return
        drop_torn(directory)
        closed = LaneClosed(
            lane=directory.name,
            role="book",
            reason="died",
            last=remains.sequence,
            digest=remains.digest,
            torn=remains.torn,
        )
        self.append("lane.closed", closed)


def _recover_signed(book: Book, keys: KeyChain) -> Recovered:
    """Where the heads stand, which must be what the last checkpoint signed, or further."""
    try:
        note = (book.checkpoints / "latest").read_bytes()
    except FileNotFoundError:
        return recover(book.root)
    signed = verify_checkpoint(note, keys.at(parse_checkpoint(note).size))
    recovered = recover(book.root, root_at=signed.size)
    if recovered.earlier_root != signed.root:
        raise Tampered(
            f"the last checkpoint signs {signed.size} heads, and the book's lanes do not have them as they were signed "
            f"(they have {recovered.number}); run: tollbook verify, and restore the book's lanes from a backup"
        )
    return recovered
