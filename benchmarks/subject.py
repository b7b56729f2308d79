"""What is measured: tollbook and its peers, each started in front of a vendor. Configurations are in `peers/`."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

import psutil

from benchmarks import wire
from benchmarks.certificate import HOST, Certificate
from benchmarks.machine import cores
from benchmarks.process import BenchFault, Process, answers
from tollbook.core.faults import NotFound
from tollbook.ledger.report import report

ROOT: Final = Path(__file__).parent
PEERS: Final = ROOT / "peers"
KEPT: Final = ROOT.parent / ".bench"
"""Environments of peers, made by `make bench-peers`."""

START_SECONDS: Final = 180.0
"""LiteLLM takes its time."""


class Upstream(NamedTuple):
    """The vendor that a subject is put in front of. `certificate` is there for TLS."""

    port: int
    certificate: Certificate | None

    @property
    def words(self) -> dict[str, str]:
        """What stands for it in a configuration."""
        told = {
            "scheme": "https" if self.certificate else "http",
            "vendor": f"127.0.0.1:{self.port}",
            "vendor_host": "127.0.0.1",
            "vendor_port": str(self.port),
            "host": HOST,
            "model": wire.MODEL,
            "secret": wire.KEY,
        }
        return told | ({"authority": str(self.certificate.authority)} if self.certificate else {})


class Plan(NamedTuple):
    """How a subject is started and asked: its command, its environment, and headers that clients must add."""

    command: Sequence[str]
    environment: dict[str, str]
    headers: dict[str, str]


class Subject:
    """One gateway that runs. `url` takes the requests; `proxy` are the processes on the measured core."""

    def __init__(self, name: str, url: str, headers: dict[str, str], process: Process | None) -> None:
        self.name: Final = name
        self.url: Final = url
        self.headers: Final = headers
        self.process: Final = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.stop()

    @property
    def proxy(self) -> list[psutil.Process]:
        """The processes that requests go through."""
        return self.process.family() if self.process is not None else []

    @property
    def book(self) -> list[psutil.Process]:
        """The processes beside the road, which keep the book."""
        return []

    def recorded(self) -> int:
        """How many requests are in its ledger."""
        return 0


class Tollbook(Subject):
    """`tollbook serve`: the worker alone has the measured core; supervisor, scribe and desk are on the other one.

    The scribe loads the ledger while the load generator runs on its core, so it yields to it (nice 19): else the
    generator, not the worker, would be what is measured. It catches up when the load ends; its time is told apart.
    Where the kernel groups processes by session (sched(7), autogroup), a nice value counts within the session only, so
    the whole session yields; that costs the worker nothing, for nobody else is on its core.
    """

    def __init__(self, name: str, url: str, headers: dict[str, str], process: Process, directory: Path) -> None:
        super().__init__(name, url, headers, process)
        self.directory: Final = directory
        family = process.family()
        self._proxy: Final = [one for one in family if "tollbook.assembly.worker" in one.cmdline()]
        self._book: Final = [one for one in family if one not in self._proxy]
        for one in self._proxy:
            subprocess.run(
                ["taskset", "-a", "-p", "-c", str(cores()[0]), str(one.pid)], check=True, capture_output=True
            )
        for one in self._book:
            for thread in one.threads():
                os.setpriority(os.PRIO_PROCESS, thread.id, 19)
            with suppress(FileNotFoundError):  # a kernel without autogroups
                Path(f"/proc/{one.pid}/autogroup").write_text("19")

    @property
    def proxy(self) -> list[psutil.Process]:
        return self._proxy

    @property
    def book(self) -> list[psutil.Process]:
        return self._book

    def recorded(self) -> int:
        try:
            return int(report(self.directory / "book", [])["total"]["requests"])
        except NotFound:
            return 0  # nothing was loaded yet

    @property
    def _segment(self) -> Path:
        """The first segment of the worker's lane. The spare, which is another, holds next to nothing."""
        lanes = self.directory / "book" / "lanes"
        return max(lanes.glob("worker-*/000000.jsonl"), key=lambda path: path.stat().st_size)

    def journal_bytes(self) -> int:
        """Bytes of the worker's lane so far; to be asked while it is in its first segment."""
        return self._segment.stat().st_size

    def journal_tail(self, after: int) -> bytes:
        """What the worker's lane holds beyond so many bytes."""
        return self._segment.read_bytes()[after:]


def start(name: str, upstream: Upstream, directory: Path, *, stream: bool = False) -> Subject:
    """Start a subject and wait until it passes such a request on. Raises BenchFault when it does not."""
    if name == "direct":
        scheme = "https" if upstream.certificate else "http"
        return Subject(name, f"{scheme}://127.0.0.1:{upstream.port}{wire.PATH}", wire.headers(), None)
    port = free_port()
    own = directory / name
    own.mkdir()
    words = upstream.words | {"port": str(port), "directory": str(own)}
    plan = _PLANS[name](words, own)
    core = cores()[1] if name == "tollbook" else cores()[0]
    process = Process(name, plan.command, core, own, plan.environment)
    url, headers = f"http://127.0.0.1:{port}{wire.PATH}", wire.headers() | plan.headers
    try:
        process.wait_until(lambda: answers(url, wire.asked(stream=stream), headers), START_SECONDS)
        if name == "tollbook":
            return Tollbook(name, url, headers, process, own)
    except BaseException:
        process.stop()
        raise
    return Subject(name, url, headers, process)


def missing(name: str) -> str | None:
    """Why a subject cannot be started here; None when it can."""
    if name not in NAMES:
        return f"there is no such subject; there are {', '.join(NAMES)}"
    needed = _NEEDED.get(name)
    if needed is None or needed.exists():
        return None
    return f"{needed} is not there: make bench-peers"


def version(name: str) -> str:
    """What a subject says its version is."""
    told = subprocess.run(_VERSIONS[name], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", told.stdout + told.stderr)
    return found.group() if found else "unknown"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def fill(name: str, words: dict[str, str]) -> str:
    """A configuration of `peers/`, with its `@words@` replaced."""
    text = (PEERS / name).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def written(name: str, words: dict[str, str], directory: Path) -> Path:
    """The same, as a file. `@tls@` is replaced by what the peer needs to be told for TLS, or by nothing."""
    stem, _, suffix = name.partition(".")
    tls = fill(f"{stem}-tls.{suffix}", words).rstrip("\n") if "authority" in words else ""
    path = directory / name
    path.write_text(fill(name, words | {"tls": tls}))
    return path


def _nginx(words: dict[str, str], directory: Path) -> Plan:
    configuration = written("nginx.conf", words, directory)
    return Plan([str(NGINX), "-e", str(directory / "error.log"), "-c", str(configuration)], {}, {})


def _envoy(words: dict[str, str], directory: Path) -> Plan:
    configuration = written("envoy.yaml", words, directory)
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
    return Plan([str(_ENVOY), "--config-path", str(configuration), *options], {}, {})


def _litellm(words: dict[str, str], directory: Path) -> Plan:
    path = directory / "litellm.yaml"
    path.write_text(fill("litellm.yaml", words))
    # Prices from its own package: it would otherwise ask the network at its start.
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    if "authority" in words:
        environment["SSL_CERT_FILE"] = words["authority"]
    options = ["--host", "127.0.0.1", "--port", words["port"], "--num_workers", "1", "--telemetry", "False"]
    return Plan([str(_LITELLM), "--config", str(path), *options], environment, {})


def _portkey(words: dict[str, str], directory: Path) -> Plan:
    lines = fill("portkey.headers", words).splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    environment = {"NODE_ENV": "production"}
    if "authority" in words:
        environment["NODE_EXTRA_CA_CERTS"] = words["authority"]
    return Plan(["node", str(_PORTKEY), f"--port={words['port']}", "--headless"], environment, headers)


def _tollbook(words: dict[str, str], directory: Path) -> Plan:
    configuration = written("tollbook.yaml", words, directory)
    environment = {"BENCH_VENDOR_KEY": "sk-vendor", "BENCH_TENANT_KEY": wire.KEY}
    command = [sys.executable, "-m", "tollbook"]
    configured = directory / "tollbook.yaml"
    made = subprocess.run(
        [*command, "init", str(configured.parent)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise BenchFault(f"the book could not be made: {made.stderr}")
    return Plan([*command, "serve", "--config", str(configuration)], environment, {})


NGINX: Final = Path(shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "/usr/sbin/nginx")
_ENVOY: Final = KEPT / "envoy/bin/envoy"
_LITELLM: Final = KEPT / "litellm/bin/litellm"
_PORTKEY: Final = KEPT / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
_PLANS: Final[dict[str, Callable[[dict[str, str], Path], Plan]]] = {
    "tollbook": _tollbook,
    "nginx": _nginx,
    "envoy": _envoy,
    "portkey": _portkey,
    "litellm": _litellm,
}
NAMES: Final = ("direct", *_PLANS)
_NEEDED: Final = {"nginx": NGINX, "envoy": _ENVOY, "portkey": _PORTKEY, "litellm": _LITELLM}
_VERSIONS: Final[dict[str, list[str]]] = {
    "tollbook": [sys.executable, "-c", "import tollbook; print(tollbook.__version__)"],
    "nginx": [str(NGINX), "-v"],
    "envoy": [str(_ENVOY), "--version"],
    "portkey": ["node", "-p", f"require('{_PORTKEY.parents[1]}/package.json').version"],
    "litellm": [str(_LITELLM.with_name("python")), "-c", "import importlib.metadata as m; print(m.version('litellm'))"],
}
