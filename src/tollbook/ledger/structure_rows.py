"""Entries of the registry as rows. Pure, as all folding."""

from typing import Final

import msgspec

from tollbook.core.money import parse_amount
from tollbook.journal.line import Line
from tollbook.journal.registration import (
    Added,
    Change,
    Ended,
    KeyAdded,
    KeyRotated,
    LimitSet,
    Moved,
    RegistryChanged,
    TransferPosted,
    TransferSide,
)
from tollbook.ledger.rows import Row, origin

_ACTS: Final = {
    "Added": "added",
    "Moved": "moved",
    "Ended": "ended",
    "KeyAdded": "key_added",
    "KeyRotated": "key_rotated",
    "KeyRevoked": "key_revoked",
    "LimitSet": "limit_set",
}


def registry_rows(line: Line, position: int) -> list[Row]:
    """One row for each change of an entry."""
    payload = msgspec.json.decode(line.bytes, type=RegistryChanged)
    effective = line.recorded if payload.effective is None else payload.effective
    tail = (effective, payload.actor, payload.reason, payload.configuration, *origin(line, position))
    return [(number, *_change(change), *tail) for number, change in enumerate(payload.changes, 1)]


def transfer_rows(line: Line, position: int) -> list[Row]:
    """Two rows for each leg, which add up to nothing: what leaves one side, and what comes to the other."""
    payload = msgspec.json.decode(line.bytes, type=TransferPosted)
    about = (payload.since, payload.before, payload.change, payload.tenant, payload.key, payload.actor, payload.reason)
    tail = (*about, *origin(line, position))
    rows: list[Row] = []
    for number, leg in enumerate(payload.legs, 1):
        expected, recharge = _pico(leg.expected), _pico(leg.recharge)
        for side, place, sign in (("from", leg.source, -1), ("to", leg.target, 1)):
            amounts = (None if one is None else sign * one for one in (expected, recharge))
            counts = (sign * leg.requests, sign * leg.attempts)
            rows.append((number, side, *_side(place), leg.currency, *amounts, *counts, *tail))
    return rows


def _change(change: Change) -> Row:
    """`act` to `until` of the table."""
    act = _ACTS[type(change).__name__]
    if isinstance(change, Added | Moved):
        facts = (change.parent, change.owner, change.cost_centre, change.mode)
        return (act, change.kind, change.name, *facts, None, None, None, None)
    if isinstance(change, Ended):
        return (act, change.kind, change.name, None, None, None, None, None, None, None, None)
    if isinstance(change, LimitSet):
        name = change.tenant if change.name is None else change.name
        return (act, change.kind, name, change.tenant, None, None, None, None, None, None, None)
    owner = workloads = models = expires = None
    if isinstance(change, KeyAdded):
        owner, expires = change.owner, change.expires
        workloads, models = change.workloads or None, change.models or None
    until = change.until if isinstance(change, KeyRotated) else None
    return (act, "key", change.name, change.tenant, owner, None, None, workloads, models, expires, until)


def _side(side: TransferSide) -> Row:
    return (side.tenant, side.unit, side.entity, side.cost_centre)


def _pico(text: str | None) -> int | None:
    return None if text is None else parse_amount(text)
