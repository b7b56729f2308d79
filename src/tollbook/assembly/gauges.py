"""What is seen of a running book from outside, without asking any of its processes: who lives, how far the copy is,
how near limits are."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from tollbook.assembly.credentials import limits_of
from tollbook.assembly.regions import counter_files
from tollbook.core.clock import SECOND
from tollbook.core.faults import BadInput
from tollbook.core.settings import Bounds, Settings
from tollbook.gateway.counters import Gauges, Used
from tollbook.journal.closing import is_live
from tollbook.registry import snapshot

Document: TypeAlias = dict[str, Any]

VOUCHED_SECONDS: Final = 5
"""A scribe vouches for the registry every second; after so many it is taken for dead, or stuck."""
NEAR_PERCENT: Final = 80
"""From here on a limit is near."""
LIMITS_LISTED: Final = 20
_ANSWER_SECONDS: Final = 1.0


def processes(root: Path, at: int) -> Document:
    """Which processes of a book live: by the locks of lanes, by how long ago the scribe vouched for the registry, by
    whether the desk's socket answers."""
    lanes = [path for path in (root / "lanes").glob("*") if is_live(path)]
    workers = [path.name for path in lanes if path.name.startswith("worker-")]
    vouched = _vouched(root)
    return {
        "workers": len(workers),
        "scribe": vouched is not None and at - vouched <= VOUCHED_SECONDS * SECOND,
        "desk": _answers(root / "run" / "desk.sock"),
        "lanes": sorted(path.name for path in lanes),
    }


def last_written(root: Path) -> int | None:
    """When something was last written into a lane that is being written, in microseconds; None when none is. A worker
    writes every four seconds at least."""
    written = [
        segment.stat().st_mtime_ns // 1000
        for lane in (root / "lanes").glob("*-*")
        if is_live(lane) and not lane.name.startswith("book-")
        for segment in sorted(lane.glob("*.jsonl"))[-1:]
    ]
    return max(written, default=None)


def limits(root: Path, settings: Settings | None, at: int) -> list[Document]:
    """How much of each limit is used in this minute, the nearest first; empty when nothing counts.

    A limit that was set while serving stands in the place of the configuration's, as it does for workers.
    """
    gauges = [Gauges(data) for data in _counters(root)]
    if not gauges:
        return []
    found = []
    for whose, names, bounds, concurrent in _bounds(root, settings or Settings(book=str(root))):
        used = [gauge.used(at, *names) for gauge in gauges]
        summed = Used(*(sum(parts) for parts in zip(*used, strict=True)))
        found += [{**whose, **line} for line in _lines(bounds, concurrent, summed)]
    return sorted(found, key=lambda line: (-line["percent"], line["tenant"]))[:LIMITS_LISTED]


def _bounds(root: Path, settings: Settings) -> Iterator[tuple[Document, tuple[str, ...], Bounds, int | None]]:
    try:
        told = snapshot.read(root)[1].limits
    except (FileNotFoundError, BadInput):
        told = []
    known = {name: tenant.limits for name, tenant in settings.tenants.items()} | limits_of(settings, told)
    for tenant, limit in known.items():
        yield {"tenant": tenant, "kind": "tenant", "name": tenant}, ("tenant", tenant), limit, limit.concurrent
        for kind, table in (("workload", limit.workloads), ("key", limit.keys), ("model", limit.models)):
            for name, bounds in table.items():
                yield {"tenant": tenant, "kind": kind, "name": name}, ("tenant", tenant, kind, name), bounds, None


def _lines(bounds: Bounds, concurrent: int | None, used: Used) -> Iterator[Document]:
    for what, most, now in (
        ("requests_per_minute", bounds.requests_per_minute, used.requests),
        ("tokens_per_minute", bounds.tokens_per_minute, used.tokens + used.held),
        ("streams", bounds.streams, used.streams),
        ("concurrent", concurrent, used.running),
    ):
        if most is not None:
            yield {"limit": what, "most": most, "used": now, "percent": now * 100 // max(most, 1)}


def _counters(root: Path) -> Iterator[bytes]:
    for path in counter_files(root / "run"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def _vouched(root: Path) -> int | None:
    try:
        return snapshot.path_of(root).stat().st_mtime_ns // 1000
    except FileNotFoundError:
        return None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_ANSWER_SECONDS)
        try:
            asked.connect(str(path))
        except OSError:
            return False
    return True
