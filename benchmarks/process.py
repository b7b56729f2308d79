"""A process of a benchmark: started on one core, watched through /proc, ended with all its children."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

STOP_SECONDS = 20.0


class BenchFault(RuntimeError):
    """A benchmark cannot be run; the message says why and shows the end of the log."""


class Process:
    """One process group, pinned to a core. Use it in a `with` block."""

    def __init__(
        self, name: str, command: Sequence[str], core: int, directory: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to what is left of the process and its children."""
        started = self.family() if self._process.poll() is None else []
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in started:
            if process.is_running():
                process.kill()

    def family(self) -> list[psutil.Process]:
        """The process and all its descendants. Raises BenchFault when it has died."""
        if self._process.poll() is not None:
            raise BenchFault(f"{self.name} ended with {self._process.returncode}: {self.tail()}")
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:].strip() or f"it said nothing in {self.log}"

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Wait until it can be used. Raises BenchFault when it dies or takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            self.family()
            if time.monotonic() > deadline:
                raise BenchFault(f"{self.name} is not ready after {seconds:.0f} s: {self.tail()}")
            time.sleep(0.1)


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Processor time that processes have used so far, in user and kernel mode, all their threads together."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def busy_seconds(core: int) -> float:
    """Time that a core has not been idle, whoever had it."""
    times = psutil.cpu_times(percpu=True)[core]
    return float(times.user + times.system + times.nice + times.irq + times.softirq + times.steal)


def resident_bytes(processes: Sequence[psutil.Process]) -> int:
    """Memory of processes, each page shared by several counted in parts (PSS)."""
    return sum(process.memory_full_info().pss for process in processes)


def answers(url: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether a POST is answered with 200."""
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            response.read()
            return int(response.status) == 200
    except OSError:
        return False
