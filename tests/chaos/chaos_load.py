"""Clients that never give up: many kinds of requests over both formats, whatever happens to the gateway."""

import asyncio
import json
import random
import threading
from types import TracebackType
from typing import NamedTuple, Self

from chaos_house import KEYS

LIMIT = 1 << 20


class Kind(NamedTuple):
    """A kind of request and what the vendor is told to do with it."""

    name: str
    model: str
    command: str = ""
    stream: bool = False
    leave: bool = False


KINDS = (
    Kind("buffered", "gpt-4o-mini"),
    Kind("slow", "gpt-4o-mini", "first_byte_ms=250"),
    Kind("streamed", "gpt-4o-mini", "chunk_ms=10", stream=True),
    Kind("anthropic", "claude-haiku-4-5"),
    Kind("anthropic slow", "claude-haiku-4-5", "first_byte_ms=250"),
    Kind("anthropic streamed", "claude-haiku-4-5", "chunk_ms=10", stream=True),
    Kind("retried", "smart", "fault=429 times=1 retry_after=0"),
    Kind("fallen back", "smart", "fault=503 times=2"),
    Kind("left", "gpt-4o-mini", "chunk_ms=10", stream=True, leave=True),
)


class Answer(NamedTuple):
    """What a client saw: the request's id at the gateway, the status (0: none), and whether the answer came whole."""

    request_id: str | None
    status: int
    whole: bool
    body: bytes = b""
    kind: str = ""


def post(
    port: int, kind: Kind, *, tenant: str = "acme", user: str | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request on a connection of its own."""

    async def send() -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
        try:
            writer.write(request(kind, tenant, user=user, headers=headers))
            return await _read(reader, leave=kind.leave)
        finally:
            writer.close()

    return asyncio.run(send())


def request(kind: Kind, tenant: str, *, user: str | None = None, headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    content = f"Hello. [[sim {kind.command}]]" if kind.command else "Hello."
    body: dict[str, object] = {"model": kind.model, "messages": [{"role": "user", "content": content}]}
    fields = {"host": "gateway", "x-tollbook-user": user or f"someone@{tenant}.example", **(headers or {})}
    path = "/v1/chat/completions"
    if kind.model.startswith("claude"):
        path, body["max_tokens"] = "/v1/messages", 256
        fields |= {"x-api-key": KEYS[tenant], "anthropic-version": "2023-06-01"}
    else:
        fields["authorization"] = f"Bearer {KEYS[tenant]}"
    if kind.stream:
        body["stream"] = True
    data = json.dumps(body).encode()
    fields["content-length"] = str(len(data))
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Load:
    """Clients in a thread of their own, from entering the block to leaving it, or until `most` requests are answered.

    Each sends one request after the other over a connection that it opens again when it breaks.
    """

    def __init__(
        self, port: int, *, seed: int, clients: int = 10, pause: float = 0.03, most: int | None = None
    ) -> None:
        self._port = port
        self._seed = seed
        self._clients = clients
        self._pause = pause
        self._left = most
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the clients do not end"

    @property
    def is_running(self) -> bool:
        """Whether requests are still to be sent."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until all requests are answered."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"only {len(self.answers)} requests were answered"

    def ids(self, status: int) -> list[str]:
        """The requests that were answered so, by their ids at the gateway."""
        return [one.request_id for one in self.answers if one.status == status and one.request_id is not None]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                group.create_task(self._client(random.Random(f"{self._seed}/{number}")))

    async def _client(self, chance: random.Random) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self._stopping.is_set() and (self._left is None or self._left > 0):
            await asyncio.sleep(chance.uniform(0, 2 * self._pause))
            kind, tenant = chance.choice(KINDS), chance.choice(list(KEYS))
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
                writer.write(request(kind, tenant, user=f"user-{chance.randrange(50)}@{tenant}.example"))
                answer = await _read(reader, leave=kind.leave)
            except OSError:
                answer = Answer(None, 0, False)
            if answer.status:
                self.answers.append(answer._replace(kind=kind.name))
                if self._left is not None and answer.status != 503:
                    self._left -= 1
            if not answer.whole or kind.leave:
                if writer is not None:
                    writer.transport.abort()
                reader = writer = None
        if writer is not None:
            writer.close()


async def _read(reader: asyncio.StreamReader, *, leave: bool) -> Answer:
    """Read one answer; with `leave` only the beginning of its body."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError):
        return Answer(None, 0, False)
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    status, request_id = int(first.split()[1]), fields.get("x-tollbook-request-id")
    try:
        if "content-length" in fields:
            body = await reader.readexactly(int(fields["content-length"]))
            return Answer(request_id, status, True, body)
        parts: list[bytes] = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
            if leave:
                return Answer(request_id, status, False, b"".join(parts))
        await reader.readexactly(2)
    except (asyncio.IncompleteReadError, OSError):
        return Answer(request_id, status, False)
    return Answer(request_id, status, True, b"".join(parts))
