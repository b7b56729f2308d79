"""Rows as Arrow tables: how they enter DuckDB."""

from array import array
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from tollbook.ledger.rows import Row
from tollbook.ledger.schema import AMOUNT, COUNT, COUNT_MAP, FLAG, INSTANT, TEXT, TEXT_MAP, TEXTS, TOTAL, WHOLE, Table


def as_arrow(table: Table, rows: list[Row]) -> Any:
    """The rows of one table as an Arrow table with the table's column names and types."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(table.columns)
    arrays = [_BUILD[column.type](values) for column, values in zip(table.columns, columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(table.names))


def _amounts(values: tuple[int | None, ...]) -> Any:
    """Picodollars that fit 64 bits, laid out as 128-bit decimals: Arrow's own cast costs ten times as much."""
    low = pa.array(values, pa.int64())
    validity, data = low.buffers()
    words = array("q", bytes(16 * len(values)))
    words[::2] = array("q", bytes(data)[: 8 * len(values)])
    for index, value in enumerate(values):
        if value is not None and value < 0:
            words[2 * index + 1] = -1
    return pa.Array.from_buffers(pa.decimal128(18, 12), len(values), [validity, pa.py_buffer(words)], low.null_count)


def _totals(values: tuple[int | None, ...]) -> Any:
    """Picodollars of any size."""
    decimals = [None if value is None else Decimal(value) for value in values]
    digits = pa.array(decimals, pa.decimal128(38, 0))
    return pa.Array.from_buffers(pa.decimal128(38, 12), len(digits), digits.buffers(), digits.null_count)


def _wholes(values: tuple[int | None, ...]) -> Any:
    """Whole numbers of up to 38 digits."""
    return pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(38, 0))


def _of(kind: Any) -> Callable[[tuple[Any, ...]], Any]:
    return lambda values: pa.array(values, kind)


_BUILD: Final[dict[str, Callable[[tuple[Any, ...]], Any]]] = {
    TEXT: _of(pa.string()),
    TEXTS: _of(pa.list_(pa.string())),
    TEXT_MAP: _of(pa.map_(pa.string(), pa.string())),
    COUNT_MAP: _of(pa.map_(pa.string(), pa.int64())),
    COUNT: _of(pa.int64()),
    FLAG: _of(pa.bool_()),
    INSTANT: _of(pa.timestamp("us")),
    AMOUNT: _amounts,
    TOTAL: _totals,
    WHOLE: _wholes,
}
"""Column type -> how an array is made of its values."""
