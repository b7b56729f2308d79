"""Vendors' statements as rows. The lines are copied from the object that the importer wrote; nothing is read anew."""

from collections.abc import Iterator
from typing import Final

import msgspec

from tollbook.core.money import parse_amount
from tollbook.journal.line import Line
from tollbook.journal.objects import ObjectStore
from tollbook.journal.statement import StatementImported, StatementLine, read_statement_lines
from tollbook.ledger.rows import Row, origin
from tollbook.ledger.schema import STATEMENTS

LINES_PER_INSERT: Final = 20_000
"""So many rows are in memory at once."""

_ORIGIN: Final = tuple(map(STATEMENTS.names.index, ("recorded", "lane", "sequence", "position")))
_IMPORT, _VENDOR, _OBJECT, _DOCUMENT = map(STATEMENTS.names.index, ("import_id", "vendor", "object", "document"))


def statement_row(line: Line, position: int) -> Row:
    """The row of a statement."""
    entry = msgspec.json.decode(line.bytes, type=StatementImported)
    return (
        entry.statement,
        entry.vendor,
        entry.kind,
        entry.type,
        entry.importer,
        entry.grade,
        entry.actor,
        entry.sha256,
        entry.bytes,
        entry.source is not None,
        entry.object.sha256,
        entry.mapping,
        entry.lines,
        entry.unknown,
        entry.problem_count,
        msgspec.json.encode(entry.problems).decode(),
        sorted(entry.totals.items()),
        sorted(entry.rounding.items()),
        entry.begins,
        entry.ends,
        entry.zone,
        entry.observed,
        entry.account,
        entry.number,
        entry.issued,
        entry.currency,
        entry.net,
        entry.tax,
        entry.gross,
        entry.reference,
        entry.origin,
        entry.revises,
        *origin(line, position),
    )


def line_rows(objects: ObjectStore, statement: Row) -> Iterator[list[Row]]:
    """The rows of a statement's lines, some at a time. Raises NotFound and Tampered when its object is not there."""
    head = (statement[_IMPORT], statement[_DOCUMENT])
    tail = tuple(statement[place] for place in _ORIGIN)
    rows: list[Row] = []
    with objects.open(statement[_OBJECT]) as stream:
        for line in read_statement_lines(stream):
            rows.append((*head, line.line, statement[_VENDOR], *_facts(line), *tail))
            if len(rows) == LINES_PER_INSERT:
                yield rows
                rows = []
    if rows:
        yield rows


def _facts(line: StatementLine) -> Row:
    """`kind` to `place` of the table."""
    return (
        line.kind,
        line.begins,
        line.ends,
        line.account,
        line.project,
        line.vendor_key,
        line.model,
        line.region,
        line.tier,
        line.processing,
        line.context,
        line.usage_class,
        "ours" if line.known else "unknown",
        line.item,
        None if line.quantity is None else int(line.quantity),
        line.stated_quantity,
        line.unit,
        None if line.amount is None else parse_amount(line.amount),
        line.stated_amount,
        line.currency,
        line.vendor_request_id,
        line.maturity,
        line.place,
    )
