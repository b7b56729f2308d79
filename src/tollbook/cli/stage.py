"""A stage: a simulated vendor, a gateway before it and a book, as processes of their own, for replays and the demo."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tollbook.core.faults import Fault

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05


class StageFault(Fault):
    """A process of the stage did not start; the message shows the end of its log."""

    code = "stage"


class Stage:
    """Starts everything in a directory, and stops it again. Use it in a `with` block.

    `config` is the text of tollbook.yaml; the words `{gateway}`, `{openai}` and `{anthropic}` in it become the
    gateway's address and the vendor's base URLs. `secrets` are the environment variables it refers to.
    """

    def __init__(self, directory: Path, config: str, secrets: dict[str, str], *, seed: int = 0) -> None:
        self.directory: Final = directory
        self.book: Final = directory / "book"
        self.config: Final = directory / "tollbook.yaml"
        self.vendor_books: Final = directory / "vendor"
        self.gateway_url = ""
        self.vendor_url = ""
        self._text: Final = config
        self._secrets: Final = secrets
        self._seed: Final = seed
        self._processes: list[subprocess.Popen[str]] = []
        self._former: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        # A killed demo must not leave its processes behind: SIGTERM unwinds as ^C does.
        self._former = signal.signal(signal.SIGTERM, _leave)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        signal.signal(signal.SIGTERM, self._former)

    def stop(self) -> None:
        """Stop the gateway, then the vendor; each may finish what it does."""
        while self._processes:
            process = self._processes.pop()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        arguments = [
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--books",
            str(self.vendor_books),
            "--seed",
            str(self._seed),
        ]
        vendor = self._run("vendor", *arguments)
        assert vendor.stdout is not None
        self.vendor_url = _address(vendor.stdout.readline(), self._log("vendor"))
        listen = f"127.0.0.1:{_free_port()}"
        self.gateway_url = f"http://{listen}"
        words = {"gateway": listen, "openai": f"{self.vendor_url}/v1", "anthropic": self.vendor_url}
        text = self._text
        for name, value in words.items():
            text = text.replace(f"{{{name}}}", value)
        self.config.write_text(text)
        made = self._run("init", "init", str(self.directory))
        if made.wait(START_SECONDS) != 0:
            raise StageFault(f"the book could not be made: {_tail(self._log('init'))}")
        self._processes.remove(made)
        self._wait_ready(self._run("gateway", "serve", "--config", str(self.config)))

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        with self._log(name).open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tollbook", *arguments],
                stdout=subprocess.PIPE if name == "vendor" else log,
                stderr=log,
                text=True,
                env={**os.environ, **self._secrets},
                start_new_session=True,  # ^C reaches us alone, and we stop them in order
            )
        self._processes.append(process)
        return process

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _wait_ready(self, gateway: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and gateway.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.gateway_url}/health/ready", timeout=1):  # noqa: S310 - http to ourselves
                    return
            except OSError:
                time.sleep(_POLL_SECONDS)
        raise StageFault(f"the gateway is not ready: {_tail(self._log('gateway'))}")


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _address(line: str, log: Path) -> str:
    """The URL in the line a simulator prints when it listens."""
    try:
        told: dict[str, Any] = json.loads(line)
        return str(told["url"])
    except (ValueError, KeyError):
        raise StageFault(f"the simulated vendor did not start: {_tail(log)}") from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip() or f"it said nothing in {log}"
