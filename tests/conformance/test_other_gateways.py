"""The suite through gateways that are not ours, where they are installed (`make bench-peers`)."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tollbook.conformance.client import Client
from tollbook.conformance.printing import configuration
from tollbook.conformance.run import run
from tollbook.conformance.suite import cases
from tollbook.simulator import Simulator

PEERS = Path(__file__).parent.parent.parent / ".bench"
ENVOY = PEERS / "envoy" / "bin" / "envoy"
LITELLM = PEERS / "litellm" / "bin" / "litellm"
START_SECONDS = 120
KEY = "sk-conformance-123456"

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(command: list[str], url: str, directory: Path) -> Iterator[None]:
    """A gateway as a process, once it answers anything."""
    environment = {**os.environ, "CONFORMANCE_KEY": KEY}
    environment.pop("PYTHONPATH", None)
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(url):
            assert process.poll() is None and time.monotonic() < until, (directory / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.skipif(not ENVOY.exists(), reason="Envoy is not installed")
def test_a_proxy_that_only_passes_on_has_no_findings(tmp_path: Path) -> None:
    """Envoy, configured as --print-config shows: nothing is missing, nothing is changed."""
    port = free_port()
    with Simulator(seed=1) as vendor:
        text = configuration("envoy", f"127.0.0.1:{port}", vendor.url.removeprefix("http://"))
        (tmp_path / "envoy.yaml").write_text(text)
        command = [str(ENVOY), "-c", "envoy.yaml", "--log-level", "error", "--use-dynamic-base-id"]
        with running(command, f"http://127.0.0.1:{port}/", tmp_path):
            result = run(Client(f"http://127.0.0.1:{port}", "sk-sim-conformance"), vendor, cases())
    assert result.findings == [], result.findings[:3]


@pytest.mark.skipif(not LITELLM.exists(), reason="LiteLLM is not installed")
def test_what_litellm_changes_is_found(tmp_path: Path) -> None:
    """LiteLLM's proxy tells the alias in the place of the model that served, and not the vendor's request id."""
    port = free_port()
    with Simulator(seed=1) as vendor:
        text = configuration("litellm", f"127.0.0.1:{port}", vendor.url.removeprefix("http://"))
        (tmp_path / "litellm.yaml").write_text(text)
        command = [str(LITELLM), "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
        suite = [case for case in cases(["openai"]) if case.name.startswith("openai.chat/plain")]
        with running(command, f"http://127.0.0.1:{port}/health/liveliness", tmp_path):
            result = run(Client(f"http://127.0.0.1:{port}", KEY), vendor, suite)
    found = {finding.field for finding in result.findings}
    assert {"model", "chunk.model", "header.x-request-id"} <= found
    assert "usage.prompt_tokens" not in found
