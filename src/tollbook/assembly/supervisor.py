"""The supervisor: owns the listening socket and the registry of lanes; starts, replaces and reaps all others.

It reads no client's bytes and needs no ledger. Workers own the road; the scribe owns the book's lane and the ledger's
writing; the desk answers questions. Each may die without the others noticing.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tollbook.assembly.acts import NoAnswer, NotServed, socket_path
from tollbook.assembly.boot import (
    BookBoot,
    CounterPlace,
    DeskBoot,
    FromDesk,
    FromWorker,
    IngestBoot,
    LaneNames,
    Policy,
    ToDesk,
    ToWorker,
    Vault,
    WorkerBoot,
)
from tollbook.assembly.child import TRY_LATER_SECONDS, Backoff, Running, say, start, terminate
from tollbook.assembly.handover import LEAVE, RETIRE, Predecessor, Succession
from tollbook.assembly.listening import BIND_SECONDS, address_of, bind, check_listener
from tollbook.assembly.notify import notify
from tollbook.assembly.prices import active_prices
from tollbook.assembly.reaping import Registrar, known_heads
from tollbook.assembly.regions import Regions
from tollbook.assembly.reloading import Reloaded, Source, check_change
from tollbook.assembly.seeding import seed
from tollbook.core.charging import UNSETTLED
from tollbook.core.clock import now
from tollbook.core.digest import canonical_json
from tollbook.core.faults import BadInput, BookLocked, Fault, JournalUnavailable
from tollbook.core.settings import Secrets, Settings, recorded_form
from tollbook.gateway.tls import server_context
from tollbook.journal.book import Book, BookLock
from tollbook.journal.entry import ConfigurationLoaded
from tollbook.journal.objects import ObjectStore
from tollbook.journal.personal import ensure_keys

HEARTBEAT_SECONDS: Final = 4.0
CHILD_GRACE_SECONDS: Final = 30.0
IN_FORCE_SECONDS: Final = 5.0
SEED_RETRY_SECONDS: Final = 0.1


class Supervisor:
    """`listening` is told the address each time a worker is ready; `successor` is the command that SIGUSR2 starts."""

    def __init__(
        self,
        settings: Settings,
        vault: Secrets,
        release: str,
        listening: Callable[[str], None] = lambda address: None,
        source: Source | None = None,
        successor: Sequence[str] | None = None,
    ) -> None:
        self._successor: Final = successor
        self._settings = settings
        self._secrets = vault
        self._source: Final = source
        self._number = 0
        self._using: Final[dict[str, int]] = {}
        self._heard = asyncio.Event()
        self._reloading: Final = asyncio.Lock()
        self._asked: Final[set[asyncio.Task[Reloaded]]] = set()
        self._registrar: Registrar
        self._release: Final = release
        self._listening: Final = listening
        self._book: Final = Book.open(Path(settings.book))
        self._lock_path: Final = self._book.root / "run" / "supervisor.lock"
        self._lock: BookLock | None = None
        self._stopping = asyncio.Event()
        self._closing: Final = asyncio.Event()  # the workers have ended, and the book's own processes are to end too
        self._children: Final[dict[str, Running]] = {}
        self._regions: Final = Regions(self._book.root / "run", 2 * settings.gateway.workers)
        self._failure: BaseException | None = None
        self._ready: Final[set[str]] = set()
        self._retired: Final[set[str]] = set()
        self._left = False
        self._alone: Final = asyncio.Event()
        self._alone.set()
        self._again: Final[set[asyncio.Task[None]]] = set()
        self._reapings: Final[set[asyncio.Task[None]]] = set()

    async def run(self, *, replace: bool = False) -> None:
        """Serve until SIGTERM or SIGINT; then drain, close every lane and return. With `replace`, take over from the
        supervisor that serves this book now, which leaves; so does this one when another takes over from it.

        Raises BadInput when there is none to take over from, or this one is to listen elsewhere; BookLocked.
        """
        self._book.check_writable()
        if self._settings.gateway.tls is not None:
            server_context(self._settings.gateway.tls)  # each worker makes its own; one that cannot is told of here
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self._start_successor)
        if replace:
            await self._take_over()
        else:
            with BookLock(self._lock_path):
                listener = await bind(self._settings.gateway.listen)
                try:
                    await self._serve(listener, None)
                finally:
                    listener.close()

    async def _take_over(self) -> None:
        """Serve on another supervisor's listening socket. Its lock is ours once it has gone."""
        former = Predecessor(self._book.root)
        check_listener(former.listener, self._settings.gateway.listen)
        say(f"taking over from process {former.told.process}, release {former.told.release}")
        try:
            await self._serve(former.listener, former)
        finally:
            former.listener.close()
            if self._lock is not None:
                self._lock.release()

    async def _serve(self, listener: socket.socket, former: Predecessor | None) -> None:
        settings, root = self._settings, self._book.root
        self._address = address_of(listener)
        year = datetime.now(UTC).year
        ensure_keys(root, list(settings.tenants), [year, year + 1])
        borne_by = settings.charging_rules.bearers()[UNSETTLED]
        registrar = Registrar(self._book, self._release, settings.digest, settings.journal.ballast, borne_by)
        self._registrar = registrar
        self._record_configuration(settings)
        if former is None:
            self._regions.remove_others()
        self._regions.make()
        workers = [
            self._task(self._keep(f"worker {n}", self._worker(registrar, listener), self._stopping))
            for n in range(settings.gateway.workers)
        ]
        beating = self._task(self._beat(registrar))
        if former is not None:
            seeding = self._task(self._seed(settings))  # our workers wait for what is new; the former's scribe knows it
            await self._succeed(former)
            seeding.cancel()
        book = [self._task(self._keep(name, once, self._closing)) for name, once in self._book_children()]
        door = await self._open_ingest()
        ingest = [self._task(self._keep("ingest", self._ingest(registrar, door), self._stopping))] if door else []
        reaping = self._task(self._reap(registrar))
        succession = Succession(
            root,
            listener,
            self._release,
            begin=self._alone.clear,
            retire=self._retire_one,
            leave=self._leave,
            broken=self._go_on,
        )
        waiting = self._task(succession.wait())
        await self._stopping.wait()
        if not self._left:
            notify("STOPPING=1")
            waiting.cancel()
        listener.close()  # who connects from now on is told at once that nobody listens, unless another does
        self._alone.set()
        await self._stop(workers, lambda name: name.startswith("worker"), settings.gateway.shutdown_grace)
        await self._stop(ingest, lambda name: name == "ingest", 0)
        if door is not None:
            door.close()
        await asyncio.wait([reaping, *self._reapings])
        beating.cancel()
        with contextlib.suppress(JournalUnavailable):
            registrar.close("stopped")
        await self._await_scribe()
        self._closing.set()
        await self._stop(book[:2], lambda name: name in ("scribe", "desk"), 0)
        await self._stop(book[2:], lambda name: True, 0)  # the copy's last round: all there ever was
        if self._failure is not None:
            raise self._failure

    async def _await_scribe(self) -> None:
        """A scribe that is only just being started is let begin, so that its last turns cover what workers wrote and
        close what a crash left. One that has ended is not waited for."""
        until = asyncio.get_running_loop().time() + CHILD_GRACE_SECONDS
        answering = socket_path(self._book.root)
        while asyncio.get_running_loop().time() < until:
            scribe = self._children.get("scribe")
            if scribe is not None and (scribe.process.returncode is not None or answering.exists()):
                return
            await asyncio.sleep(SEED_RETRY_SECONDS)

    def _book_children(self) -> list[tuple[str, Callable[[str], Awaitable[Running | None]]]]:
        children = [("scribe", self._scribe), ("desk", self._plain("tollbook.assembly.desk", self._desk_boot))]
        if self._settings.journal.ship is not None:
            children.append(("shipper", self._plain("tollbook.assembly.shipper", self._book_boot)))
        return children

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        return task

    # --- one supervisor after the other

    async def _succeed(self, former: Predecessor) -> None:
        """For each of our workers that takes requests one of the former's leaves; at the end the former does."""
        for count in range(1, self._settings.gateway.workers + 1):
            while len(self._ready) < count and not self._stopping.is_set():
                self._heard.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), HEARTBEAT_SECONDS)
            if self._stopping.is_set():
                return  # without our word the former goes on
            await former.say(RETIRE)
        await former.say(LEAVE)
        say("the former supervisor leaves; its open answers end first")
        await former.gone()
        self._lock = await self._lock_soon()
        self._regions.remove_others()
        notify(f"MAINPID={os.getpid()}", "READY=1")
        say("the former supervisor has left")

    async def _lock_soon(self) -> BookLock:
        """The supervisor's lock, which one that is leaving gives back last."""
        until = asyncio.get_running_loop().time() + BIND_SECONDS
        while True:
            try:
                return BookLock(self._lock_path)
            except BookLocked:
                if asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(0.1)

    def _retire_one(self) -> None:
        for name, running in self._children.items():
            if name.startswith("worker") and name not in self._retired and running.process.returncode is None:
                self._retired.add(name)
                running.channel.send(ToWorker(retire=True))
                return

    def _leave(self) -> None:
        self._left = True
        self._stopping.set()

    def _go_on(self) -> None:
        """Who was to take over has died: start again what left for it, and close what it opened."""
        say("the successor ended before it had taken over; this supervisor goes on")
        self._retired.clear()
        self._alone.set()
        again = self._task(self._reap(self._registrar))
        self._again.add(again)
        again.add_done_callback(self._again.discard)

    def _start_successor(self) -> None:
        """SIGUSR2: start the release that is installed now, to take over."""
        if self._successor is None:
            say("there is no command to start a successor by")
            return
        task = self._task(self._watch_successor(self._successor))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    async def _watch_successor(self, command: Sequence[str]) -> None:
        try:
            process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        except OSError as fault:
            say(f"the successor cannot be started: {fault}")
            return
        if code := await process.wait():
            say(f"the successor ended ({code})")

    def _done(self, task: asyncio.Task[None]) -> None:
        """When something that the supervisor does fails, everything stops and says why."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._failure = fault
            self._stopping.set()

    async def _stop(self, tasks: list[asyncio.Task[None]], chosen: Callable[[str], bool], grace: float) -> None:
        for name, running in list(self._children.items()):
            if chosen(name) and self._left and name.startswith("worker"):
                running.channel.send(ToWorker(retire=True))
            elif chosen(name):
                terminate(running)
        _, late = await asyncio.wait(tasks, timeout=grace + CHILD_GRACE_SECONDS) if tasks else (None, set())
        for name, running in list(self._children.items()):
            if late and chosen(name) and running.process.returncode is None:
                say(f"{name} did not end in time and is killed; its lane tells what it left open")
                running.process.kill()
        if late:
            await asyncio.wait(late)

    async def _keep(self, name: str, once: Callable[[str], Awaitable[Running | None]], end: asyncio.Event) -> None:
        """Run a child again and again until the end of its kind."""
        backoff = Backoff(name)
        while not end.is_set():
            try:
                running = await once(name)
            except OSError as fault:
                say(f"{name}: {fault}")
                running = None
            pause = TRY_LATER_SECONDS if running is None else backoff.after(running)
            if not end.is_set():
                code = running.process.returncode if running else "no lane"
                say(f"{name} ended ({code}); starting it again")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(end.wait(), pause)
                await self._alone.wait()  # while another takes over, what leaves is not replaced

    async def _scribe(self, name: str) -> Running | None:
        """A scribe is told at each start which tenants and keys the configuration names."""
        socket_path(self._book.root).unlink(missing_ok=True)  # one that was killed left it: nobody answers there yet
        seeding = asyncio.create_task(self._seed(self._settings))
        try:
            return await self._plain("tollbook.assembly.scribe", self._book_boot)(name)
        finally:
            seeding.cancel()

    async def _seed(self, settings: Settings) -> None:
        """Have what is new of the configuration's tenants and keys enter the registry, once a scribe answers."""
        root, vault = self._book.root, self._secrets.tenants
        while settings is self._settings:
            try:
                done = await asyncio.to_thread(seed, root, settings, vault)
            except (NotServed, NoAnswer, OSError):
                await asyncio.sleep(SEED_RETRY_SECONDS)
                continue
            except Fault as fault:
                say(f"the configuration's tenants and keys have not entered the registry: {fault}")
                return
            if done:
                say(f"the configuration says otherwise than the registry, which holds ({done} times): tollbook doctor")
            return

    def _book_boot(self) -> Struct:
        return BookBoot(settings=self._settings, root=str(self._book.root), release=self._release)

    def _desk_boot(self) -> Struct:
        return DeskBoot(vault=self._vault(), root=str(self._book.root))

    def _vault(self) -> Vault:
        return Vault(settings=self._settings, secrets=self._vendor_secrets())

    def _plain(self, module: str, told: Callable[[], Struct]) -> Callable[[str], Awaitable[Running | None]]:
        async def once(name: str) -> Running:
            running = await self._start(name, module, told())
            hear = asyncio.create_task(self._hear_desk(running))
            hear.add_done_callback(self._done)
            await running.process.wait()
            hear.cancel()
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
            boot = self._boot(lanes, self._regions.take())
            self._using[name] = boot.policy.number
            try:
                running = await self._start(name, "tollbook.assembly.worker", boot, listener.fileno())
            except OSError:
                self._regions.give_back(boot.counters.own)
                raise
            if boot.policy.number != self._number:
                running.channel.send(ToWorker(policy=self._policy()))  # changed while it was being started
            names = [lanes.main, lanes.spare]
            hear = asyncio.create_task(self._hear(name, running, registrar, names))
            hear.add_done_callback(self._done)
            code = await running.process.wait()
            hear.cancel()
            self._using.pop(name, None)
            self._heard.set()
            running.channel.close()
            self._regions.give_back(boot.counters.own)
            # The next worker does not wait for it: the lane of one that was killed after days takes long to read.
            reaping = self._task(registrar.reap(names, "ended" if code == 0 else "died"))
            self._reapings.add(reaping)
            reaping.add_done_callback(self._reapings.discard)
            return running

        return once

    async def _open_ingest(self) -> socket.socket | None:
        """The socket of the door for spans, if there is one; it outlives the processes that serve it."""
        wanted = self._settings.ingest
        if wanted is None:
            return None
        door = await bind(wanted.http, "ingest.http")
        say(f"spans are taken in at http://{address_of(door)}/v1/traces")
        return door

    def _ingest(self, registrar: Registrar, door: socket.socket) -> Callable[[str], Awaitable[Running | None]]:
        async def once(name: str) -> Running | None:
            try:
                lane = registrar.register_one("ingest")
            except JournalUnavailable as fault:
                say(str(fault))
                return None
            boot = IngestBoot(
                settings=self._settings,
                root=str(self._book.root),
                release=self._release,
                lane=lane,
                secrets=self._secrets.ingest,
                heads=known_heads(self._book),
            )
            running = await self._start(name, "tollbook.assembly.ingesting", boot, door.fileno())
            code = await running.process.wait()
            running.channel.close()
            reaping = self._task(registrar.reap([lane], "ended" if code == 0 else "died"))
            self._reapings.add(reaping)
            reaping.add_done_callback(self._reapings.discard)
            return running

        return once

    async def _start(self, name: str, module: str, told: Struct, *descriptors: int) -> Running:
        running = self._children[name] = await start(module, told, descriptors)
        end = self._stopping if name.startswith(("worker", "ingest")) else self._closing
        if end.is_set():  # it was told while this one was not there yet
            terminate(running)
        return running

    async def _hear_desk(self, running: Running) -> None:
        """Do what the operator asks through the desk; the scribe says nothing."""
        while (word := await running.channel.receive(FromDesk)) is not None:
            if word.reload:
                running.channel.send(ToDesk(reloaded=await self.reload()))

    async def _hear(self, name: str, running: Running, registrar: Registrar, names: list[str]) -> None:
        """Answer a worker that needs new lanes."""
        while (word := await running.channel.receive(FromWorker)) is not None:
            if word.ready:
                self._ready.add(name)
                self._heard.set()
                notify("READY=1")
                self._listening(self._address)
            if word.policy is not None:
                self._using[name] = word.policy
                self._heard.set()
            if word.needs_lanes:  # first: traffic waits for them
                running.channel.send(ToWorker(lanes=self._more_lanes(registrar, names)))
            await registrar.close_lanes([*word.dead, *word.unused], "failed")

    def _more_lanes(self, registrar: Registrar, names: list[str]) -> LaneNames | None:
        try:
            lanes = registrar.register()
        except JournalUnavailable:
            return None
        names += (lanes.main, lanes.spare)
        return lanes

    def _boot(self, lanes: LaneNames, counters: CounterPlace) -> WorkerBoot:
        return WorkerBoot(
            policy=self._policy(),
            root=str(self._book.root),
            book=self._book.id,
            release=self._release,
            prices=str(ObjectStore(self._book.root).path(active_prices(self._book, now()))),
            lanes=lanes,
            counters=counters,
            heads=known_heads(self._book),
        )

    def _policy(self) -> Policy:
        return Policy(number=self._number, settings=self._settings, secrets=self._vendor_secrets())

    def _vendor_secrets(self) -> list[tuple[str, str, str]]:
        vault = self._secrets.vendors
        return [(vendor, key, secret) for vendor, keys in vault.items() for key, secret in keys.items()]

    def _record_configuration(self, settings: Settings) -> None:
        named = ObjectStore(self._book.root).put(canonical_json(recorded_form(settings)))
        self._registrar.record("configuration.loaded", ConfigurationLoaded(digest=settings.digest, object=named))

    # --- another configuration

    def _hang_up(self) -> None:
        """SIGHUP: read the configuration anew, and say what came of it."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def reload(self) -> Reloaded:
        """Put the configuration as it now stands in the place of the one in force: on record first, then in the
        workers. What cannot be had or may not be changed leaves everything as it was."""
        async with self._reloading:
            try:
                done = await self._replace()
            except (Fault, OSError) as fault:
                code = fault.code if isinstance(fault, Fault) else "bad_configuration"
                say(f"the configuration is not changed: {fault}")
                return Reloaded(digest=self._settings.digest, fault=code, message=str(fault))
            say(f"configuration {done.digest[:12]} is {'in force' if done.changed else 'in force already'}")
            return done

    async def _replace(self) -> Reloaded:
        if self._source is None:
            raise BadInput("this gateway was started without a configuration file")
        settings, vault = await asyncio.to_thread(self._source)
        check_change(self._settings, settings)
        former = self._settings
        if (settings, vault) == (former, self._secrets):
            return Reloaded(digest=settings.digest, workers=len(self._using))
        year = datetime.now(UTC).year
        ensure_keys(self._book.root, list(settings.tenants), [year, year + 1])
        self._record_configuration(settings)
        self._registrar.go_by(settings.digest, settings.charging_rules.bearers()[UNSETTLED])
        self._settings, self._secrets, self._number = settings, vault, self._number + 1
        await self._seed_again()
        for name in self._using:
            if name in self._children:
                self._children[name].channel.send(ToWorker(policy=self._policy()))
        changed = (settings.charging_rules, settings.vendors) != (former.charging_rules, former.vendors)
        if changed and "scribe" in self._children:
            terminate(self._children["scribe"])  # it ages attempts by both, and is started again with the new ones
        if "desk" in self._children:
            self._children["desk"].channel.send(ToDesk(vault=self._vault()))
        waiting = await self._in_force()
        return Reloaded(digest=settings.digest, changed=True, workers=len(self._using), waiting=waiting)

    async def _seed_again(self) -> None:
        """What is new enters before the workers go by the configuration; a scribe that is down does it at its start."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._seed(self._settings), IN_FORCE_SECONDS)

    async def _in_force(self) -> int:
        """Wait until every worker goes by the policy; how many have not said so in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IN_FORCE_SECONDS):
                while any(number < self._number for number in self._using.values()):
                    self._heard.clear()
                    await self._heard.wait()
        return sum(number < self._number for number in self._using.values())

    async def _beat(self, registrar: Registrar) -> None:
        """Keep the supervisor's lane alive."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            registrar.heartbeat()

    async def _reap(self, registrar: Registrar) -> None:
        """Close what a former supervisor's run left; again while a writer of it lives, for the last time at the end."""
        while not await registrar.reap_former() and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), HEARTBEAT_SECONDS)
