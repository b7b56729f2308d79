"""What workers are told of the registry: which secrets open the gateway, for whom, from when to when.

`run/registry.json` is two lines: a digest of the second, and the credentials. It is replaced by a rename when anything
changed, and touched while the book's writer lives: its age is how long ago somebody vouched for it.
"""

import os
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.journal.files import write_whole
from tollbook.journal.registration import LimitSet
from tollbook.registry.registry import EVER, KeptSecret, Key, Registry

_HEAD_LIMIT: Final = 512


class Credential(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One secret that opens the gateway between two instants. `workloads` are all that its key may name; `limited`: it
    was made for these, and sees nothing of others."""

    hash: str
    tenant: str
    key: str
    workloads: tuple[str, ...]
    limited: bool = False
    models: tuple[str, ...] = ()
    since: int = 0
    until: int = EVER
    access_key_id: str | None = None
    sealed: str | None = None


class Head(Struct, frozen=True):
    """The first line: BLAKE2b of the second, and the configuration whose tenants and keys have entered; none yet: what
    the last start knew."""

    digest: str
    configuration: str | None


class Snapshot(Struct, frozen=True):
    """What the file holds."""

    configuration: str | None
    told: "Told"


class Told(Struct, frozen=True):
    """The second line: who may come in, and within which limits."""

    credentials: list[Credential] = []
    limits: list[LimitSet] = []


def path_of(book_root: Path) -> Path:
    return book_root / "run" / "registry.json"


def credentials(registry: Registry, at: int) -> list[Credential]:
    """Every secret that opens now or later, as far as it is known at an instant; what has ended is left out."""
    found: list[Credential] = []
    workloads: dict[str, tuple[str, ...]] = {}
    for one in registry.all("workload", at):
        owner, _, name = one.name.partition("/")
        if one.until is None or one.until > at:
            workloads[owner] = (*workloads.get(owner, ()), name)
    for key in registry.keys.values():
        tenant = registry.find("tenant", key.tenant, at)
        if tenant is None:
            continue
        ends = (EVER if one is None else one for one in (tenant.until, key.revoked, key.expires))
        until = min(ends)
        known = workloads.get(key.tenant, ())
        named = tuple(name for name in key.workloads if name in known) if key.workloads else known
        if key.workloads and not named:
            continue
        found += [_credential(key, one, named, until) for one in key.secrets if min(until, one.until) > at]
    return found


def _credential(key: Key, kept: KeptSecret, workloads: tuple[str, ...], until: int) -> Credential:
    return Credential(
        hash=kept.secret.hash,
        tenant=key.tenant,
        key=key.name,
        workloads=workloads,
        limited=bool(key.workloads),
        models=key.models,
        since=kept.since,
        until=min(until, kept.until),
        access_key_id=kept.secret.access_key_id,
        sealed=kept.secret.sealed,
    )


def next_change(registry: Registry, at: int) -> int:
    """The first instant after `at` at which the credentials become others by themselves."""
    instants = [known.effective for known in registry.entries]
    for key in registry.keys.values():
        instants += [key.expires or 0, *(one.until for one in key.secrets)]
    return min((instant for instant in instants if instant > at), default=EVER)


def write(book_root: Path, snapshot: Snapshot) -> None:
    """Put a snapshot in the place of the one before."""
    body = msgspec.json.encode(snapshot.told)
    head = Head(digest=_digest(body), configuration=snapshot.configuration)
    write_whole(path_of(book_root), msgspec.json.encode(head) + b"\n" + body + b"\n")


def touch(book_root: Path) -> None:
    """Vouch for the snapshot once more."""
    os.utime(path_of(book_root))


def read_head(book_root: Path) -> Head:
    """The first line. Raises FileNotFoundError; BadInput when it cannot be read."""
    with path_of(book_root).open("rb") as file:
        line = file.readline(_HEAD_LIMIT)
    try:
        return msgspec.json.decode(line, type=Head)
    except msgspec.MsgspecError as fault:
        raise BadInput(f"{path_of(book_root)} cannot be read: {fault}") from fault


def read(book_root: Path) -> tuple[Head, Told]:
    """The whole. Raises FileNotFoundError; BadInput when it cannot be read or is not whole."""
    head, _, body = path_of(book_root).read_bytes().rstrip(b"\n").partition(b"\n")
    try:
        told = msgspec.json.decode(head, type=Head)
        if told.digest != _digest(body):
            raise BadInput(f"{path_of(book_root)} is not whole; the running scribe writes it anew")
        return told, msgspec.json.decode(body, type=Told)
    except msgspec.MsgspecError as fault:
        raise BadInput(f"{path_of(book_root)} cannot be read: {fault}") from fault


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()
