"""Who may log in, in which roles, and by what each is known: folded from entries of the book's lane. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tollbook.core.faults import Tampered
from tollbook.journal.authority import (
    AUTHORITY_KINDS,
    ActAuthorised,
    Authority,
    CredentialSet,
    IdentityAdded,
    IdentityChanged,
    IdentityEnded,
    ProposalCarried,
    ProposalDecided,
    ProposalMade,
    RoleGranted,
    RoleRevoked,
)
from tollbook.journal.line import UNREADABLE, Line
from tollbook.registry.registry import EVER

METHODS: Final = {
    "password": "a password, whose argon2id hash is kept outside the journal",
    "token": "a secret that was shown once; for services",
    "key": "a personal Ed25519 key, which signs each act",
}
"""By what an identity is known."""

_DECODERS: Final[dict[str, msgspec.json.Decoder[Struct]]] = {
    "identity.changed": msgspec.json.Decoder(IdentityChanged),
    "act.authorised": msgspec.json.Decoder(ActAuthorised),
    "proposal.made": msgspec.json.Decoder(ProposalMade),
    "proposal.decided": msgspec.json.Decoder(ProposalDecided),
    "proposal.carried": msgspec.json.Decoder(ProposalCarried),
}
assert _DECODERS.keys() == AUTHORITY_KINDS


class Grant(NamedTuple):
    """A role that was given, for one tenant or (None) for all, until an instant."""

    role: str
    tenant: str | None
    until: int


class Identity(Struct, frozen=True, kw_only=True):
    """Who may log in. `method` is None until a credential was set; `keys` are the personal keys it ever had, with the
    instant from which each holds, `hash` that of its token. Instants are in microseconds."""

    name: str
    service: bool
    tenant: str | None
    since: int
    ended: int = EVER
    grants: tuple[Grant, ...] = ()
    method: str | None = None
    hash: str | None = None
    keys: tuple[tuple[int, str], ...] = ()

    def is_active(self, at: int) -> bool:
        """Whether it may log in."""
        return at < self.ended

    def roles(self, at: int, tenant: str | None) -> frozenset[str]:
        """The roles it has at an instant in what concerns a tenant (None: the whole book)."""
        return frozenset(
            grant.role for grant in self.grants if at < grant.until and (grant.tenant is None or grant.tenant == tenant)
        )

    def key_at(self, at: int) -> str | None:
        """Its personal key at an instant."""
        return next((key for since, key in reversed(self.keys) if since <= at), None)


class Deed(NamedTuple):
    """An act that an identity did alone, and what it moved."""

    name: str
    act: str
    tenant: str | None
    amount: str | None
    currency: str | None
    recorded: int


class Proposal(Struct, frozen=True, kw_only=True):
    """A proposal and what became of it. `decided` is when the last decision was made, by whom and why."""

    number: int
    made: ProposalMade
    recorded: int
    decision: str | None = None
    decided: int | None = None
    decider: Authority | None = None
    reason: str | None = None
    expires: int
    emergency: bool = False
    carried: bool = False
    fault: str | None = None

    def state(self, at: int) -> str:
        """`open`, `approved` (not carried out yet), `done`, `failed`, `rejected`, `withdrawn`, `expired`; `emergency`
        or `overdue` when it was carried out and waits to be approved."""
        if self.decision in ("rejected", "withdrawn"):
            return self.decision
        if self.fault is not None:
            return "failed"
        if self.emergency and self.decision != "approved":
            return "emergency" if at < self.expires else "overdue"
        if self.carried:
            return "done"
        if self.decision == "approved":
            return "approved"
        return "open" if at < self.expires else "expired"


class Office:
    """Identities, proposals, and what was done alone, in the order it was recorded."""

    def __init__(self) -> None:
        self.identities: Final[dict[str, Identity]] = {}
        self.proposals: Final[dict[str, Proposal]] = {}
        self.alone: Final[list[Deed]] = []
        self.contents: Final[set[str]] = set()
        """Digests of what was asked for by a signature: none counts twice."""

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Office":
        """What some lines of the book's lane make. Raises Tampered when one cannot be read."""
        made = cls()
        for line in lines:
            made.take(line.kind, read(line), line.recorded)
        return made

    def take(self, kind: str, entry: Struct, recorded: int) -> None:
        """Add an entry that was recorded after all others."""
        if isinstance(entry, IdentityChanged):
            self._change(entry, recorded)
        elif isinstance(entry, ActAuthorised):
            self._note(entry.authority)
            named = entry.authority.name or ""
            deed = Deed(named, entry.authority.act, entry.tenant, entry.amount, entry.currency, recorded)
            self.alone.append(deed)
        elif isinstance(entry, ProposalMade):
            self._note(entry.authority)
            number = len(self.proposals) + 1
            self.proposals[entry.proposal] = Proposal(
                number=number, made=entry, recorded=recorded, expires=entry.expires
            )
        elif isinstance(entry, ProposalDecided):
            self._decide(entry, recorded)
        elif isinstance(entry, ProposalCarried):
            known = self.proposals[entry.proposal]
            self.proposals[entry.proposal] = replace(known, carried=True, fault=entry.fault)

    def _note(self, authority: Authority) -> None:
        if authority.signature is not None:
            self.contents.add(authority.content)

    def _decide(self, entry: ProposalDecided, recorded: int) -> None:
        self._note(entry.authority)
        known = self.proposals[entry.proposal]
        self.proposals[entry.proposal] = replace(
            known,
            decision=entry.decision,
            decided=recorded,
            decider=entry.authority,
            reason=entry.reason,
            expires=entry.expires or known.expires,
            emergency=known.emergency or entry.decision == "emergency",
        )

    def _change(self, entry: IdentityChanged, recorded: int) -> None:
        for change in entry.changes:
            if isinstance(change, IdentityAdded):
                self.identities[change.name] = Identity(
                    name=change.name, service=change.service, tenant=change.tenant, since=recorded
                )
                continue
            known = self.identities[change.name]
            if isinstance(change, IdentityEnded):
                known = replace(known, ended=recorded)
            elif isinstance(change, RoleGranted):
                grant = Grant(change.role, change.tenant, EVER if change.until is None else change.until)
                known = replace(known, grants=(*known.grants, grant))
            elif isinstance(change, RoleRevoked):
                gone = (change.role, change.tenant)
                kept = tuple(grant for grant in known.grants if (grant.role, grant.tenant) != gone)
                known = replace(known, grants=kept)
            elif isinstance(change, CredentialSet):
                keys = known.keys if change.key is None else (*known.keys, (recorded, change.key))
                known = replace(known, method=change.method, hash=change.hash, keys=keys)
            self.identities[change.name] = known


def read(line: Line) -> Struct:
    """The payload of a line of one of these kinds. Raises Tampered when it cannot be read."""
    try:
        return _DECODERS[line.kind].decode(line.bytes)
    except UNREADABLE as fault:
        raise Tampered(f"lane {line.lane}, entry {line.sequence}: cannot be read ({fault})") from fault
