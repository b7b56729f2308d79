"""Work that goes on at a vendor after it has answered: which attempts wait for its usage, and what was told of them.

A worker puts the attempt on record when the work begins, and what the vendor tells when somebody fetches the result;
the desk asks the vendor itself, so that work nobody fetches is settled too.
The scribe, the one writer of the book's lane, takes that over into the journal once. The first word counts: fetching a
result again changes nothing.
"""

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from tollbook.core.charging import Bearers
from tollbook.core.settings import Settings
from tollbook.gateway import charging
from tollbook.gateway.rating import Conditions, rated
from tollbook.gateway.recorder import Opening
from tollbook.journal.entry import RequestEntry, Settlement
from tollbook.pricing.rate import Rater
from tollbook.providers.contract import Reading, VendorObject

BUSY_SECONDS: Final = 5
_SCHEMA: Final = """
create table if not exists awaited (
    tenant text not null,
    kind text not null,
    id text not null,            -- as the vendor names it
    lane text not null,          -- where the attempt was opened
    sequence integer not null,
    opened integer not null,     -- instant in microseconds
    members blob not null,       -- of its entry: request and attempt
    told blob,                   -- the entry that settles it, once the vendor has told; null before
    primary key (tenant, kind, id)
) without rowid
"""
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(RequestEntry).decode


class Rules(Protocol):
    """By what an attempt is judged and priced."""

    @property
    def settings(self) -> Settings: ...

    @property
    def bearers(self) -> Bearers: ...

    @property
    def rater(self) -> Rater: ...


class Awaited(NamedTuple):
    """A vendor object whose usage is awaited, and where and how its attempt was opened."""

    tenant: str
    named: VendorObject
    opening: Opening


class Told(NamedTuple):
    """What the vendor told of an attempt: where that was opened, and the entry that settles it."""

    lane: str
    sequence: int
    entry: RequestEntry


class AwaitedTable:
    """The table; workers and the scribe each have their own connection to it."""

    def __init__(self, path: Path) -> None:
        self._database: Final = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        path.chmod(0o600)
        self._database.execute("pragma journal_mode=wal")
        self._database.execute(_SCHEMA)

    def expect(self, tenant: str, named: VendorObject, opening: Opening) -> None:
        """Work has begun: its usage is awaited."""
        self._database.execute(
            "insert into awaited values (?, ?, ?, ?, ?, ?, ?, null) on conflict do nothing",
            (tenant, *named, opening.lane, opening.sequence, opening.recorded, opening.members),
        )

    def find(self, tenant: str, named: VendorObject) -> Opening | None:
        """The attempt whose usage is still awaited of a vendor object."""
        row = self._database.execute(
            "select lane, sequence, opened, members from awaited "
            "where tenant = ? and kind = ? and id = ? and told is null",
            (tenant, *named),
        ).fetchone()
        return None if row is None else Opening(*row)

    def waiting(self) -> list[Awaited]:
        """Everything of which the vendor has told nothing yet."""
        rows = self._database.execute(
            "select tenant, kind, id, lane, sequence, opened, members from awaited where told is null"
        )
        return [Awaited(tenant, VendorObject(kind, name), Opening(*row)) for tenant, kind, name, *row in rows]

    def tell(self, tenant: str, named: VendorObject, entry: RequestEntry) -> None:
        """The vendor has told; the first word stays."""
        self._database.execute(
            "update awaited set told = ? where tenant = ? and kind = ? and id = ? and told is null",
            (_encode(entry), tenant, *named),
        )

    def told(self) -> list[Told]:
        """What waits to be taken over into the journal."""
        rows = self._database.execute("select lane, sequence, told from awaited where told is not null")
        return [Told(lane, sequence, _decode(entry)) for lane, sequence, entry in rows]

    def done(self, one: Told) -> None:
        """It is in the journal."""
        self._database.execute("delete from awaited where lane = ? and sequence = ?", (one.lane, one.sequence))

    def close(self) -> None:
        self._database.close()


def is_begun(reading: Reading, outcome: str) -> bool:
    """Whether an answer says that the work goes on: in the background, or as a batch."""
    return outcome == "ok" and ("background" in reading.flags or any(made.kind == "batch" for made in reading.made))


def is_told(reading: Reading, status: int | None) -> bool:
    """Whether an answer about a vendor object tells how its work ended."""
    ended = reading.usage is not None or reading.error is not None
    return ended and status is not None and status < 300 and "background" not in reading.flags


def settlement_of(opening: Opening, reading: Reading, adapter: str, parts: Rules) -> RequestEntry:
    """The entry that settles an attempt whose work has ended, priced as of when it was opened.

    What failed or was cancelled without a usage stays unreported.
    """
    entry = msgspec.json.decode(b"{" + opening.members + b"}", type=RequestEntry)
    attempt = entry.attempt
    assert attempt is not None
    outcome = "ok" if reading.error is None else "cancelled" if reading.error == "cancelled" else "vendor_error"
    cause = charging.cause(outcome, None, gone=False, passed_on=False)
    usage = reading.usage if reading.basis in ("provider_reported", "computed") else None
    settlement = Settlement(
        opened=opening.recorded,
        sequence=opening.sequence,
        outcome=outcome,
        basis=reading.basis if usage is not None else "unreported",
        response_id=reading.response_id,
        model_served=reading.model_served,
        tier=reading.tier,
        usage=usage,
        shares=list(reading.shares) or None,
        raw=msgspec.Raw(reading.raw) if reading.raw is not None else None,  # type: ignore[arg-type]
        billable=True if usage is not None else None,
        borne_by=parts.bearers[outcome, cause],
        error=reading.error,
        flags=reading.flags or None,
        vendor_cost=reading.vendor_cost,
        provider=reading.provider,
    )
    rating = None
    if usage is not None:
        conditions = Conditions(
            party=parts.settings.vendors[attempt.vendor].billing,
            at=opening.recorded,
            tier=reading.tier,
            tenant=entry.request.tenant,
            tenant_bears=settlement.borne_by == "tenant",
        )
        model = reading.model_served or attempt.model_sent
        rating = rated(parts.rater, adapter, model, usage, conditions, reading.shares).rating
    return RequestEntry(request=entry.request, attempt=attempt, settlement=settlement, rating=rating, lane=opening.lane)
