"""A simulated vendor for each test, and a plain HTTP client that hides nothing of what came over the wire."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tollbook.simulator import Simulator

KEY = "sk-sim-test"


class Wire(NamedTuple):
    """One exchange as it was on the wire: all bytes, and how the connection ended."""

    data: bytes
    end: str

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        """The body, with chunked transfer coding undone as far as it goes."""
        rest = self.data.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return rest
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of each event; `[DONE]` as text."""
        blocks = self.body.decode().replace("\r\n", "\n").split("\n\n")
        data = [
            "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))
            for block in blocks
        ]
        return [text if text == "[DONE]" else json.loads(text) for text in data if text]


Ask = Callable[..., Wire]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=7) as running:
        yield running


@pytest.fixture
def ask(simulator: Simulator) -> Ask:
    """Send one chat request to the simulator and read until it ends the exchange."""

    def ask(
        text: str = "hello",
        *,
        vendor: str = "openai",
        stream: bool = False,
        headers: dict[str, str] | None = None,
        timeout: float = 5,
        to: Simulator | None = None,
        **members: Any,
    ) -> Wire:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": stream}
        if vendor == "anthropic":
            body |= {"model": "claude-haiku-4-5", "max_tokens": 4096}
        path = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[vendor]
        sent = {"authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01", **(headers or {})}
        data = json.dumps(body | members).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{lines}connection: close\r\ncontent-length: {len(data)}\r\n\r\n"
        return _exchange((to or simulator).url, head.encode() + data, timeout)

    return ask


@pytest.fixture
def exchange() -> Callable[..., Wire]:
    """Send bytes to a URL's host and read until the other side ends."""
    return _exchange


def _exchange(url: str, data: bytes, timeout: float = 5) -> Wire:
    """Send bytes and read until the other side ends: `fin`, `reset` or nothing within the time (`silence`)."""
    address = urlsplit(url)
    received = b""
    try:
        with socket.create_connection((address.hostname, address.port), timeout) as connection:
            connection.sendall(data)
            while part := connection.recv(65536):
                received += part
    except ConnectionError:
        return Wire(received, "reset")
    except TimeoutError:
        return Wire(received, "silence")
    return Wire(received, "fin")
