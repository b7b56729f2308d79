"""What the state database of a book holds, seen from outside."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tollbook.gateway.claims import KEPT_SECONDS

__all__ = ["KEPT_SECONDS", "claims_of"]


def claims_of(book_root: Path) -> tuple[int, int | None]:
    """How many idempotency keys are claimed, and the instant of the oldest claim. Raises sqlite3.Error."""
    path = book_root / "state.sqlite"
    if not path.exists():
        return 0, None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        try:
            found = database.execute("select count(*), min(claimed_at) from idempotency_claims").fetchone()
        except sqlite3.OperationalError as fault:
            if "no such table" not in str(fault):
                raise
            return 0, None
    return int(found[0]), found[1]
