"""Erasing a person: the value goes, the digest stays, everything still verifies and adds up."""

from pathlib import Path
from typing import Any

from msgspec import Struct

from tollbook.core.faults import BadInput, NotFound
from tollbook.journal.entry import PersonalErased
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane


class Erasure(Struct, frozen=True):
    """Whose value is to go, and on what basis (the words are kept in the erasable directory, too)."""

    tenant: str
    user: str
    basis: str


def erase(root: Path, lane: BookLane, personal: PersonalDirectory, wanted: Erasure, actor: str) -> dict[str, Any]:
    """Remove a user's value everywhere under the book, and write an entry that it was done.

    Raises BadInput without a basis, NotFound when the tenant has no key (nothing was ever kept for it).
    """
    if not wanted.basis.strip():
        raise BadInput("an erasure needs a basis: say why, with --basis")
    digests, values = personal.erase(wanted.tenant, wanted.user)
    if not digests:
        raise NotFound(f"tenant {wanted.tenant!r} has no personal values in this book")
    basis = personal.remember(wanted.tenant, wanted.basis, "basis")
    entry = PersonalErased(tenant=wanted.tenant, digests=digests, values=values, basis=basis, actor=actor)
    sequence, digest = lane.append("personal.erased", entry)
    return {
        "tenant": wanted.tenant,
        "digests": digests,
        "values": values,
        "actor": actor,
        "entry": {"lane": lane.name, "sequence": sequence, "kind": "personal.erased", "digest": digest},
    }
