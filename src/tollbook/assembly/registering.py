"""The registry as the book's writer keeps it: judges a wish, writes the entry, tells the workers, then answers."""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from tollbook.core.clock import SECOND, Clock, format_instant, now
from tollbook.core.faults import BadInput
from tollbook.core.settings import AccessKeyId, ModelName, Name, Quantity
from tollbook.journal.book import Book
from tollbook.journal.personal import ensure_keys
from tollbook.journal.recording import BookLane
from tollbook.journal.registration import Added, Change, KeyAdded, LimitSet, RegistryChanged, TransferPosted
from tollbook.registry import decisions, seeding, snapshot
from tollbook.registry.decisions import Facts, KeyFacts
from tollbook.registry.organisation import needs_transfer
from tollbook.registry.registry import Recorded, Registry, workload_name
from tollbook.registry.secret import kept_form, make_key, new_access_key_id, new_secret, read_key

Document = dict[str, Any]
T = TypeVar("T")

VOUCH_SECONDS: Final = 2.0
"""How often the snapshot is touched."""
CHANGES_PER_ENTRY: Final = 400
"""More are written as several entries, since a line has its limit."""


class Subject(Struct, frozen=True, kw_only=True):
    """A wish for an entity, unit, tenant or workload. With a new tenant its workloads and first key may come."""

    kind: str
    name: str
    facts: Facts = Facts()
    effective: int | None = None
    reason: str | None = None
    workloads: tuple[Name, ...] = ()
    key: KeyFacts | None = None


class NewKey(Struct, frozen=True, kw_only=True):
    """A wish for a key. `secret` is one that its clients have already; `signs`: they sign requests (SigV4)."""

    tenant: Name
    facts: KeyFacts
    secret: str | None = None
    signs: bool = False
    access_key_id: AccessKeyId | None = None
    reason: str | None = None


class KeyAct(Struct, frozen=True, kw_only=True):
    """A wish for a key there is: by its name or `TENANT/NAME`."""

    name: str
    tenant: str | None = None
    reason: str | None = None
    secret: str | None = None
    overlap: int = 0


class NewLimit(Struct, frozen=True, kw_only=True):
    """A wish for limits: of the tenant, or of one of its workloads, keys or models."""

    tenant: Name
    workload: Name | None = None
    key: Name | None = None
    model: ModelName | None = None
    requests_per_minute: Quantity | None = None
    tokens_per_minute: Quantity | None = None
    streams: Quantity | None = None
    reason: str | None = None


class Seeding(Struct, frozen=True, kw_only=True):
    """A configuration's tenants and keys, which enter where they are new."""

    configuration: str
    tenants: list[seeding.SeedTenant]


class RegistryKeeper:
    """The one writer of the registry. Raises BadInput when the book's registry key is missing though keys are known."""

    def __init__(self, book: Book, lane: BookLane, clock: Clock = now) -> None:
        self._root: Final = book.root
        self._lane: Final = lane
        self._clock: Final = clock
        self.registry: Final = Registry.of(lane.recovered.registry)
        if not self.registry.keys:
            make_key(book.root)
        self._key: Final = read_key(book.root)
        self._configuration: str | None = None
        self._next = 0
        self.refresh()

    @property
    def acts(self) -> dict[str, Callable[[Document, str], Any]]:
        """What people can ask, by name: given the arguments and who asks."""
        return {
            "registry.known": lambda arguments, actor: len(self.registry.entries),
            "registry.read": lambda arguments, actor: self.read(),
            "registry.seed": lambda arguments, actor: self.seed(wish(arguments, Seeding), actor),
            "registry.transfer": lambda arguments, actor: self.transfer_of(arguments["digest"]),
            "registry.add": lambda arguments, actor: self.add(wish(arguments, Subject), actor),
            "registry.move": lambda arguments, actor: self.move(wish(arguments, Subject), actor),
            "registry.end": lambda arguments, actor: self.end(wish(arguments, Subject), actor),
            "key.add": lambda arguments, actor: self.add_key(wish(arguments, NewKey), actor),
            "key.rotate": lambda arguments, actor: self.rotate_key(wish(arguments, KeyAct), actor),
            "limit.set": lambda arguments, actor: self.set_limit(wish(arguments, NewLimit), actor),
            "key.revoke": lambda arguments, actor: self.revoke_key(wish(arguments, KeyAct), actor),
        }

    def refresh(self) -> None:
        """Tell the workers anew, when something took effect by itself since."""
        at = self._clock()
        if at >= self._next:
            self._tell(at)

    def read(self) -> list[Document]:
        """Every entry, in order."""
        return [
            {"digest": known.digest, "recorded": known.recorded, "entry": msgspec.to_builtins(known.entry)}
            for known in self.registry.entries
        ]

    def transfer_of(self, digest: str) -> Any:
        """What was carried over because of a change; None while that is not known."""
        return msgspec.to_builtins(self.registry.transferred.get(digest))

    def post(self, transfer: TransferPosted) -> Document:
        """Write a transfer; where it stands."""
        sequence, digest = self._lane.append("transfer.posted", transfer)
        self.registry.transfer(transfer)
        return {"lane": self._lane.name, "sequence": sequence, "kind": "transfer.posted", "digest": digest}

    def seed(self, wanted: Seeding, actor: str) -> Document:
        """Take over what of a configuration is new; what it says otherwise than the registry is told."""
        by = f"configuration {wanted.configuration[:12]}, loaded by {actor}"
        count = 0
        for tenant in wanted.tenants:
            changes = seeding.new_changes(self.registry, tenant, self._clock())
            for start in range(0, len(changes), CHANGES_PER_ENTRY):
                self._append(changes[start : start + CHANGES_PER_ENTRY], by, configuration=wanted.configuration)
            count += len(changes)
        self._configuration = wanted.configuration
        at = self._clock()
        self._tell(at)
        found = seeding.differences(self.registry, wanted.tenants, at)
        return {"entered": count, "differences": [one._asdict() for one in found]}

    def add(self, wanted: Subject, actor: str) -> Document:
        """A new entity, unit, tenant or workload; a tenant with its workloads and first key in the same entry."""
        at = self._clock() if wanted.effective is None else wanted.effective
        name = _name(wanted)
        changes: list[Change] = []
        secret = None
        if wanted.kind == "tenant":
            changes += decisions.add_tenant(self.registry, name, wanted.facts, wanted.workloads, at)
            if wanted.key is not None:
                secret = new_secret()
                kept = kept_form(self._key, secret)
                fresh = frozenset(wanted.workloads)
                changes.append(decisions.add_key(self.registry, name, wanted.key, kept, at, fresh))
        else:
            changes.append(decisions.add(self.registry, wanted.kind, name, wanted.facts, at))
        done = self._do(changes, actor, wanted.effective, wanted.reason)
        added = changes[-1]
        if isinstance(added, KeyAdded):
            done["key"] = _shown_key(added, secret)
        return {"kind": wanted.kind, "name": name, **done}

    def move(self, wanted: Subject, actor: str) -> Document:
        """Another place, owner, cost centre or mode from an instant on."""
        at = self._clock() if wanted.effective is None else wanted.effective
        name = decisions.workload_named(self.registry, wanted.name) if wanted.kind == "workload" else wanted.name
        change = decisions.move(self.registry, wanted.kind, name, wanted.facts, at)
        until = self.registry.next_move(wanted.kind, name, at)
        done = self._do([change], actor, wanted.effective, wanted.reason)
        return {"kind": wanted.kind, "name": name, **done, "until": None if until is None else format_instant(until)}

    def end(self, wanted: Subject, actor: str) -> Document:
        """The end of one from an instant on."""
        at = self._clock() if wanted.effective is None else wanted.effective
        name = decisions.workload_named(self.registry, wanted.name) if wanted.kind == "workload" else wanted.name
        change = decisions.end(self.registry, wanted.kind, name, at)
        done = self._do([change], actor, wanted.effective, wanted.reason)
        return {"kind": wanted.kind, "name": name, **done}

    def add_key(self, wanted: NewKey, actor: str) -> Document:
        """A new key; its secret is in the answer and nowhere else."""
        at = self._clock()
        decisions.active(self.registry, "tenant", wanted.tenant, at)
        secret = wanted.secret or new_secret()
        access_key_id = wanted.access_key_id or (new_access_key_id() if wanted.signs else None)
        kept = kept_form(self._key, secret, access_key_id)
        change = decisions.add_key(self.registry, wanted.tenant, wanted.facts, kept, at)
        return {**_shown_key(change, secret), **self._do([change], actor, None, wanted.reason)}

    def rotate_key(self, wanted: KeyAct, actor: str) -> Document:
        """Another secret for a key; the one before works for the overlap."""
        at = self._clock()
        key = decisions.key_named(self.registry, wanted.name, wanted.tenant)
        secret = wanted.secret or new_secret()
        kept = kept_form(
            self._key, secret, None if key.secrets[-1].secret.access_key_id is None else new_access_key_id()
        )
        change = decisions.rotate_key(self.registry, key, kept, wanted.overlap * SECOND, at)
        shown = _key(key.tenant, key.name, key.workloads, key.expires, secret, kept.access_key_id)
        done = self._do([change], actor, None, wanted.reason)
        return {**shown, "former_until": format_instant(change.until), **done}

    def revoke_key(self, wanted: KeyAct, actor: str) -> Document:
        """The end of a key."""
        key = decisions.key_named(self.registry, wanted.name, wanted.tenant)
        change = decisions.revoke_key(key, self._clock())
        done = self._do([change], actor, None, wanted.reason)
        return {"key": key.name, "tenant": key.tenant, "revoked_at": done["effective"], **done}

    def set_limit(self, wanted: NewLimit, actor: str) -> Document:
        """Other limits for a tenant, or for one of its workloads, keys or models."""
        scopes = {"workload": wanted.workload, "key": wanted.key, "model": wanted.model}
        named = [(kind, name) for kind, name in scopes.items() if name is not None]
        if len(named) > 1:
            raise BadInput("limits belong to one of them: a workload, a key or a model")
        kind, name = named[0] if named else ("tenant", None)
        change = decisions.set_limit(
            self.registry,
            LimitSet(
                tenant=wanted.tenant,
                kind=kind,
                name=name,
                requests_per_minute=wanted.requests_per_minute,
                tokens_per_minute=wanted.tokens_per_minute,
                streams=wanted.streams,
            ),
            self._clock(),
        )
        return {**shown_limit(change), **self._do([change], actor, None, wanted.reason)}

    def _do(self, changes: list[Change], actor: str, effective: int | None, reason: str | None) -> Document:
        """Write changes as one entry and tell the workers; what was written."""
        known = self._append(changes, actor, effective=effective, reason=reason)
        self._tell(self._clock())
        sequence, digest = self._lane.last
        entry = {"lane": self._lane.name, "sequence": sequence, "kind": "registry.changed", "digest": digest}
        return {
            "effective": format_instant(known.effective),
            "recorded": format_instant(known.recorded),
            "actor": actor,
            "reason": reason,
            "entry": entry,
            "transfers": needs_transfer(known),
        }

    def _append(
        self,
        changes: list[Change],
        actor: str,
        *,
        effective: int | None = None,
        reason: str | None = None,
        configuration: str | None = None,
    ) -> Recorded:
        year = datetime.fromtimestamp(self._clock() // SECOND, UTC).year
        tenants = [change.name for change in changes if isinstance(change, Added) and change.kind == "tenant"]
        ensure_keys(self._root, tenants, [year, year + 1])
        entry = RegistryChanged(
            changes=changes, actor=actor, effective=effective, reason=reason, configuration=configuration
        )
        _, digest = self._lane.append("registry.changed", entry)
        return self.registry.add(entry, self._lane.recorded, digest)

    def _tell(self, at: int) -> None:
        told = snapshot.Told(snapshot.credentials(self.registry, at), list(self.registry.limits.values()))
        snapshot.write(self._root, snapshot.Snapshot(self._configuration, told))
        self._next = snapshot.next_change(self.registry, at)


class Vouching:
    """Touches the snapshot as long as the book's writer lives, however long one of its turns takes: while it is busy
    nobody else can change the registry, so what the file says stays true."""

    def __init__(self, book: Book) -> None:
        self._root: Final = book.root
        self._ended: Final = Event()
        Thread(target=self._run, name="vouching", daemon=True).start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(VOUCH_SECONDS):
            try:
                snapshot.touch(self._root)
            except OSError:
                continue  # a disk that fails lets the snapshot grow old, which workers notice


def wish(arguments: Document, kind: type[T]) -> T:
    """What is wanted, as its kind says. Raises BadInput."""
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as fault:
        raise BadInput(f"cannot be done so: {fault}") from None


def _name(wanted: Subject) -> str:
    """The name in the registry; a workload's is made of its tenant's and its own. Raises BadInput."""
    wish({"name": wanted.name}, KeyFacts)  # the same pattern
    if wanted.kind != "workload":
        return wanted.name
    if wanted.facts.parent is None:
        raise BadInput("a workload belongs to a tenant: name it with --tenant")
    return workload_name(wanted.facts.parent, wanted.name)


def shown_limit(change: LimitSet) -> Document:
    """Limits as commands print them; null is no limit."""
    return {
        "tenant": change.tenant,
        **{kind: change.name if change.kind == kind else None for kind in ("workload", "key", "model")},
        "requests_per_minute": change.requests_per_minute,
        "tokens_per_minute": change.tokens_per_minute,
        "streams": change.streams,
    }


def _shown_key(change: KeyAdded, secret: str | None) -> Document:
    return _key(
        change.tenant, change.name, tuple(change.workloads), change.expires, secret, change.secret.access_key_id
    )


def _key(
    tenant: str,
    name: str,
    workloads: tuple[str, ...],
    expires: int | None,
    secret: str | None,
    access_key_id: str | None,
) -> Document:
    return {
        "key": name,
        "secret": secret,
        "access_key_id": access_key_id,
        "tenant": tenant,
        "workload": workloads[0] if len(workloads) == 1 else None,
        "workloads": list(workloads),
        "expires_at": None if expires is None else format_instant(expires),
    }
