"""What `tollbook doctor` looks at: configuration, secrets, the book's files, its disk, the clock, signatures."""

import ctypes
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from tollbook.core.clock import SECOND, now
from tollbook.core.faults import BadConfiguration, Fault
from tollbook.core.settings import Settings, reference_of

if TYPE_CHECKING:
    from tollbook.journal.book import Book

State: TypeAlias = Literal["ok", "warning", "broken"]

CLOCK_LIMIT: Final = SECOND
ANCHOR_LIMIT_SECONDS: Final = 3600
SHIP_LIMIT_SECONDS: Final = 60
CHECKPOINT_LIMIT_SECONDS: Final = 900
SECRET_LENGTH: Final = 16
SHOWN: Final = 5

_FLEETING: Final = {
    "tmpfs": "is in memory: it is gone after a restart of the machine",
    "ramfs": "is in memory: it is gone after a restart of the machine",
    "overlay": "is a container's own layer: it is gone with the container",
    "nfs": "is on a network: locks and syncs may not hold",
    "nfs4": "is on a network: locks and syncs may not hold",
    "cifs": "is on a network: locks and syncs may not hold",
}

_EPHEMERAL: Final = {
    r"/kubernetes\.io~empty-dir/": "is an emptyDir volume: it is gone with the pod",
    r"/volumes/[0-9a-f]{64}/_data": "is a volume without a name: it is gone with the container's",
}
"""What the mounted part of a file system looks like when it does not outlive its container."""


class Check(NamedTuple):
    """One thing looked at: what it is called, how it stands, and what to do when it does not stand well."""

    name: str
    state: State
    message: str
    todo: str | None = None


CHECKS: Final = {
    "configuration": "the configuration file can be read and is right",
    "secrets": "every secret can be had, none is written in the file, none is short",
    "vendor_keys": "vendor keys carry the ids that bills speak of, and serve one tenant each",
    "book": "the book opens, and its signing key is the one it was born with",
    "permissions": "only the owner can read the book's files",
    "filesystem": "the book lies on a disk that stays",
    "space": "the disk has room, and will have for a week at the rate of the last day",
    "clock": "the clock is synchronised, and not behind the book's last entry",
    "registry": "the configuration's tenants and keys are those of the registry",
    "claims": "claims of idempotency keys are removed when they are old",
    "duties": "acts that take two can be approved, and no emergency waits to be",
    "checkpoint": "the book was signed not long ago",
    "anchor": "signatures leave the machine, and did so not long ago",
    "ship": "a copy of the book elsewhere is brought up to date",
    "ledger": "the ledger can be read",
    "lag": "the ledger is not behind the journal",
    "housekeeping": "snapshots and files of the ledger are few enough to stay fast",
    "batches": "what vendors tell of batches is the sum of their lines",
    "transfers": "what a transfer takes from one side it gives to the other",
    "statements": "the lines of vendors' statements are those that were taken in",
    "totals": "the ledger's totals are those of its rows",
}
"""Everything that is looked at, and what is hoped for."""


def check_configuration(path: Path, environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """The configuration file and what it refers to."""
    from tollbook import config

    try:
        settings = config.load(path)
    except BadConfiguration as fault:
        yield Check("configuration", "broken", str(fault), "repair the file")
        return
    yield Check("configuration", "ok", f"{path}, digest {settings.digest[:12]}")
    yield _check_secrets(settings, path.parent, environ)
    yield _check_vendor_keys(settings)


def _check_secrets(settings: Settings, base: Path, environ: Mapping[str, str]) -> Check:
    from tollbook import config

    literal = [
        f"{kind}.{owner}.keys.{key}"
        for kind, owner, key, reference in config.references(settings)
        if reference_of(reference) == "literal"
    ]
    if literal:
        told = f"written in the file: {_some(literal)}"
        return Check("secrets", "warning", told, "write env:NAME or file:/path instead")
    try:
        secrets = config.resolve(settings, base, environ)
    except BadConfiguration as fault:
        return Check("secrets", "warning", str(fault), "set them where `tollbook serve` runs")
    short = [
        f"tenants.{tenant}.keys.{key}"
        for tenant, keys in secrets.tenants.items()
        for key, secret in keys.items()
        if len(secret) < SECRET_LENGTH
    ]
    if short:
        return Check("secrets", "warning", f"short enough to guess: {_some(short)}", "use 24 random bytes or more")
    return Check("secrets", "ok", "every secret can be had")


def _check_vendor_keys(settings: Settings) -> Check:
    problems = []
    for vendor in settings.vendors.values():
        for key in vendor.keys:
            if key.id is None:
                problems.append(f"{vendor.name}.{key.name} has no id")
            if len(key.tenants) != 1 and len(settings.tenants) > 1:
                problems.append(f"{vendor.name}.{key.name} serves several tenants")
    if problems:
        todo = "a bill speaks of key ids only: give each key its id, and each tenant a key of its own"
        return Check("vendor_keys", "warning", _some(problems), todo)
    return Check("vendor_keys", "ok", "each has its id and serves one tenant")


def check_files(root: Path, settings: Settings | None) -> Iterator[Check]:
    """The book's files, disk and signatures."""
    from tollbook.cli.disk_health import check_claims, check_space
    from tollbook.journal.book import Book
    from tollbook.journal.keychain import read_keys

    try:
        book = Book.open(root)
        book.signer(read_keys(root, book.id, book.key).current)
    except Fault as fault:
        yield Check("book", "broken", str(fault), "name the right directory, or restore it from a backup")
        return
    yield Check("book", "ok", f"{root}, {book.id}")
    yield _check_permissions(root)
    yield _check_filesystem(root)
    yield check_space(root, settings)
    yield check_claims(root)
    yield _check_age("checkpoint", book.checkpoints / "latest", CHECKPOINT_LIMIT_SECONDS, "run `tollbook serve`")
    yield _check_anchor(settings, book.id)
    yield check_ship(settings, book)


def _check_permissions(root: Path) -> Check:
    open_ones = [
        str(path.relative_to(root))
        for path in (root, *root.rglob("*"))
        if not path.is_symlink() and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_ones:
        return Check("permissions", "warning", f"open to others: {_some(open_ones)}", f"do: chmod -R go= {root}")
    return Check("permissions", "ok", "only the owner can read the book")


def _check_filesystem(root: Path) -> Check:
    kind, within = mount_of(root.resolve(), Path("/proc/self/mountinfo").read_text())
    why = fleeting(kind, within)
    if why:
        return Check("filesystem", "warning", f"{kind} {why}", "move the book to a disk that stays")
    return Check("filesystem", "ok", kind)


def fleeting(kind: str, within: str) -> str:
    """Why what is mounted may be gone tomorrow; nothing when there is no sign of it."""
    return _FLEETING.get(kind) or next((told for shape, told in _EPHEMERAL.items() if re.search(shape, within)), "")


def mount_of(path: Path, mountinfo: str) -> tuple[str, str]:
    """The kind of file system that a path lies on, and what of it is mounted there, by the text of
    /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    best, found = "", ("unknown", "/")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        within, place = before.split(" ")[3:5]
        if path.is_relative_to(place) and len(place) >= len(best):
            best, found = place, (after.split(" ")[0], within)
    return found


def _check_age(name: str, path: Path, limit: int, todo: str) -> Check:
    try:
        age = int(time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return Check(name, "warning", f"{path} is not there", todo)
    return Check(name, "ok" if age <= limit else "warning", f"{age:,} s old", None if age <= limit else todo)


def _check_anchor(settings: Settings | None, book: str) -> Check:
    if settings is None or settings.journal.anchor is None:
        told = "none: whoever holds the signing key could write all history anew"
        return Check("anchor", "warning", told, "set journal.anchor to a directory elsewhere")
    directory = Path(settings.journal.anchor)
    kept = sorted(directory.glob(f"{book}-*"), key=lambda path: path.stat().st_mtime)
    latest = kept[-1] if kept else directory / f"{book}-1"
    return _check_age("anchor", latest, ANCHOR_LIMIT_SECONDS, "see that the anchor's directory can be written")


def check_ship(settings: Settings | None, book: "Book") -> Check:
    """How old the copy elsewhere is."""
    from tollbook.journal.checkpoint import parse_checkpoint
    from tollbook.journal.copying import read_copy

    if settings is None or settings.journal.ship is None:
        told = "none: what is recorded here is lost with this disk or machine"
        return Check("ship", "warning", told, "set journal.ship to a directory on another disk or host")
    ship = settings.journal.ship
    todo = f"see that {ship.to} can be written, and what `tollbook serve` says of it"
    try:
        copy = read_copy(Path(ship.to))
        note = (book.checkpoints / "latest").read_bytes()
    except (Fault, OSError) as fault:
        return Check("ship", "warning", str(fault), todo)
    if copy is None or copy.book != book.id:
        return Check("ship", "warning", f"{ship.to} holds no copy of this book", todo)
    age = max(0, now() - copy.made) // SECOND
    told = f"{age:,} s old, at position {copy.position:,} of {parse_checkpoint(note).size:,}"
    late = age > max(SHIP_LIMIT_SECONDS, 10 * ship.every)
    return Check("ship", "warning" if late else "ok", told, todo if late else None)


def check_clock(last_recorded: int | None) -> Check:
    """The clock against the kernel's own estimate of its error, and against the book's last entry."""
    instant = now()
    if last_recorded is not None and last_recorded > instant + CLOCK_LIMIT:
        behind = (last_recorded - instant) // SECOND
        return Check("clock", "broken", f"{behind:,} s behind the book's last entry", "set the clock right")
    error = clock_error()
    if error is None:
        return Check("clock", "warning", "the kernel does not say whether it is synchronised", "run an NTP client")
    if error > CLOCK_LIMIT:
        return Check("clock", "warning", f"may be off by {error // SECOND:,} s or more", "run an NTP client")
    return Check("clock", "ok", f"synchronised to {error / 1000:.1f} ms")


class _Timex(ctypes.Structure):
    """The head of Linux's `struct timex` (adjtimex(2)); the kernel writes at most 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_TIME_ERROR: Final = 5
"""What adjtimex returns for a clock that nothing synchronises."""


def clock_error() -> int | None:
    """The most the clock is off by the kernel's estimate, in microseconds; None when nothing synchronises it."""
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) in (-1, _TIME_ERROR):
        return None
    return int(timex.maxerror)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
