"""The machine a run was made on, and the tools that were found on it."""

import importlib.metadata
import os
import platform
from pathlib import Path

_PACKAGES = ("tollbook", "uvloop", "httptools", "msgspec", "duckdb", "cryptography")


def cores() -> tuple[int, int]:
    """The core of what is measured, and the core of the load generator and the vendor (the same when there is one)."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def describe() -> list[str]:
    """Lines that say where and when figures were taken. A load above 1 before the run means that they are noisy."""
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return [
        f"machine: {_processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        f"python {platform.python_version()}; {packages}",
        f"load before the run (1, 5, 15 min): {load}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
