"""The erasable directory: the values behind keyed digests, kept beside the journal and never in it.

A worker remembers values it has not met lately and hands them over once a second as a file under `personal/inbox/`;
the book's writer moves them into `personal/directory.sqlite`. What was erased is listed, by digest, in
`personal/erased`: no erased value enters a file again under the same key.

`personal/lock` decides every race between the two: a worker hands over under it, after a look at the list; erasing
writes the list under it. So a value is either in a file before the list names it, and is removed with that file, or it
is never written.
"""

import fcntl
import json
import mmap
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from msgspec.structs import asdict

from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.digest import keyed_digest
from tollbook.core.faults import BadInput
from tollbook.journal.entry import PersonalErased
from tollbook.journal.files import sync_directory, write_whole
from tollbook.journal.inbox import people

_CACHED: Final = 65_536
_HAND_OVER_BYTES: Final = 1 << 20
_GIVE_UP_BYTES: Final = 16 << 20
_KEY_BYTES: Final = 32
_CHUNK: Final = 500
_TRACE: Final = 16

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS people (
    digest TEXT PRIMARY KEY, tenant TEXT NOT NULL, year TEXT NOT NULL, kind TEXT NOT NULL,
    value TEXT NOT NULL, recorded INTEGER NOT NULL
) WITHOUT ROWID
"""


def shown(digest: str, value: str | None, *, erased: bool = False) -> str:
    """What stands for a person on a screen: the value; `erased-` or, when it is unknown, `user-` and six letters."""
    if erased:
        return f"erased-{digest[:6]}"
    return f"user-{digest[:6]}" if value is None else value


class PersonalKeys:
    """The tenant-year keys of a book: 32 random bytes each, made when first asked for, the same for all processes."""

    def __init__(self, book_root: Path) -> None:
        self._root: Final = book_root / "keys" / "personal"
        self._known: Final[dict[tuple[str, int], bytes]] = {}

    def of(self, tenant: str, year: int) -> bytes:
        """The key of a tenant and year. Raises BadInput when its file is there and cannot be used."""
        key = self._known.get((tenant, year))
        if key is None:
            key = self._known[tenant, year] = self._read(tenant, year) or self._make(tenant, year)
        return key

    def years(self, tenant: str) -> list[int]:
        """The years for which a tenant has a key."""
        prefix = f"{quote(tenant, safe='')}-"
        names = (path.name.removeprefix(prefix).removesuffix(".key") for path in self._root.glob("*.key"))
        return sorted(int(name) for name in names if len(name) == 4 and name.isdecimal())

    def _path(self, tenant: str, year: int) -> Path:
        return self._root / f"{quote(tenant, safe='')}-{year:04d}.key"

    def _read(self, tenant: str, year: int) -> bytes | None:
        path = self._path(tenant, year)
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(key) != _KEY_BYTES:
            raise BadInput(f"{path} must hold {_KEY_BYTES} bytes and holds {len(key)}; restore it from a backup")
        return key

    def _make(self, tenant: str, year: int) -> bytes:
        """Several processes may try: the first to link its file has made the key."""
        path = self._path(tenant, year)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        write_whole(draft, secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        sync_directory(self._root)
        key = self._read(tenant, year)
        assert key is not None
        return key


def ensure_keys(book_root: Path, tenants: Iterable[str], years: Iterable[int]) -> None:
    """Make the keys of these tenants and years that are not there yet."""
    keys, wanted = PersonalKeys(book_root), list(years)
    for tenant in tenants:
        for year in wanted:
            keys.of(tenant, year)


class _Erased:
    """The digests that were erased, as `personal/erased` lists them now."""

    def __init__(self, personal: Path) -> None:
        self._path: Final = personal / "erased"
        self._read_at: tuple[int, int] | None = None
        self._digests: frozenset[str] = frozenset()

    def digests(self) -> frozenset[str]:
        """All erased digests; the file is read again only when it was replaced."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._digests
        if (found.st_ino, found.st_mtime_ns) != self._read_at:
            self._digests = frozenset(self._path.read_text().split())
            self._read_at = (found.st_ino, found.st_mtime_ns)
        return self._digests

    def add(self, digests: Iterable[str]) -> None:
        """List more digests, durably. The caller holds the lock."""
        every = self.digests() | set(digests)
        write_whole(self._path, "".join(f"{digest}\n" for digest in sorted(every)).encode())


@contextmanager
def _locked(personal: Path) -> Iterator[None]:
    descriptor = os.open(personal / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class PersonalWriter:
    """A worker's side: digests of what names a person, and their values for the directory.

    `fault` says why the last hand-over failed; the values wait, and are given up when they grow beyond 16 MiB.
    """

    def __init__(self, book_root: Path, lane: str, keys: PersonalKeys | None = None, *, clock: Clock = now) -> None:
        self._personal: Final = book_root / "personal"
        self._lane: Final = lane
        self._keys: Final = keys or PersonalKeys(book_root)
        self._clock: Final = clock
        self._erased: Final = _Erased(self._personal)
        self._caches: Final = _Caches(self._remember)
        self._year = 0
        self._year_ends = 0
        self._waiting: list[tuple[str, bytes]] = []
        self._bytes = 0
        self._handed_over = 0
        self._files = 0
        self.fault: str | None = None

    def digest(self, tenant: str, value: str, kind: str) -> str:
        """The keyed digest of a value under the tenant's key of this year; `kind` says what it names (`user`, ...)."""
        if self._clock() >= self._year_ends:
            self._begin_year()
        return self._caches[kind](tenant, value)

    def key(self, tenant: str) -> bytes:
        """The tenant's key of this year."""
        if self._clock() >= self._year_ends:
            self._begin_year()
        return self._keys.of(tenant, self._year)

    def rotate(self) -> None:
        """Hand over what waits, at most once a second. To be called often; does nothing when nothing waits."""
        if self._waiting and self._clock() - self._handed_over >= SECOND:
            self._hand_over()

    def close(self) -> None:
        """Hand over all that waits."""
        if self._waiting:
            self._hand_over()

    def _begin_year(self) -> None:
        self._year = year_of(self._clock())
        self._year_ends = int(datetime(self._year + 1, 1, 1, tzinfo=UTC).timestamp()) * SECOND
        self._caches.clear()

    def _remember(self, kind: str, tenant: str, value: str) -> str:
        """The digest of a value not met lately, which shall be in the directory too."""
        digest = keyed_digest(self._keys.of(tenant, self._year), value)
        entry = {
            "tenant": tenant,
            "year": str(self._year),
            "kind": kind,
            "digest": digest,
            "value": value,
            "recorded": self._clock(),
        }
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._waiting.append((digest, line))
        self._bytes += len(line)
        if self._bytes >= _HAND_OVER_BYTES:
            self.rotate()
        return digest

    def _hand_over(self) -> None:
        self._handed_over = self._clock()
        try:
            with _locked(self._personal):
                erased = self._erased.digests()
                self._write(b"".join([line for digest, line in self._waiting if digest not in erased]))
        except OSError as fault:
            self.fault = f"values for the personal directory cannot be written: {fault.strerror}"
            if self._bytes < _GIVE_UP_BYTES:
                return
            self._caches.clear()
        else:
            self.fault = None
        self._waiting, self._bytes = [], 0

    def _write(self, lines: bytes) -> None:
        if not lines:
            return
        path = self._personal / "inbox" / f"{self._lane}-{self._files:06d}.jsonl"
        draft = path.with_suffix(".tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lines)
        draft.rename(path)
        self._files += 1


class _Caches(dict[str, Callable[[str, str], str]]):
    """One bounded memory of digests per kind, so that ids met once do not push out users met often."""

    def __init__(self, remember: Callable[[str, str, str], str]) -> None:
        super().__init__()
        self._remember: Final = remember

    def __missing__(self, kind: str) -> Callable[[str, str], str]:
        cache = self[kind] = lru_cache(_CACHED)(partial(self._remember, kind))
        return cache


class Erasure(NamedTuple):
    """What was erased: the digests with the year of their key, and how many values had been known."""

    digests: dict[str, str]
    values: int


class PersonalDirectory:
    """The values behind digests. One process at a time changes it, the book's writer; others open it `read_only`."""

    def __init__(self, book_root: Path, *, read_only: bool = False) -> None:
        self._personal: Final = book_root / "personal"
        self._keys: Final = PersonalKeys(book_root)
        self._erased: Final = _Erased(self._personal)
        self._path: Final = self._personal / "directory.sqlite"
        if not read_only:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database: Final = _connect(self._path, read_only) if self._path.exists() else None
        if not read_only:
            self._delete(self._erased.digests())

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def absorb(self) -> int:
        """Move what workers handed over into the directory, less what was erased; how many values were new."""
        inbox = self._personal / "inbox"
        with _locked(self._personal):
            # Under the lock nobody writes: a draft was left by a process that died.
            for draft in inbox.glob("*.tmp"):
                draft.unlink()
            files = sorted(inbox.glob("*.jsonl"))
        erased = self._erased.digests()
        new = self._insert(asdict(person) for file in files for person in people(file) if person.digest not in erased)
        for file in files:
            file.unlink()
        return new

    def values(self, digests: Iterable[str]) -> dict[str, str]:
        """The values that are known, by digest."""
        found: dict[str, str] = {}
        wanted = list(dict.fromkeys(digests))
        for start in range(0, len(wanted) if self._database else 0, _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            found.update(self._rows(f"SELECT digest, value FROM people WHERE digest IN ({marks})", part))  # noqa: S608
        return found

    def names(self, digests: Iterable[str]) -> dict[str, str]:
        """What stands for each digest on a screen."""
        wanted = list(digests)
        known, erased = self.values(wanted), self._erased.digests()
        return {digest: shown(digest, known.get(digest), erased=digest in erased) for digest in wanted}

    def find(self, tenant: str, value: str, *, until: int | None = None) -> dict[str, str]:
        """The digests of a value under all keys of a tenant (up to the year `until`), each with its key's year.

        The value need not be known.
        """
        years = [year for year in self._keys.years(tenant) if until is None or year <= until]
        return {keyed_digest(self._keys.of(tenant, year), value): str(year) for year in years}

    def remember(self, tenant: str, value: str, kind: str, *, clock: Clock = now) -> str:
        """Put one value in the directory; its digest under this year's key."""
        instant = clock()
        year = year_of(instant)
        digest = keyed_digest(self._keys.of(tenant, year), value)
        if digest not in self._erased.digests():
            person = {"digest": digest, "tenant": tenant, "year": str(year), "kind": kind, "value": value}
            self._insert([{**person, "recorded": instant}])
        return digest

    def erasable(self, tenant: str, value: str, *, clock: Clock = now) -> Erasure:
        """What erasing this value would erase: its digests up to this year. What comes in a later year is new."""
        self.absorb()
        digests = self.find(tenant, value, until=year_of(clock()))
        return Erasure(digests, len(self.values(digests)))

    def erase(self, tenant: str, value: str, *, clock: Clock = now) -> Erasure:
        """Remove a value for ever, under all keys of the tenant up to this year's.

        When it returns the value is in no file of the book, and no running worker will write it there again.
        """
        erasure = self.erasable(tenant, value, clock=clock)
        self._forget(erasure.digests, value)
        return erasure

    def reapply(self, erasures: Iterable[PersonalErased]) -> int:
        """Do erasures of the journal again, as after a restore; how many values came off."""
        digests = {digest for erasure in erasures for digest in erasure.digests}
        known = len(self.values(digests))
        if not digests <= self._erased.digests():
            self._forget(digests, None)
        return known

    def _forget(self, digests: Iterable[str], value: str | None) -> None:
        with _locked(self._personal):
            self._erased.add(digests)
        self.absorb()
        self._delete(digests)
        # Pages that SQLite rearranged can hold copies of a row, or parts of one, that secure_delete does not know of.
        if value is None or _has_traces(self._path, value.encode()):
            self._writable.execute("VACUUM")

    @property
    def _writable(self) -> sqlite3.Connection:
        assert self._database is not None
        return self._database

    def _rows(self, query: str, parameters: list[str]) -> list[tuple[str, str]]:
        return self._writable.execute(query, parameters).fetchall()

    def _insert(self, people: Iterable[dict[str, str | int]]) -> int:
        statement = "INSERT OR IGNORE INTO people VALUES (:digest, :tenant, :year, :kind, :value, :recorded)"
        with self._writable as database:
            return max(0, database.executemany(statement, people).rowcount)

    def _delete(self, digests: Iterable[str]) -> None:
        with self._writable as database:
            database.executemany("DELETE FROM people WHERE digest = ?", [(digest,) for digest in digests])


def year_of(instant: int) -> int:
    return datetime.fromtimestamp(instant // SECOND, UTC).year


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=10)
    if not read_only:
        database.execute("PRAGMA secure_delete = ON")
        database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute(_SCHEMA)
    return database


def _has_traces(path: Path, value: bytes) -> bool:
    """Whether a file holds a value, or any part of it that is long enough to tell."""
    parts = [value[start : start + _TRACE] for start in range(0, max(1, len(value) - _TRACE + 1), _TRACE)]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(part) >= 0 for part in parts)
