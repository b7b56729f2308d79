"""What a connection is given while a request waits for the state database, and how that database is opened."""

import sqlite3
from pathlib import Path

from tollbook.gateway.connection import Exchange


class Pending:
    """An exchange that has not been started; afterwards it stands for the exchange that was."""

    def __init__(self) -> None:
        self.gone = False
        self.exchange: Exchange | None = None

    def client_gone(self) -> None:
        self.gone = True
        if self.exchange is not None:
            self.exchange.client_gone()

    def client_slow(self) -> None:
        if self.exchange is not None:
            self.exchange.client_slow()

    def client_ready(self) -> None:
        if self.exchange is not None:
            self.exchange.client_ready()


def open_state(path: Path, schema: str) -> sqlite3.Connection:
    """The state database, for its user only, with a table in it; every statement is a transaction of its own."""
    database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=normal")
    database.execute(schema)
    return database
