"""Objects: what is bulky, in files named by their digest, durable before the entry that names them."""

import re
from pathlib import Path
from typing import Final

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import NotFound, Tampered
from tollbook.journal.entry import ObjectNamed
from tollbook.journal.files import sync_directory, write_whole

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

    def _holds(self, path: Path, digest: str) -> bool:
        try:
            return sha256_hex(path.read_bytes()) == digest
        except FileNotFoundError:
            return False
