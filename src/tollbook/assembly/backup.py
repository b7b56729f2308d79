"""A backup: a copy of the book as it is now, verified, with the ledger's control totals beside it."""

import os
import secrets
import shutil
import tarfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from tollbook.core.faults import BadInput, NotFound
from tollbook.journal.book import Book
from tollbook.journal.copying import Copier, Copy, read_copy, write_copy
from tollbook.journal.files import sync_directory, write_whole, writing
from tollbook.journal.verify import Verification, verify
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Reader, position_of
from tollbook.ledger.report import report

ARCHIVE: Final = ".tar"
"""What the name of a backup ends with that is to be one file."""


class BackedUp(NamedTuple):
    """A backup that was made: where, what it says of itself, what verifying it found, whether keys are in it."""

    place: Path
    copy: Copy
    verified: Verification
    signing_key: bool
    personal_keys: bool


def back_up(root: Path, to: Path, *, signing_key: bool = False, personal_keys: bool = False) -> BackedUp:
    """Copy a book to a new directory, or to one file when the name ends in `.tar`; the book may be served meanwhile.

    The keys are in it only when asked for. Raises BadInput when there is something at `to`, or it cannot be written.
    """
    book = Book.open(root)
    if to.exists():
        raise BadInput(f"{to} exists; name a file or directory that is new")
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        Copier(book, draft, personal_keys=personal_keys).round()
        copy = _with_totals(root, draft)
        if signing_key:
            write_whole(draft / "keys" / "signing.key", (root / "keys" / "signing.key").read_bytes())
        found = verify(draft)
        if to.suffix == ARCHIVE:
            _pack(draft, to)
        else:
            draft.rename(to)
            sync_directory(to.parent)
    except OSError as fault:
        raise BadInput(f"the backup cannot be written to {to}: {fault.strerror or fault}") from fault
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return BackedUp(to, copy, found, signing_key, personal_keys)


def control_totals(root: Path, position: int | None = None) -> tuple[int, dict[str, Any]]:
    """The ledger's totals over everything, at a position or the last one before it that the ledger holds.

    Raises NotFound when there is no ledger, or none that this release reads.
    """

    def last(lake: Lake) -> int:
        return position_of(lake).number

    with Reader(root) as reader:
        held = reader.read(last)
        at = held if position is None else min(held, position)
        return at, report(reader, [], as_of=at)["total"]


def _with_totals(root: Path, draft: Path) -> Copy:
    copy = read_copy(draft)
    assert copy is not None
    try:
        ledger, totals = control_totals(root, copy.position)
    except NotFound:
        return copy  # nothing was loaded yet, or another release made the ledger: a restore makes its own
    copy = replace(copy, ledger=ledger, totals=totals)
    write_copy(draft, copy)
    return copy


def _pack(draft: Path, place: Path) -> None:
    """One file of what a directory holds, by name, durable and in its place at once."""
    with (
        writing(place) as descriptor,
        os.fdopen(os.dup(descriptor), "wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.add(draft, arcname=".")
