"""Objects: what is bulky, in files named by their digest, durable before the entry that names them."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import NotFound, Tampered
from tollbook.journal.entry import ObjectNamed
from tollbook.journal.files import sync_directory, write_whole

_CHUNK: Final = 1 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ObjectStore:
    """The objects of one book: `objects/sha256/<first two digits>/<digest>`."""

    def __init__(self, book_root: Path) -> None:
        self._root: Final = book_root / "objects" / "sha256"

    def path(self, digest: str) -> Path:
        """Where the object of this digest (64 lower-case hexadecimal digits) lies or would lie."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a SHA-256 digest: {digest!r}")
        return self._root / digest[:2] / digest

    def put(self, data: bytes) -> ObjectNamed:
        """Keep these bytes; when it returns they are durable. The same bytes twice are one object."""
        digest = sha256_hex(data)
        path = self.path(digest)
        if not self._holds(path, digest):
            if not path.parent.is_dir():
                path.parent.mkdir(0o700, exist_ok=True)
                sync_directory(self._root)
            write_whole(path, data)
        return ObjectNamed(sha256=digest, bytes=len(data))

    def get(self, digest: str) -> bytes:
        """The bytes of this digest. Raises NotFound when they are not here, Tampered when they were changed."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"object {digest} is not in the book ({path}); restore it from a backup") from None
        if sha256_hex(data) != digest:
            raise Tampered(f"object {digest} was changed ({path}); restore it from a backup")
        return data

    def put_stream(self, source: BinaryIO) -> ObjectNamed:
        """Keep what a stream gives, however much, as `put` does."""
        draft = self._root.parent / f".{secrets.token_hex(8)}.tmp"
        digest, size = hashlib.sha256(), 0
        try:
            with draft.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            path = self.path(digest.hexdigest())
            if not path.parent.is_dir():
                path.parent.mkdir(0o700, exist_ok=True)
                sync_directory(self._root)
            draft.chmod(0o600)
            draft.rename(path)
            sync_directory(path.parent)
        finally:
            draft.unlink(missing_ok=True)
        return ObjectNamed(sha256=digest.hexdigest(), bytes=size)

    @contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        """A stream of the bytes of this digest, whole and checked. Raises as `get` does."""
        path = self.path(digest)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotFound(f"object {digest} is not in the book ({path}); restore it from a backup") from None
        with file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise Tampered(f"object {digest} was changed ({path}); restore it from a backup")
            file.seek(0)
            yield file

    def _holds(self, path: Path, digest: str) -> bool:
        try:
            return sha256_hex(path.read_bytes()) == digest
        except FileNotFoundError:
            return False
