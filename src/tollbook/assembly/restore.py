"""Restoring: a copy becomes a book again, once it was verified and everything that was erased is erased in it."""

import asyncio
import secrets
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook import __version__
from tollbook.assembly.backup import control_totals
from tollbook.assembly.prices import recover_prices
from tollbook.assembly.reaping import Registrar
from tollbook.core.faults import BadInput, BrokenPromise
from tollbook.journal.book import COPY, Book
from tollbook.journal.copying import Copy, read_copy
from tollbook.journal.entry import BookRestored, PersonalErased, RestoreDrilled
from tollbook.journal.files import sync_directory, write_whole
from tollbook.journal.heads import recover
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane
from tollbook.journal.verify import Verification, verify
from tollbook.ledger.rebuild import rebuild

SHOWN: Final = 3


class Wanted(NamedTuple):
    """What of a copy is to become what: `erasures` is a book or copy whose later erasures are applied too; a `drill`
    leaves a copy, which is never written; without `verified` nothing is verified, folded or compared."""

    source: Path
    book: Path
    signing_key: Path | None = None
    registry_key: Path | None = None
    erasures: Path | None = None
    drill: bool = False
    verified: bool = True


class Restored(NamedTuple):
    """A book that was restored: of which copy, what verifying found, how many values were erased again, the totals of
    its ledger at the copy's position, whether it can be served (it has its signing key), and how long it took."""

    book: Path
    copy: Copy
    verification: Verification | None
    erased: int
    totals: dict[str, Any] | None
    compared: bool
    servable: bool
    seconds: int

    def drilled(self, actor: str) -> RestoreDrilled:
        """The entry that says that this was tried."""
        assert self.verification is not None
        return RestoreDrilled(
            made=self.copy.made,
            position=self.copy.position,
            entries=self.verification.entries,
            bytes=self.verification.bytes,
            compared=self.compared,
            seconds=self.seconds,
            actor=actor,
        )


def restore(wanted: Wanted, actor: str) -> Restored:
    """Make a new book of a copy. It appears whole, or not at all.

    Raises BadInput when the copy is none or the place is taken, BrokenPromise when it does not verify or its ledger
    does not give the totals that the backup was made with.
    """
    begun = time.monotonic()
    place = wanted.book
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BadInput(f"{place} exists and is not an empty directory; name a directory that is new or empty")
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = _unpack(wanted.source, draft)
        found = verify(draft) if wanted.verified else None
        if found is not None and found.findings:
            told = "\n".join(finding.message for finding in found.findings[:SHOWN])
            raise BrokenPromise(f"{wanted.source} does not verify ({len(found.findings)} findings):\n{told}")
        erased, later = _erase_again(draft, wanted.erasures)
        _place_key(draft, "registry.key", "--registry-key", wanted.registry_key)
        servable = _place_key(draft, "signing.key", "--signing-key", wanted.signing_key) and not wanted.drill
        if servable:
            _become_book(draft, copy, later, actor)
        totals, compared = _fold(draft, copy) if wanted.verified else (None, False)
        draft.rename(place)
        sync_directory(place.parent)
    except OSError as fault:
        raise BadInput(f"{wanted.source} cannot be restored to {place}: {fault.strerror or fault}") from fault
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Restored(place, copy, found, erased, totals, compared, servable, round(time.monotonic() - begun))


def _unpack(source: Path, draft: Path) -> Copy:
    """The copy's files in a place of their own, which only their owner may enter."""
    draft.mkdir(mode=0o700)
    if source.is_dir():
        if read_copy(source) is None:
            raise BadInput(f"{source} is no copy of a book (it has no {COPY}); name a backup or a shipped copy")
        shutil.copytree(source, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ledger", "run", "*.tmp"))
    else:
        try:
            with tarfile.open(source) as archive:
                archive.extractall(draft, filter="data")
        except (tarfile.TarError, EOFError) as fault:
            raise BadInput(f"{source} is no backup: {fault}") from fault
    copy = read_copy(draft)
    if copy is None or Book.open(draft).id != copy.book:
        raise BadInput(f"{source} is no copy of a book: {COPY} and book.json do not agree")
    for place in ("ledger", "run", "personal/inbox", "keys/personal"):
        (draft / place).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in draft.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return copy


def _erase_again(draft: Path, later: Path | None) -> tuple[int, list[PersonalErased]]:
    """Apply every erasure on record, and those of a later book; how many values came off, and the later ones."""
    own = recover(draft).erasures
    known = {digest for erasure in own for digest in erasure.digests}
    new = [] if later is None else [one for one in _erasures_of(draft, later) if not known.issuperset(one.digests)]
    personal = PersonalDirectory(draft)
    try:
        return personal.reapply([*own, *new]), new
    finally:
        personal.close()


def _erasures_of(draft: Path, later: Path) -> list[PersonalErased]:
    if Book.open(later).id != Book.open(draft).id:
        raise BadInput(f"--erasures: {later} is another book")
    return recover(later).erasures


def _place_key(draft: Path, name: str, option: str, given: Path | None) -> bool:
    """Put a key in its place, if there is one; whether the book now has it."""
    place = draft / "keys" / name
    if given is not None:
        try:
            write_whole(place, given.read_bytes())
        except OSError as fault:
            raise BadInput(f"{option}: {given} cannot be read: {fault.strerror}") from fault
    return place.exists()


def _become_book(draft: Path, copy: Copy, later: list[PersonalErased], actor: str) -> None:
    """Close the lanes that were being written when the copy was made, and put on record that this was restored."""
    (draft / COPY).unlink()
    book = Book.open(draft)
    registrar = Registrar(book, __version__, "", 0)
    recover_prices(book)
    asyncio.run(registrar.reap_former())
    registrar.close("restored")
    lane = BookLane.open(book, release=__version__)
    try:
        for erasure in later:
            lane.append("personal.erased", erasure)
        lane.append("book.restored", BookRestored(made=copy.made, position=copy.position, actor=actor))
        keeper = lane.keeper()
        while lane.advance(keeper) is not None:
            pass
    finally:
        lane.close("restored")


def _fold(draft: Path, copy: Copy) -> tuple[dict[str, Any], bool]:
    """Make the ledger and compare its totals with those of the backup, if that has any: the totals, and whether."""
    rebuild(draft)
    _, totals = control_totals(draft, copy.ledger if copy.ledger is not None else copy.position)
    if copy.totals is not None and totals != copy.totals:
        raise BrokenPromise(
            f"the restored ledger does not give the totals of the backup at position {copy.ledger}: "
            f"{totals}, and the backup says {copy.totals}"
        )
    return totals, copy.totals is not None
