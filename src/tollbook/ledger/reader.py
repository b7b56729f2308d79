"""Reading the ledger while it is being loaded: from any process, one state at a time."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar

import duckdb

from tollbook.core.clock import SECOND, format_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.ledger import location
from tollbook.ledger.fold import decode_lanes
from tollbook.ledger.lake import Lake, is_vanished_file, retried

T = TypeVar("T")

Document: TypeAlias = dict[str, Any]
"""What a query gives: plain values, ready for JSON. Amounts are decimal text, instants RFC 3339, unknown is None."""

BEHIND: int = 5 * SECOND
"""A lane whose last entry is older than this at a position makes a report of the position incomplete."""


REOPEN_AFTER: Final = 500
"""So many queries on one connection: DuckLake keeps what it learned of every state of the catalog that it has seen."""


_POSITION: Final = "SELECT number, digest, epoch_us(recorded), lanes FROM positions WHERE number = $1"


class Position(NamedTuple):
    """A position of the book as the ledger holds it; `incomplete` names the lanes that were behind."""

    number: int
    digest: str
    recorded: int
    incomplete: list[str]


class Reader:
    """A read-only connection to a book's current ledger; follows when a rebuild puts another in its place.

    One query at a time: threads wait for each other. Every query sees one state of the ledger.
    """

    def __init__(self, book_root: Path) -> None:
        self._book_root = book_root
        self._lake: Lake | None = None
        self._queries = 0
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; the next query opens a new one."""
        with self._lock:
            self._drop()

    def read(self, query: Callable[[Lake], T]) -> T:
        """The result of a query on one state of the ledger; once more when housekeeping took a file from under it.

        Raises NotFound when the book has no ledger.
        """
        with self._lock:
            try:
                return self._once(query)
            except duckdb.Error as error:
                if not is_vanished_file(error):
                    raise
                self._drop()
                return self._once(query)

    def _once(self, query: Callable[[Lake], T]) -> T:
        directory = location.require_current(self._book_root)
        if self._lake is None or self._lake.directory != directory or self._queries >= REOPEN_AFTER:
            self._drop()
            self._lake = Lake(directory, read_only=True)
        self._queries += 1
        lake = self._lake

        def whole() -> T:
            with lake.transaction():
                return query(lake)

        return retried(whole)

    def _drop(self) -> None:
        if self._lake is not None:
            self._lake.close()
            self._lake = None
        self._queries = 0


def read(source: Reader | Path, query: Callable[[Lake], T]) -> T:
    """The result of a query on a reader, or on a book's directory with a connection for this one query."""
    if isinstance(source, Reader):
        return source.read(query)
    with Reader(source) as reader:
        return reader.read(query)


def position_of(lake: Lake, number: int | None = None) -> Position:
    """A position in the ledger; the last one by default.

    Raises NotFound when nothing was loaded yet, BadInput when the ledger does not hold the position asked for.
    """
    if number is not None:
        found = lake.rows(_POSITION, [number])
        if not found:
            raise BadInput(f"the ledger holds no position {number}; the last one is in any report's provenance")
    else:
        found = _last(lake)
        if not found:
            raise NotFound("the ledger holds no position yet: it is loaded within a second while `tollbook serve` runs")
    ((number, digest, recorded, lanes),) = found
    behind = [
        name
        for name, lane in sorted(decode_lanes(lanes).items())
        if not lane.ended and recorded - lane.recorded > BEHIND
    ]
    return Position(number, digest, recorded, behind)


def _last(lake: Lake) -> list[tuple[Any, ...]]:
    """The last position of the state that is being read.

    `max` of a whole table is answered from DuckLake's statistics, which belong to no state: they may know of a commit
    that this state does not hold. Then the rows are asked.
    """
    ((latest,),) = lake.rows("SELECT max(number) FROM positions")
    if latest is None:
        return []
    found = lake.rows(_POSITION, [latest])
    if found:
        return found
    held = lake.rows("SELECT number FROM positions ORDER BY number DESC LIMIT 1")
    return lake.rows(_POSITION, list(held[0])) if held else []


def position_at(source: Reader | Path, instant: int) -> int:
    """The number of the last position recorded at or before an instant (microseconds): what `--as-of` means.

    Raises NotFound when the book had none by then.
    """
    sql = "SELECT max(number) FROM positions WHERE recorded <= make_timestamp($1)"
    ((number,),) = read(source, lambda lake: lake.rows(sql, [instant]))
    if number is None:
        raise NotFound(f"the book has no position at or before {format_instant(instant)}")
    return int(number)


def provenance(
    parameters: Document,
    position: Position,
    *,
    books: list[str],
    rows: int,
    control_totals: Document,
) -> Document:
    """How a result was made; the same provenance means the same bytes."""
    return {
        "parameters": parameters,
        "position": {
            "number": position.number,
            "digest": position.digest,
            "recorded": format_instant(position.recorded),
        },
        "incomplete": position.incomplete,
        "books": books,
        "rows": rows,
        "control_totals": control_totals,
        "version": version("tollbook"),
    }
