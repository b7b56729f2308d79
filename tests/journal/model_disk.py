"""A disk in memory that can fail or crash at any call, and knows what would survive.

What was written is volatile until `datasync`; a name is volatile until its directory is synced. After a crash each
file has its durable bytes and some part of what came after them, and each directory some state since its last sync.
"""

import errno
from pathlib import Path


class Crash(BaseException):
    """The power went out during a call: nothing after it happens."""


class ModelFile:
    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = b""
        self.allocated = 0

    def after_crash(self, part: float) -> bytes:
        written = bytes(self.content)
        if not written.startswith(self.durable):  # it was truncated since
            return written if part else self.durable
        volatile = written[len(self.durable) :]
        return self.durable + volatile[: int(len(volatile) * part)]


class ModelDirectory:
    def __init__(self) -> None:
        self.entries: dict[str, ModelFile | ModelDirectory] = {}
        self.states: list[dict[str, ModelFile | ModelDirectory]] = [{}]

    def changed(self) -> None:
        self.states.append(dict(self.entries))


class ModelDisk:
    """Implements `Files`. `root` must exist in the model's eyes and is durable.

    `crash_at`: the number of the call that crashes, after it took effect in volatile memory; `fail_at` and `error`:
    the call that fails, without effect; `room`: bytes left on the disk; `write_limit`: bytes one write takes at most;
    `ignore`: names of calls that do nothing, to show that the tests notice.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls = 0
        self.log: list[str] = []
        self.crash_at: int | None = None
        self.fail_at: int | None = None
        self.fail_kind: str | None = None
        self.error = errno.EIO
        self.room: int | None = None
        self.write_limit: int | None = None
        self.ignore: set[str] = set()
        self._top = ModelDirectory()
        self._open: dict[int, ModelFile] = {}
        self._next = 1000

    def survivors(self, target: Path, part: float, names: float) -> None:
        """Write to a real directory what is there after a crash: the given parts of what was volatile."""
        self._restore(self._top, target, part, names)

    def make_directory(self, path: Path, /) -> None:
        with self._call("make_directory"):
            parent = self._directory(path.parent)
            if path.name in parent.entries:
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            parent.entries[path.name] = ModelDirectory()
            parent.changed()

    def open_new(self, path: Path, /) -> int:
        with self._call("open_new"):
            parent = self._directory(path.parent)
            if path.name in parent.entries:
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            file = parent.entries[path.name] = ModelFile()
            parent.changed()
            self._next += 1
            self._open[self._next] = file
            return self._next

    def write(self, descriptor: int, data: bytes, /) -> int:
        with self._call("write"):
            taken = len(data) if self.write_limit is None else min(len(data), self.write_limit)
            if self.room is not None:
                taken = min(taken, self.room)
                if not taken:
                    raise OSError(errno.ENOSPC, "no space left on device")
                self.room -= taken
            self._open[descriptor].content += data[:taken]
            return taken

    def datasync(self, descriptor: int, /) -> None:
        with self._call("datasync") as effective:
            file = self._open[descriptor]
            if effective:
                file.durable = bytes(file.content)

    def sync_directory(self, path: Path, /) -> None:
        with self._call("sync_directory") as effective:
            directory = self._directory(path)
            if effective:
                directory.states = [dict(directory.entries)]

    def truncate(self, descriptor: int, size: int, /) -> None:
        with self._call("truncate"):
            file = self._open[descriptor]
            if self.room is not None:
                self.room += len(file.content) - size
            del file.content[size:]

    def allocate(self, descriptor: int, size: int, /) -> None:
        with self._call("allocate"):
            if self.room is not None:
                if self.room < size:
                    raise OSError(errno.ENOSPC, "no space left on device")
                self.room -= size
            self._open[descriptor].allocated = size

    def lock(self, descriptor: int, /) -> None:
        with self._call("lock"):
            assert descriptor in self._open

    def close(self, descriptor: int, /) -> None:
        with self._call("close"):
            del self._open[descriptor]

    def rename(self, old: Path, new: Path, /) -> None:
        with self._call("rename"):
            parent = self._directory(old.parent)
            assert old.parent == new.parent
            there = parent.entries.get(new.name)
            if isinstance(there, ModelDirectory) and there.entries:
                raise OSError(errno.ENOTEMPTY, "directory not empty", str(new))
            parent.entries[new.name] = parent.entries.pop(old.name)
            parent.changed()

    def unlink(self, path: Path, /) -> None:
        with self._call("unlink"):
            parent = self._directory(path.parent)
            file = parent.entries.pop(path.name, None)
            if file is None:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            assert isinstance(file, ModelFile)
            if self.room is not None:
                self.room += file.allocated + len(file.content)
            parent.changed()

    def remove_directory(self, path: Path, /) -> None:
        with self._call("remove_directory"):
            parent = self._directory(path.parent)
            directory = parent.entries[path.name]
            assert isinstance(directory, ModelDirectory)
            if directory.entries:
                raise OSError(errno.ENOTEMPTY, "directory not empty", str(path))
            del parent.entries[path.name]
            parent.changed()

    def names(self) -> list[str]:
        """Everything the live system sees, as paths below the root."""
        return sorted(_walk(self._top, ""))

    def _call(self, name: str) -> "_Call":
        return _Call(self, name)

    def _directory(self, path: Path) -> ModelDirectory:
        directory = self._top
        for part in path.relative_to(self.root).parts:
            below = directory.entries.get(part)
            if not isinstance(below, ModelDirectory):
                raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))
            directory = below
        return directory

    def _restore(self, directory: ModelDirectory, target: Path, part: float, names: float) -> None:
        target.mkdir(exist_ok=True)
        for name, entry in directory.states[int((len(directory.states) - 1) * names)].items():
            if isinstance(entry, ModelDirectory):
                self._restore(entry, target / name, part, names)
            else:
                (target / name).write_bytes(entry.after_crash(part))


class _Call:
    """One call: counted, failed before it acts, or crashed after it acted in volatile memory."""

    def __init__(self, disk: ModelDisk, name: str) -> None:
        self._disk = disk
        self._name = name

    def __enter__(self) -> bool:
        disk = self._disk
        disk.calls += 1
        disk.log.append(self._name)
        if disk.crash_at is not None and disk.calls > disk.crash_at:
            raise Crash
        if disk.calls == disk.fail_at or self._name == disk.fail_kind:
            raise OSError(disk.error, "the model disk fails")
        # A sync in which the power goes out has not returned: nothing may rest on it.
        return self._name not in disk.ignore and disk.calls != disk.crash_at

    def __exit__(self, *_: object) -> None:
        if self._disk.calls == self._disk.crash_at:
            raise Crash


def _walk(directory: ModelDirectory, below: str) -> list[str]:
    names = []
    for name, entry in directory.entries.items():
        names.append(below + name)
        if isinstance(entry, ModelDirectory):
            names += _walk(entry, below + name + "/")
    return names
