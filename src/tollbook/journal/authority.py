"""Entries that say who may act, and by whose word an act was done.

They stand in the book's own lane only; identities and proposals are folded from them. A password is never among them,
nor a session: of a service's token there is a keyed hash, of a personal key its public half. What an act was asked
with stands in the act's own entry; here there is a salted digest of it (`content`), since it may name a person.
"""

from typing import Final

from msgspec import Struct

AUTHORITY_KINDS: Final = frozenset(
    ("identity.changed", "act.authorised", "proposal.made", "proposal.decided", "proposal.carried")
)


class IdentityAdded(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="identity_added"):
    """A person or a service that may log in. `tenant` is whom it belongs to: it approves nothing that concerns that."""

    name: str
    service: bool = False
    tenant: str | None = None


class IdentityEnded(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="identity_ended"):
    """One that may log in no more; its sessions end at once."""

    name: str


class RoleGranted(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="role_granted"):
    """A role, for one tenant only or for all, until an instant (microseconds) or for good."""

    name: str
    role: str
    tenant: str | None = None
    until: int | None = None


class RoleRevoked(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="role_revoked"):
    """The end of every grant of a role, for one tenant or for all."""

    name: str
    role: str
    tenant: str | None = None


class CredentialSet(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="credential_set"):
    """By what one shows who it is, in the place of the one before: `password` (its hash is kept outside the journal),
    `token` (with its keyed hash) or `key` (with the Ed25519 public key, base64)."""

    name: str
    method: str
    hash: str | None = None
    key: str | None = None


IdentityChange = IdentityAdded | IdentityEnded | RoleGranted | RoleRevoked | CredentialSet


class IdentityChanged(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one act changed among identities, all at once."""

    changes: list[IdentityChange]
    actor: str
    reason: str | None = None


class Authority(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who asked for what, and how that is known. `name` is the identity, absent for the owner of the book's files, whom
    nobody authenticated; `method` password, token or key. `content` is the salted digest of what the act was asked
    with. With a personal key: `at` (microseconds), and the `signature` by `key` (both base64) over
    `tollbook.journal.signature.statement`."""

    actor: str
    act: str
    content: str
    name: str | None = None
    method: str | None = None
    at: int | None = None
    key: str | None = None
    signature: str | None = None


class ActAuthorised(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An identity does an act alone, as the duties allow it; the act's own entry follows. `tenant` is whom it concerns,
    `amount` and `currency` (decimal text) what it moves: they count towards the limit of acts done alone."""

    authority: Authority
    tenant: str | None = None
    amount: str | None = None
    currency: str | None = None


class ProposalMade(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An act that somebody else must approve before `expires`. What exactly is proposed is kept in `proposals/` until
    it is decided; `authority.content` binds it."""

    proposal: str
    authority: Authority
    expires: int
    tenant: str | None = None
    amount: str | None = None
    currency: str | None = None


class ProposalDecided(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`approved`, `rejected`, `withdrawn`; or `emergency`: to be carried out without waiting, and approved afterwards
    before `expires`."""

    proposal: str
    decision: str
    authority: Authority
    reason: str | None = None
    expires: int | None = None


class ProposalCarried(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was approved is done; or it could not be, and `fault` says why."""

    proposal: str
    fault: str | None = None
