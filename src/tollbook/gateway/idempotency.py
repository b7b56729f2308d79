"""`Idempotency-Key`: the same request is forwarded once; its repetition gets the kept answer, or a plain 409.

The claim is in the state database, so all workers agree; the answer is content, so it is kept in memory only, by the
worker that gave it, within bounds. A repetition whose answer is not kept (any more, or here) is 409
`outcome_unknown`, and nothing is forwarded.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from tollbook.core.clock import SECOND
from tollbook.gateway.claims import KEPT_SECONDS, Claim, Claims
from tollbook.gateway.connection import ClientConnection, Exchange
from tollbook.gateway.pending import Pending
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted

RESULT_LIMIT: Final = 1024 * 1024
KEPT_LIMIT: Final = 64 * 1024 * 1024
KEY_LIMIT: Final = 255
TIDY_EVERY: Final = 60 * SECOND

Digest = Callable[[str, str], str]
"""(tenant, text) to a keyed digest whose text is remembered nowhere."""


class Starter(Protocol):
    """What the road does for a request with a key."""

    def start(self, connection: "ClientConnection | RecordingConnection", admitted: Admitted) -> Exchange | None: ...

    def refuse_admitted(self, connection: ClientConnection, admitted: Admitted, fault: Refusal) -> None: ...

    def replayed(self, admitted: Admitted, first: str) -> None:
        """Record that a request was answered with the kept answer of the first."""
        ...


class RecordingConnection:
    """A client's connection that keeps what is written to it, up to a limit."""

    def __init__(self, connection: ClientConnection, over: Callable[[bytes | None], None]) -> None:
        self._connection: Final = connection
        self._over: Final = over
        self._written: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= RESULT_LIMIT:
            self._written.append(data)
        self._connection.write(data)

    def done(self, keep_alive: bool) -> None:
        whole = not self._connection.closed and self._size <= RESULT_LIMIT
        self._over(b"".join(self._written) if whole else None)
        self._connection.done(keep_alive)

    def abort(self) -> None:
        self._over(None)
        self._connection.abort()


class Idempotency:
    """Claims keys, keeps answers, replays them. `lane_lives` says whether the worker behind a claim still runs."""

    def __init__(self, claims: Claims, digest: Digest, lane: str, lane_lives: Callable[[str], bool]) -> None:
        self._claims: Final = claims
        self._digest: Final = digest
        self._lane: Final = lane
        self._lane_lives: Final = lane_lives
        self._thread: Final = ThreadPoolExecutor(1, "idempotency")
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_size = 0
        self._tidy_at = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def key(self, tenant: str, workload: str | None, key: bytes, path: str) -> str:
        """The digest under which a key is claimed: of tenant, workload, route and key together.

        Raises Refusal 400 when the key is empty or too long.
        """
        if not 0 < len(key) <= KEY_LIMIT:
            raise Refusal(400, "malformed_header", f"Idempotency-Key must be 1 to {KEY_LIMIT} bytes")
        scope = "\n".join(("idempotency", workload or "", path, key.decode("latin-1")))
        return self._digest(tenant, scope)

    def begin(self, connection: ClientConnection, admitted: Admitted, starter: Starter) -> Pending:
        """Claim off the loop, then start, replay or refuse."""
        claiming = Pending()
        task = asyncio.get_running_loop().create_task(self._run(claiming, connection, admitted, starter))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return claiming

    def tidy(self, now: int) -> None:
        """Forget claims that are old, a thousand at a time, off the loop. To be called every few seconds: it does
        something once a minute, or each time while there are more."""
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY
            self._thread.submit(self._remove_old, now)

    def _remove_old(self, now: int) -> None:
        try:
            if self._claims.remove_old(now - KEPT_SECONDS * SECOND):
                self._tidy_at = now
        except sqlite3.Error:
            pass  # another process writes for long: the next time will do

    def close(self) -> None:
        self._thread.shutdown()
        self._claims.close()

    async def _run(self, claiming: Pending, connection: ClientConnection, admitted: Admitted, starter: Starter) -> None:
        facts = admitted.facts
        scope = facts.idempotency_key
        assert scope is not None
        body = self._digest(facts.tenant, admitted.call.body.decode("latin-1"))
        try:
            claim = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._claims.claim, scope, body, facts.id, self._lane, admitted.arrived
            )
        except sqlite3.Error as fault:
            message = f"Idempotency-Key cannot be looked up ({type(fault).__name__}), so nothing was forwarded"
            starter.refuse_admitted(connection, admitted, Refusal(503, "claims_unavailable", message))
            return
        if not claim.mine:
            if not claiming.gone:
                self._repeat(connection, admitted, claim, body, starter)
        elif claiming.gone:
            self._thread.submit(self._claims.release, scope)
        else:
            recording = RecordingConnection(connection, lambda answer: self._over(scope, facts.id, answer))
            claiming.exchange = starter.start(recording, admitted)

    def _repeat(
        self, connection: ClientConnection, admitted: Admitted, claim: Claim, body: str, starter: Starter
    ) -> None:
        first = claim.request_id
        kept = self._kept.get(first)
        if claim.body != body:
            code, message = "key_reused", f"this Idempotency-Key belongs to request {first}, whose body differs"
        elif not claim.finished and self._lane_lives(claim.lane):
            code, message = "in_progress", f"request {first} with this Idempotency-Key is still running"
        elif kept is None:
            code, message = "outcome_unknown", f"request {first} ran with this key; its answer is not kept any more"
        else:
            starter.replayed(admitted, first)
            connection.write(_as_replay(kept, admitted.facts.id))
            connection.done(admitted.keep_alive)
            return
        starter.refuse_admitted(connection, admitted, Refusal(409, code, message))

    def _over(self, scope: str, request_id: str, answer: bytes | None) -> None:
        """Keep an answer; give the key back when nothing was done that could cost."""
        if answer is not None and _costs_nothing(answer):
            self._thread.submit(self._claims.release, scope)
            return
        self._thread.submit(self._claims.finish, scope)
        if answer is None:
            return
        self._kept[request_id] = answer
        self._kept_size += len(answer)
        while self._kept_size > KEPT_LIMIT:
            self._kept_size -= len(self._kept.popitem(last=False)[1])


def _costs_nothing(answer: bytes) -> bool:
    """Whether an answer is a 429 or a 5xx after which nothing may have been billed."""
    head = answer.partition(b"\r\n\r\n")[0]
    status = head[9:12]
    return (status == b"429" or status[:1] == b"5") and b"x-should-retry: false" not in head


def _as_replay(answer: bytes, request_id: str) -> bytes:
    """A kept answer under the id of its repetition, which cost nothing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    own = (b"x-tollbook-request-id:", b"x-tollbook-cost-usd:")
    kept = [line for line in lines if not line.startswith(own)]
    mark = b"x-tollbook-replayed: true\r\nx-tollbook-cost-usd: 0\r\nx-tollbook-request-id: " + request_id.encode()
    return b"\r\n".join([first, *kept, mark]) + b"\r\n\r\n" + body
