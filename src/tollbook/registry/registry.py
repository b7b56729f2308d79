"""The registry as folded from its entries: who there was at an instant, as it was known at another. Pure.

Every change holds from an effective instant on and is known from its place in the journal on. A look-up names both: of
what was known by then, the move that took effect last decides; of two of one instant, the one recorded later. So a
move that is backdated before another holds until that other one. What something was added with is where it starts
from, for every instant before its moves.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from tollbook.core.faults import Tampered
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.registration import (
    Added,
    Ended,
    KeyAdded,
    KeyRevoked,
    KeyRotated,
    KeySecret,
    LimitSet,
    Moved,
    RegistryChanged,
    TransferPosted,
)

KINDS: Final = ("entity", "unit", "tenant", "workload")
"""What the registry knows, from the outside in; each belongs to one of the kind before."""
MODES: Final = ("showback", "chargeback")
EVER: Final = 1 << 62
"""An instant after all others."""

_decoder: Final = msgspec.json.Decoder(RegistryChanged)
_transfer_decoder: Final = msgspec.json.Decoder(TransferPosted)


class Place(NamedTuple):
    """Where usage belongs. Unknown is None."""

    tenant: str | None = None
    unit: str | None = None
    entity: str | None = None
    cost_centre: str | None = None


class Recorded(Struct, frozen=True):
    """One entry as it was recorded: its number in the registry's order from 0, its digest, instants, and what it says;
    `position` where the ledger folded it, if that is where it was read."""

    number: int
    digest: str
    recorded: int
    effective: int
    entry: RegistryChanged
    position: int = 0


class Subject(Struct, frozen=True, kw_only=True):
    """An entity, unit, tenant or workload at an instant. `until`: when it ends, if that is known."""

    kind: str
    name: str
    parent: str | None = None
    owner: str | None = None
    cost_centre: str | None = None
    mode: str | None = None
    since: int
    until: int | None = None


class KeptSecret(Struct, frozen=True):
    """A secret of a key, and the instants between which it works."""

    secret: KeySecret
    since: int
    until: int = EVER


class Key(Struct, frozen=True, kw_only=True):
    """A key as it is known now; the last of its secrets is the newest."""

    tenant: str
    name: str
    owner: str | None
    workloads: tuple[str, ...]
    models: tuple[str, ...]
    created: int
    expires: int | None
    secrets: tuple[KeptSecret, ...]
    revoked: int | None = None

    def state(self, at: int) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked is not None and self.revoked <= at:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= at else "active"


class Registry:
    """Entries in the order they were recorded, and what they come to."""

    def __init__(self) -> None:
        self.entries: Final[list[Recorded]] = []
        self.transferred: Final[dict[str, TransferPosted]] = {}
        """What was carried over, by the digest of the change that made it so."""
        self.suspicions: Final[list[TransferPosted]] = []
        """What was carried over because its key was under suspicion."""
        self.keys: Final[dict[tuple[str, str], Key]] = {}
        self.limits: Final[dict[tuple[str, str, str | None], LimitSet]] = {}
        """By tenant, kind and name; those that were set last."""
        self._history: Final[dict[tuple[str, str], list[tuple[Recorded, Added | Moved | Ended]]]] = {}

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Registry":
        """The registry that some lines of the book's lane make. Raises Tampered when one cannot be read."""
        made = cls()
        for line in lines:
            made.take(line)
        return made

    def take(self, line: Line) -> None:
        """Add a line. Raises Tampered when it cannot be read."""
        try:
            if line.kind == "transfer.posted":
                self.transfer(_transfer_decoder.decode(line.bytes))
            else:
                self.add(_decoder.decode(line.bytes), line.recorded, line.digest)
        except UNREADABLE as fault:
            raise Tampered(f"lane {line.lane}, entry {line.sequence}: cannot be read ({fault})") from fault

    def add(self, entry: RegistryChanged, recorded: int, digest: str, position: int = 0) -> Recorded:
        """Add an entry that was recorded after all others."""
        effective = recorded if entry.effective is None else entry.effective
        known = Recorded(len(self.entries), digest, recorded, effective, entry, position)
        self.entries.append(known)
        for change in entry.changes:
            if isinstance(change, Added | Moved | Ended):
                self._history.setdefault((change.kind, change.name), []).append((known, change))
            elif isinstance(change, LimitSet):
                self.limits[change.tenant, change.kind, change.name] = change
            else:
                self._change_key(known, change)
        return known

    def transfer(self, posted: TransferPosted) -> None:
        """Take note of a transfer."""
        if posted.change is not None:
            self.transferred[posted.change] = posted
        else:
            self.suspicions.append(posted)

    def names(self, kind: str) -> list[str]:
        """All names of a kind that were ever known."""
        return sorted(name for of_kind, name in self._history if of_kind == kind)

    def find(self, kind: str, name: str, at: int, known: int | None = None) -> Subject | None:
        """One at the instant `at`, as the first `known` entries (all by default) tell; None when they tell nothing."""
        history = self._history.get((kind, name), ())
        told = [(entry.effective, entry.number, change) for entry, change in history if _is_known(entry, known)]
        if not told:
            return None
        told.sort(key=lambda one: (not isinstance(one[2], Added), one[:2]))
        facts: dict[str, str | None] = {}
        until: int | None = None
        for effective, _, change in told:
            if isinstance(change, Ended):
                until = effective
            elif effective <= at or isinstance(change, Added):
                found = {field: getattr(change, field) for field in ("parent", "owner", "cost_centre", "mode")}
                facts |= {field: value for field, value in found.items() if value is not None}
        since = min(effective for effective, _, _ in told)
        return Subject(kind=kind, name=name, since=since, until=until, **facts)

    def next_move(self, kind: str, name: str, at: int) -> int | None:
        """When one moves next after an instant, as far as it is known."""
        moves = [known.effective for known, change in self._history.get((kind, name), ()) if isinstance(change, Moved)]
        return min((effective for effective in moves if effective > at), default=None)

    def all(self, kind: str, at: int, known: int | None = None) -> Iterator[Subject]:
        """Everyone of a kind that was ever known, as it is at an instant."""
        for name in self.names(kind):
            found = self.find(kind, name, at, known)
            if found is not None:
                yield found

    def is_active(self, kind: str, name: str, at: int) -> bool:
        """Whether there is one of that name at an instant."""
        found = self.find(kind, name, at)
        return found is not None and found.since <= at and (found.until is None or at < found.until)

    def ancestry(self, kind: str, name: str, at: int, known: int | None = None) -> list[Subject]:
        """One and what it belongs to, from the inside out, as far as that is known."""
        chain: list[Subject] = []
        for level in reversed(KINDS[: KINDS.index(kind) + 1]):
            found = self.find(level, name, at, known)
            if found is None:
                break
            chain.append(found)
            if found.parent is None:
                break
            name = found.parent
        return chain

    def place(self, tenant: str, workload: str | None, at: int, known: int | None = None) -> Place:
        """Where usage that was captured for a tenant's workload belongs."""
        chain: list[Subject] = []
        if workload is not None:
            chain = self.ancestry("workload", workload_name(tenant, workload), at, known)
        if not any(one.kind == "tenant" for one in chain):
            chain += self.ancestry("tenant", tenant, at, known)
        names = {one.kind: one.name for one in chain}
        for one in chain:
            if one.parent is not None:
                names.setdefault(KINDS[KINDS.index(one.kind) - 1], one.parent)
        cost_centre = next((one.cost_centre for one in chain if one.cost_centre is not None), None)
        return Place(names.get("tenant", tenant), names.get("unit"), names.get("entity"), cost_centre)

    def key_of_secret(self, hashed: str) -> Key | None:
        """The key that a secret is, or once was, of."""
        return next((key for key in self.keys.values() if any(one.secret.hash == hashed for one in key.secrets)), None)

    def is_taken(self, access_key_id: str) -> bool:
        """Whether an access key id was ever given out."""
        return any(one.secret.access_key_id == access_key_id for key in self.keys.values() for one in key.secrets)

    def _change_key(self, known: Recorded, change: KeyAdded | KeyRotated | KeyRevoked) -> None:
        name, at = (change.tenant, change.name), known.effective
        if isinstance(change, KeyAdded):
            self.keys[name] = Key(
                tenant=change.tenant,
                name=change.name,
                owner=change.owner,
                workloads=tuple(change.workloads),
                models=tuple(change.models),
                created=at,
                expires=change.expires,
                secrets=(KeptSecret(change.secret, at),),
            )
            return
        key = self.keys[name]
        if isinstance(change, KeyRevoked):
            self.keys[name] = msgspec.structs.replace(key, revoked=at)
            return
        former = tuple(msgspec.structs.replace(one, until=min(one.until, change.until)) for one in key.secrets)
        self.keys[name] = msgspec.structs.replace(key, secrets=(*former, KeptSecret(change.secret, at)))


def workload_name(tenant: str, workload: str) -> str:
    """A workload's name in the registry: `TENANT/NAME`, by the tenant it was made for, wherever it belongs now."""
    return f"{tenant}/{workload}"


def _is_known(entry: Recorded, known: int | None) -> bool:
    return known is None or entry.number < known
