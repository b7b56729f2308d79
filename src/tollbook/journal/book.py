"""A book: one directory, its identity and its places."""

import fcntl
import json
import os
import re
import secrets
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tollbook.core.clock import SECOND, Clock, format_instant, now, parse_instant
from tollbook.core.faults import BadInput, BookLocked
from tollbook.journal.checkpoint import Signer
from tollbook.journal.entry import FORMAT
from tollbook.journal.files import sync_directory, write_whole

ROLES: Final = ("worker", "spare", "supervisor", "book", "ingest")
"""What a lane's writer can be; the first part of the lane's name."""

SIGNING_KEY: Final = "signing.key"
NEXT_SIGNING_KEY: Final = "signing.key.next"
COPY: Final = "copy.json"
"""A file that marks a directory as a copy of a book: it is read and verified, and never written as one."""

_LANE: Final = re.compile(rf"({'|'.join(ROLES)})-\d{{8}}T\d{{6}}Z-[0-9a-f]{{8}}", re.ASCII)
PLACES: Final = ("keys/personal", "lanes", "objects/sha256", "checkpoints", "personal/inbox", "ledger", "run")
"""The directories of a book."""


@dataclass(frozen=True, slots=True)
class Book:
    """A book's directory and what `book.json` says of it: who it is and by which key it is verified."""

    root: Path
    id: str
    created: int
    origin: str
    key: str
    release: str
    actor: str

    @classmethod
    def create(cls, root: Path, *, release: str, actor: str, clock: Clock = now) -> "Book":
        """Make a new book: its directories (0700), signing key and identity (0600). It is there whole or not at all.

        `actor` is who made it, as it shall stand in the book. Raises BadInput when something is there already.
        """
        root = Path(os.path.abspath(root))  # noqa: PTH100  resolve() would follow a link that stands for the book
        if (root / "book.json").exists():
            raise BadInput(f"{root} is a book already; open it, or name another directory")
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise BadInput(f"{root} exists and is not an empty directory; name a directory that is new or empty")
        draft = root.with_name(f".{root.name}.{secrets.token_hex(4)}")
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            _furnish(draft, release, actor, clock())
            draft.rename(root)
            sync_directory(root.parent)
        except OSError as fault:
            raise BadInput(f"a book cannot be made at {root}: {fault.strerror or fault}") from fault
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> "Book":
        """The book in a directory. Raises BadInput when there is none, or one of a later format."""
        identity = root / "book.json"
        try:
            told = json.loads(identity.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise BadInput(f"{root} is no book (it has no book.json); make one with: tollbook init {root}") from None
        except (OSError, ValueError) as fault:
            raise BadInput(f"{identity} cannot be read: {fault}; restore it from a backup of the book") from fault
        return cls(root=root, **_identity(identity, told))

    def signer(self, key: str | None = None) -> Signer:
        """Who signs this book's checkpoints now, which is by `key` (the birth key when nothing is said).

        Raises BadInput when the key cannot be read or is another.
        """
        wanted, path = key or self.key, self.root / "keys" / SIGNING_KEY
        following = self.root / "keys" / NEXT_SIGNING_KEY
        if following.exists() and self._signer_of(following).verification_key == wanted:
            following.rename(path)  # its entry was written, and then whoever replaced the key was interrupted
            sync_directory(path.parent)
        signer = self._signer_of(path)
        if signer.verification_key != wanted:
            raise BadInput(f"the signing key {path} is not the one the book names; restore both from one backup")
        return signer

    def _signer_of(self, path: Path) -> Signer:
        try:
            return Signer(self.origin, path.read_bytes())
        except (OSError, ValueError) as fault:
            raise BadInput(f"the signing key {path} cannot be used: {fault}; restore it from a backup") from fault

    def next_signer(self) -> Signer:
        """A new key, durable beside the one in use until an entry names it."""
        following = self.root / "keys" / NEXT_SIGNING_KEY
        write_whole(following, secrets.token_bytes(32))
        return self._signer_of(following)

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def lane_directory(self, lane: str) -> Path:
        return self.root / "lanes" / lane

    def new_lane_name(self, role: str, clock: Clock = now) -> str:
        """A name that no lane has had: role, second and eight random digits."""
        if role not in ROLES:
            raise ValueError(f"{role!r} is no role of a lane: {', '.join(ROLES)}")
        second = datetime.fromtimestamp(clock() // SECOND, UTC)
        return f"{role}-{second:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"

    def lock(self) -> "BookLock":
        """The right to write the book's own lane: held by one process, until it releases it or dies.

        Raises BookLocked when another holds it, BadInput when this is a copy.
        """
        self.check_writable()
        return BookLock(self.root / "run" / "book.lock")

    def check_writable(self) -> None:
        """Raise BadInput when this is a copy: two that go on from one book would be two histories."""
        if (self.root / COPY).exists():
            raise BadInput(
                f"{self.root} is a copy of a book; make a book of it: tollbook restore --verify {self.root} --book NEW"
            )


class BookLock:
    """An exclusive lock on a file; the kernel gives it back when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise BookLocked(
                f"process {holder} writes this book now (it holds {path}); ask it, or stop it first"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "BookLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.release()


def is_lane_name(text: str) -> bool:
    """Whether a text has the form of a lane's name."""
    return _LANE.fullmatch(text) is not None


def _furnish(root: Path, release: str, actor: str, instant: int) -> None:
    root.mkdir(0o700)
    for place in PLACES:
        for directory in reversed((root / place, *(root / place).parents)):
            if not directory.exists():
                directory.mkdir(0o700)
    name = str(uuid.uuid4())
    seed = secrets.token_bytes(32)
    origin = f"tollbook/{name}"
    identity = {
        "book": name,
        "created": format_instant(instant),
        "format": FORMAT,
        "origin": origin,
        "key": Signer(origin, seed).verification_key,
        "release": release,
        "actor": actor,
    }
    write_whole(root / "keys" / SIGNING_KEY, seed)
    write_whole(root / "book.json", json.dumps(identity, indent=2, ensure_ascii=False).encode() + b"\n")


def _identity(path: Path, told: Any) -> dict[str, Any]:
    """What `book.json` says, checked."""
    if not isinstance(told, dict):
        raise BadInput(f"{path} is not a JSON object; restore it from a backup of the book")
    if told.get("format") != FORMAT:
        raise BadInput(
            f"{path} is of format {told.get('format')!r}; this release reads format {FORMAT}: use a later release"
        )
    members = {name: told.get(name) for name in ("book", "created", "origin", "key", "release", "actor")}
    missing = [name for name, value in members.items() if not isinstance(value, str)]
    if missing:
        raise BadInput(f"{path} lacks {', '.join(missing)}; restore it from a backup of the book")
    try:
        members["created"] = parse_instant(str(members["created"]))
    except ValueError as fault:
        raise BadInput(f"{path}: created is {fault}; restore it from a backup of the book") from fault
    members["id"] = members.pop("book")
    return members
