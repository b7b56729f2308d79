"""A worker process: owns the road. It knows the journal and nothing of the ledger."""

import asyncio
import gc
import signal
import socket
import sqlite3
import ssl
import sys
from pathlib import Path
from typing import Final

import uvloop

from tollbook.assembly.boot import Channel, FromWorker, Policy, ToWorker, WorkerBoot, receive, supervisor_gone
from tollbook.assembly.child import TRY_LATER, say
from tollbook.assembly.credentials import Credentials
from tollbook.assembly.lanes import WorkerLanes
from tollbook.core.clock import now
from tollbook.core.digest import keyed_digest
from tollbook.core.faults import JournalUnavailable
from tollbook.gateway.claims import Claims
from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.counters import Counters
from tollbook.gateway.entrance import Entrance
from tollbook.gateway.idempotency import Idempotency
from tollbook.gateway.objects import Objects, ObjectTable
from tollbook.gateway.parts import Parts
from tollbook.gateway.recorder import Recorder
from tollbook.gateway.road import Road
from tollbook.gateway.tls import server_context
from tollbook.gateway.upstream import Pool, SocketAddress
from tollbook.journal.closing import is_live
from tollbook.journal.personal import PersonalWriter
from tollbook.pricing.book import PriceBook
from tollbook.pricing.rate import Rater
from tollbook.providers import tokenizer
from tollbook.providers.registry import ADAPTERS

TICK_SECONDS: Final = 0.1
HEARTBEAT_SECONDS: Final = 4.0
IDLE_CLIENT_SECONDS: Final = 300.0
LANES_RETRY_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 1.0
"""How often the registry's snapshot is looked at."""
FIRST_LOOK_SECONDS: Final = 15.0
"""How long a start waits for the registry to know the configuration's keys; then it serves with those it knows."""
RETIRE_IDLE_SECONDS: Final = 3.0
"""How long a retiring worker keeps a connection on which nothing comes."""


class Worker:
    """Joins the parts of the road, keeps time for them, and leaves in order."""

    def __init__(self, boot: WorkerBoot, listener: socket.socket) -> None:
        self._boot: Final = boot
        self._listener: Final = listener
        self._stopping = asyncio.Event()
        self._retiring = False
        root = Path(boot.root)
        self._personal: Final = PersonalWriter(root, boot.lanes.main)
        self._lanes: Final = WorkerLanes(boot)
        self._channel: Channel
        self._asked_for_lanes = False
        self._recorder: Final = Recorder(self._lanes.main, self._lanes.spare, now, self._lane_failed)
        self._rater: Final = Rater(PriceBook.load(Path(boot.prices).read_bytes()))
        state = root / "state.sqlite"
        self._objects: Final = Objects(ObjectTable(state))
        self._idempotency: Final = Idempotency(
            Claims(state),
            self._secret_digest,
            boot.lanes.main,
            lambda lane: is_live(root / "lanes" / lane),
        )
        place = boot.counters
        self._counters: Final = Counters.shared(Path(place.path), place.regions, place.own)
        self._desk: Final = Pool(SocketAddress(str(root / "run" / "desk.sock")))
        self._policy = boot.policy
        self._parts = self._parts_of(boot.policy, None)
        self._credentials: Final = Credentials(root, self._personal.digest)
        self._entrance: Final = Entrance(self._road())

    def _parts_of(self, policy: Policy, former: Parts | None) -> Parts:
        settings = policy.settings
        secrets = {(vendor, key): secret for vendor, key, secret in policy.secrets}
        durable = self._lanes.durable if settings.journal.sync == "before_forward" else None
        return Parts(
            settings, secrets, self._recorder, self._rater, now, durable, self._objects, self._secret_digest, former,
            self._counters,
        )  # fmt: skip

    def _road(self) -> Road:
        admission = self._credentials.admission(self._policy.settings)
        return Road(self._parts, admission, list(ADAPTERS), self._desk, self._idempotency)

    def _change(self, policy: Policy) -> None:
        """Go by another policy from the next request on; requests under way end by the one they began with."""
        former = self._parts
        self._policy = policy
        self._parts = self._parts_of(policy, former)
        self._credentials.look(policy.settings)
        self._entrance.road = self._road()
        former.retire(self._parts)
        self._lanes.configuration = policy.settings.digest
        self._channel.send(FromWorker(policy=policy.number))

    def _secret_digest(self, tenant: str, text: str) -> str:
        """A keyed digest of a text that is remembered nowhere."""
        return keyed_digest(self._personal.key(tenant), text)

    async def run(self, control: socket.socket) -> None:
        """Serve until told to stop, then drain and end the lanes."""
        loop = asyncio.get_running_loop()
        self._channel = await Channel.over(control)
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        tasks = [loop.create_task(work) for work in (self._listen(), self._tick(), self._beat(), self._watch())]
        for task in tasks:
            task.add_done_callback(lambda _: self._stopping.set())  # without one of them a worker is of no use
        await self._first_look()
        server = await loop.create_server(
            lambda: ClientConnection(self._entrance), sock=self._listener, backlog=1024, ssl=self._tls()
        )
        self._channel.send(FromWorker(ready=True))
        await self._stopping.wait()
        server.close()
        until = loop.time() + self._parts.settings.gateway.shutdown_grace
        if self._retiring:
            await self._retire(until)
        await self._drain(until)
        failed = [task for task in tasks if not task.cancel()]
        self._idempotency.close()
        self._objects.close()
        self._lanes.close("stopped")
        self._personal.close()
        for task in failed:
            task.result()

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._boot.policy.settings.gateway.tls
        return None if tls is None else server_context(tls)

    def _stop(self) -> None:
        self._retiring = False
        self._stopping.set()

    async def _retire(self, until: float) -> None:
        """Others take the new connections: answer what comes on the ones we have, each time as the last, until no one
        is left. A connection that nothing comes on is closed after a while, so that its client does not meet its end
        just when it sends. A stop, or the grace's end, leads on to draining."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._retiring and self._entrance.connections and loop.time() < until:
            for connection in list(self._entrance.connections):
                connection.draining = True
                if connection.idle and loop.time() - max(began, connection.since) > RETIRE_IDLE_SECONDS:
                    connection.close()
            await asyncio.sleep(TICK_SECONDS / 4)
        while self._retiring and self._parts.running and loop.time() < until:  # noqa: ASYNC110  both ends are looked at
            await asyncio.sleep(TICK_SECONDS / 4)  # answers whose client left are read on

    async def _drain(self, until: float) -> None:
        """Let requests end by themselves until then; what is left is cut and settled as such."""
        parts = self._parts
        parts.stopping = True
        for connection in list(self._entrance.connections):
            connection.draining = True
            if connection.idle:
                connection.close()
        while parts.running and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110  both ends are looked at
            await asyncio.sleep(TICK_SECONDS / 4)
        for call in list(parts.calls):
            call.cut("stopped")
        for connection in list(self._entrance.connections):
            connection.close()
        await asyncio.sleep(0)

    # --- time

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            loop.call_soon(self._check)  # apart: a fault in ending one request must not stop the time of all

    def _check(self) -> None:
        """End what has taken too long."""
        instant = now()
        for call in list(self._parts.calls):
            call.check(instant)
        for exchange in list(self._parts.running):
            exchange.check(instant)
        self._personal.rotate()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._recorder.heartbeat()
            self._idempotency.tidy(now())
            expired = asyncio.get_running_loop().time() - IDLE_CLIENT_SECONDS
            for connection in list(self._entrance.connections):
                if connection.idle and connection.since < expired:
                    connection.expire()

    # --- who may come in

    async def _first_look(self) -> None:
        """Wait for the registry to know what the configuration says of keys, so that no client is refused in vain."""
        until = asyncio.get_running_loop().time() + FIRST_LOOK_SECONDS
        while not self._stopping.is_set() and asyncio.get_running_loop().time() < until:
            self._look()
            if not self._credentials.closed and self._credentials.configuration == self._policy.settings.digest:
                return
            await asyncio.sleep(TICK_SECONDS / 4)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            loop.call_soon(self._look)

    def _look(self) -> None:
        """Let in whom the registry names now, from the next request on."""
        if self._credentials.look(self._policy.settings):
            self._entrance.road = self._road()

    # --- lanes

    def _lane_failed(self) -> None:
        """The journal cannot be written: ask for new lanes until some can be."""
        say(f"lane {self._lanes.main.name} failed: {self._lanes.main.dead}")
        if not self._asked_for_lanes:
            self._asked_for_lanes = True
            self._channel.send(FromWorker(needs_lanes=True, dead=self._lanes.dead()))

    async def _listen(self) -> None:
        while (message := await self._channel.receive(ToWorker)) is not None:
            if message.retire:
                self._retiring = True
                self._stopping.set()
            elif message.policy is not None:
                self._change(message.policy)
            elif message.lanes is None or not self._take(message):
                await asyncio.sleep(LANES_RETRY_SECONDS)
                self._channel.send(FromWorker(needs_lanes=True, dead=self._lanes.dead()))
        self._stopping.set()

    def _take(self, message: ToWorker) -> bool:
        assert message.lanes is not None
        try:
            self._lanes.replace(message.lanes)
            self._recorder.use(self._lanes.main, self._lanes.spare)
        except JournalUnavailable as fault:
            say(str(fault))
            self._channel.send(FromWorker(unused=self._lanes.unused(message.lanes)))
            return False
        self._asked_for_lanes = False
        self._lanes.retire()
        return True


def main() -> None:
    """Entry point of `python -m tollbook.assembly.worker CONTROL LISTENER` (file descriptors)."""
    control = socket.socket(fileno=int(sys.argv[1]))
    listener = socket.socket(fileno=int(sys.argv[2]))
    listener.setblocking(False)
    boot = receive(control, WorkerBoot)
    if supervisor_gone(control):
        return  # it will have been replaced, and its successor takes the lanes registered for us as never made
    if boot.policy.settings.estimates.tokenizer == "bpe":
        tokenizer.load()
    # What is made per request is freed by reference counts; a collector that runs often would only look in vain.
    gc.set_threshold(50_000, 20, 50)

    async def serve() -> None:
        await Worker(boot, listener).run(control)

    try:
        uvloop.run(serve())
    except (JournalUnavailable, sqlite3.OperationalError) as fault:
        say(f"the book cannot be written: {fault}")
        sys.exit(TRY_LATER)


if __name__ == "__main__":
    main()
