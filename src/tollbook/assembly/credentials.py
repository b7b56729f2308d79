"""A worker's side of the registry: who may come in, read from the snapshot, looked at once a second."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from tollbook.assembly.child import say
from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.faults import BadInput
from tollbook.core.settings import Bounds, Limits, Settings, Tenant
from tollbook.gateway.admission import Admission, Caller, Digest
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal
from tollbook.journal.registration import LimitSet
from tollbook.registry import snapshot
from tollbook.registry.registry import EVER
from tollbook.registry.secret import hash_of, read_key, unseal
from tollbook.registry.snapshot import Credential

STALE: Final = 30 * SECOND
"""How old the snapshot may grow, by its file's time, before nobody is let in."""


class Closed(Admission):
    """Lets nobody in: whether a key was revoked meanwhile is not known."""

    def caller(self, request: ClientRequest) -> Caller:
        """Raises Refusal 503."""
        raise Refusal(503, "registry_stale", "the gateway cannot tell at the moment which keys are valid; try again")


class Credentials:
    """The credentials in force, and the admission made of them. `look` says when there is another one to be used."""

    def __init__(self, book_root: Path, digest: Digest, clock: Clock = now) -> None:
        self._root: Final = book_root
        self._digest: Final = digest
        self._clock: Final = clock
        self._seen: tuple[int, int] | None = None
        self._head: snapshot.Head | None = None
        self._told = snapshot.Told()
        self._vouched = 0
        self._next = 0
        self._closed = True

    @property
    def configuration(self) -> str | None:
        """The digest of the configuration that has entered the registry; None while none has since its start."""
        return None if self._head is None else self._head.configuration

    @property
    def closed(self) -> bool:
        """Whether nobody is let in: nothing is known, or nobody has vouched for it lately."""
        return self._closed

    def look(self, settings: Settings) -> bool:
        """Look at the snapshot; whether who may come in has changed since the last look."""
        changed = self._read()
        at = self._clock()
        closed = self._head is None or (at - self._vouched > STALE and settings.gateway.stale_registry == "refuse")
        if closed != self._closed:
            self._closed, changed = closed, True
            say("the registry's snapshot is too old: no request is let in" if closed else "the registry is known")
        return changed or at >= self._next

    def admission(self, settings: Settings) -> Admission:
        """Who is let in at this instant, by the tenants' policies in the settings."""
        at = self._clock()
        if self._closed:
            return Closed({}, _no_hash, self._digest)
        try:
            key = read_key(self._root)
        except BadInput as fault:
            say(str(fault))
            self._next = at  # tried again at each look, until the file is back
            return Closed({}, _no_hash, self._digest)
        callers: dict[str, Caller] = {}
        signers: dict[str, tuple[str, Caller]] = {}
        instants = [EVER]
        limits = limits_of(settings, self._told.limits)
        for one in self._told.credentials:
            instants += [instant for instant in (one.since, one.until) if instant > at]
            if not one.since <= at < one.until:
                continue
            caller = Caller(_policy(settings, one, limits), one.key, one.workloads)
            callers[one.hash] = caller
            if one.access_key_id is not None and (secret := _opened(key, one)) is not None:
                signers[one.access_key_id] = (secret, caller)
        self._next = min(instants)
        return Admission(callers, _hash_by(key), self._digest, signers)

    def _read(self) -> bool:
        """Read the file if it was touched; whether it holds other credentials than before."""
        try:
            found = snapshot.path_of(self._root).stat()
            self._vouched = found.st_mtime_ns // 1000
            if (found.st_ino, found.st_mtime_ns) == self._seen:
                return False
            if self._head is not None and snapshot.read_head(self._root) == self._head:
                self._seen = (found.st_ino, found.st_mtime_ns)
                return False
            former = None if self._head is None else self._head.digest
            self._head, self._told = snapshot.read(self._root)
        except FileNotFoundError:
            return False
        except (BadInput, OSError) as fault:
            say(str(fault))
            return False
        self._seen = (found.st_ino, found.st_mtime_ns)
        return self._head.digest != former


def limits_of(settings: Settings, told: Iterable[LimitSet]) -> dict[str, Limits]:
    """The limits of each tenant of whom the registry has some: those stand in the place of the configuration's."""
    found: dict[str, Limits] = {}
    for one in told:
        known = settings.tenants.get(one.tenant)
        former = found.get(one.tenant) or (known.limits if known is not None else Limits())
        found[one.tenant] = _with(former, one)
    return found


def _policy(settings: Settings, one: Credential, limits: dict[str, Limits]) -> Tenant:
    """The tenant's policy as it holds for a key: of the tenant's models, those that the key may ask for; its limits as
    they were set while serving, if they were. Its workloads are the registry's: the desk shows everything to a key that
    has all of them, else only what is of its own."""
    tenant = settings.tenants.get(one.tenant) or Tenant(name=one.tenant)
    tenant = replace(tenant, workloads=() if one.limited else one.workloads)
    if one.tenant in limits:
        tenant = replace(tenant, limits=limits[one.tenant])
    if not one.models:
        return tenant
    denied = tuple(name for name in one.models if tenant.models and name not in tenant.models)
    return replace(tenant, models=one.models, deny_models=(*tenant.deny_models, *denied))


def _with(limits: Limits, told: LimitSet) -> Limits:
    """Limits of a tenant with those that the registry has of it, or of something of its."""
    bounds = {name: getattr(told, name) for name in Bounds.__struct_fields__}
    if told.name is None:
        return replace(limits, **bounds)
    table = f"{told.kind}s"
    return replace(limits, **{table: getattr(limits, table) | {told.name: Bounds(**bounds)}})


def _opened(key: bytes, one: Credential) -> str | None:
    """The secret that clients sign with; None when it cannot be had, so that one key does not close the door to all."""
    try:
        return unseal(key, one.access_key_id or "", one.sealed or "")
    except BadInput as fault:
        say(str(fault))
        return None


def _hash_by(key: bytes) -> Callable[[str], str]:
    return lambda secret: hash_of(key, secret)


def _no_hash(secret: str) -> str:
    return ""
