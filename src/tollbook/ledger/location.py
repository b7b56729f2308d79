"""Where a book's ledgers lie: `ledger/<schema>-<duckdb>[-n]/`, and `ledger/current`, which names the one in use.

A ledger is made for one version of our schema and of DuckDB. An upgrade or a rebuild makes the next one beside it
and then replaces the pointer by a rename; the old one stays until it is removed by hand.
"""

import os
from pathlib import Path
from typing import Final

import duckdb

from tollbook.core.faults import NotFound
from tollbook.journal.files import sync_directory
from tollbook.ledger.schema import SCHEMA_VERSION

POINTER: Final = "current"
BUILDING: Final = "building"
"""A file in a ledger that a rebuild has not finished."""


def ledgers(book_root: Path) -> Path:
    """The directory that holds a book's ledgers."""
    return book_root / "ledger"


def base_name() -> str:
    """The name of a ledger of this release: schema version and DuckDB version."""
    return f"{SCHEMA_VERSION}-{duckdb.__version__}"


def is_readable(name: str) -> bool:
    """Whether this release can read a ledger of that name."""
    return name == base_name() or name.startswith(f"{base_name()}-")


def book_of(directory: Path) -> Path:
    """The book that a ledger's directory belongs to."""
    return directory.parent.parent


def current(book_root: Path) -> Path | None:
    """The ledger in use; None when there is none yet."""
    try:
        name = (ledgers(book_root) / POINTER).read_text().strip()
    except FileNotFoundError:
        return None
    return ledgers(book_root) / name


def require_current(book_root: Path) -> Path:
    """The ledger in use, for readers.

    Raises NotFound, with what to do, when there is none or another release made it.
    """
    directory = current(book_root)
    if directory is None or not directory.is_dir():
        raise NotFound(f"{ledgers(book_root)} holds no ledger yet: start `tollbook serve`, or run `tollbook rebuild`")
    if not is_readable(directory.name):
        raise NotFound(
            f"{directory} was made by another release (this one reads {base_name()}): run `tollbook rebuild`"
        )
    return directory


def make(book_root: Path, name: str) -> Path:
    """The directory of a ledger, made when it is not there."""
    directory = ledgers(book_root) / name
    (directory / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def next_name(book_root: Path) -> str:
    """A name for the next ledger: the unfinished one when a rebuild was broken off, else one that is not taken."""
    taken = {path.name for path in ledgers(book_root).iterdir()} if ledgers(book_root).is_dir() else set()
    name, number = base_name(), 1
    while name in taken:
        if (ledgers(book_root) / name / BUILDING).exists():
            return name
        number += 1
        name = f"{base_name()}-{number}"
    return name


def switch(book_root: Path, name: str) -> None:
    """Make a ledger the one in use: the pointer is replaced by a rename and made durable."""
    parent = ledgers(book_root)
    (parent / name / BUILDING).unlink(missing_ok=True)
    fresh = parent / f"{POINTER}.new"
    with fresh.open("w") as file:
        file.write(name + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(parent / POINTER)
    sync_directory(parent)
