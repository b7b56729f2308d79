"""A configuration's tenants and keys, as the scribe is told of them: no secret among it."""

from pathlib import Path

import msgspec

from tollbook.assembly.acts import ask
from tollbook.assembly.registering import Seeding
from tollbook.core.settings import Settings
from tollbook.registry.registry import Registry
from tollbook.registry.secret import kept_form, read_key
from tollbook.registry.seeding import Difference, SeedKey, SeedTenant, differences

Vault = dict[str, dict[str, str]]
"""Secrets by tenant and key name."""


def seed(root: Path, settings: Settings, vault: Vault) -> int:
    """Have what is new of a configuration enter the registry, through the running scribe; in how many places it says
    otherwise than the registry. Raises NotServed, NoAnswer."""
    ask(root, "registry.known", {})  # a scribe that answers has made the key that secrets are hashed by
    wanted = Seeding(configuration=settings.digest, tenants=seeds(settings, vault, read_key(root)))
    done = ask(root, "registry.seed", msgspec.to_builtins(wanted))
    return len(done["differences"])


def seeds(settings: Settings, vault: Vault, key: bytes) -> list[SeedTenant]:
    """The configuration's tenants; of each key, what is kept of its secret, where that can be had."""
    return [
        SeedTenant(
            name=tenant.name,
            workloads=tenant.workloads,
            keys=tuple(
                SeedKey(
                    name=one.name,
                    secret=None if secret is None else kept_form(key, secret, one.access_key_id),
                    workloads=one.workloads,
                )
                for one in tenant.keys
                for secret in (vault.get(tenant.name, {}).get(one.name),)
            ),
        )
        for tenant in settings.tenants.values()
    ]


def compare(root: Path, settings: Settings, vault: Vault, registry: Registry, at: int) -> list[Difference]:
    """What a configuration says otherwise than the registry. Raises BadInput when the registry's key cannot be read."""
    return differences(registry, seeds(settings, vault, read_key(root)), at)
