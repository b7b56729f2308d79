"""The road of one worker in this process: real parts, a real lane, no supervisor; and a client that hides nothing."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tollbook import config
from tollbook.core.clock import now
from tollbook.core.digest import keyed_digest
from tollbook.core.settings import Settings
from tollbook.gateway.admission import Admission, Caller
from tollbook.gateway.claims import Claims
from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.idempotency import Idempotency
from tollbook.gateway.objects import Objects, ObjectTable
from tollbook.gateway.parts import Parts
from tollbook.gateway.recorder import Recorder
from tollbook.gateway.road import Road
from tollbook.gateway.upstream import Pool, SocketAddress
from tollbook.journal.entry import FORMAT, LaneBegin, RequestEntry, decode_request
from tollbook.journal.lane import Lane
from tollbook.journal.line import Line
from tollbook.journal.tail import read_lane
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater
from tollbook.providers.registry import ADAPTERS

TICK = 0.02
SECRET = "sk-sim-vendor-secret"
HASTY = {"first_byte: 20s, idle: 20s": "first_byte: 700ms, idle: 700ms"}
"""An edit of CONFIG, for tests of vendors that fall silent."""
CONFIG = """
book: ./book
gateway: {{listen: "127.0.0.1:0", timeouts: {{connect: 5s, first_byte: 20s, idle: 20s, total: 60s}}, {gateway}}}
journal: {{ballast: 64KiB}}
vendors:
  openai: {{format: openai, base_url: "{vendor}/v1", keys: [{{name: main, secret: "{secret}"}}]}}
  claude: {{format: anthropic, base_url: "{vendor}", keys: [{{name: main, secret: "{secret}"}}]}}
  private: {{format: openai, base_url: "{vendor}/v1", keys: [{{name: own, secret: "{secret}", tenants: [globex]}}]}}
  nowhere: {{format: openai, base_url: "http://127.0.0.1:1/v1", keys: [{{name: main, secret: "{secret}"}}]}}
models:
  gpt-4o-mini: {{targets: [{{vendor: openai, model: gpt-4o-mini}}], retry: {{attempts: 1}}}}
  claude-haiku-4-5: {{targets: [{{vendor: claude, model: claude-haiku-4-5}}], retry: {{attempts: 1}}}}
  unlisted: {{targets: [{{vendor: openai, model: sim-unlisted}}], retry: {{attempts: 1}}}}
  pinned: {{targets: [{{vendor: openai, model: gpt-4o-mini}}], regions: [mars]}}
  private: {{targets: [{{vendor: private, model: gpt-4o-mini}}]}}
  nowhere: {{targets: [{{vendor: nowhere, model: gpt-4o-mini}}], retry: {{attempts: 2, backoff: 1ms}}}}
  patient:
    targets: [{{vendor: openai, model: gpt-4o-mini}}]
    retry: {{attempts: 2, backoff: 1ms, retry_after_send: true}}
  smart:
    targets: [{{vendor: openai, model: gpt-4o}}, {{vendor: openai, model: gpt-4.1}}]
    retry: {{attempts: 3, backoff: 1ms}}
  around: {{targets: [{{vendor: nowhere, model: gpt-4o}}, {{vendor: openai, model: gpt-4o-mini}}],
    retry: {{attempts: 3, backoff: 1ms}}}}
tenants:
  acme:
    keys: [{{name: acme-prod, secret: key-acme}}, {{name: acme-search, secret: key-search, workloads: [search]}}]
    workloads: [search, support]
    open_tags: [team]
  initech:
    keys: [{{name: initech-prod, secret: key-initech}}]
    limits: {{concurrent: 2}}
    deny_tools: [web_search, code_execution, google_search]
    fields:
      openai: {{service_tier: {{force: default}}, store: {{refuse: true}}}}
      anthropic: {{service_tier: {{allow: [auto, standard_only]}}, speed: {{refuse: true}}}}
  globex: {{keys: [{{name: globex-prod, secret: key-globex}}], workloads: [mail], models: [gpt-4o-mini, private]}}
"""


class Reply(NamedTuple):
    """One answer: its status, headers by lower-case name, whole body, and whether the connection ended with it."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of an error of ours, where its format has it."""
        error = self.json["error"]
        return str(error["details"]["error_code"] if "details" in error else error["code"])


class Client:
    """One connection to the road."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, method: str = "POST") -> Reply:
        """Read one answer. Raises IncompleteReadError when the connection ends before the answer does."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        if status == 100 or method == "HEAD":
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, await asyncio.wait_for(self._chunks(), 10))
        length = int(headers["content-length"])
        return Reply(status, headers, await asyncio.wait_for(self.reader.readexactly(length), 10))

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def ended(self) -> bool:
        """Whether the other side has closed the connection, with nothing more to read."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 5) == b""
        except ConnectionError:
            return True

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


class SmallRoad:
    """Use it in an `async with` block. `gateway` are more settings of the gateway; `edits` replace parts of CONFIG."""

    def __init__(
        self, directory: Path, vendor_url: str, gateway: str = "", edits: dict[str, str] | None = None
    ) -> None:
        self.directory = directory
        text = CONFIG
        for old, new in (edits or {}).items():
            assert old in text
            text = text.replace(old, new)
        self.settings: Settings = config.parse(
            text.format(vendor=vendor_url, gateway=gateway, secret=SECRET), base=directory
        )
        self.port = 0
        self.asked_for_lanes = 0
        self.clients: list[Client] = []

    async def __aenter__(self) -> Self:
        book = self.directory / "book"
        (book / "lanes").mkdir(parents=True, exist_ok=True)
        begin = LaneBegin(
            book="b" * 8, lane="worker-x", role="worker", format=FORMAT, release="t", configuration="c",
            host="h", process=1,
        )  # fmt: skip
        self.lane = Lane.create(book / "lanes" / "worker-x", begin, ballast=0)
        self.recorder = Recorder(self.lane, None, now, self._needs_lanes)
        rater = Rater(base_book())
        secrets = {(vendor.name, key.name): SECRET for vendor in self.settings.vendors.values() for key in vendor.keys}
        self.object_table = ObjectTable(book / "state.sqlite")
        self.objects = Objects(self.object_table)
        self.parts = Parts(self.settings, secrets, self.recorder, rater, now, None, self.objects, keyed)
        self.claims = Claims(book / "state.sqlite")
        self.idempotency = Idempotency(self.claims, keyed, "worker-x", lambda lane: True)
        admission = Admission(
            callers(self.settings), lambda secret: secret, lambda tenant, text, kind: keyed_digest(b"k", text)
        )
        self.desk = Pool(SocketAddress(str(book / "desk.sock")))
        self.road = Road(self.parts, admission, list(ADAPTERS), self.desk, self.idempotency)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientConnection(self.road), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.cut()
        self._server.close()
        for call in list(self.parts.calls):
            call.cut("stopped")
        self._ticking.cancel()
        for pool, _address in self.parts.pools.values():
            pool.close()
        self.idempotency.close()
        self.objects.close()
        self.lane.close("stopped")

    async def connect(self, receive_buffer: int = 0) -> Client:
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        client = Client(*await asyncio.open_connection(sock=connection))
        self.clients.append(client)
        return client

    async def ask(self, model: str = "gpt-4o-mini", text: str = "Hello.", **options: Any) -> Reply:
        """One request over a connection of its own; see `request_bytes`."""
        client = await self.connect()
        client.send(request_bytes(model, text, **options))
        return await client.answer()

    async def send(self, data: bytes, method: str = "POST") -> Reply:
        """Bytes over a connection of their own, and what comes back."""
        client = await self.connect()
        client.send(data)
        reply = await client.answer(method)
        return reply._replace(ended=False)

    async def until(self, done: Callable[[], object]) -> None:
        """Wait until something is so, at most ten seconds."""
        for _ in range(1_000):
            if done():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it does not come to pass")

    async def quiet(self) -> None:
        """Wait until no request is being answered."""
        await self.until(lambda: not self.parts.running and not self.parts.calls)

    @property
    def lines(self) -> list[Line]:
        """The entries of requests, as written so far."""
        lines = read_lane(self.directory / "book" / "lanes" / "worker-x")
        return [line for line in lines if line.kind.startswith(("request.", "attempt."))]

    @property
    def entries(self) -> list[tuple[str, RequestEntry]]:
        return [(line.kind, decode_request(line.bytes)) for line in self.lines]

    async def entries_of(self, reply: Reply) -> list[RequestEntry]:
        """The entries of the request that got an answer, once all are closed."""
        await self.quiet()
        return [entry for _, entry in self.entries if entry.request.id == reply.headers["x-tollbook-request-id"]]

    async def last(self) -> RequestEntry:
        """The entry that closed the last request, once all are closed."""
        await self.quiet()
        return self.entries[-1][1]

    def _needs_lanes(self) -> None:
        self.asked_for_lanes += 1

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            instant = now()
            for call in list(self.parts.calls):
                call.check(instant)
            for exchange in list(self.parts.running):
                exchange.check(instant)


def keyed(tenant: str, text: str) -> str:
    """A keyed digest of a text that is kept nowhere."""
    return keyed_digest(tenant.encode(), text)


def raw(path: str, *headers: str, method: str = "POST", body: bytes = b"") -> bytes:
    """A request with just these headers."""
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"{method} {path} HTTP/1.1\r\nhost: a\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def callers(settings: Settings) -> dict[str, Caller]:
    """Every tenant key of a configuration that holds its secrets itself."""
    return {
        key.secret: Caller(tenant, key.name, key.workloads or tenant.workloads)
        for tenant in settings.tenants.values()
        for key in tenant.keys
    }


def body_bytes(model: str, text: str, **members: Any) -> bytes:
    """The body of a request; an Anthropic model gets the `max_tokens` it must have."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if model.startswith("claude"):
        body["max_tokens"] = 4096
    return json.dumps(body | members).encode()


def request_bytes(
    model: str = "gpt-4o-mini",
    text: str = "Hello.",
    *,
    key: str = "key-acme",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    path: str | None = None,
    **members: Any,
) -> bytes:
    """A whole request as bytes."""
    data = body_bytes(model, text, **members) if body is None else body
    anthropic = model.startswith("claude")
    sent = {"x-api-key": key, "anthropic-version": "2023-06-01"} if anthropic else {"authorization": f"Bearer {key}"}
    sent |= {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    route = path or ("/v1/messages" if anthropic else "/v1/chat/completions")
    return f"POST {route} HTTP/1.1\r\nhost: gateway\r\n{lines}\r\n".encode() + data
