"""Housekeeping: the loader's own, on the loader's connection, between two commits.

Left alone, a lake that commits every second dies of its own snapshots and small files within weeks: every query and
every commit pays for each of them. So small files are merged, old snapshots expire, and what they held is removed
once no reader can still be in it. Nothing may rest on a snapshot: positions are ours.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from dataclasses import dataclass
from typing import Final

from tollbook.core.clock import SECOND, Clock, format_instant, now
from tollbook.core.faults import BrokenPromise
from tollbook.ledger.lake import CATALOG, Lake, retried

SNAPSHOT_LIMIT: Final = 2000
FILE_LIMIT: Final = 500
_DAY: Final = 86_400 * SECOND
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How often what is done. `keep` is how long an old snapshot and its files stay for readers; seconds."""

    commits: int = 60
    keep: int = 15 * 60
    large_every: int = 30 * 60
    small_bytes: int = 2 * _MEGABYTE
    large_bytes: int = 50 * _MEGABYTE
    day_bytes: int = 512 * _MEGABYTE
    snapshots: int = 1500
    reconnect: int = 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """How many snapshots the catalog holds, and live files per table."""

    snapshots: int
    files: dict[str, int]

    def check(self) -> None:
        """Raises BrokenPromise when a figure is beyond what keeps queries fast."""
        if self.snapshots > SNAPSHOT_LIMIT:
            raise BrokenPromise(
                f"the ledger has {self.snapshots} snapshots (at most {SNAPSHOT_LIMIT}): is the loader running?"
            )
        for table, files in sorted(self.files.items()):
            if files > FILE_LIMIT:
                raise BrokenPromise(f"table {table} has {files} files (at most {FILE_LIMIT}): is the loader running?")


def figures(lake: Lake) -> Figures:
    """Snapshots and live files as they are now."""
    ((snapshots,),) = lake.rows("SELECT count(*) FROM ducklake_snapshots('lake')")
    files = lake.rows("SELECT table_name, file_count FROM ducklake_table_info('lake')")
    return Figures(snapshots, dict(files))


class Housekeeping:
    """Counts the commits of one writer and does what is due."""

    def __init__(self, upkeep: Upkeep, clock: Clock = now) -> None:
        self._upkeep = upkeep
        self._clock = clock
        self._commits = 0
        self._large = self._day = clock()

    def begin(self, lake: Lake) -> None:
        """At start: remove what commits that never ended have left."""
        if (lake.directory / CATALOG).exists():
            _call(lake, "ducklake_delete_orphaned_files('lake', cleanup_all => true)")

    def after_commit(self, lake: Lake) -> bool:
        """Do what is due; True when the writer should open a new connection (a long one grows slower)."""
        self._commits += 1
        if self._commits % self._upkeep.commits == 0:
            self.sweep(lake)
        return self._commits % self._upkeep.reconnect == 0

    def sweep(self, lake: Lake) -> None:
        """Merge small files, expire old snapshots, remove files that nobody can still read."""
        present = self._clock()
        _merge(lake, self._merge_limit(present))
        until = present - self._upkeep.keep * SECOND
        _call(lake, f"ducklake_expire_snapshots('lake', older_than => TIMESTAMPTZ '{self._expiry(lake, until)}')")
        _call(lake, f"ducklake_cleanup_old_files('lake', older_than => TIMESTAMPTZ '{format_instant(until)}')")

    def _merge_limit(self, present: int) -> int:
        """Up to which size files are merged this time: a file is written anew only when it has much to gain."""
        if present // _DAY != self._day // _DAY:
            self._day = self._large = present
            return self._upkeep.day_bytes
        if present - self._large >= self._upkeep.large_every * SECOND:
            self._large = present
            return self._upkeep.large_bytes
        return self._upkeep.small_bytes

    def _expiry(self, lake: Lake, until: int) -> str:
        """Before which instant snapshots expire: the time readers have, or less when commits come thick and fast."""
        newest = lake.rows(
            "SELECT epoch_us(snapshot_time) FROM ducklake_snapshots('lake') "
            "ORDER BY snapshot_id DESC LIMIT 1 OFFSET $1",
            [self._upkeep.snapshots],
        )
        return format_instant(max(until, newest[0][0]) if newest else until)


def _merge(lake: Lake, limit: int) -> None:
    _call(lake, f"ducklake_merge_adjacent_files('lake', max_file_size => {limit})")


def _call(lake: Lake, function: str) -> None:
    """Run a maintenance function. Its rows hold instants with a zone, which Python should not fetch: count them."""
    retried(lambda: lake.rows(f"SELECT count(*) FROM {function}"))
