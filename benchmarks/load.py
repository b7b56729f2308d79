"""Load on one subject: who generates it, and what it cost the processes that carried it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import subject, wire
from benchmarks.certificate import Certificate
from benchmarks.machine import cores
from benchmarks.process import BenchFault, Process, answers, busy_seconds, cpu_seconds, resident_bytes
from benchmarks.subject import Subject, Upstream

CATCH_UP_SECONDS: Final = 180.0
_WRK: Final = shutil.which("wrk")


class Turn(NamedTuple):
    """One measurement. `cpu` are processor seconds of the proxy, `book_cpu` of the processes beside it until they had
    caught up, `caught_up` how many seconds that took after the load, `others` the share of the measured core that
    processes not of this run took; latencies are in microseconds."""

    requests: int
    errors: int
    events: int
    seconds: float
    cpu: float
    book_cpu: float
    caught_up: float
    others: float
    p50: float
    p99: float


class Load:
    """Makes load from the second core; bodies and headers lie in `directory`."""

    def __init__(self, directory: Path, certificate: Certificate) -> None:
        self._directory: Final = directory
        self._certificate: Final = certificate
        for stream in (False, True):
            self._body(stream).write_bytes(wire.asked(stream=stream))

    def flood(self, one: Subject, seconds: int, connections: int = 32) -> Turn:
        """Buffered requests, as many as are answered."""
        if _WRK is None:
            return self._measured(one, self._client(one, False, "--connections", connections, "--seconds", seconds))
        script = subject.PEERS / "post.lua"
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
        return self._measured(one, [_WRK, *options, "-s", str(script), one.url])

    def streams(self, one: Subject, seconds: int, connections: int = 64) -> Turn:
        """Streamed requests, so many at a time."""
        return self._measured(one, self._client(one, True, "--connections", connections, "--seconds", seconds))

    def rate(self, one: Subject, seconds: int, rate: int) -> Turn:
        """Buffered requests at a fixed rate."""
        return self._measured(one, self._client(one, False, "--rate", rate, "--seconds", seconds))

    def held(self, one: Subject, connections: int) -> tuple[int, int]:
        """Memory of the proxy before, and at most while so many streams are open. Raises BenchFault when some fail."""
        before = most = resident_bytes(one.proxy)
        command = self._client(one, True, "--connections", connections, "--seconds", 1, "--drain", 60)
        with self._run(one, command) as running:
            while running.poll() is None:
                most = max(most, resident_bytes(one.proxy))
                time.sleep(0.25)
            told = self._told(one, running)
        if told["requests"] != connections:
            raise BenchFault(f"{one.name} carried {told['requests']:.0f} of {connections} streams to their end: {told}")
        return before, most

    def _measured(self, one: Subject, command: list[str]) -> Turn:
        recorded = one.recorded() if one.book else 0
        proxy, book, core, began = (
            cpu_seconds(one.proxy),
            cpu_seconds(one.book),
            busy_seconds(cores()[0]),
            time.monotonic(),
        )
        with self._run(one, command) as running:
            running.wait()
            proxy = cpu_seconds(one.proxy) - proxy
            spent = busy_seconds(cores()[0]) - core - proxy if one.proxy else 0.0
            others = max(0.0, spent) / (time.monotonic() - began)
            told = self._told(one, running)
        caught_up = _wait_recorded(one, recorded + int(told["requests"])) if one.book else 0.0
        return Turn(
            requests=int(told["requests"]),
            errors=int(told["errors"]),
            events=int(told["events"]),
            seconds=told["seconds"],
            cpu=proxy,
            book_cpu=cpu_seconds(one.book) - book,
            caught_up=caught_up,
            others=others,
            p50=told["p50_us"],
            p99=told["p99_us"],
        )

    def _client(self, one: Subject, stream: bool, *options: str | int) -> list[str]:
        """Our own generator. It trusts the vendor's certificate, for the runs without any proxy."""
        told = ["--body", str(self._body(stream)), "--authority", str(self._certificate.authority)]
        for name, value in one.headers.items():
            told += ["--header", f"{name}: {value}"]
        return [sys.executable, "-m", "benchmarks.client", one.url, *told, *map(str, options)]

    def _run(self, one: Subject, command: list[str]) -> "subprocess.Popen[str]":
        headers = self._directory / "headers"
        headers.write_text("".join(f"{name}: {value}\n" for name, value in one.headers.items()))
        told = {"BENCH_BODY": str(self._body(False)), "BENCH_HEADERS": str(headers)}
        return subprocess.Popen(
            ["taskset", "--cpu-list", str(cores()[1]), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=subject.ROOT.parent,
            env={**os.environ, **told},
        )

    def _told(self, one: Subject, running: "subprocess.Popen[str]") -> dict[str, float]:
        said, _ = running.communicate()
        try:
            told: dict[str, float] = json.loads(said.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise BenchFault(
                f"the load generator ended with {running.returncode} on {one.name}: {said[-2000:]}"
            ) from None
        return told

    def _body(self, stream: bool) -> Path:
        return self._directory / ("streamed.json" if stream else "buffered.json")


@contextmanager
def vendor(
    directory: Path, certificate: Certificate, *, tls: bool, stream: bool, pace: float = 0.001
) -> Iterator[Upstream]:
    """A vendor on the second core: nginx with a constant answer when it is installed, else and for streams our own."""
    upstream = Upstream(subject.free_port(), certificate if tls else None)
    if stream or subject.missing("nginx"):
        command = [sys.executable, "-m", "benchmarks.vendor", "--port", str(upstream.port), "--pace", str(pace)]
        if tls:
            command += ["--chain", str(certificate.chain), "--key", str(certificate.key)]
    else:
        command = _constant(upstream, directory, certificate)
    environment = {"PYTHONPATH": str(subject.ROOT.parent)}
    with Process("vendor", command, cores()[1], directory, environment) as process:
        if tls:
            time.sleep(1)  # its certificate is not one that we trust here; the first subject asks it in earnest
        else:
            url = f"http://127.0.0.1:{upstream.port}{wire.PATH}"
            process.wait_until(lambda: answers(url, wire.asked(stream=stream), wire.headers()), 20)
        yield upstream


def _constant(upstream: Upstream, directory: Path, certificate: Certificate) -> list[str]:
    words = {
        "directory": str(directory),
        "port": str(upstream.port),
        "tls": "ssl" if upstream.certificate else "",
        "chain": str(certificate.chain),
        "key": str(certificate.key),
        "answer": wire.answered().decode(),
    }
    configuration = directory / "vendor.conf"
    configuration.write_text(subject.fill("vendor.conf", words))
    return [str(subject.NGINX), "-e", str(directory / "vendor-start.log"), "-c", str(configuration)]


def _wait_recorded(one: Subject, requests: int) -> float:
    """Wait until so many requests are in the subject's ledger; how long that took. Raises BenchFault when it does not
    come to that: what is not recorded was not carried."""
    began = time.monotonic()
    while (recorded := one.recorded()) < requests:
        if time.monotonic() - began > CATCH_UP_SECONDS:
            raise BenchFault(f"{one.name} has {recorded:,} of {requests:,} requests in its ledger")
        time.sleep(0.25)
    return time.monotonic() - began
