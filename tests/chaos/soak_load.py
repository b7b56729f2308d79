"""The traffic of a soak: many kinds of requests, sent when they are due, whatever is outstanding."""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

import uvloop
from chaos_house import KEYS
from chaos_load import LIMIT, Answer, Kind, read_answer, request

UNDER_WAY = 2000
"""More requests than these are never under way at once: one that is due then is not sent, and counted."""

KEY_USES = 3
"""How often a client uses each idempotency key."""


class Share(NamedTuple):
    """A kind of request, and how often it is drawn beside the others."""

    kind: Kind
    weight: int


_CLAUDE, _GPT, _NOVA = "claude-haiku-4-5", "gpt-4o-mini", "amazon.nova-lite-v1:0"

MIX = (
    Share(Kind("buffered", _GPT), 200),
    Share(Kind("streamed", _GPT, stream=True), 150),
    Share(Kind("anthropic", _CLAUDE, format="messages"), 100),
    Share(Kind("anthropic streamed", _CLAUDE, stream=True, format="messages"), 100),
    Share(Kind("responses", _GPT, format="responses"), 60),
    Share(Kind("responses streamed", _GPT, stream=True, format="responses"), 60),
    Share(Kind("gemini", "gemini-2.5-flash", format="gemini"), 50),
    Share(Kind("gemini streamed", "gemini-2.5-flash", stream=True, format="gemini"), 50),
    Share(Kind("bedrock", _NOVA, format="bedrock"), 20),
    Share(Kind("bedrock streamed", _NOVA, stream=True, format="bedrock"), 40),
    Share(Kind("cached", _GPT, "input=40 cache_read=400"), 20),
    Share(Kind("cached, anthropic", _CLAUDE, "input=9 cache_read=300 cache_write_5m=20", format="messages"), 20),
    Share(Kind("retried", "smart", "fault=429 times=1 retry_after=0"), 15),
    Share(Kind("fallen back", "smart", "fault=503 times=2"), 10),
    Share(Kind("failed", _GPT, "fault=500"), 5),
    Share(Kind("refused", _CLAUDE, "fault=400", format="messages"), 5),
    Share(Kind("cut", _GPT, "fault=cut after=2", stream=True), 5),
    Share(Kind("cut, anthropic", _CLAUDE, "fault=cut_fin after=1", stream=True, format="messages"), 5),
    Share(Kind("cut, bedrock", _NOVA, "fault=cut after=1", stream=True, format="bedrock"), 3),
    Share(Kind("never answered", "hasty", "fault=accept_then_timeout"), 1),
    Share(Kind("left before", _GPT, "first_byte_ms=60", leave="before"), 8),
    Share(Kind("left in the middle", _CLAUDE, "chunk_ms=5", stream=True, leave="middle", format="messages"), 8),
    Share(Kind("left in the middle, gemini", "gemini-2.5-flash", stream=True, leave="middle", format="gemini"), 5),
    Share(Kind("left after", _GPT, stream=True, leave="after"), 8),
    Share(Kind("slow client", _GPT, "output=400 chunk_tokens=2", stream=True, slow=True), 4),
    Share(Kind("keyed", _GPT, "output=5"), 15),
    Share(Kind("unpriced", "unlisted"), 8),
    Share(Kind("unknown model", "no-such-model"), 8),
)


class Ended(NamedTuple):
    """A request whose answer was read to its end, and when that was (seconds since the epoch)."""

    request_id: str
    tenant: str
    at: float


class PacedLoad:
    """Sends at a rate from entering the block to leaving it, in a thread of its own; `rate` None keeps `clients` busy,
    to learn what can be carried.

    Of requests that end well one is kept in `sample` about every `sample_seconds`.
    """

    def __init__(
        self, port: int, *, seed: int, rate: float | None, clients: int = 24, sample_seconds: float = 1.0
    ) -> None:
        self._port = port
        self._chance = random.Random(seed)
        self._rate = rate
        self._clients = clients
        self._every = sample_seconds
        self._sampled_at = 0.0
        self._numbers = itertools.count()
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._kinds = random.Random(seed).sample([s.kind for s in MIX for _ in range(s.weight)], k=_total())
        self._fault: BaseException | None = None
        self.sample: deque[Ended] = deque()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.answered: list[str] = []
        self.sent = 0
        self.left_out = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the clients do not end"
        if self._fault is not None and fault is None:
            raise self._fault

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._busy() if self._rate is None else self._paced(self._rate))
        except BaseException as fault:  # noqa: BLE001  handed to the thread that leaves the block
            self._fault = fault

    async def _paced(self, rate: float) -> None:
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self._stopping.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                while due <= time.monotonic():
                    due += 1 / rate
                    if len(under_way) >= UNDER_WAY:
                        self.left_out += 1
                        continue
                    task = group.create_task(self._one())
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
        self._close()

    async def _busy(self) -> None:
        async def client() -> None:
            while not self._stopping.is_set():
                await self._one()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(client())
        self._close()

    async def _one(self) -> None:
        number = next(self._numbers)
        kind = self._kinds[number % len(self._kinds)]
        tenant = self._chance.choice(list(KEYS))
        headers, nonce = None, f" {number}"
        if kind.name == "keyed":
            nonce = f" {number // len(self._kinds) // KEY_USES} {tenant}"
            headers = {"idempotency-key": f"soak{nonce} {number % len(self._kinds)}"}
        user = f"user-{self._chance.randrange(50)}@{tenant}.example"
        self.sent += 1
        try:
            answer = await self._ask(kind, request(kind, tenant, user=user, headers=headers, nonce=nonce))
        except OSError:
            answer = Answer(None, 0, False, kind=kind.name)
        self.statuses[kind.name, answer.status if answer.whole else -answer.status] += 1
        if answer.status == 200 and answer.request_id is not None:
            self.answered.append(answer.request_id)
            now = time.time()
            if answer.whole and now - self._sampled_at >= self._every:
                self._sampled_at = now
                self.sample.append(Ended(answer.request_id, tenant, now))

    async def _ask(self, kind: Kind, data: bytes) -> Answer:
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
        kept = False
        try:
            writer.write(data)
            if kind.leave == "before":
                await asyncio.sleep(0.02)
                return Answer(None, 0, False, kind=kind.name)
            answer = await read_answer(reader, kind)
            kept = answer.whole and not kind.leave
            return answer
        finally:
            if kept:
                self._free.append((reader, writer))
            else:
                writer.transport.abort()

    def _close(self) -> None:
        for _, writer in self._free:
            writer.close()


def _total() -> int:
    return sum(share.weight for share in MIX)


class Every:
    """Does something again and again in a thread, from entering the block to leaving it."""

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        self._seconds = seconds
        self._work = work
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._fault: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(60)
        if self._fault is not None and fault is None:
            raise self._fault

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._seconds):
                self._work()
        except BaseException as fault:  # noqa: BLE001  handed to the thread that leaves the block
            self._fault = fault
