"""The supervisor: owns the listening socket and the registry of lanes; starts, replaces and reaps all others.

It reads no client's bytes and needs no ledger. Workers own the road; the scribe owns the book's lane and the ledger's
writing; the desk answers questions. Each may die without the others noticing.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tollbook.assembly.boot import BookBoot, BootCaller, FromWorker, LaneNames, ToWorker, WorkerBoot, key_hash
from tollbook.assembly.child import Backoff, Running, say, start, terminate
from tollbook.assembly.prices import active_prices
from tollbook.assembly.reaping import Registrar, known_heads
from tollbook.core.clock import now
from tollbook.core.digest import canonical_json
from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.core.settings import Secrets, Settings, recorded_form
from tollbook.journal.book import Book, BookLock
from tollbook.journal.entry import ConfigurationLoaded
from tollbook.journal.objects import ObjectStore
from tollbook.journal.personal import ensure_keys

HEARTBEAT_SECONDS: Final = 4.0
BIND_SECONDS: Final = 15.0
CHILD_GRACE_SECONDS: Final = 30.0


class Supervisor:
    """`listening` is told the address each time a worker is ready."""

    def __init__(
        self,
        settings: Settings,
        vault: Secrets,
        release: str,
        listening: Callable[[str], None] = lambda address: None,
    ) -> None:
        self._settings: Final = settings
        self._secrets: Final = vault
        self._release: Final = release
        self._listening: Final = listening
        self._book: Final = Book.open(Path(settings.book))
        self._stopping = asyncio.Event()
        self._children: Final[dict[str, Running]] = {}
        self._pepper: Final = secrets.token_bytes(32)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then drain, close every lane and return."""
        loop = asyncio.get_running_loop()
        with BookLock(self._book.root / "run" / "supervisor.lock"):
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(name, self._stopping.set)
            listener = await _bind(self._settings.gateway.listen)
            try:
                await self._serve(listener)
            finally:
                listener.close()

    async def _serve(self, listener: socket.socket) -> None:
        settings, root = self._settings, self._book.root
        year = datetime.now(UTC).year
        ensure_keys(root, list(settings.tenants), [year, year + 1])
        registrar = Registrar(self._book, self._release, settings.digest, settings.journal.ballast)
        await registrar.reap_former()
        self._record_configuration(registrar)
        told = BookBoot(settings=settings, root=str(root), release=self._release)
        workers = [
            self._keep(f"worker {n}", self._worker(registrar, listener)) for n in range(settings.gateway.workers)
        ]
        book = [
            self._keep("scribe", self._plain("tollbook.assembly.scribe", told)),
            self._keep("desk", self._plain("tollbook.assembly.desk", told)),
        ]
        watch = asyncio.create_task(self._watch(registrar))
        keeping = [asyncio.create_task(one) for one in (*book, *workers)]
        for task in keeping:
            task.add_done_callback(self._kept)
        await self._stopping.wait()
        await self._stop(keeping[len(book) :], lambda name: name.startswith("worker"), settings.gateway.shutdown_grace)
        watch.cancel()
        with contextlib.suppress(JournalUnavailable):
            registrar.close("stopped")
        await self._stop(keeping[: len(book)], lambda name: True, 0)

        for task in keeping:
            task.result()

    def _kept(self, task: asyncio.Task[None]) -> None:
        """A child is kept until the supervisor stops; when keeping it fails, everything stops and says why."""
        self._stopping.set()

    async def _stop(self, tasks: list[asyncio.Task[None]], chosen: Callable[[str], bool], grace: float) -> None:
        for name, running in list(self._children.items()):
            if chosen(name):
                terminate(running)
        _, late = await asyncio.wait(tasks, timeout=grace + CHILD_GRACE_SECONDS) if tasks else (None, set())
        for name, running in list(self._children.items()):
            if late and chosen(name) and running.process.returncode is None:
                say(f"{name} did not end in time and is killed; its lane tells what it left open")
                running.process.kill()
        if late:
            await asyncio.wait(late)

    async def _keep(self, name: str, once: Callable[[str], Awaitable[Running | None]]) -> None:
        """Run a child again and again until the supervisor stops."""
        backoff = Backoff(name)
        while not self._stopping.is_set():
            running = await once(name)
            pause = 1.0 if running is None else backoff.after(running)
            if not self._stopping.is_set():
                code = running.process.returncode if running else "no lane"
                say(f"{name} ended ({code}); starting it again")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)

    def _plain(self, module: str, told: BookBoot) -> Callable[[str], Awaitable[Running | None]]:
        async def once(name: str) -> Running:
            running = await start(module, told)
            self._children[name] = running
            await running.process.wait()
            running.channel.close()
            return running

        return once

    def _worker(self, registrar: Registrar, listener: socket.socket) -> Callable[[str], Awaitable[Running | None]]:
        async def once(name: str) -> Running | None:
            try:
                lanes = registrar.register()
            except JournalUnavailable as fault:
                say(str(fault))
                return None
            running = await start("tollbook.assembly.worker", self._boot(lanes), [listener.fileno()])
            self._children[name] = running
            names = [lanes.main, lanes.spare]
            hear = asyncio.create_task(self._hear(running, registrar, names))
            code = await running.process.wait()
            hear.cancel()
            running.channel.close()
            await registrar.reap(names, "ended" if code == 0 else "died")
            return running

        return once

    async def _hear(self, running: Running, registrar: Registrar, names: list[str]) -> None:
        """Answer a worker that needs new lanes."""
        while (word := await running.channel.receive(FromWorker)) is not None:
            if word.ready:
                self._listening(self._settings.gateway.listen)
            await registrar.close_lanes([*word.dead, *word.unused], "failed")
            if word.needs_lanes:
                running.channel.send(ToWorker(lanes=self._more_lanes(registrar, names)))

    def _more_lanes(self, registrar: Registrar, names: list[str]) -> LaneNames | None:
        try:
            lanes = registrar.register()
        except JournalUnavailable:
            return None
        names += (lanes.main, lanes.spare)
        return lanes

    def _boot(self, lanes: LaneNames) -> WorkerBoot:
        settings = self._settings
        return WorkerBoot(
            settings=settings,
            root=str(self._book.root),
            book=self._book.id,
            release=self._release,
            prices=str(ObjectStore(self._book.root).path(active_prices(self._book, now()))),
            pepper=self._pepper,
            secrets=[
                (vendor, key, secret) for vendor, keys in self._secrets.vendors.items() for key, secret in keys.items()
            ],
            callers=self._callers(),
            lanes=lanes,
            heads=known_heads(self._book),
        )

    def _callers(self) -> dict[str, BootCaller]:
        callers: dict[str, BootCaller] = {}
        for tenant in self._settings.tenants.values():
            for key in tenant.keys:
                hashed = key_hash(self._pepper, self._secrets.tenants[tenant.name][key.name])
                callers[hashed] = BootCaller(tenant.name, key.name, key.workloads or tenant.workloads)
        return callers

    def _record_configuration(self, registrar: Registrar) -> None:
        named = ObjectStore(self._book.root).put(canonical_json(recorded_form(self._settings)))
        registrar.record("configuration.loaded", ConfigurationLoaded(digest=self._settings.digest, object=named))

    async def _watch(self, registrar: Registrar) -> None:
        """Keep the supervisor's lane alive, and look again for lanes whose writer had not ended at the start."""
        all_reaped = False
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            registrar.heartbeat()
            if not all_reaped:
                all_reaped = await registrar.reap_former()


async def _bind(listen: str) -> socket.socket:
    """The listening socket. A former worker that still drains may hold the port for a moment.

    Raises BadInput when the address is not one of ours or stays taken.
    """
    host, _, port = listen.rpartition(":")
    until = asyncio.get_running_loop().time() + BIND_SECONDS
    while True:
        try:
            return socket.create_server((host.strip("[]"), int(port)), backlog=1024, family=_family(host))
        except OSError as fault:
            if asyncio.get_running_loop().time() > until:
                raise BadInput(f"gateway.listen: cannot listen on {listen}: {fault.strerror or fault}") from fault
        await asyncio.sleep(0.1)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if host.startswith("[") else socket.AF_INET
