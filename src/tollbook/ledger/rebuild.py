"""Rebuilding: the next ledger is made beside the one in use, from the journal alone, and then takes its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.core.faults import NotFound
from tollbook.journal.replay import replay
from tollbook.ledger import location
from tollbook.ledger.digests import TableDigest, table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Writer
from tollbook.ledger.reader import Reader, position_of

_ROUNDS: Final = 3


class Rebuilt(NamedTuple):
    """A ledger made anew: where it lies, its position and digests; the position up to which it was compared with the
    ledger that was in use (None: there was none that this release can read); and where that one was wrong, as days by
    table."""

    directory: Path
    position: int
    digests: dict[str, TableDigest]
    compared: int | None
    differences: dict[str, list[str]]


def rebuild(book_root: Path, progress: Callable[[int], None] | None = None) -> Rebuilt:
    """Make the book's ledger anew and put it in the place of the one in use, which stays beside it.

    `progress` is told each position reached. A rebuild that was broken off goes on where it was. Raises NotFound when
    the journal holds no position, BookLocked when another rebuild runs. The journal is what holds: a ledger in use that
    differs from it is replaced like any other, and the differences are told.
    """
    name = location.next_name(book_root)
    directory = location.make(book_root, name)
    (directory / location.BUILDING).touch()
    with Writer(directory) as writer:
        for _ in range(_ROUNDS):  # the journal grows meanwhile: each round is shorter than the one before
            before = writer.position
            if writer.catch_up(replay(book_root, before), progress) == before:
                break
        if not writer.position:
            raise NotFound(f"{book_root} holds no position yet: nothing was ever recorded up to a heads entry")
        compared, differences = _compare(book_root, writer.lake)
        rebuilt = Rebuilt(directory, writer.position, table_digests(writer.lake), compared, differences)
    location.switch(book_root, name)
    return rebuilt


def _compare(book_root: Path, fresh: Lake) -> tuple[int | None, dict[str, list[str]]]:
    """Compare with the ledger in use up to the position both hold: that position, and the days that differ by table."""
    mine = position_of(fresh).number

    def old(lake: Lake) -> tuple[int, dict[str, TableDigest]]:
        position = min(mine, position_of(lake).number)
        return position, table_digests(lake, position)

    try:
        with Reader(book_root) as reader:
            position, theirs = reader.read(old)
    except NotFound:
        return None, {}
    differences: dict[str, list[str]] = {}
    for table, digest in table_digests(fresh, position).items():
        days, former = digest.days, theirs[table].days
        if digest.sha256 != theirs[table].sha256:
            differences[table] = sorted(day for day in days.keys() | former.keys() if days.get(day) != former.get(day))
    return position, differences
