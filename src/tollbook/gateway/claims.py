"""Idempotency claims in the state database: one row per (tenant, workload, route, key), shared by all workers."""

from pathlib import Path
from typing import Final, NamedTuple

from tollbook.gateway.pending import open_state

_SCHEMA: Final = """
create table if not exists idempotency_claims (
    scope text primary key,      -- keyed digest of tenant, workload, method, route and Idempotency-Key
    body text not null,          -- keyed digest of the request's body
    request_id text not null,    -- the request that claimed it
    lane text not null,          -- the lane of the worker that runs it
    finished integer not null,   -- 1 once it was answered
    claimed_at integer not null  -- instant in microseconds
)
"""


_BY_AGE: Final = "create index if not exists idempotency_claims_by_age on idempotency_claims (claimed_at)"

KEPT_SECONDS: Final = 7 * 86_400
"""How long a claim is remembered. After that its key may be used anew: vendors promise a day."""
REMOVED_AT_ONCE: Final = 1_000
"""So many old claims are removed in one short transaction."""


class Claim(NamedTuple):
    """A row: whose the claim is. `mine` when this very call made it."""

    mine: bool
    body: str
    request_id: str
    lane: str
    finished: bool


class Claims:
    """The table; every call is one short transaction, made off the event loop."""

    def __init__(self, path: Path) -> None:
        self._database: Final = open_state(path, _SCHEMA)
        self._database.execute(_BY_AGE)

    def claim(self, scope: str, body: str, request_id: str, lane: str, now: int) -> Claim:
        """Claim a scope, or learn who has it."""
        made = self._database.execute(
            "insert into idempotency_claims values (?, ?, ?, ?, 0, ?) on conflict do nothing",
            (scope, body, request_id, lane, now),
        )
        if made.rowcount == 1:
            return Claim(True, body, request_id, lane, False)
        row = self._database.execute(
            "select body, request_id, lane, finished from idempotency_claims where scope = ?", (scope,)
        ).fetchone()
        if row is None:  # released between the two statements
            return self.claim(scope, body, request_id, lane, now)
        return Claim(False, row[0], row[1], row[2], bool(row[3]))

    def finish(self, scope: str) -> None:
        """The claimed request was answered; the claim outlives its result."""
        self._database.execute("update idempotency_claims set finished = 1 where scope = ?", (scope,))

    def release(self, scope: str) -> None:
        """The claimed request cost nothing: the key may be used again."""
        self._database.execute("delete from idempotency_claims where scope = ?", (scope,))

    def remove_old(self, before: int) -> bool:
        """Remove claims that were made before an instant, the oldest first; whether there may be more of them."""
        removed = self._database.execute(
            "delete from idempotency_claims where rowid in (select rowid from idempotency_claims "
            "where claimed_at < ? order by claimed_at limit ?)",
            (before, REMOVED_AT_ONCE),
        )
        return removed.rowcount >= REMOVED_AT_ONCE

    def close(self) -> None:
        self._database.close()
