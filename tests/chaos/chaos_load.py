"""Clients that never give up: many kinds of requests over several formats, whatever happens to the gateway."""

import asyncio
import json
import random
import threading
from types import TracebackType
from typing import NamedTuple, Self

from chaos_house import KEYS

LIMIT = 1 << 20


class Kind(NamedTuple):
    """A kind of request and what the vendor is told to do with it.

    `format` is the wire format it is asked in. `leave` says when its client leaves: `before` the answer, in the
    `middle` of it, or right `after` its last byte; empty: it stays. A `slow` client takes its time between two reads.
    """

    name: str
    model: str
    command: str = ""
    stream: bool = False
    leave: str = ""
    format: str = "chat"
    slow: bool = False


KINDS = (
    Kind("buffered", "gpt-4o-mini"),
    Kind("slow", "gpt-4o-mini", "first_byte_ms=250"),
    Kind("streamed", "gpt-4o-mini", "chunk_ms=10", stream=True),
    Kind("anthropic", "claude-haiku-4-5", format="messages"),
    Kind("anthropic slow", "claude-haiku-4-5", "first_byte_ms=250", format="messages"),
    Kind("anthropic streamed", "claude-haiku-4-5", "chunk_ms=10", stream=True, format="messages"),
    Kind("retried", "smart", "fault=429 times=1 retry_after=0"),
    Kind("fallen back", "smart", "fault=503 times=2"),
    Kind("left", "gpt-4o-mini", "chunk_ms=10", stream=True, leave="middle"),
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
            return await read_answer(reader, kind)
        finally:
            writer.close()

    return asyncio.run(send())


def request(
    kind: Kind, tenant: str, *, user: str | None = None, headers: dict[str, str] | None = None, nonce: str = ""
) -> bytes:
    """The bytes of a request. The `nonce` makes its body another one."""
    content = f"Hello{nonce}. [[sim {kind.command}]]" if kind.command else f"Hello{nonce}."
    path, body = _asked(kind, content)
    fields = {"host": "gateway", "x-tollbook-user": user or f"someone@{tenant}.example", **(headers or {})}
    if kind.format == "messages":
        fields |= {"x-api-key": KEYS[tenant], "anthropic-version": "2023-06-01"}
    elif kind.format == "gemini":
        fields["x-goog-api-key"] = KEYS[tenant]
    else:
        fields["authorization"] = f"Bearer {KEYS[tenant]}"
    data = json.dumps(body).encode()
    fields["content-length"] = str(len(data))
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def _asked(kind: Kind, content: str) -> tuple[str, dict[str, object]]:
    """Path and body in the format of a kind."""
    if kind.format == "gemini":
        operation = "streamGenerateContent?alt=sse" if kind.stream else "generateContent"
        return f"/v1beta/models/{kind.model}:{operation}", {"contents": [{"parts": [{"text": content}]}]}
    if kind.format == "bedrock":
        operation = "converse-stream" if kind.stream else "converse"
        return f"/model/{kind.model}/{operation}", {"messages": [{"role": "user", "content": [{"text": content}]}]}
    body: dict[str, object] = {"model": kind.model, **({"stream": True} if kind.stream else {})}
    if kind.format == "responses":
        return "/v1/responses", {**body, "input": content}
    body["messages"] = [{"role": "user", "content": content}]
    if kind.format == "messages":
        return "/v1/messages", {**body, "max_tokens": 256}
    return "/v1/chat/completions", body


class Load:
    """Clients in a thread of their own, from entering the block to leaving it, or until `most` requests are answered.
    `unanswered` are requests that were refused a connection, or whose connection ended before an answer began.

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
        self.unanswered: list[str] = []

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
                if reader is None or writer is None or reader.at_eof():  # as a pool looks before it uses one again
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
                writer.write(request(kind, tenant, user=f"user-{chance.randrange(50)}@{tenant}.example"))
                answer = await read_answer(reader, kind)
            except OSError:
                answer = Answer(None, 0, False)
            if not answer.status:
                self.unanswered.append(kind.name)
            else:
                self.answers.append(answer)
                if self._left is not None and answer.status != 503:
                    self._left -= 1
            if not answer.whole or kind.leave:
                if writer is not None:
                    writer.transport.abort()
                reader = writer = None
        if writer is not None:
            writer.close()


async def read_answer(reader: asyncio.StreamReader, kind: Kind) -> Answer:
    """Read one answer as a client of that kind does."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError):
        return Answer(None, 0, False, kind=kind.name)
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    answer = Answer(fields.get("x-tollbook-request-id"), int(first.split()[1]), False, kind=kind.name)
    try:
        if "content-length" in fields:
            return answer._replace(whole=True, body=await reader.readexactly(int(fields["content-length"])))
        parts: list[bytes] = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
            if kind.leave == "middle":
                return answer._replace(body=b"".join(parts))
            if kind.slow:
                await asyncio.sleep(0.005)
        await reader.readexactly(2)
    except (asyncio.IncompleteReadError, OSError):
        return answer
    return answer._replace(whole=True, body=b"".join(parts))
