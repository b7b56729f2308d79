"""How much was charged by each row of a price book, for setting one book's prices beside another's."""

from pathlib import Path
from typing import NamedTuple

from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Position, Reader, position_of, read


class ChargedByRow(NamedTuple):
    """Units and lines charged by one row of a price book."""

    row: str
    quantity: int
    lines: int


def charged_by_row(source: Reader | Path, since: int, until: int) -> tuple[Position, list[ChargedByRow]]:
    """What was charged by each price row for work from `since` up to `until` (microseconds), at the last position.

    Raises NotFound when the book has no ledger, or nothing was loaded into it yet.
    """

    def query(lake: Lake) -> tuple[Position, list[ChargedByRow]]:
        position = position_of(lake)
        rows = lake.rows(
            "SELECT price_row, sum(quantity), count(*) FROM charges WHERE price_row IS NOT NULL "
            "AND occurred >= make_timestamp($1) AND occurred < make_timestamp($2) GROUP BY ALL ORDER BY ALL",
            [since, until],
        )
        return position, [ChargedByRow(row, int(quantity), lines) for row, quantity, lines in rows]

    return read(source, query)
