"""What people may change in the registry: each wish is judged against what is known, and becomes changes. Pure.

Every function raises BadInput, saying what to do, when a wish cannot be met, and NotFound for a name nobody knows.
"""

from typing import Final

from msgspec import Struct

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.settings import ModelName, Name
from tollbook.journal.registration import (
    Added,
    Change,
    Ended,
    KeyAdded,
    KeyRevoked,
    KeyRotated,
    KeySecret,
    LimitSet,
    Moved,
)
from tollbook.registry.registry import KINDS, MODES, Key, Registry, Subject, workload_name

_CHILDREN: Final = {"entity": "unit", "unit": "tenant", "tenant": "workload"}


class Facts(Struct, frozen=True, kw_only=True):
    """What may be said of an entity, unit, tenant or workload; `parent` is the one it belongs to."""

    parent: Name | None = None
    owner: str | None = None
    cost_centre: str | None = None
    mode: str | None = None

    @property
    def any(self) -> bool:
        return any((self.parent, self.owner, self.cost_centre, self.mode))


class KeyFacts(Struct, frozen=True, kw_only=True):
    """What may be said of a new key. `workloads` are names within the tenant."""

    name: Name
    workloads: tuple[Name, ...] = ()
    models: tuple[ModelName, ...] = ()
    owner: str | None = None
    expires: int | None = None


def add(registry: Registry, kind: str, name: str, facts: Facts, at: int) -> Added:
    """A new one. A workload's name is `TENANT/NAME`, its parent the tenant."""
    if registry.find(kind, name, at) is not None:
        raise BadInput(f"there is, or was, {_a(kind)} {name!r} already; take another name")
    _check(registry, kind, name, facts, at)
    return Added(
        kind=kind, name=name, parent=facts.parent, owner=facts.owner, cost_centre=facts.cost_centre, mode=facts.mode
    )


def add_tenant(registry: Registry, name: str, facts: Facts, workloads: tuple[str, ...], at: int) -> list[Change]:
    """A new tenant with its workloads."""
    changes: list[Change] = [add(registry, "tenant", name, facts, at)]
    if len(set(workloads)) < len(workloads):
        raise BadInput("a workload is named twice; keep one")
    changes += [Added(kind="workload", name=workload_name(name, one), parent=name) for one in workloads]
    return changes


def move(registry: Registry, kind: str, name: str, facts: Facts, at: int) -> Moved:
    """Another parent, owner, cost centre or mode."""
    found = known(registry, kind, name, at)
    if not facts.any:
        raise BadInput("nothing is to change: name where it goes, with --to, or another owner, cost centre or mode")
    _check(registry, kind, name, facts, at)
    same = [field for field in facts.__struct_fields__ if getattr(facts, field) not in (None, getattr(found, field))]
    if not same:
        raise BadInput(f"{kind} {name!r} is so already at {format_instant(at)}; nothing was changed")
    return Moved(
        kind=kind, name=name, parent=facts.parent, owner=facts.owner, cost_centre=facts.cost_centre, mode=facts.mode
    )


def end(registry: Registry, kind: str, name: str, at: int) -> Ended:
    """The end of one. A tenant's workloads and keys end with it; units and entities must be empty."""
    found = known(registry, kind, name, at)
    if found.until is not None and found.until <= at:
        raise BadInput(f"{kind} {name!r} has ended at {format_instant(found.until)} already")
    if kind in ("entity", "unit"):
        below = _CHILDREN[kind]
        left = [
            one.name for one in registry.all(below, at) if one.parent == name and (one.until is None or one.until > at)
        ]
        if left:
            raise BadInput(f"{kind} {name!r} still has {below}s: {', '.join(left[:5])}; move or end them first")
    return Ended(kind=kind, name=name)


def add_key(
    registry: Registry, tenant: str, facts: KeyFacts, secret: KeySecret, at: int, new: frozenset[str] = frozenset()
) -> KeyAdded:
    """A new key. `new` are workloads that the same act adds."""
    if (tenant, facts.name) in registry.keys:
        raise BadInput(f"tenant {tenant!r} has, or had, a key {facts.name!r} already; take another name, or rotate it")
    for workload in facts.workloads:
        if workload not in new:
            active(registry, "workload", workload_name(tenant, workload), at)
    if facts.expires is not None and facts.expires <= at:
        raise BadInput(f"the key would have expired at {format_instant(facts.expires)}; give a later instant")
    _check_secret(registry, secret)
    return KeyAdded(
        tenant=tenant,
        name=facts.name,
        secret=secret,
        workloads=list(facts.workloads),
        models=list(facts.models),
        owner=facts.owner,
        expires=facts.expires,
    )


def rotate_key(registry: Registry, key: Key, secret: KeySecret, overlap: int, at: int) -> KeyRotated:
    """Another secret; the former ones work `overlap` microseconds longer."""
    if key.state(at) != "active":
        raise BadInput(f"key {key.tenant}/{key.name} is {key.state(at)}; add a new one instead")
    _check_secret(registry, secret)
    return KeyRotated(tenant=key.tenant, name=key.name, secret=secret, until=at + overlap)


def revoke_key(key: Key, at: int) -> KeyRevoked:
    """The end of a key, with all its secrets."""
    if key.revoked is not None:
        raise BadInput(f"key {key.tenant}/{key.name} was revoked at {format_instant(key.revoked)} already")
    return KeyRevoked(tenant=key.tenant, name=key.name)


def set_limit(registry: Registry, wanted: LimitSet, at: int) -> LimitSet:
    """The limits of a tenant, or of one of its workloads, keys or models. What a model is, the configuration says."""
    active(registry, "tenant", wanted.tenant, at)
    if wanted.kind == "workload":
        active(registry, "workload", workload_name(wanted.tenant, wanted.name or ""), at)
    if wanted.kind == "key":
        key_named(registry, wanted.name or "", wanted.tenant)
    if wanted == registry.limits.get((wanted.tenant, wanted.kind, wanted.name)):
        raise BadInput("the limits are so already; nothing was changed")
    return wanted


def key_named(registry: Registry, name: str, tenant: str | None = None) -> Key:
    """The key of a name, or of `TENANT/NAME`. Two tenants may have keys of one name: then the tenant must be told."""
    if tenant is None and "/" in name:
        tenant, _, name = name.partition("/")
    found = [key for key in registry.keys.values() if key.name == name and tenant in (None, key.tenant)]
    if not found:
        raise NotFound(f"there is no key {name!r}{f' of tenant {tenant!r}' if tenant else ''}; see: tollbook key list")
    if len(found) > 1:
        names = ", ".join(f"{key.tenant}/{key.name}" for key in found)
        raise BadInput(f"several tenants have a key {name!r}: {names}; name one of these")
    return found[0]


def workload_named(registry: Registry, name: str, tenant: str | None = None) -> str:
    """The whole name of a workload, `TENANT/NAME`, from that or from a name that only one tenant has."""
    if "/" in name:
        return name
    if tenant is not None:
        return workload_name(tenant, name)
    found = [one for one in registry.names("workload") if one.partition("/")[2] == name]
    if len(found) > 1:
        raise BadInput(f"several tenants have a workload {name!r}: {', '.join(found)}; name one of these")
    return found[0] if found else name


def known(registry: Registry, kind: str, name: str, at: int) -> Subject:
    """One that there is or was. Raises NotFound."""
    found = registry.find(kind, name, at)
    if found is None:
        raise NotFound(f"there is no {kind} {name!r}; see: tollbook {kind} list")
    return found


def active(registry: Registry, kind: str, name: str, at: int) -> Subject:
    """One that has not ended. Raises NotFound, BadInput."""
    found = known(registry, kind, name, at)
    if found.until is not None and found.until <= at:
        raise BadInput(f"{kind} {name!r} has ended at {format_instant(found.until)}")
    return found


def _check(registry: Registry, kind: str, name: str, facts: Facts, at: int) -> None:
    if facts.mode is not None and facts.mode not in MODES:
        raise BadInput(f"no such mode: {facts.mode!r}; there are {', '.join(MODES)}")
    for title, text in (("owner", facts.owner), ("cost centre", facts.cost_centre)):
        if text is not None and (not text.strip() or len(text) > 128 or not text.isprintable()):
            raise BadInput(f"the {title} must be 1 to 128 printable characters")
    if facts.parent is None:
        return
    if kind == "entity":
        raise BadInput("an entity belongs to nothing; only units, tenants and workloads have a place")
    active(registry, KINDS[KINDS.index(kind) - 1], facts.parent, at)


def _check_secret(registry: Registry, secret: KeySecret) -> None:
    if registry.key_of_secret(secret.hash) is not None:
        raise BadInput("this secret is, or was, that of another key; each key has its own")
    if secret.access_key_id is not None and registry.is_taken(secret.access_key_id):
        raise BadInput(f"the access key id {secret.access_key_id} is, or was, that of another key")


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "entity" else f"a {kind}"
