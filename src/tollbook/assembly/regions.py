"""Where workers count: the regions of a supervisor's file, each of one living worker."""

import os
from pathlib import Path
from typing import Final

from tollbook.assembly.boot import CounterPlace
from tollbook.gateway.counters import Counters

_PREFIX: Final = "counters-"


def counter_files(directory: Path) -> list[Path]:
    """The files of counters in a book's `run` directory: of the supervisor that runs; while another takes over, two."""
    return sorted(directory.glob(f"{_PREFIX}*"))


class Regions:
    """The regions of the workers' counters. There are more than workers: one may begin while its predecessor drains.

    Each supervisor has a file of its own, named after its process: while one takes over from another, both run.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self._path: Final = directory / f"{_PREFIX}{os.getpid()}"
        self._count: Final = count
        self._free: Final = list(range(count))

    def make(self) -> None:
        """An empty file."""
        Counters.make(self._path, self._count)

    def remove_others(self) -> None:
        """Remove what former supervisors left. To be called once none of them runs."""
        for path in counter_files(self._path.parent):
            if path != self._path:
                path.unlink(missing_ok=True)

    def take(self) -> CounterPlace:
        """A region that no living worker writes into."""
        return CounterPlace(str(self._path), self._count, self._free.pop())

    def give_back(self, region: int) -> None:
        """The worker that wrote into a region is no more."""
        Counters.clear(self._path, region)
        self._free.append(region)
