"""Files that last: whole files put in place at once, and what the lane writer asks of a file system, call by call, so
that tests can fail or crash it at each."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol


def write_whole(path: Path, data: bytes) -> None:
    """Put a file (0600) in its place at once and durably: a reader sees the old bytes or the new, never a part."""
    with writing(path) as descriptor:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]


@contextmanager
def writing(path: Path) -> Iterator[int]:
    """A descriptor to write a file's new bytes to; when the block ends well they are durable and in their place."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make what was created, renamed or removed in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Files(Protocol):
    """The calls by which a lane is written. Each raises OSError as the system call of that name does."""

    def make_directory(self, path: Path, /) -> None:
        """Make a directory that only its owner may enter."""

    def open_new(self, path: Path, /) -> int:
        """A descriptor that appends to a file which did not exist before."""

    def write(self, descriptor: int, data: bytes, /) -> int:
        """Append; may take fewer bytes than it was given, and says how many."""

    def datasync(self, descriptor: int, /) -> None:
        """Return when the file's bytes and length are on the disk."""

    def sync_directory(self, path: Path, /) -> None:
        """Return when the names in a directory are on the disk."""

    def truncate(self, descriptor: int, size: int, /) -> None: ...

    def allocate(self, descriptor: int, size: int, /) -> None:
        """Take space on the disk for a file."""

    def lock(self, descriptor: int, /) -> None:
        """Lock a file exclusively for as long as the descriptor is open in this process."""

    def close(self, descriptor: int, /) -> None: ...

    def rename(self, old: Path, new: Path, /) -> None: ...

    def unlink(self, path: Path, /) -> None: ...

    def remove_directory(self, path: Path, /) -> None: ...


class RealFiles:
    """The operating system's own calls."""

    write = staticmethod(os.write)
    datasync = staticmethod(os.fdatasync)
    truncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)

    def make_directory(self, path: Path, /) -> None:
        path.mkdir(mode=0o700)

    def open_new(self, path: Path, /) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def sync_directory(self, path: Path, /) -> None:
        sync_directory(path)

    def allocate(self, descriptor: int, size: int, /) -> None:
        os.posix_fallocate(descriptor, 0, size)

    def lock(self, descriptor: int, /) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def rename(self, old: Path, new: Path, /) -> None:
        old.rename(new)

    def unlink(self, path: Path, /) -> None:
        path.unlink()

    def remove_directory(self, path: Path, /) -> None:
        path.rmdir()


REAL: Final[Files] = RealFiles()
