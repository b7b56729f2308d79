"""Rebuilding: the next ledger is made beside the one in use, from the journal alone, and then takes its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.core.faults import BrokenPromise, NotFound
from tollbook.journal.replay import replay
from tollbook.ledger import location
from tollbook.ledger.digests import TableDigest, table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Writer
from tollbook.ledger.reader import Reader, position_of

_ROUNDS: Final = 3


class Rebuilt(NamedTuple):
    """A ledger made anew: where it lies, its position, its digests, and the position up to which it was compared with
    the ledger that was in use (None: there was none that this release can read)."""

    directory: Path
    position: int
    digests: dict[str, TableDigest]
    compared: int | None


def rebuild(book_root: Path, progress: Callable[[int], None] | None = None) -> Rebuilt:
    """Make the book's ledger anew and put it in the place of the one in use, which stays beside it.

    `progress` is told each position reached. A rebuild that was broken off goes on where it was. Raises NotFound when
    the journal holds no position, BookLocked when another rebuild runs, BrokenPromise when the new ledger differs
    from the one in use (which then stays in use).
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
        compared = _compare(book_root, writer.lake)
        rebuilt = Rebuilt(directory, writer.position, table_digests(writer.lake), compared)
    location.switch(book_root, name)
    return rebuilt


def _compare(book_root: Path, fresh: Lake) -> int | None:
    """Compare with the ledger in use up to the position both hold; that position."""
    try:
        location.require_current(book_root)
    except NotFound:
        return None
    mine = position_of(fresh).number

    def old(lake: Lake) -> tuple[int, dict[str, TableDigest]]:
        position = min(mine, position_of(lake).number)
        return position, table_digests(lake, position)

    with Reader(book_root) as reader:
        try:
            position, theirs = reader.read(old)
        except NotFound:
            return None
    ours = table_digests(fresh, position)
    for table, digest in ours.items():
        if digest != theirs[table]:
            days = sorted(day for day, sha256 in digest.days.items() if theirs[table].days.get(day) != sha256)
            raise BrokenPromise(
                f"the ledger in use differs from the journal in table {table} up to position {position} "
                f"(days: {', '.join(days) or 'some that the journal does not hold'}); the new one is {fresh.directory}"
            )
    return position
