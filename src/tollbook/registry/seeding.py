"""A configuration beside the registry: what of it is new and enters, and what says otherwise and is only told. Pure.

A configuration makes tenants, workloads and keys once. From then on the registry holds: what the file says otherwise
is never applied by itself. A list that the file leaves out (`keys`, `workloads`) is not compared.
"""

from typing import NamedTuple

from msgspec import Struct

from tollbook.journal.registration import Added, Change, KeyAdded, KeySecret
from tollbook.registry.registry import EVER, Key, Registry, workload_name


class SeedKey(Struct, frozen=True, kw_only=True):
    """A key as the configuration tells it; no secret where none could be had."""

    name: str
    secret: KeySecret | None
    workloads: tuple[str, ...] = ()


class SeedTenant(Struct, frozen=True, kw_only=True):
    """A tenant as the configuration tells it."""

    name: str
    workloads: tuple[str, ...] = ()
    keys: tuple[SeedKey, ...] = ()


class Difference(NamedTuple):
    """What the configuration says otherwise than the registry: of what, and in words."""

    kind: str
    name: str
    text: str


def new_changes(registry: Registry, tenant: SeedTenant, at: int) -> list[Change]:
    """What of a tenant in the configuration the registry has never known."""
    changes: list[Change] = []
    known = registry.find("tenant", tenant.name, at) is not None
    if not known:
        changes.append(Added(kind="tenant", name=tenant.name))
    elif not registry.is_active("tenant", tenant.name, at):
        return []
    for name in (workload_name(tenant.name, one) for one in tenant.workloads):
        if registry.find("workload", name, at) is None:
            changes.append(Added(kind="workload", name=name, parent=tenant.name))
    for key in tenant.keys:
        is_new = (tenant.name, key.name) not in registry.keys
        if is_new and key.secret is not None and registry.key_of_secret(key.secret.hash) is None:
            changes.append(
                KeyAdded(tenant=tenant.name, name=key.name, secret=key.secret, workloads=list(key.workloads))
            )
    return changes


def differences(registry: Registry, tenants: list[SeedTenant], at: int) -> list[Difference]:
    """What the configuration says otherwise than the registry, at an instant."""
    found: list[Difference] = []
    for tenant in tenants:
        found += _of_tenant(registry, tenant, at)
    listed = {tenant.name for tenant in tenants}
    for name in _seeded(registry, "tenant"):
        if name not in listed and registry.is_active("tenant", name, at):
            text = "is not in the file any more, but goes on, by default policy; end it, or put it back"
            found.append(Difference("tenant", name, text))
    return found


def _of_tenant(registry: Registry, tenant: SeedTenant, at: int) -> list[Difference]:
    if registry.find("tenant", tenant.name, at) is None:
        return [Difference("tenant", tenant.name, "is new; it enters with the next start or reload")]
    if not registry.is_active("tenant", tenant.name, at):
        return [Difference("tenant", tenant.name, "has ended, but is in the file; take it out")]
    found: list[Difference] = []
    names = {workload_name(tenant.name, one) for one in tenant.workloads}
    for name in sorted(names):
        told = _of_workload(registry, tenant.name, name, at)
        found += [Difference("workload", name, told)] if told else []
    for name in _seeded(registry, "workload"):
        is_missing = names and name.startswith(f"{tenant.name}/") and name not in names
        if is_missing and registry.is_active("workload", name, at):
            found.append(Difference("workload", name, "is not in the file any more, but goes on; end it"))
    for key in tenant.keys:
        told = _of_key(registry, tenant, key, at)
        found += [Difference("key", f"{tenant.name}/{key.name}", told)] if told else []
    listed = {key.name for key in tenant.keys}
    for change in _seeded_keys(registry):
        known = registry.keys[change.tenant, change.name]
        if listed and change.tenant == tenant.name and change.name not in listed and known.state(at) == "active":
            text = "is not in the file any more, but still opens; revoke it, or put it back"
            found.append(Difference("key", f"{tenant.name}/{change.name}", text))
    return found


def _of_workload(registry: Registry, tenant: str, name: str, at: int) -> str | None:
    known = registry.find("workload", name, at)
    if known is None:
        return "is new; it enters with the next start or reload"
    if not registry.is_active("workload", name, at):
        return "has ended, but is in the file; take it out"
    if known.parent != tenant:
        return f"belongs to tenant {known.parent} now; take it out of the file"
    return None


def _of_key(registry: Registry, tenant: SeedTenant, key: SeedKey, at: int) -> str | None:
    known = registry.keys.get((tenant.name, key.name))
    if known is None:
        other = registry.key_of_secret(key.secret.hash) if key.secret is not None else None
        if other is not None:
            return f"has the secret of key {other.tenant}/{other.name}, so it does not enter; give it its own"
        return "is new; it enters with the next start or reload"
    if known.state(at) != "active":
        return f"is {known.state(at)}, but is in the file; take it out"
    if known.workloads != key.workloads:
        told = ", ".join(known.workloads) or "all"
        return f"acts for workloads {told} in the registry, for others in the file; add another key"
    return _of_secret(known, key, at)


def _of_secret(known: Key, key: SeedKey, at: int) -> str | None:
    if key.secret is None:
        return None
    newest = known.secrets[-1]
    if newest.secret.access_key_id != key.secret.access_key_id:
        return "has another access_key_id in the file than in the registry; add another key"
    if newest.secret.hash == key.secret.hash:
        return None
    former = next((one for one in known.secrets if one.secret.hash == key.secret.hash), None)
    if former is None:
        return "has a secret in the file that the registry does not know, so it opens nothing; rotate the key"
    was = "was" if former.until <= at else "is being"
    assert former.until < EVER
    return f"{was} rotated: the file has its former secret; take it out"


def _seeded(registry: Registry, kind: str) -> list[str]:
    """The names of a kind that configurations made."""
    return [
        change.name
        for known in registry.entries
        if known.entry.configuration is not None
        for change in known.entry.changes
        if isinstance(change, Added) and change.kind == kind
    ]


def _seeded_keys(registry: Registry) -> list[KeyAdded]:
    return [
        change
        for known in registry.entries
        if known.entry.configuration is not None
        for change in known.entry.changes
        if isinstance(change, KeyAdded)
    ]
