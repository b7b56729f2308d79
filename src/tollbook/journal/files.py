"""What the lane writer asks of a file system, so that tests can fail or crash it at every single call."""

import fcntl
import os
from pathlib import Path
from typing import Final, Protocol


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
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

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
