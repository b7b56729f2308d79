"""One admitted request, from its plan to its last entry: makes its attempts, relays the answer, records the ends."""

import contextlib
from typing import Final

from tollbook.core.clock import SECOND
from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.core.settings import Target, Vendor, VendorKey
from tollbook.gateway import answer, routing, settling
from tollbook.gateway.attempt import ANSWER_LIMIT, Ending, UpstreamCall
from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.idempotency import RecordingConnection
from tollbook.gateway.message import LAST_CHUNK, chunk
from tollbook.gateway.outgoing import outgoing
from tollbook.gateway.parts import Parts
from tollbook.gateway.recorder import Opening
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted
from tollbook.journal.entry import Attempt, Close
from tollbook.providers.contract import Prepared, StreamReader


class Exchange:
    """The state of one request. Callbacks come from the client's connection, the upstream call and the ticker."""

    __slots__ = (
        "_admitted",
        "_attempt",
        "_body",
        "_body_size",
        "_call",
        "_connection",
        "_failures",
        "_gone",
        "_key",
        "_opening",
        "_parts",
        "_plan",
        "_prepared",
        "_reader",
        "_settled",
        "_slow_since",
        "_started",
        "_target",
        "_tried",
        "_vendor",
        "delivered",
        "drain_until",
    )

    def __init__(self, parts: Parts, connection: ClientConnection | RecordingConnection, admitted: Admitted) -> None:
        self._parts: Final = parts
        self._connection: Final = connection
        self._admitted: Final = admitted
        self._plan: Final = parts.plan(admitted.model)
        self._tried: list[Target] = []
        self._failures: list[str] = []
        self._settled: list[settling.Settled] = []
        self._gone = False
        self._started = False
        self._call: UpstreamCall | None = None
        self._opening: Opening | None = None
        self._reader: StreamReader | None = None
        self._body: list[bytes] = []
        self._body_size = 0
        self._slow_since = 0
        self.delivered = 0
        self.drain_until = 0

    # --- attempts

    def start(self) -> None:
        """Make the first attempt. Raises Refusal when it cannot be made."""
        self._parts.running.add(self)
        try:
            self._next("first", self._plan.targets[0], None)
        except BaseException:
            self._parts.running.discard(self)
            raise

    def _next(self, reason: str, target: Target, because: str | None) -> None:
        parts, admitted = self._parts, self._admitted
        vendor = parts.settings.vendors[target.vendor]
        key = parts.key(vendor, admitted.caller.tenant.name)
        if key is None:
            raise Refusal(503, "no_vendor_key", f"no key of vendor {vendor.name!r} serves this tenant")
        try:
            prepared = admitted.adapter.prepare(admitted.call, target.model)
        except BadInput as fault:
            raise Refusal(400, fault.code, str(fault)) from fault
        number = len(self._tried) + 1
        attempt = _attempt(number, target, key, reason, because, admitted)
        opening = self._open(attempt)
        self._tried.append(target)
        self._target, self._vendor, self._key = target, vendor, key
        self._attempt, self._opening, self._prepared = attempt, opening, prepared
        self._reader, self._body, self._body_size = None, [], 0
        self._dispatch(vendor, key, prepared, number, opening)

    def _open(self, attempt: Attempt) -> Opening | None:
        """Write the attempt down; None when it goes unrecorded by explicit setting."""
        parts, admitted = self._parts, self._admitted
        try:
            return parts.recorder.open(admitted.encoded, attempt)
        except JournalUnavailable:
            if parts.settings.journal.on_failure != "forward_unrecorded":
                raise _unwritable() from None
            if attempt.number == 1 or self._opening is not None:  # once for the request, whatever it takes
                parts.recorder.unrecorded(admitted.caller.tenant.name)
            return None

    def _dispatch(
        self, vendor: Vendor, key: VendorKey, prepared: Prepared, number: int, opening: Opening | None
    ) -> None:
        parts, admitted = self._parts, self._admitted
        pool, address = parts.pools[vendor.name]
        fixed = parts.fixed_lines(vendor, key, admitted.adapter)
        data = outgoing(admitted, address.path, fixed, prepared, number)
        call = UpstreamCall(self, data, parts.settings.gateway.timeouts, parts.clock)
        self._call = call
        parts.calls.add(call)
        if opening is not None and parts.durable is not None:
            parts.durable(opening.sequence, lambda fault: self._send(call, pool, fault))
        else:
            call.start(pool)

    def _send(self, call: UpstreamCall, pool: object, fault: Exception | None) -> None:
        """Go on once the opening is on disk (`before_forward`)."""
        if fault is not None:
            call.cut(JournalUnavailable.code)
        elif self._gone:
            call.cut("client_gone")
        else:
            call.start(pool)  # type: ignore[arg-type]

    # --- what the vendor says

    def answering(self, call: UpstreamCall) -> None:
        assert call.status is not None
        if call.status < 300 and answer.is_event_stream(call.headers):
            self._reader = self._admitted.adapter.stream(self._prepared)

    def answer_data(self, data: bytes) -> None:
        reader = self._reader
        call = self._call
        assert call is not None
        if reader is None:
            self._body.append(data)
            self._body_size += len(data)
            if self._body_size > ANSWER_LIMIT:
                call.cut("answer_too_large")
            return
        passed = reader.feed(data)
        if self._gone:
            self._body_size += len(data)
            if self._body_size > self._parts.settings.gateway.drain.bytes:
                call.cut("drain_limit")
        elif passed:
            self._relay(passed, call)

    def _relay(self, data: bytes, call: UpstreamCall) -> None:
        self.delivered += len(data)
        if self._started:
            self._connection.write(chunk(data))
            return
        self._started = True
        assert call.status is not None
        self._connection.write(answer.stream_head(call.status, call.headers, self._admitted, self._tried) + chunk(data))

    def attempt_over(self, call: UpstreamCall, ending: Ending) -> None:
        self._parts.calls.discard(call)
        self._call = None
        try:
            self._judge(call, ending)
        except BaseException:
            self._break_off()
            raise

    def _break_off(self) -> None:
        """After a fault of ours: what is open stays open in the book, where it is found; nobody is left waiting."""
        self._parts.running.discard(self)
        self._connection.abort()

    def _judge(self, call: UpstreamCall, ending: Ending) -> None:
        """Settle an attempt that is over, and go on from there."""
        if self._reader is not None:
            rest = self._reader.flush()
            if rest and not self._gone:
                self._relay(rest, call)
        settled = settling.settle(self._facts(call, ending))
        self._learn(call, settled.outcome)
        following = self._following(settled.outcome, call, ending)
        if following is None:
            self._finish(call, ending, settled)
        else:
            self._repeat(call, ending, settled, *following)

    def _facts(self, call: UpstreamCall, ending: Ending) -> settling.Facts:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return settling.Facts(
            self._admitted, self._attempt, self._opening, call, ending, self._reader, body, self._gone, self.delivered,
            self._parts.bearers,
        )  # fmt: skip

    def _following(self, outcome: str, call: UpstreamCall, ending: Ending) -> tuple[Target, str] | None:
        """The attempt that follows, if the policy allows one and the client can still be served by it."""
        if outcome == "ok" or self._started or self._gone or self._parts.stopping:
            return None
        if not routing.retryable(self._plan.retry, outcome, call.status, ending.fully_sent):
            return None
        return routing.next_target(self._plan, self._tried)

    def _learn(self, call: UpstreamCall, outcome: str) -> None:
        health = self._parts.health
        if outcome == "ok" and health.untroubled:
            return
        now = self._parts.clock()
        name, key_name = routing.name_of(self._target), f"{self._vendor.name}:{self._key.name}"
        if outcome == "rate_limited":
            health.rest(key_name, now + answer.retry_after(call.headers))
        elif outcome in ("vendor_error", "timeout", "connect_failed", "truncated"):
            health.failed(name, now)
        elif outcome == "ok":
            health.succeeded(name)

    # --- ends

    def _repeat(
        self, call: UpstreamCall, ending: Ending, settled: settling.Settled, target: Target, reason: str
    ) -> None:
        self._fail(call, ending)
        self._record(settled.followed(reason), None)
        delay = answer.backoff(self._plan.retry.backoff, len(self._tried), reason)
        if delay:
            self._parts.later(delay, lambda: self._try_again(call, ending, settled, target, reason))
        else:
            self._try_again(call, ending, settled, target, reason)

    def _try_again(
        self, call: UpstreamCall, ending: Ending, settled: settling.Settled, target: Target, reason: str
    ) -> None:
        if self._gone:
            self._close_without_attempt("client_gone", None)
            self._connection.done(keep_alive=False)
            return
        try:
            self._next(reason, target, settled.outcome)
        except Refusal as refusal:
            self._close_without_attempt("refused", refusal)
        except BaseException:
            self._break_off()
            raise

    def _close_without_attempt(self, outcome: str, refusal: Refusal | None) -> None:
        """The attempts so far are settled and no further one could be made: only the request's end is missing."""
        close = self._close(outcome, refusal)
        self._parts.running.discard(self)
        with contextlib.suppress(JournalUnavailable):  # the supervisor finds the request open and marks it
            self._parts.recorder.close(self._admitted.facts, close, self._admitted.arrived)
        if refusal is not None:
            self._refuse(refusal)

    def _finish(self, call: UpstreamCall, ending: Ending, settled: settling.Settled) -> None:
        answered = self._started or call.status is not None
        settled = settled.last("answer" if answered else "give_up")
        outcome = "client_gone" if self._gone else settled.outcome
        self._settled.append(settled)
        refusal = self._own_error(call, ending, settled)
        self._record(settled, self._close(outcome, refusal))
        self._parts.running.discard(self)
        if self._gone:
            self._connection.done(keep_alive=False)
        elif refusal is not None:
            self._refuse(refusal)
        else:
            self._answer(call, ending)

    def _own_error(self, call: UpstreamCall, ending: Ending, settled: settling.Settled) -> Refusal | None:
        """The gateway's own final error, where no answer of a vendor can be passed on."""
        passable = ending.lost is None and call.status is not None and not 300 <= call.status < 400
        if self._gone or self._started or passable:
            return None
        if ending.lost == JournalUnavailable.code:
            return _unwritable()
        self._fail(call, ending)
        return answer.exhausted(self._failures, settled.outcome)

    def _fail(self, call: UpstreamCall, ending: Ending) -> None:
        """Keep why this attempt gave no answer, for the error that the client may get in the end."""
        self._failures.append(f"{routing.name_of(self._target)}: {ending.lost or call.status}")

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with an error of our own, which says whether an attempt may have cost money."""
        billed = any(one.billable is not False for one in self._settled)
        self._connection.write(answer.refusal(self._admitted, refusal, self._tried, may_be_billed=billed))
        self._connection.done(self._admitted.keep_alive)

    def _close(self, outcome: str, refusal: Refusal | None) -> Close:
        return Close(
            error=refusal.reason if refusal is not None else None,
            outcome=outcome,
            attempts=len(self._tried),
            route=routing.route_of(self._tried),
            reason=self._plan.reason,
            basis=settling.weakest(self._settled),
            client="gone" if self._gone else "answered",
        )

    def _record(self, settled: settling.Settled, close: Close | None) -> None:
        if close is None:
            self._settled.append(settled)
        if self._opening is None:
            return
        parts, admitted = self._parts, self._admitted
        settling.rate(parts.rater, settled, self._vendor.billing, admitted.adapter.name, admitted.caller.tenant.name)
        parts.recorder.settle(self._opening, settled.settlement, settled.rating, close)
        if settled.expected and settled.rating is not None:
            # After the entry: the sum stands on the lane that took it, which may be the spare by now.
            parts.recorder.add_expected(settled.rating.currency, settled.expected)

    def _answer(self, call: UpstreamCall, ending: Ending) -> None:
        connection, admitted = self._connection, self._admitted
        if self._started:
            if ending.lost is None:
                connection.write(LAST_CHUNK)
                connection.done(admitted.keep_alive)
            else:
                connection.abort()  # the client must see that its answer is not whole
            return
        assert call.status is not None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        head = answer.buffered_head(call.status, call.headers, admitted, self._tried, self._settled, len(body))
        connection.write(head + body)
        connection.done(admitted.keep_alive)

    # --- what the client does

    def client_gone(self) -> None:
        """Drain the answer to learn its usage, or cut it, as the setting says; cut it too if nothing was sent."""
        self._gone = True
        call = self._call
        if call is None:
            return
        if not call.sent:
            call.cut("client_gone")
        elif self._parts.settings.gateway.client_gone == "cancel":
            call.cut("cancelled")
        else:
            self.drain_until = self._parts.clock() + self._parts.settings.gateway.drain.seconds * SECOND
            call.resume()

    def client_slow(self) -> None:
        if self._call is not None and not self._gone:
            self._call.pause()
            self._slow_since = self._parts.clock()

    def client_ready(self) -> None:
        self._slow_since = 0
        if self._call is not None:
            self._call.resume()

    def check(self, now: int) -> None:
        """End a drain whose time is over; a client that has taken nothing for as long as a vendor may be silent is
        gone, so that it cannot have an answer without its end, which tells the cost."""
        if self.drain_until and now >= self.drain_until and self._call is not None:
            self._call.cut("drain_limit")
        idle = self._parts.settings.gateway.timeouts.idle
        if self._slow_since and now - self._slow_since >= idle * SECOND:
            self._slow_since = 0
            self._connection.abort()


def _unwritable() -> Refusal:
    return Refusal(
        503, "journal_unavailable", "the journal cannot be written, so nothing was forwarded; try again later"
    )


def _attempt(
    number: int, target: Target, key: VendorKey, reason: str, because: str | None, admitted: Admitted
) -> Attempt:
    return Attempt(
        number=number,
        vendor=target.vendor,
        vendor_key=key.name,
        model_sent=target.model,
        reason=reason,
        because=because,
        vendor_key_id=key.id,
        project=key.project,
        workspace=key.workspace,
        account=key.account,
        tier_asked=_tier(admitted.call.members.values.get("service_tier")),
    )


def _tier(raw: bytes | None) -> str | None:
    """The tier a request asks for, where it is a plain short word."""
    return raw[1:-1].decode() if raw is not None and raw[:1] == b'"' and len(raw) <= 34 and raw.isascii() else None
