"""The lake: DuckDB over Parquet files with an SQLite catalog (DuckLake). One writer, any number of readers.

Extensions are loaded by path from their wheels: nothing is installed into a home directory and nothing is fetched.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import duckdb

from tollbook.core.faults import BadInput, Fault
from tollbook.ledger.columns import as_arrow
from tollbook.ledger.rows import Row
from tollbook.ledger.schema import TABLES, Table, create_statement, quote

T = TypeVar("T")

NAME: Final = "lake"
CATALOG: Final = "catalog.sqlite"

_EXTENSIONS: Final = ("ducklake", "sqlite_scanner")
_BUSY_MS: Final = 5000
_RETRIES: Final = 8


class LakeUnavailable(Fault):
    """The lake's catalog stayed locked, or one of its files is gone."""

    code = "lake_unavailable"


class Lake:
    """One connection to one ledger directory."""

    def __init__(self, directory: Path, *, read_only: bool) -> None:
        self.directory = directory
        self._connection = _connect()
        text = str(directory)
        if "'" in text:
            raise BadInput(f"the path of a book may not contain a quote: {text}")
        options = (
            f"DATA_PATH '{text}/data/', OVERRIDE_DATA_PATH true, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT {_BUSY_MS}"
        )
        options += ", READ_ONLY" if read_only else ", DATA_INLINING_ROW_LIMIT 0"
        retried(lambda: self._connection.execute(f"ATTACH 'ducklake:sqlite:{text}/{CATALOG}' AS {NAME} ({options})"))
        self._connection.execute(f"USE {NAME}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; a transaction that was not committed is gone."""
        self._connection.close()

    def create_tables(self) -> None:
        """Make the tables that are not there, in one transaction."""
        there = {name for (name,) in self.rows("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'")}
        missing = [table for table in TABLES if table.name not in there]
        if missing:
            with self.transaction():
                for table in missing:
                    self._connection.execute(create_statement(table))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and for readers one state of the lake."""
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        try:
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def insert(self, table: Table, rows: list[Row]) -> None:
        """Add rows to a table."""
        if rows:
            self._connection.from_arrow(as_arrow(table, rows)).insert_into(table.name)

    def clear(self, table: Table) -> None:
        """Remove all rows of a table; its files are dropped whole."""
        self._connection.execute(f"DELETE FROM {quote(table.name)}")

    def rows(self, sql: str, parameters: dict[str, Any] | list[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows a statement gives."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql, parameters).fetchall()
        return found

    def dicts(self, sql: str, parameters: dict[str, Any] | list[Any] | None = None) -> list[dict[str, Any]]:
        """The rows a statement gives, by column name."""
        result = self._connection.execute(sql, parameters)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def stream(self, sql: str, parameters: dict[str, Any] | None = None, size: int = 4096) -> Iterator[tuple[Any, ...]]:
        """The rows a statement gives, without holding all of them."""
        result = self._connection.execute(sql, parameters)
        while rows := result.fetchmany(size):
            yield from rows

    def _roll_back(self) -> None:
        with suppress(duckdb.TransactionException):  # a commit that failed has rolled back already
            self._connection.execute("ROLLBACK")


def retried(work: Callable[[], T]) -> T:
    """Do work on the lake, again after a short wait while another process holds the catalog.

    Raises LakeUnavailable when the catalog stays locked.
    """
    for attempt in range(_RETRIES):
        try:
            return work()
        except duckdb.Error as error:
            if "database is locked" not in str(error):
                raise
            last = error
        time.sleep(0.01 * 2**attempt)
    raise LakeUnavailable(f"the ledger's catalog stayed locked: {last}") from last


def is_vanished_file(error: duckdb.Error) -> bool:
    """Whether a reader met a file that housekeeping removed: asking again reads the files of today."""
    return "No such file" in str(error) or "No files found" in str(error)


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": False,
            # It keeps what it read of every file that a merge has removed since, up to most of the machine's memory.
            "enable_external_file_cache": False,
        }
    )
    for name in _EXTENSIONS:
        connection.execute(f"LOAD '{_extension(name)}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _extension(name: str) -> Path:
    """The extension's file in its wheel, which is made for exactly this version of DuckDB."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is not None and found.submodule_search_locations:
        root = Path(found.submodule_search_locations[0])
        path = root / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if path.is_file():
            return path
    raise BadInput(
        f"DuckDB {duckdb.__version__} needs its extension {name} at the very same version: "
        f"pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
    )
