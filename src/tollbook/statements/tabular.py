"""What importers of tables share: instants of rows, and what was stated for other services."""

from decimal import Decimal
from typing import Final

from tollbook.core.clock import parse_instant
from tollbook.core.money import format_decimal
from tollbook.statements.document import Problem, exact_sum
from tollbook.statements.table_source import Row

NOT_READ: Final = "the line was not read: export the file again"


def instant_of(row: Row, name: str) -> int | None:
    """An instant with a zone (`2026-11-01T08:00:00Z`, `2026-11-01 08:00:00 UTC`); None for anything else."""
    text = row.values.get(name, "").removesuffix(" UTC").replace(" ", "T", 1)
    if text and row.values[name].endswith(" UTC"):
        text += "Z"
    try:
        at = parse_instant(text)
    except ValueError:
        return None
    return at if 0 <= at < 2**53 else None


def period_of(row: Row, begins: str, ends: str) -> tuple[int, int] | Problem:
    """The half-open time between two columns, or the problem with it."""
    since, until = instant_of(row, begins), instant_of(row, ends)
    if since is None or until is None or since >= until:
        told = f"{begins} and {ends} are no period: {row.values.get(begins)!r}, {row.values.get(ends)!r}"
        return Problem(row.where, told[:300], NOT_READ)
    return since, until


class Others:
    """Rows of other services in the same file: they are no lines here, and it is said what they come to."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Decimal] = {}

    def add(self, amount: Decimal | None, currency: str | None) -> None:
        self.count += 1
        if amount is not None and currency is not None:
            self._sums[currency] = exact_sum(self._sums.get(currency, Decimal(0)), amount)

    def told(self, what: str) -> Problem:
        sums = ", ".join(f"{format_decimal(total)} {currency}" for currency, total in sorted(self._sums.items()))
        told = f"{self.count:,} rows of other services ({sums or 'no amounts'}) are no part of this statement"
        return Problem("file", told, f"nothing: only {what} is taken in", "note")
