"""Identities as the book's writer keeps them: judges a wish, writes the entry, then answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tollbook.assembly.logins import Logins, check_password
from tollbook.assembly.registering import RegistryKeeper, wish
from tollbook.core.clock import Clock, format_instant, now
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.settings import Name
from tollbook.journal.authority import (
    CredentialSet,
    IdentityAdded,
    IdentityChange,
    IdentityChanged,
    IdentityEnded,
    RoleGranted,
    RoleRevoked,
)
from tollbook.journal.recording import BookLane
from tollbook.registry.duties import duties
from tollbook.registry.identities import METHODS, Identity, Office
from tollbook.registry.registry import EVER
from tollbook.registry.secret import hash_of, new_secret, read_key

Document = dict[str, Any]


class NewIdentity(Struct, frozen=True, kw_only=True):
    """A wish for an identity. Without a role it may do nothing."""

    name: Name
    service: bool = False
    tenant: Name | None = None
    reason: str | None = None


class RoleAct(Struct, frozen=True, kw_only=True):
    """A wish to give or take a role; `until` in microseconds."""

    name: Name
    role: str
    tenant: Name | None = None
    until: int | None = None
    reason: str | None = None


class NewCredential(Struct, frozen=True, kw_only=True):
    """A wish for what one is known by: `password`, or `key` (a public one, base64); neither: a token is made."""

    name: Name
    password: str | None = None
    key: str | None = None
    reason: str | None = None


class Ending(Struct, frozen=True, kw_only=True):
    """A wish that one may log in no more."""

    name: Name
    reason: str | None = None


class IdentityKeeper:
    """The one writer of identities."""

    def __init__(
        self, lane: BookLane, office: Office, logins: Logins, registry: RegistryKeeper, root: Path, clock: Clock = now
    ) -> None:
        self._lane: Final = lane
        self._office: Final = office
        self._logins: Final = logins
        self._registry: Final = registry
        self._root: Final = root
        self._clock: Final = clock

    @property
    def acts(self) -> dict[str, Callable[[Document, str], Any]]:
        """What people can ask, by name."""
        return {
            "identity.add": lambda arguments, actor: self.add(wish(arguments, NewIdentity), actor),
            "identity.grant": lambda arguments, actor: self.grant(wish(arguments, RoleAct), actor),
            "identity.revoke": lambda arguments, actor: self.revoke(wish(arguments, RoleAct), actor),
            "identity.credential": lambda arguments, actor: self.credential(wish(arguments, NewCredential), actor),
            "identity.end": lambda arguments, actor: self.end(wish(arguments, Ending), actor),
        }

    def add(self, wanted: NewIdentity, actor: str) -> Document:
        """A new identity. A name is never used twice."""
        if wanted.name in self._office.identities:
            raise BadInput(f"there is, or was, an identity {wanted.name!r}; a name is used once")
        self._check_tenant(wanted.tenant)
        added = IdentityAdded(name=wanted.name, service=wanted.service, tenant=wanted.tenant)
        return self._do(added, actor, wanted.reason)

    def grant(self, wanted: RoleAct, actor: str) -> Document:
        """A role, from now on."""
        one = self.named(wanted.name)
        roles = [role for role in duties().roles if role != "service"]
        if wanted.role not in roles:
            raise BadInput(f"no role is called {wanted.role!r}: {', '.join(roles)}")
        if wanted.role == "tenant_viewer" and wanted.tenant is None:
            raise BadInput("a tenant_viewer sees one tenant: name it with --tenant")
        if one.service and wanted.role == "admin":
            raise BadInput("a service is no admin: whoever has its token would be")
        if wanted.until is not None and wanted.until <= self._clock():
            raise BadInput("the end of a role lies in the future")
        self._check_tenant(wanted.tenant)
        granted = RoleGranted(name=one.name, role=wanted.role, tenant=wanted.tenant, until=wanted.until)
        return self._do(granted, actor, wanted.reason)

    def revoke(self, wanted: RoleAct, actor: str) -> Document:
        """The end of a role, at once."""
        one = self.named(wanted.name)
        if not any((grant.role, grant.tenant) == (wanted.role, wanted.tenant) for grant in one.grants):
            whose = "" if wanted.tenant is None else f" for tenant {wanted.tenant}"
            raise BadInput(f"{one.name} has no role {wanted.role}{whose}; look: tollbook identity show {one.name}")
        return self._do(RoleRevoked(name=one.name, role=wanted.role, tenant=wanted.tenant), actor, wanted.reason)

    def credential(self, wanted: NewCredential, actor: str) -> Document:
        """By what one is known from now on; its sessions end. A token is told once."""
        one = self.named(wanted.name)
        if wanted.password is not None and wanted.key is not None:
            raise BadInput("one is known by a password or by a key, not by both")
        if one.service != (wanted.password is None and wanted.key is None):
            raise BadInput("a service has a token, a person a password or a key")
        token = new_secret() if one.service else None
        method = "token" if one.service else "key" if wanted.key is not None else "password"
        hashed = None if token is None else hash_of(read_key(self._root), token)
        if wanted.password is not None:
            check_password(wanted.password)
        change = CredentialSet(name=one.name, method=method, hash=hashed, key=wanted.key)
        done = self._do(change, actor, wanted.reason)
        # On record first: what works without an entry that says so is worse than what has to be set again.
        self._logins.close_all(one.name, password=True)
        if wanted.password is not None:
            self._logins.set_password(one.name, wanted.password)
        return {**done, "method": method, "token": token}

    def end(self, wanted: Ending, actor: str) -> Document:
        """One may log in no more, from this instant on."""
        one = self.named(wanted.name)
        done = self._do(IdentityEnded(name=one.name), actor, wanted.reason)
        self._logins.close_all(one.name, password=True)
        return done

    def named(self, name: str) -> Identity:
        """One that may log in. Raises NotFound, BadInput."""
        one = self._office.identities.get(name)
        if one is None:
            raise NotFound(f"no identity is called {name!r}; look: tollbook identity list")
        if not one.is_active(self._clock()):
            raise BadInput(f"identity {name} has ended")
        return one

    def of_token(self, token: str) -> Identity | None:
        """The service that a token is of."""
        hashed = hash_of(read_key(self._root), token)
        at = self._clock()
        return next((one for one in self._office.identities.values() if one.hash == hashed and one.is_active(at)), None)

    def _check_tenant(self, tenant: str | None) -> None:
        if tenant is not None and tenant not in self._registry.registry.names("tenant"):
            raise NotFound(f"no tenant is called {tenant!r}; look: tollbook tenant list")

    def _do(self, change: IdentityChange, actor: str, reason: str | None) -> Document:
        entry = IdentityChanged(changes=[change], actor=actor, reason=reason)
        sequence, digest = self._lane.append("identity.changed", entry)
        self._office.take("identity.changed", entry, self._lane.recorded)
        where = {"lane": self._lane.name, "sequence": sequence, "kind": "identity.changed", "digest": digest}
        return {"identity": shown(self._office.identities[change.name]), "actor": actor, "entry": where}


def shown(one: Identity) -> Document:
    """An identity as commands print it."""
    return {
        "name": one.name,
        "kind": "service" if one.service else "person",
        "tenant": one.tenant,
        "method": one.method,
        "known_by": None if one.method is None else METHODS[one.method],
        "roles": [
            {
                "role": grant.role,
                "tenant": grant.tenant,
                "until": None if grant.until == EVER else format_instant(grant.until),
            }
            for grant in one.grants
        ],
        "since": format_instant(one.since),
        "ended": None if one.ended == EVER else format_instant(one.ended),
    }
