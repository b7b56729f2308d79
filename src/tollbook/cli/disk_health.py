"""The disk's part of `tollbook doctor`: how much room there is, how long it lasts, and whether the state database is
kept small."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.cli.health import Check
from tollbook.core.clock import SECOND, now
from tollbook.core.settings import Settings

MIB: Final = 1024 * 1024
SPACE_LOW: Final = 1024 * MIB
DAY: Final = 86_400
YOUNGEST: Final = 3_600
"""Seconds after which a book is old enough that its growth says something."""
DAYS_LOW: Final = 7
CLAIMS_LATE: Final = DAY
"""Seconds that an old claim may wait for its removal."""


class Growth(NamedTuple):
    """Bytes that were written and are still there, and within how many seconds."""

    bytes: int
    seconds: int

    def days(self, free: int) -> int | None:
        """How many days so much room lasts; None when nothing grows, or it is too early to say."""
        if not self.bytes or self.seconds < YOUNGEST:
            return None
        return free * self.seconds // (self.bytes * DAY)


def growth_of(root: Path, at: float) -> Growth:
    """What the last day has left in lanes, objects and ledger, by the times of the files."""
    born = (root / "book.json").stat().st_mtime
    seconds = int(min(DAY, max(0, at - born)))
    recent = [size for changed, size in _files(root) if changed > at - seconds]
    return Growth(sum(recent), seconds)


def _files(root: Path) -> Iterator[tuple[float, int]]:
    for name in ("lanes", "objects", "ledger", "personal"):
        for path in (root / name).rglob("*"):
            try:
                found = path.stat()
            except FileNotFoundError:  # merged away meanwhile
                continue
            if path.is_file() and path.name != "ballast":
                yield found.st_mtime, found.st_size


def check_space(root: Path, settings: Settings | None) -> Check:
    """How much is free, and how many days that lasts at the rate of the last day."""
    free = shutil.disk_usage(root).free
    ballast = settings.journal.ballast * 2 * settings.gateway.workers if settings else 0
    growth = growth_of(root, time.time())
    days = growth.days(free)
    told = f"{free // MIB:,} MiB free"
    if days is not None:
        rate = growth.bytes * DAY // growth.seconds // MIB
        told += f", {days:,} days at {rate:,} MiB a day" if days <= 3650 else f", years at {rate:,} MiB a day"
    if free < max(SPACE_LOW, 2 * ballast) or (days is not None and days < DAYS_LOW):
        return Check("space", "warning", told, "make room: a full disk stops traffic")
    return Check("space", "ok", told)


def check_claims(root: Path) -> Check:
    """How old the oldest claim of an idempotency key is. Workers remove old ones; they do while any of them runs."""
    from tollbook.assembly.tidiness import KEPT_SECONDS, claims_of

    try:
        count, oldest = claims_of(root)
    except sqlite3.Error as fault:
        return Check("claims", "warning", f"state.sqlite cannot be read: {fault}", "see that its disk is sound")
    told = f"{count:,} idempotency keys are claimed"
    if oldest is None:
        return Check("claims", "ok", told)
    age = (now() - oldest) // SECOND
    if age > KEPT_SECONDS + CLAIMS_LATE:
        told += f", the oldest {age // DAY:,} days ago"
        return Check("claims", "warning", told, "start `tollbook serve`: workers remove old ones")
    return Check("claims", "ok", told)
