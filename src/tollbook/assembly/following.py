"""Following work at vendors: batches until they have ended and every line of their output is read, background responses
until the vendor tells what they used. The desk's: whoever fetches a result, or nobody, it is settled.

Each is asked after with a growing pause; a vendor key that is told to wait is left alone for that long. What is learned
goes into the state database, from where the scribe takes it into the journal. Nothing else is remembered here: after a
restart everything is asked after again, and what is on record already stays as it is.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from tollbook.assembly.child import say
from tollbook.assembly.lines import Piece, Settling, split
from tollbook.assembly.prices import Raters
from tollbook.core.charging import Bearers
from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.digest import keyed_digest
from tollbook.core.faults import Fault
from tollbook.core.settings import Settings, Vendor
from tollbook.gateway import awaited, ratelimits
from tollbook.gateway.awaited import Awaited, AwaitedTable
from tollbook.gateway.batches import BatchTable, FollowedBatch
from tollbook.gateway.fetch import Fetch, FetchFailed, fetch
from tollbook.gateway.message import Headers
from tollbook.gateway.upstream import Pool, VendorAddress
from tollbook.journal.book import Book
from tollbook.journal.entry import BatchClosed, RequestEntry, encode_payload
from tollbook.journal.personal import PersonalKeys, year_of
from tollbook.pricing.rate import Rater
from tollbook.providers.batch import BATCH_FORMATS, BatchFormat, BatchState
from tollbook.providers.contract import Adapter
from tollbook.providers.registry import BY_ENDPOINT

_Result = TypeVar("_Result")
Name = tuple[str, str, str]
"""Kind, tenant and the vendor's id of what is followed."""

TURN_SECONDS: Final = 0.5
FIRST_PAUSE: Final = 1.0
AT_ONCE: Final = 8
"""Questions to vendors at the same time."""
GONE_LOOKS: Final = 5
"""How often in a row a vendor may say that there is no such thing before it is believed."""
STATE_LIMIT: Final = 4 * 1024 * 1024
RESPONSE_LIMIT: Final = 64 * 1024 * 1024
_GONE: Final = frozenset((404, 410))
_RESPONSE_ROOT: Final = {"azure": "/openai/v1"}


class Rules(Struct, frozen=True):
    """By what one attempt is judged and priced (`awaited.Rules`)."""

    settings: Settings
    bearers: Bearers
    rater: Rater


class Looking(Struct):
    """When something is asked after next (seconds of the loop), the pause before that, how often it was not there."""

    next: float = 0.0
    pause: float = FIRST_PAUSE
    gone: int = 0
    given_up: bool = False


class NotThere(Fault):
    """The vendor says that there is no such thing."""

    code = "not_there"


class RateLimited(Fault):
    """The vendor asks to be left alone."""

    code = "rate_limited"


class Road:
    """The way to one vendor with one of its keys."""

    def __init__(self, vendor: Vendor, key: str, secret: str, pool: Pool, address: VendorAddress) -> None:
        self.vendor: Final = vendor
        self.key: Final = key
        self.secret: Final = secret
        self.pool: Final = pool
        self.address: Final = address


class Follower:
    """Asks after all that goes on. `use` gives it a configuration, the first and every later one."""

    def __init__(self, root: Path, clock: Clock = now) -> None:
        state = root / "state.sqlite"
        self._batches: Final = BatchTable(state)
        self._awaited: Final = AwaitedTable(state)
        self._raters: Final = Raters(Book.open(root))
        self._keys: Final = PersonalKeys(root)
        self._clock: Final = clock
        self._settings: Settings
        self._bearers: Bearers
        self._roads: dict[tuple[str, str], Road] = {}
        self._looking: Final[dict[Name, Looking]] = {}
        self._resting: Final[dict[tuple[str, str], float]] = {}
        self._tasks: Final[dict[Name, asyncio.Task[None]]] = {}
        self._thread: Final = ThreadPoolExecutor(1, "following")

    def use(self, settings: Settings, secrets: dict[tuple[str, str], str]) -> None:
        """Go by these settings and vendor secrets from the next question on."""
        for road in self._roads.values():
            road.pool.retire()
        self._settings, self._bearers = settings, settings.charging_rules.bearers()
        self._roads = {}
        for vendor in settings.vendors.values():
            address = VendorAddress(vendor)
            pool = Pool(address)
            for key in vendor.keys:
                secret = secrets[vendor.name, key.name]
                self._roads[vendor.name, key.name] = Road(vendor, key.name, secret, pool, address)

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            while True:
                if self._settings.following.enabled:
                    try:
                        await self._turn()
                    except sqlite3.Error as fault:
                        say(f"work at vendors is not followed for now: {fault}")
                await asyncio.sleep(TURN_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._thread.shutdown()
            self._batches.close()
            self._awaited.close()

    async def _turn(self) -> None:
        batches = await self._run(self._batches.going_on)
        waiting = await self._run(self._awaited.waiting)
        work = {("batch", one.tenant, one.id): partial(self._look_at_batch, one) for one in batches}
        work |= {(one.named.kind, one.tenant, one.named.id): partial(self._look_at_response, one) for one in waiting}
        for name in [name for name in self._looking if name not in work]:
            del self._looking[name]
        time = asyncio.get_running_loop().time()
        for name, look in work.items():
            looking = self._looking.setdefault(name, Looking())
            if len(self._tasks) >= AT_ONCE:
                return
            if name not in self._tasks and looking.next <= time and not looking.given_up:
                task = self._tasks[name] = asyncio.create_task(self._look(name, looking, look(looking)))
                task.add_done_callback(partial(self._over, name, looking))

    def _over(self, name: Name, looking: Looking, task: asyncio.Task[None]) -> None:
        """A question is answered, or failed; after a fault of ours it is not asked again until a restart."""
        self._tasks.pop(name, None)
        looking.next = asyncio.get_running_loop().time() + looking.pause
        looking.pause = min(max(looking.pause * 2, FIRST_PAUSE), self._settings.following.longest_pause)
        if not task.cancelled() and (fault := task.exception()) is not None:
            looking.given_up = True
            say(f"{name[0]} of tenant {name[1]} is not followed until a restart: {fault!r}")

    async def _look(self, name: Name, looking: Looking, look: Coroutine[None, None, None]) -> None:
        """Ask once."""
        try:
            await look
            looking.gone = 0
        except NotThere:
            looking.gone += 1
            looking.given_up = looking.gone >= GONE_LOOKS
        except RateLimited:
            looking.pause /= 2  # the key rests; that is pause enough
        except FetchFailed:
            pass  # another time
        except (Fault, sqlite3.Error, OSError) as fault:
            say(f"{name[0]} of tenant {name[1]} cannot be followed for now: {fault}")

    async def _run(self, call: Callable[..., _Result], *arguments: object) -> _Result:
        """Something of the state database, off the loop and one after another."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*arguments))

    # --- a question

    @asynccontextmanager
    async def _ask(self, road: Road, adapter: Adapter, path: str, headers: Headers) -> AsyncIterator[Fetch]:
        """The answer 200 to a question. Raises NotThere, RateLimited, FetchFailed otherwise."""
        name = (road.vendor.name, road.key)
        loop = asyncio.get_running_loop()
        if self._resting.get(name, 0) > loop.time():
            raise RateLimited("the vendor key rests")
        told = [*adapter.credentials(road.secret), *headers]
        async with fetch(road.pool, road.address, path, told, self._settings.gateway.timeouts) as answer:
            rest = ratelimits.rest_after_answer(answer.headers, self._clock)
            if answer.status == 429:
                rest = ratelimits.rest_after_refusal(answer.headers, self._clock)
            if rest:
                self._resting[name] = loop.time() + rest / SECOND
            if answer.status == 429:
                raise RateLimited("429")
            if answer.status in _GONE:
                raise NotThere(str(answer.status))
            if answer.status != 200:
                raise FetchFailed(str(answer.status))
            yield answer

    def _road_of(self, vendor: str, key: str) -> Road:
        road = self._roads.get((vendor, key))
        if road is None:
            raise FetchFailed("no_vendor_key")  # the configuration has it no more; it may come back
        return road

    # --- batches

    async def _look_at_batch(self, batch: FollowedBatch, looking: Looking) -> None:
        made = msgspec.json.decode(b"{" + batch.opening.members + b"}", type=RequestEntry)
        assert made.attempt is not None
        road = self._road_of(made.attempt.vendor, made.attempt.vendor_key)
        form = BATCH_FORMATS.get(road.vendor.format)
        if form is None:
            raise FetchFailed("unknown_format")
        adapter = BY_ENDPOINT[made.request.endpoint]
        state: BatchState | None = None
        try:
            async with self._ask(road, adapter, form.path(batch.id), form.headers) as answer:
                state = form.state(batch.id, await answer.whole(STATE_LIMIT))
            if state is None or not state.ended:
                return
            settling = self._settling(batch, state, form)
            for path in state.outputs:
                async with self._ask(road, adapter, path, form.headers) as answer:
                    async for pieces in split(answer.parts()):
                        await self._keep(batch, settling, path, pieces)
        except NotThere:
            if looking.gone + 1 < GONE_LOOKS:
                raise
            # It was deleted before its output was read: what is known of it is put on record, and that not all is.
            problem = "batch_gone" if state is None else "output_gone"
            await self._finish(batch, made.request.id, state, problem)
        else:
            await self._finish(batch, made.request.id, state, None)

    def _settling(self, batch: FollowedBatch, state: BatchState, form: BatchFormat) -> Settling:
        key = self._keys.of(batch.tenant, year_of(batch.opening.recorded))
        digest = partial(keyed_digest, key)
        return Settling(batch, state, form, self._settings, self._bearers, self._raters.at, digest)

    async def _keep(self, batch: FollowedBatch, settling: Settling, path: str, pieces: list[Piece]) -> None:
        lines = [settling.settle(path, piece) for piece in pieces]
        await self._run(self._batches.keep_lines, batch, lines)

    async def _finish(self, batch: FollowedBatch, request: str, state: BatchState | None, problem: str | None) -> None:
        closed = BatchClosed(
            request_id=request,
            tenant=batch.tenant,
            status=state.status if state is not None else "unknown",
            ended=state.at if state is not None else None,
            told=state.told if state is not None else {},
            problem=problem,
        )
        await self._run(self._batches.finish, batch, encode_payload(closed))

    # --- background responses

    async def _look_at_response(self, one: Awaited, looking: Looking) -> None:
        made = msgspec.json.decode(b"{" + one.opening.members + b"}", type=RequestEntry)
        assert made.attempt is not None
        road = self._road_of(made.attempt.vendor, made.attempt.vendor_key)
        adapter = BY_ENDPOINT.get(f"{road.vendor.format}.response")
        if adapter is None:
            raise FetchFailed("unknown_format")
        path = f"{_RESPONSE_ROOT.get(road.vendor.format, '')}/responses/{quote(one.named.id, safe='')}"
        async with self._ask(road, adapter, path, []) as answer:
            reading = adapter.read(answer.status, answer.headers, await answer.whole(RESPONSE_LIMIT))
        if awaited.is_told(reading, answer.status):
            rules = Rules(self._settings, self._bearers, self._raters.at(one.opening.recorded))
            entry = awaited.settlement_of(one.opening, reading, adapter.name, rules)
            await self._run(self._awaited.tell, one.tenant, one.named, entry)
