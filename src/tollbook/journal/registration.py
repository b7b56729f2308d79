"""Entries of the registry: who there is, by which keys they come, where they belong, and what moved with them.

They stand in the book's own lane only. Registry and ledger are folded from them. A secret is never among them: of a
key there is a keyed hash; of one that requests are signed with, the secret sealed under a key outside the journal.
"""

from typing import Final

from msgspec import Struct

REGISTRY_KINDS: Final = frozenset(("registry.changed", "transfer.posted"))


class KeySecret(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is kept of a secret: its keyed hash; for signed requests (SigV4) also the id they name and the secret sealed
    (base64 of nonce and AES-GCM)."""

    hash: str
    access_key_id: str | None = None
    sealed: str | None = None


class Added(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="added"):
    """A new entity, unit, tenant or workload (`kind`). `name` is that of the book, a workload's `TENANT/NAME`; `parent`
    is what it belongs to, `mode` showback or chargeback: absent, as its parent has it."""

    kind: str
    name: str
    parent: str | None = None
    owner: str | None = None
    cost_centre: str | None = None
    mode: str | None = None


class Moved(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="moved"):
    """Where one belongs, or who bears it, from the effective instant on; what is absent stays as it was."""

    kind: str
    name: str
    parent: str | None = None
    owner: str | None = None
    cost_centre: str | None = None
    mode: str | None = None


class Ended(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="ended"):
    """One that is no more from the effective instant on."""

    kind: str
    name: str


class KeyAdded(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="key_added"):
    """A new key of a tenant. No `workloads`: all of the tenant's; no `models`: all that the tenant may use."""

    tenant: str
    name: str
    secret: KeySecret
    workloads: list[str] = []
    models: list[str] = []
    owner: str | None = None
    expires: int | None = None


class KeyRotated(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="key_rotated"):
    """Another secret of a key; the ones before work until the instant `until`."""

    tenant: str
    name: str
    secret: KeySecret
    until: int


class KeyRevoked(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="key_revoked"):
    """A key that opens nothing any more, with all its secrets."""

    tenant: str
    name: str


class LimitSet(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="act", tag="limit_set"):
    """The limits of a tenant, or of one of its workloads, keys or models (`kind` and `name`), in the place of those it
    had: absent is no limit."""

    tenant: str
    kind: str = "tenant"
    name: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    streams: int | None = None


Change = Added | Moved | Ended | KeyAdded | KeyRotated | KeyRevoked | LimitSet


class RegistryChanged(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one act changed, all at once. `effective` is the instant from which it holds; absent: when it was recorded.
    `configuration` is the digest of the one that an act of seeding was taken from."""

    changes: list[Change]
    actor: str
    effective: int | None = None
    reason: str | None = None
    configuration: str | None = None


class TransferSide(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who bore, or is to bear, what is transferred."""

    tenant: str | None = None
    unit: str | None = None
    entity: str | None = None
    cost_centre: str | None = None


class TransferLeg(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What goes from one side to the other, in one currency (absent: what has no price). Amounts are decimal text: what
    the vendor should charge (`expected`), what the tenant is charged (`recharge`). One side's loss is the other's
    gain."""

    source: TransferSide
    target: TransferSide
    requests: int
    attempts: int
    currency: str | None = None
    expected: str | None = None
    recharge: str | None = None


class TransferPosted(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was on record already when a change took effect in the past, carried over. `change` is the digest of that
    entry; or `key` of `tenant` came under suspicion. It sums what occurred from `since` on and was folded before the
    position `before`."""

    legs: list[TransferLeg]
    since: int
    before: int
    actor: str
    reason: str | None = None
    change: str | None = None
    tenant: str | None = None
    key: str | None = None
