"""Batches that were made through the gateway: how far each has been followed, and the lines of its output that wait to
be taken into the journal.

A worker puts a batch on record when it is made; the desk follows it at the vendor and puts the lines of its output
here; the scribe, the one writer of the book's lane, takes them over. A line stands here under its name until its batch
is closed, so however often an output is read, each line is taken over once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.gateway.pending import open_state
from tollbook.gateway.recorder import Opening

_SCHEMA: Final = """
create table if not exists batches (
    tenant text not null,
    id text not null,            -- as the vendor names it
    lane text not null,          -- where the attempt that made it was opened
    sequence integer not null,
    opened integer not null,     -- instant in microseconds
    members blob not null,       -- of that entry: request and attempt
    known integer not null,      -- whether the journal knows of it
    closing blob,                -- payload of the entry that closes it, once all its lines are here
    closed integer not null,     -- whether that entry is in the journal
    primary key (tenant, id)
) without rowid
"""
_LINES: Final = """
create table if not exists batch_lines (
    tenant text not null,
    batch text not null,
    line text not null,          -- keyed digest of the client's name for it
    payload blob,                -- of the entry that settles it; null once that is in the journal
    primary key (tenant, batch, line)
) without rowid
"""
_WAITING: Final = "create index if not exists batch_lines_waiting on batch_lines (tenant) where payload is not null"


class FollowedBatch(NamedTuple):
    """A batch: whose, the vendor's id, and where and how the attempt that made it was opened."""

    tenant: str
    id: str
    opening: Opening


class WaitingLine(NamedTuple):
    """A line that is not in the journal yet, with the payload of its entry."""

    tenant: str
    batch: str
    line: str
    payload: bytes


class BatchTable:
    """The tables; workers, the desk and the scribe each have their own connection to them."""

    def __init__(self, path: Path) -> None:
        self._database: Final = open_state(path, _SCHEMA)
        self._database.execute(_LINES)
        self._database.execute(_WAITING)

    def begin(self, tenant: str, batch: str, opening: Opening) -> None:
        """A batch was made; one that is on record stays as it is."""
        self._database.execute(
            "insert into batches values (?, ?, ?, ?, ?, ?, 0, null, 0) on conflict do nothing",
            (tenant, batch, opening.lane, opening.sequence, opening.recorded, opening.members),
        )

    # --- the desk's

    def going_on(self) -> list[FollowedBatch]:
        """Batches whose lines are not all here."""
        return self._those("closing is null")

    def keep_lines(self, batch: FollowedBatch, lines: Sequence[tuple[str, bytes]]) -> None:
        """Put lines on record, each by its digest with the payload of its entry; one that is here stays as it is."""
        with self._database:
            self._database.execute("begin immediate")
            self._database.executemany(
                "insert into batch_lines values (?, ?, ?, ?) on conflict do nothing",
                [(batch.tenant, batch.id, line, payload) for line, payload in lines],
            )

    def finish(self, batch: FollowedBatch, closing: bytes) -> None:
        """All its lines are here; `closing` is the payload of the entry that closes it."""
        self._database.execute(
            "update batches set closing = ? where tenant = ? and id = ? and closing is null",
            (closing, batch.tenant, batch.id),
        )

    # --- the scribe's

    def unknown(self) -> list[FollowedBatch]:
        """Batches that the journal does not know of yet."""
        return self._those("known = 0")

    def put_known(self, batch: FollowedBatch) -> None:
        """The journal knows of a batch."""
        self._database.execute("update batches set known = 1 where tenant = ? and id = ?", (batch.tenant, batch.id))

    def waiting_lines(self, limit: int) -> list[WaitingLine]:
        """Some lines that are not in the journal yet, of batches that it knows of."""
        rows = self._database.execute(
            "select l.tenant, l.batch, l.line, l.payload from batch_lines l join batches b "
            "on b.tenant = l.tenant and b.id = l.batch where l.payload is not null and b.known = 1 limit ?",
            (limit,),
        )
        return [WaitingLine(*row) for row in rows]

    def put_taken(self, lines: Sequence[WaitingLine]) -> None:
        """Lines are in the journal."""
        with self._database:
            self._database.execute("begin immediate")
            self._database.executemany(
                "update batch_lines set payload = null where tenant = ? and batch = ? and line = ?",
                [line[:3] for line in lines],
            )

    def closings(self) -> list[tuple[FollowedBatch, bytes]]:
        """Batches all of whose lines are in the journal, with the payload of the entry that closes them."""
        rows = self._database.execute(
            "select tenant, id, lane, sequence, opened, members, closing from batches as b "
            "where closing is not null and closed = 0 and known = 1 and not exists (select 1 from batch_lines as l "
            "where l.tenant = b.tenant and l.batch = b.id and l.payload is not null)"
        )
        return [(FollowedBatch(tenant, batch, Opening(*opening)), end) for tenant, batch, *opening, end in rows]

    def put_closed(self, batch: FollowedBatch) -> None:
        """A batch is closed in the journal: its lines are needed no more. That it was followed is not forgotten."""
        with self._database:
            self._database.execute("begin immediate")
            self._database.execute("delete from batch_lines where tenant = ? and batch = ?", (batch.tenant, batch.id))
            self._database.execute(
                "update batches set closed = 1, members = '' where tenant = ? and id = ?", (batch.tenant, batch.id)
            )

    def close(self) -> None:
        self._database.close()

    def _those(self, which: str) -> list[FollowedBatch]:
        rows = self._database.execute(
            f"select tenant, id, lane, sequence, opened, members from batches where {which}"  # noqa: S608
        )
        return [FollowedBatch(tenant, batch, Opening(*opening)) for tenant, batch, *opening in rows]
