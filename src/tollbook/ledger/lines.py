"""Lines of batches in the ledger: what they come to, held against what the vendor tells of the batch as a whole."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from tollbook.core.usage import TOKEN_CLASSES, Usage, token_sums
from tollbook.ledger.lake import Lake
from tollbook.ledger.schema import BATCHES, quote
from tollbook.ledger.values import as_folded

FACTS: Final = 7
"""Columns of `batches` that are known when a batch is made."""
_COUNTED: Final = (*TOKEN_CLASSES, "usage_other")


class OpenBatch(Struct):
    """A batch whose lines come in: what is known of it, which lines are in the book, and what they come to."""

    facts: tuple[Any, ...]
    lines: set[str]
    settled: dict[str, int]

    def add(self, request_id: str, outcome: str, usage: Usage) -> bool:
        """Count a line; False when it was counted before."""
        if request_id in self.lines:
            return False
        self.lines.add(request_id)
        counts = {"lines": 1, "completed" if outcome == "ok" else "failed": 1, **token_sums(usage)}
        for name, count in counts.items():
            self.settled[name] = self.settled.get(name, 0) + count
        return True


def differences(told: dict[str, int], settled: dict[str, int]) -> list[str]:
    """What the vendor tells otherwise than the lines do."""
    return [name for name, count in told.items() if settled.get(name, 0) != count]


def open_batches(lake: Lake) -> dict[str, OpenBatch]:
    """The batches that are not closed, with their lines, by the request that made each."""
    names = ", ".join(quote(name) for name in BATCHES.names[:FACTS])
    rows = lake.rows(
        f"SELECT {names} FROM batches WHERE request_id NOT IN (SELECT request_id FROM batches WHERE status IS NOT NULL)"
    )
    found = {row[0]: OpenBatch(tuple(as_folded(value) for value in row), set(), {}) for row in rows}
    if not found:
        return {}
    columns = ", ".join(quote(name) for name in _COUNTED)
    lines = lake.rows(
        f"SELECT parent_request_id, request_id, outcome, {columns} FROM attempts "
        "WHERE kind = 'line.settled' AND parent_request_id IN "
        "(SELECT request_id FROM batches GROUP BY request_id HAVING count(status) = 0)"
    )
    for parent, request_id, outcome, *counts in lines:
        *tokens, other = (as_folded(value) for value in counts)
        usage = {name: count for name, count in zip(TOKEN_CLASSES, tokens, strict=True) if count is not None}
        found[parent].add(request_id, outcome, usage | dict(other or []))
    return found


def settled_lines(lake: Lake, requests: Sequence[str]) -> set[str]:
    """Those of some requests that the ledger holds as lines of a batch."""
    rows = lake.rows(
        "SELECT request_id FROM attempts WHERE kind = 'line.settled' AND request_id IN (SELECT unnest($1))",
        [list(requests)],
    )
    return {str(row[0]) for row in rows}
