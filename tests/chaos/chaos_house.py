"""A house to set on fire: a simulated vendor and a gateway as real processes, with ways to kill and restart them."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
import yaml

from tollbook.cli import main

T = TypeVar("T")

ROLES = ("worker", "scribe", "desk")
KEYS = {"acme": "chaos-acme-0123456789abcdef", "globex": "chaos-globex-0123456789abcdef"}
WAIT_SECONDS = 60.0

VENDORS = {"openai": "openai", "claude": "anthropic", "google": "gemini", "amazon": "bedrock"}
"""The vendors that are configured, and the format of each."""


def _model(*targets: tuple[str, str], **rules: Any) -> dict[str, Any]:
    return {"targets": [{"vendor": vendor, "model": model} for vendor, model in targets], **rules}


MODELS = {
    "gpt-4o-mini": _model(("openai", "gpt-4o-mini")),
    "claude-haiku-4-5": _model(("claude", "claude-haiku-4-5")),
    "smart": _model(
        ("openai", "gpt-4o"),
        ("openai", "gpt-4.1"),
        retry={"attempts": 3, "on": ["connect", "timeout", "429", "5xx"], "backoff": "50ms"},
    ),
    "hasty": _model(("openai", "gpt-4.1-mini"), timeouts={"first_byte": "1s"}, retry={"attempts": 1}),
    "unlisted": _model(("openai", "sim-unlisted")),
    "gemini-2.5-flash": _model(("google", "gemini-2.5-flash")),
    "amazon.nova-lite-v1:0": _model(("amazon", "amazon.nova-lite-v1:0")),
}
"""What clients may ask for; `unlisted` is known to its vendor and has no price that we know."""


def until(look: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
    """The first true thing that `look` gives."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)
    return seen


class House:
    """Vendor and gateway in one directory. The vendor is never killed: it is the witness."""

    def __init__(
        self,
        directory: Path,
        *,
        book: Path | None = None,
        gateway: dict[str, Any] | None = None,
        journal: dict[str, Any] | None = None,
        vendor_options: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.book = book or directory / "book"
        self.vendor_books = directory / "vendor"
        self.config = directory / "tollbook.yaml"
        self.log = directory / "gateway.log"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.models: dict[str, Any] = dict(MODELS)
        self._gateway = {"listen": f"127.0.0.1:{self.port}", "shutdown_grace": "20s", **(gateway or {})}
        self._journal = {"ballast": "1 MiB", **(journal or {})}
        self._vendor_options = vendor_options
        self._vendor: subprocess.Popen[str] | None = None
        self.vendor_url = ""
        self.supervisor: subprocess.Popen[str] | None = None
        self._known: dict[int, psutil.Process] = {}

    def __enter__(self) -> Self:
        try:
            self._start_vendor()
            self.write_config()
            made = self.tollbook("init", str(self.directory))
            assert made.returncode == 0, made.stderr
            self.serve()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._end()
        if fault is not None:
            sys.stderr.write(self.log.read_text(errors="replace")[-6000:])

    # --- what runs

    def serve(self) -> None:
        """Start the gateway and wait until it takes requests."""
        self.start_serving()
        until(self.is_ready, f"the gateway is not ready: {self.log.read_text(errors='replace')[-2000:]}")
        until(lambda: all(self.children(role) for role in ROLES), "not all children run")

    def start_serving(self) -> None:
        """Start the gateway and return at once."""
        self.supervisor = self._run("tollbook", "serve", "--config", str(self.config), log=self.log)

    def replace(self, seconds: float = WAIT_SECONDS) -> None:
        """Start the gateway again beside the one that runs, to take over from it, and wait until that has left."""
        former, self.supervisor = self.supervisor, None
        assert former is not None
        self.supervisor = self._run("tollbook", "serve", "--config", str(self.config), "--replace", log=self.log)
        assert former.wait(seconds) == 0, self.log.read_text(errors="replace")[-2000:]
        until(lambda: all(self.children(role) for role in ROLES), "not all children run")

    def stop(self, seconds: float = WAIT_SECONDS) -> None:
        """Stop the gateway in order."""
        assert self.supervisor is not None
        self.remember_children()
        self.supervisor.send_signal(signal.SIGTERM)
        assert self.supervisor.wait(seconds) == 0, self.log.read_text(errors="replace")[-2000:]
        assert not self.survivors(), "a child outlived an orderly stop"

    def write_config(self) -> None:
        """Write the configuration as it now is meant to be."""
        self.config.write_text(yaml.safe_dump(self._settings()))

    def reload(self) -> None:
        """Tell the gateway to go by the configuration as it is written now; returns at once."""
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGHUP)

    def is_ready(self) -> bool:
        """Whether a worker takes requests now."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2):
                return True
        except OSError:
            assert self.supervisor is not None and self.supervisor.poll() is None, self.log.read_text()[-2000:]
            return False

    def children(self, role: str) -> list[psutil.Process]:
        """The running children of one role, youngest last."""
        return [process for process in self.remember_children() if f"tollbook.assembly.{role}" in _words(process)]

    def remember_children(self) -> list[psutil.Process]:
        """The supervisor's children now; they are known from then on, also when their parent has died."""
        assert self.supervisor is not None
        try:
            found: list[psutil.Process] = psutil.Process(self.supervisor.pid).children()
        except psutil.NoSuchProcess:
            found = []
        self._known |= {process.pid: process for process in found}
        return sorted(found, key=lambda process: process.create_time())

    def survivors(self) -> list[psutil.Process]:
        """Children ever seen that still run."""
        return [process for process in self._known.values() if _runs(process)]

    def kill_supervisor(self) -> None:
        """`kill -9` of the supervisor alone."""
        assert self.supervisor is not None
        supervisor = psutil.Process(self.supervisor.pid)
        supervisor.suspend()  # so that no child can be born between our look and its death
        until(lambda: supervisor.status() == psutil.STATUS_STOPPED, "the supervisor does not stand still")
        self.remember_children()
        self.supervisor.kill()
        self.supervisor.wait()

    def kill_all(self) -> None:
        """`kill -9` of the supervisor and all its children at once."""
        self.kill_supervisor()
        for process in self.survivors():
            kill(process)
        until(lambda: not self.survivors(), "killed processes have not gone")

    def tollbook(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tollbook", *arguments], capture_output=True, text=True, env=_environ(), timeout=120
        )

    def document(self, *arguments: str) -> dict[str, Any]:
        """The JSON output of a command that must succeed."""
        code, out = command(*arguments, "--config", str(self.config), "--json")
        assert code == 0, out
        told: dict[str, Any] = json.loads(out)
        return told

    # --- within

    def _start_vendor(self) -> None:
        arguments = ["--listen", "127.0.0.1:0", "--books", str(self.vendor_books), *self._vendor_options]
        log = self.directory / "vendor.log"
        self._vendor = self._run("tollbook.simulator", *arguments, log=log, told=True)
        assert self._vendor.stdout is not None
        self.vendor_url = json.loads(self._vendor.stdout.readline())["url"]

    def _settings(self) -> dict[str, Any]:
        addresses = {"openai": f"{self.vendor_url}/v1"}
        return {
            "book": str(self.book),
            "gateway": self._gateway,
            "journal": self._journal,
            "vendors": {
                name: {
                    "format": vendor_format,
                    "base_url": addresses.get(name, self.vendor_url),
                    "keys": [{"name": "main", "secret": f"env:CHAOS_VENDOR_{name.upper()}"}],
                }
                for name, vendor_format in VENDORS.items()
            },
            "models": self.models,
            "tenants": {
                name: {"keys": [{"name": "main", "secret": f"env:CHAOS_{name.upper()}_KEY"}], "workloads": ["main"]}
                for name in KEYS
            },
        }

    def _run(self, module: str, *arguments: str, log: Path, told: bool = False) -> subprocess.Popen[str]:
        with log.open("a") as file:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=subprocess.PIPE if told else file,
                stderr=file,
                text=True,
                env=_environ(),
                start_new_session=True,
            )

    def _end(self) -> None:
        """Nothing of this house runs on, whatever happened."""
        if self.supervisor is not None:
            self.remember_children()
            self.supervisor.kill()
            self.supervisor.wait()
        for process in self.survivors():
            kill(process)
        if self._vendor is not None:
            self._vendor.kill()
            self._vendor.wait()
            assert self._vendor.stdout is not None
            self._vendor.stdout.close()


def command(*arguments: str) -> tuple[int, str]:
    """Run one command in this process, as `tollbook` would, which spares a start; its exit code and output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main.run(list(arguments))
        except SystemExit as left:
            return int(left.code or 0), out.getvalue()


def kill(process: psutil.Process) -> None:
    """`kill -9`, unless it has gone."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def age(process: psutil.Process) -> float:
    """Seconds since a process began."""
    return time.time() - process.create_time()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _environ() -> dict[str, str]:
    own = {f"CHAOS_{name.upper()}_KEY": key for name, key in KEYS.items()}
    own |= {f"CHAOS_VENDOR_{name.upper()}": f"sk-sim-chaos-{name}" for name in VENDORS}
    return {**os.environ, **own, "COLUMNS": "200"}


def _free_port() -> int:
    """A port below the range that outgoing connections take theirs from, so that it stays free while nobody serves."""
    for port in range(20_000 + os.getpid() * 37 % 11_000, 32_000):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no free port")
