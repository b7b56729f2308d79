"""Erasing a person: the value goes, the digest stays, everything still verifies and adds up."""

from typing import Any

from msgspec import Struct

from tollbook.core.faults import BadInput, NotFound
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane


class Erasure(Struct, frozen=True):
    """Whose value is to go, and on what basis (the words are kept in the erasable directory, too)."""

    tenant: str
    user: str
    basis: str


def erase(lane: BookLane, personal: PersonalDirectory, wanted: Erasure, actor: str) -> dict[str, Any]:
    """Remove a user's value everywhere under the book, and say in an entry that it was done.

    Raises BadInput without a basis, NotFound when the tenant has no key (nothing was ever kept for it).
    """
    if not wanted.basis.strip():
        raise BadInput("an erasure needs a basis: say why, with --basis")
    if not personal.find(wanted.tenant, wanted.user):
        raise NotFound(f"tenant {wanted.tenant!r} has no personal values in this book")
    entry = lane.erase(personal, wanted.tenant, wanted.user, wanted.basis, actor)
    sequence, digest = lane.last
    return {
        "tenant": wanted.tenant,
        "digests": entry.digests,
        "values": entry.values,
        "actor": actor,
        "entry": {"lane": lane.name, "sequence": sequence, "kind": "personal.erased", "digest": digest},
    }
