"""Table digests: what "the same ledger" means, whatever files hold it.

A table's digest is SHA-256 over its rows in order of the table's key, each row one line of JSON: an array of its
values in order of the columns, instants as microseconds, amounts as decimal text with twelve places, maps as sorted
pairs. A first line names the table and its columns. There is one digest per day and one over the whole, so that a
difference between two ledgers is located by day.

`totals` are digested as sums per key: how deltas were cut is no fact.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec

from tollbook.ledger.lake import Lake
from tollbook.ledger.schema import INSTANT, OPEN_ATTEMPTS, POSITIONS, TABLES, TOTALS, Column, Table, quote

_DAY: Final = 86_400 * 1_000_000


class TableDigest(NamedTuple):
    """Rows and digest of a table, whole and by day (days since 1970-01-01 UTC as text `YYYY-MM-DD`)."""

    rows: int
    sha256: str
    days: dict[str, str]


def table_digests(lake: Lake, position: int | None = None) -> dict[str, TableDigest]:
    """The digests of all tables; up to a position, of what was folded by then (without `open_attempts`, which is only
    of the last position)."""
    tables = TABLES if position is None else [table for table in TABLES if table is not OPEN_ATTEMPTS]
    return {table.name: _digest(lake, table, position) for table in tables}


def _digest(lake: Lake, table: Table, position: int | None) -> TableDigest:
    header = msgspec.json.encode([table.name, [column.name for column in _columns(table)]]) + b"\n"
    whole, count = hashlib.sha256(header), 0
    days: dict[str, Any] = {}
    for day, rows in groupby(_rows(lake, table, position), key=lambda row: row[0]):
        part = days.setdefault(day, hashlib.sha256(header))
        for row in rows:
            line = msgspec.json.encode(row[1:]) + b"\n"
            part.update(line)
            whole.update(line)
            count += 1
    return TableDigest(count, whole.hexdigest(), {day: days[day].hexdigest() for day in sorted(days)})


def _rows(lake: Lake, table: Table, position: int | None) -> Iterator[tuple[Any, ...]]:
    """The day and the values of each row, in order of the key."""
    where, parameters = "", {}
    if position is not None:
        number = "number" if table is POSITIONS else "position"
        where, parameters = f"WHERE {number} <= $position", {"position": position}
    columns = _columns(table)
    values = ", ".join(_value(column) for column in columns)
    key = ", ".join(f"{quote(name)} NULLS FIRST" for name in table.key if name in {column.name for column in columns})
    source = table.name if table is not TOTALS else f"({_summed(where)})"
    where = where if table is not TOTALS else ""
    statement = f"SELECT strftime({quote(table.day)}, '%Y-%m-%d'), {values} FROM {source} {where} ORDER BY {key}"
    return lake.stream(statement, parameters)


def _columns(table: Table) -> list[Column]:
    return [column for column in table.columns if table is not TOTALS or column.name != "position"]


def _summed(where: str) -> str:
    """The totals summed over their deltas."""
    keys = ", ".join(quote(name) for name in TOTALS.key if name != "position")
    sums = [column for column in _columns(TOTALS) if column.name not in TOTALS.key]
    sums_sql = ", ".join(f"CAST(sum({quote(column.name)}) AS {column.type}) AS {quote(column.name)}" for column in sums)
    return f"SELECT {keys}, {sums_sql} FROM totals {where} GROUP BY {keys}"


def _value(column: Column) -> str:
    """A column as a value that JSON writes in one way."""
    name = quote(column.name)
    if column.type == INSTANT:
        return f"epoch_us({name})"
    if column.type.startswith("DECIMAL"):
        return f"CAST({name} AS VARCHAR)"
    if column.type.startswith("MAP"):
        return (
            f"list_sort(list_transform(map_entries({name}), lambda entry: [entry.key, CAST(entry.value AS VARCHAR)]))"
        )
    return name
