"""A second copy of a book, brought up to date round by round: what `journal.ship` and `tollbook backup` make.

A round keeps an order by which the copy is whole at every instant, whenever the machine is lost: how far the book's and
the supervisors' lanes go is noted first and copied last, so that heads, closings and signatures in the copy never speak
of lines that are not there. Every file is durable before the next kind is written. What was written is read back.

The copy holds no ledger, no signing key, and personal keys only when asked for. `copy.json` says that it is a copy, of
when, and which lanes were being written then.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
from msgspec import Struct

from tollbook.core.clock import Clock, now
from tollbook.core.faults import BadInput, Tampered
from tollbook.journal.book import COPY, PLACES, Book
from tollbook.journal.checkpoint import parse_checkpoint
from tollbook.journal.closing import is_live
from tollbook.journal.files import sync_directory, write_whole
from tollbook.journal.segment import REAPED, open_path, sealed_path, segments
from tollbook.journal.tail import lane_directories

DATABASES_SECONDS: Final = 60.0
"""How often databases, which are copied whole, are copied at most; after an erasure at once."""

_BLOCK: Final = 1 << 20
_LATE: Final = ("book-", "supervisor-")
_DATABASES: Final = ("personal/directory.sqlite", "state.sqlite")


class Copy(Struct, frozen=True, kw_only=True):
    """What `copy.json` says: whose copy it is and of when, how many heads its last checkpoint signs, which lanes were
    being written. `totals` are the control totals that the ledger gave for a backup, `ledger` their position."""

    book: str
    made: int
    position: int
    live: list[str]
    totals: dict[str, Any] | None = None
    ledger: int | None = None


def read_copy(root: Path) -> Copy | None:
    """What a directory says of itself as a copy; None when it is none. Raises BadInput when it cannot be read."""
    try:
        return msgspec.json.decode((root / COPY).read_bytes(), type=Copy)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError) as fault:
        raise BadInput(f"{root / COPY} cannot be read: {fault}; take another copy") from fault


def write_copy(root: Path, copy: Copy) -> None:
    """Put `copy.json` in its place."""
    write_whole(root / COPY, msgspec.json.format(msgspec.json.encode(copy), indent=2) + b"\n")


class Round(NamedTuple):
    """What a round did: bytes written, the signed position reached, when it began (microseconds)."""

    bytes: int
    position: int
    made: int


class _Bounded(NamedTuple):
    """An open segment as far as it is to be copied; the stream outlives its sealing."""

    path: Path
    stream: BinaryIO
    size: int


class Copier:
    """Keeps a copy of one book in one directory. It reads beside the book's writers and holds none of them up."""

    def __init__(self, book: Book, target: Path, *, personal_keys: bool = False, clock: Clock = now) -> None:
        self._book: Final = book
        self._target: Final = target
        self._personal_keys: Final = personal_keys
        self._clock: Final = clock
        self._sizes: Final[dict[Path, int]] = {}
        self._finished: Final[dict[str, int]] = {}
        self._objects: Final[dict[str, int]] = {}
        self._stamps: Final[dict[str, object]] = {}
        self._databases_at = -DATABASES_SECONDS
        self._written = 0
        self._live: set[str] | None = None
        if target.absolute().is_relative_to(book.root.absolute()):
            raise BadInput(f"{target} lies in the book itself; name a directory elsewhere, on another disk")

    def round(self) -> Round:
        """Bring the copy up to where the book is now.

        Raises BadInput when the directory is not for this copy, OSError when it cannot be written (the next round goes
        on where this one stopped), Tampered when it does not give back what was written to it.
        """
        try:
            return self._round(self._clock())
        except BaseException:
            # What was remembered of the copy may not be so: the next round looks at it anew.
            for known in (self._sizes, self._finished, self._objects, self._stamps):
                known.clear()
            self._databases_at = -DATABASES_SECONDS
            raise

    def _round(self, made: int) -> Round:
        self._written, root = 0, self._book.root
        former = self._prepare()
        note = _read(self._book.checkpoints / "latest")
        kept = [path.name for path in self._book.checkpoints.iterdir() if path.name.isdecimal()]
        lanes = lane_directories(root)
        reaped = [lane.name for lane in lanes if (lane / REAPED).exists()]
        live = {lane.name for lane in lanes if is_live(lane)}
        position = parse_checkpoint(note).size if note else 0
        with ExitStack() as streams:
            late = [
                # The newest first: it may say where older ones end.
                (lane, list(self._noted(lane, streams)))
                for prefix in _LATE
                for lane in reversed(lanes)
                if lane.name.startswith(prefix)
            ]
            self._say(made, position, live | former)
            self._copy_databases()
            self._copy_objects()
            for lane in lane_directories(root):
                if not lane.name.startswith(_LATE):
                    with ExitStack() as own:
                        self._copy_lane(lane, self._noted(lane, own))
            for lane, noted in reversed(late):
                self._copy_lane(lane, noted)
        self._copy_checkpoints(kept, note)
        for name in reaped:
            (self._target / "lanes" / name / REAPED).touch(mode=0o600)
        self._say(made, position, live)
        self._live = live
        return Round(self._written, position, made)

    # --- the place

    def _prepare(self) -> set[str]:
        """The copy's directory, which is new, empty or this book's copy; the lanes that it says are being written."""
        target, told = self._target, read_copy(self._target)
        if told is not None and told.book != self._book.id:
            raise BadInput(f"{target} is a copy of book {told.book}, this is {self._book.id}; name another directory")
        if told is None and target.exists() and any(target.iterdir()):
            raise BadInput(f"{target} is not empty and no copy of a book; name a directory that is new or empty")
        if told is not None and self._live is not None:
            return self._live
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if told is None:
            self._say(self._clock(), 0, set())
        for place in PLACES:
            for directory in reversed((target / place, *(target / place).parents)):
                directory.mkdir(mode=0o700, exist_ok=True)
        write_whole(target / "book.json", (self._book.root / "book.json").read_bytes())
        return set(told.live) if told is not None else set()

    def _say(self, made: int, position: int, live: set[str]) -> None:
        write_copy(self._target, Copy(book=self._book.id, made=made, position=position, live=sorted(live)))

    # --- lanes

    def _noted(self, lane: Path, streams: ExitStack) -> Iterator[_Bounded | Path]:
        """The lane's segments in order: open ones with how far they go now, sealed ones by their path."""
        changed = lane.stat().st_mtime_ns
        if self._finished.get(lane.name) == changed:
            return
        found = segments(lane)
        for segment in found:
            try:
                stream = streams.enter_context(open_path(lane, segment.number).open("rb"))
            except FileNotFoundError:
                yield sealed_path(lane, segment.number)
            else:
                yield _Bounded(open_path(lane, segment.number), stream, os.fstat(stream.fileno()).st_size)
        if found and all(segment.sealed for segment in found):
            self._finished[lane.name] = changed

    def _copy_lane(self, lane: Path, noted: Iterable[_Bounded | Path]) -> None:
        place = self._target / "lanes" / lane.name
        for one in noted:
            if not place.is_dir():
                place.mkdir(mode=0o700)
                sync_directory(place.parent)
            if isinstance(one, _Bounded):
                self._extend(place / one.path.name, one.stream, one.size)
            else:
                self._put_file(one, place / one.name)
                (place / one.name.removesuffix(".zst")).unlink(missing_ok=True)

    def _extend(self, place: Path, source: BinaryIO, size: int) -> None:
        """Bring an open segment up to its last whole line within `size` bytes."""
        if place.with_name(place.name + ".zst").exists():
            return
        have = self._sizes.pop(place, None)
        if have is None or have > size:
            have = _common(place, source)
        new = _whole_lines(source, have, size)
        if new or not place.exists():
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _write_at(descriptor, have, new)
                os.fdatasync(descriptor)
                if _digest_at(descriptor, have, len(new)) != hashlib.sha256(new).digest():
                    raise Tampered(f"{place} does not give back what was written to it; look at its disk")
            finally:
                os.close(descriptor)
            if not have:
                sync_directory(place.parent)
        self._written += len(new)
        self._sizes[place] = have + len(new)

    # --- whole files

    def _put_file(self, source: Path, place: Path) -> None:
        """Copy a file that never changes, unless it is there."""
        with suppress(FileNotFoundError):
            if place.stat().st_size == source.stat().st_size:
                return
        self._put(place, source.read_bytes())

    def _put(self, place: Path, data: bytes) -> None:
        write_whole(place, data)
        if hashlib.sha256(place.read_bytes()).digest() != hashlib.sha256(data).digest():
            raise Tampered(f"{place} does not give back what was written to it; look at its disk")
        self._written += len(data)

    def _copy_objects(self) -> None:
        for directory in sorted((self._book.root / "objects" / "sha256").iterdir()):
            changed = directory.stat().st_mtime_ns
            if self._objects.get(directory.name) == changed:
                continue
            place = self._target / "objects" / "sha256" / directory.name
            place.mkdir(mode=0o700, exist_ok=True)
            for source in directory.iterdir():
                if not source.name.startswith("."):
                    self._put_file(source, place / source.name)
            sync_directory(place.parent)
            # A file that came within one tick of the clock leaves this time as it is, so only an old one settles it.
            if time.time_ns() - changed > 1_000_000_000:
                self._objects[directory.name] = changed

    def _copy_checkpoints(self, kept: list[str], note: bytes | None) -> None:
        for name in kept:
            self._put_file(self._book.checkpoints / name, self._target / "checkpoints" / name)
        if note is not None and _read(self._target / "checkpoints" / "latest") != note:
            self._put(self._target / "checkpoints" / "latest", note)

    # --- databases and what may be forgotten

    def _copy_databases(self) -> None:
        """Databases whole, when they changed; what was erased is in no copy from the round on that follows."""
        erased = _read(self._book.root / "personal" / "erased") or b""
        forgotten = self._changed("erased", erased)
        if not forgotten and time.monotonic() - self._databases_at < DATABASES_SECONDS:
            return
        self._databases_at = time.monotonic()
        if forgotten:
            self._put(self._target / "personal" / "erased", erased)
        for name in _DATABASES:
            source = self._book.root / name
            changed = [part.stat().st_mtime_ns for part in (source, _log_of(source)) if part.exists()]
            if changed and (self._changed(name, changed) or forgotten):
                self._put(self._target / name, _database_bytes(source, erased.decode().split()))
        if self._personal_keys:
            self._mirror_keys()

    def _changed(self, name: str, stamp: object) -> bool:
        former = self._stamps.get(name)
        self._stamps[name] = stamp
        return former != stamp

    def _mirror_keys(self) -> None:
        """The registry's key, and personal keys as they are: one that was destroyed is destroyed here, too."""
        if (registry := self._book.root / "keys" / "registry.key").exists():
            self._put_file(registry, self._target / "keys" / "registry.key")
        source, place = self._book.root / "keys" / "personal", self._target / "keys" / "personal"
        there = {path.name for path in source.glob("*.key")}
        for name in there:
            self._put_file(source / name, place / name)
        for path in place.glob("*.key"):
            if path.name not in there:
                path.unlink()
        sync_directory(place)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _log_of(database: Path) -> Path:
    return database.with_name(database.name + "-wal")


def _common(place: Path, source: BinaryIO) -> int:
    """How many bytes of an open segment the copy has right; what is after them is cut off."""
    if not place.exists():
        return 0
    with place.open("r+b") as copied:
        right = 0
        source.seek(0)
        while block := copied.read(_BLOCK):
            if source.read(len(block)) != block:
                right = 0  # not its beginning: it is written anew
                break
            right += len(block)
        copied.truncate(right)
    return right


def _whole_lines(source: BinaryIO, start: int, end: int) -> bytes:
    """The whole lines of a segment between two places; at most one segment's size."""
    source.seek(start)
    data = source.read(max(0, end - start))
    return data[: data.rfind(b"\n") + 1]


def _write_at(descriptor: int, place: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written


def _digest_at(descriptor: int, place: int, size: int) -> bytes:
    digest = hashlib.sha256()
    while size > 0 and (block := os.pread(descriptor, min(_BLOCK, size), place)):
        digest.update(block)
        size, place = size - len(block), place + len(block)
    return digest.digest()


def _database_bytes(path: Path, erased: list[str]) -> bytes:
    """A database as one file's bytes, without the people that were erased. Its writers wait for memory, not for the
    copy's disk."""
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as source,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as copied,
    ):
        source.backup(copied)
        if copied.execute("SELECT 1 FROM sqlite_master WHERE name = 'people'").fetchone():
            copied.executemany("DELETE FROM people WHERE digest = ?", [(digest,) for digest in erased])
            copied.execute("VACUUM")
        return copied.serialize()
