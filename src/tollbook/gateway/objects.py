"""Vendor objects (responses, files, batches, ...): which tenant made each, so that none reaches another's.

All tenants share a vendor's keys, so the vendor cannot tell them apart. What an answer creates is put on record before
the client learns its id; a request that names an object is admitted only for the tenant that made it, and goes to the
vendor key that made it. The table is state of the gateway, shared by all workers; the journal has a keyed digest of
each id.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from tollbook.gateway.awaited import AwaitedTable
from tollbook.gateway.batches import BatchTable
from tollbook.gateway.connection import Exchange
from tollbook.gateway.pending import Pending, open_state
from tollbook.gateway.recorder import Opening
from tollbook.gateway.refusal import Refusal
from tollbook.journal.entry import RequestEntry
from tollbook.providers.contract import VendorObject

_Result = TypeVar("_Result")

LISTED: Final = 1000
NAMED_LIMIT: Final = 64

_SCHEMA: Final = """
create table if not exists vendor_objects (
    tenant text not null,
    kind text not null,
    id text not null,            -- as the vendor names it
    vendor text not null,
    vendor_key text not null,
    request_id text not null,    -- the request that made it
    attempt integer not null,
    made_at integer not null,    -- instant in microseconds
    primary key (tenant, kind, id)
) without rowid
"""


class Owned(NamedTuple):
    """A vendor object on record: by which vendor key, request and attempt it was made, and when (microseconds)."""

    kind: str
    id: str
    vendor: str
    vendor_key: str
    request_id: str
    attempt: int
    made_at: int


class ObjectTable:
    """The table; every call is one short transaction, made off the event loop."""

    def __init__(self, path: Path) -> None:
        self._database: Final = open_state(path, _SCHEMA)
        self.awaited: Final = AwaitedTable(path)
        self.batches: Final = BatchTable(path)

    def keep(self, tenant: str, objects: Sequence[Owned]) -> None:
        """Put objects on record; one that is on record keeps its maker."""
        self._database.executemany(
            "insert into vendor_objects values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
            [(tenant, *one) for one in objects],
        )

    def find(self, tenant: str, objects: Sequence[VendorObject]) -> list[Owned | None]:
        """Each of some objects as it is on record for a tenant; None where it is not."""
        return [self._find(tenant, one) for one in objects]

    def _find(self, tenant: str, named: VendorObject) -> Owned | None:
        row = self._database.execute(
            "select kind, id, vendor, vendor_key, request_id, attempt, made_at from vendor_objects "
            "where tenant = ? and kind = ? and id = ?",
            (tenant, *named),
        ).fetchone()
        return None if row is None else Owned(*row)

    def forget(self, tenant: str, named: VendorObject) -> None:
        """The vendor deleted it."""
        self._database.execute("delete from vendor_objects where tenant = ? and kind = ? and id = ?", (tenant, *named))

    def listed(self, tenant: str, kind: str) -> list[Owned]:
        """A tenant's objects of one kind, the latest first, at most a thousand."""
        rows = self._database.execute(
            "select kind, id, vendor, vendor_key, request_id, attempt, made_at from vendor_objects "
            "where tenant = ? and kind = ? order by made_at desc, id limit ?",
            (tenant, kind, LISTED),
        )
        return [Owned(*row) for row in rows]

    def await_work(self, tenant: str, objects: Sequence[Owned], opening: Opening) -> None:
        """An attempt began work that goes on: what it made tells its usage later."""
        for one in objects:
            if one.kind == "response":
                self.awaited.expect(tenant, VendorObject(one.kind, one.id), opening)
            elif one.kind == "batch":
                self.batches.begin(tenant, one.id, opening)

    def close(self) -> None:
        self.awaited.close()
        self.batches.close()
        self._database.close()


class Objects:
    """Looks objects up and keeps them, in a thread of its own."""

    def __init__(self, table: ObjectTable) -> None:
        self._table: Final = table
        self._thread: Final = ThreadPoolExecutor(1, "objects")
        self._tasks: Final[set[asyncio.Task[None]]] = set()

    def look_up(
        self,
        tenant: str,
        objects: Sequence[VendorObject],
        found: Callable[[list[Owned]], Exchange | None],
        refuse: Callable[[Refusal], None],
        abort: Callable[[], None],
    ) -> Pending:
        """Look up what a request names, off the loop; then `found` goes on with it, or `refuse` with the reason.

        `abort` is called after a fault of ours, so that nobody is left waiting.
        """
        looking = Pending()

        async def look() -> None:
            try:
                owned = await self._run(self._table.find, tenant, objects[:NAMED_LIMIT])
                if not looking.gone:  # nothing is sent for nobody
                    looking.exchange = found(_all_owned(objects, owned))
            except sqlite3.Error as fault:
                message = f"vendor objects cannot be looked up ({type(fault).__name__}), so nothing was forwarded"
                refuse(Refusal(503, "objects_unavailable", message))
            except Refusal as refusal:
                refuse(refusal)
            except BaseException:
                abort()
                raise

        self._task(look())
        return looking

    def list_kind(
        self, tenant: str, kind: str, found: Callable[[list[Owned]], None], refuse: Callable[[Refusal], None]
    ) -> Pending:
        """The objects of one kind that a tenant made, off the loop."""

        async def look() -> None:
            try:
                found(await self._run(self._table.listed, tenant, kind))
            except sqlite3.Error as fault:
                message = f"vendor objects cannot be listed ({type(fault).__name__})"
                refuse(Refusal(503, "objects_unavailable", message))

        self._task(look())
        return Pending()

    def keep(
        self, tenant: str, objects: Sequence[Owned], then: Callable[[], None], awaited: Opening | None = None
    ) -> None:
        """Put objects on record; `then` is called on the loop once they are, or cannot be. `awaited` is the attempt
        that they were made by, where its work goes on at the vendor."""

        async def write() -> None:
            # What cannot be put on record is unknown from now on: refused to everybody, its maker included.
            try:
                await self._run(self._table.keep, tenant, objects)
                if awaited is not None:
                    await self._run(self._table.await_work, tenant, objects, awaited)
            except sqlite3.Error as fault:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "vendor objects cannot be put on record", "exception": fault}
                )
            then()

        self._task(write())

    def tell(self, tenant: str, named: VendorObject, settle: Callable[[Opening], RequestEntry]) -> None:
        """Put on record what the vendor told of an object, if its usage is awaited; `settle` makes the entry."""

        async def write() -> None:
            table = self._table.awaited
            try:
                opening = await self._run(table.find, tenant, named)
                if opening is not None:
                    await self._run(table.tell, tenant, named, settle(opening))
            except sqlite3.Error as fault:
                asyncio.get_running_loop().call_exception_handler(
                    {
                        "message": "what a vendor told cannot be put on record; it is when it is fetched again",
                        "exception": fault,
                    }
                )

        self._task(write())

    def forget(self, tenant: str, named: VendorObject) -> None:
        """The vendor deleted an object."""
        self._thread.submit(self._table.forget, tenant, named)

    def close(self) -> None:
        self._thread.shutdown()
        self._table.close()

    async def _run(self, call: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*arguments))

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _all_owned(named: Sequence[VendorObject], owned: Sequence[Owned | None]) -> list[Owned]:
    """The objects, all of them the tenant's and of one vendor key. Raises Refusal 400 or 404 otherwise."""
    if len(named) > NAMED_LIMIT:
        raise Refusal(400, "too_many_objects", f"a request names at most {NAMED_LIMIT} vendor objects")
    found: list[Owned] = []
    for one, owner in zip(named, owned, strict=True):
        if owner is None:
            raise Refusal(404, "object_unknown", f"no {one.kind} {one.id[:64]!r} was made with this tenant's keys")
        found.append(owner)
    if len({(one.vendor, one.vendor_key) for one in found}) > 1:
        raise Refusal(400, "objects_of_two_keys", "the objects named were made with different vendor keys")
    return found
