"""Reads tables from outside, CSV and Parquet: some rows at a time, each value as its exact text."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO, Final, NamedTuple

from tollbook.core.faults import BadInput
from tollbook.statements.document import Problem
from tollbook.statements.members import number_of

LINE_LIMIT: Final = 1 << 20
COLUMN_LIMIT: Final = 2000
ROWS_LIMIT: Final = 20_000_000
BATCH: Final = 2000
PARQUET: Final = b"PAR1"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
_PACKED: Final = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")


class Row(NamedTuple):
    """One row: its place, and the texts of its columns; what is empty is not there."""

    where: str
    values: dict[str, str]

    def number(self, name: str) -> tuple[Decimal | None, Problem | None]:
        """A plain number, or the problem with it."""
        text = self.values.get(name)
        found = None if text is None else number_of(text)
        if text is not None and found is None:
            told = f"{text[:40]!r} is no plain number: no separators of thousands, a point before decimals"
            return None, Problem(f"{self.where}, column {name}", told, "the line is kept without it")
        return found, None


def rows(
    file: BinaryIO, needed: frozenset[str], wanted: frozenset[str], delimiter: str = ","
) -> Iterator[Row | Problem]:
    """The rows of a table with the columns that are needed or wanted; names compare without case, given as asked.

    Raises BadInput for what is no such table: not UTF-8, packed, columns that are missing or stand twice.
    """
    start = file.read(4)
    file.seek(0)
    if start[:2] in _WIDE:
        raise BadInput("the file is UTF-16: save it as UTF-8")
    if start.startswith(_PACKED):
        raise BadInput("the file is compressed: unpack it first, so that the book keeps what can be read")
    if start == PARQUET:
        yield from _parquet(file, needed, wanted)
    else:
        yield from _csv(file, needed, wanted, delimiter)


def has_columns(head: bytes, *names: str) -> bool:
    """Whether the first line of a CSV has columns of these names."""
    first = head.split(b"\n", 1)[0].lower()
    return all(name.lower().encode() in first for name in names)


def head_of(file: BinaryIO, size: int) -> bytes:
    """A file's first bytes; of a Parquet file the names of its columns, as the first line of a CSV would have them."""
    head = file.read(size)
    file.seek(0)
    if not head.startswith(PARQUET):
        return head
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return ",".join(pq.read_schema(file).names).encode()
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        return head
    finally:
        file.seek(0)


def _csv(file: BinaryIO, needed: frozenset[str], wanted: frozenset[str], delimiter: str) -> Iterator[Row | Problem]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        reader = csv.reader(_bounded(text), delimiter=delimiter, strict=True)
        header = next(reader, [])
        _look_at_header(header, delimiter)
        places = _places(header, needed, wanted)
        for values in reader:
            where = f"line {reader.line_num}"
            if not values:
                continue
            if len(values) != len(header):
                told = f"has {len(values)} fields, the header has {len(header)}"
                yield Problem(where, told, "the line was not read: export the file again")
                continue
            yield Row(where, {name: values[place].strip() for name, place in places.items() if values[place].strip()})
    except UnicodeDecodeError as fault:
        raise BadInput(f"byte {fault.start} of a block: not UTF-8; save the file as UTF-8") from fault
    except csv.Error as fault:
        raise BadInput(f"line {reader.line_num}: {fault}; export the file again") from fault
    finally:
        text.detach()


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines of bounded length, without NUL."""
    while line := text.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise BadInput(f"a line has more than {LINE_LIMIT:,} letters: this is no export")
        if "\0" in line:
            raise BadInput("the file holds NUL bytes: it is damaged, or no text")
        yield line


def _look_at_header(header: list[str], delimiter: str) -> None:
    if len(header) == 1 and delimiter == "," and (";" in header[0] or "\t" in header[0]):
        raise BadInput("the columns are not separated by commas: export with commas, or say how in a mapping file")
    if len(header) > COLUMN_LIMIT:
        raise BadInput(f"the file has {len(header):,} columns: this is no export")


def _places(header: list[str], needed: frozenset[str], wanted: frozenset[str]) -> dict[str, int]:
    """Where each column stands. Raises BadInput for one that is missing or stands twice."""
    names = [name.strip().lower() for name in header]
    missing = sorted(name for name in needed if name.lower() not in names)
    if missing:
        raise BadInput(f"the file has no column {', '.join(missing)}; it has {', '.join(header)[:300] or 'none'}")
    twice = sorted(name for name in needed | wanted if names.count(name.lower()) > 1)
    if twice:
        raise BadInput(f"the column {twice[0]} stands twice; which one holds cannot be known")
    return {name: names.index(name.lower()) for name in sorted(needed | wanted) if name.lower() in names}


def _parquet(file: BinaryIO, needed: frozenset[str], wanted: frozenset[str]) -> Iterator[Row | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file, thrift_string_size_limit=1 << 24, thrift_container_size_limit=1 << 20)
        if table.metadata.num_rows > ROWS_LIMIT:
            raise BadInput(f"the file says that it has {table.metadata.num_rows:,} rows: export a shorter period")
        header = list(table.schema_arrow.names)
        places = _places(header, needed, wanted)
        columns = [header[place] for place in places.values()]
        number = 0
        for batch in table.iter_batches(batch_size=BATCH, columns=columns, use_threads=False):
            for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                number += 1
                texts = {name: _text(value) for name, value in zip(places, values, strict=True)}
                yield Row(f"row {number}", {name: text for name, text in texts.items() if text})
    except (pa.ArrowException, OSError, ValueError, OverflowError) as fault:
        raise BadInput(f"the file is no Parquet that can be read: {str(fault)[:200]}; export it again") from fault


def _text(value: Any) -> str | None:
    """A value as text: decimals exact, a double as the shortest text that means it, instants in UTC."""
    if value is None:
        return None
    if isinstance(value, datetime):
        at = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return repr(value) if isinstance(value, float) else str(value).strip()
