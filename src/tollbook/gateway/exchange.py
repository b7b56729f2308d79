"""One admitted request, from its plan to its last entry: makes its attempts, relays the answer, records the ends."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from tollbook.core.clock import SECOND
from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.core.settings import Target, Vendor, VendorKey
from tollbook.core.usage import tokens
from tollbook.gateway import answer, awaited, routing, settling
from tollbook.gateway.attempt import Ending, UpstreamCall
from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.idempotency import RecordingConnection
from tollbook.gateway.leg import Leg, entry_of
from tollbook.gateway.limits import Ticket
from tollbook.gateway.message import LAST_CHUNK, chunk
from tollbook.gateway.objects import Owned
from tollbook.gateway.outgoing import outgoing, signed_lines
from tollbook.gateway.parts import Parts
from tollbook.gateway.recorder import Opening
from tollbook.gateway.refusal import Refusal, VendorBusy
from tollbook.gateway.request import Admitted
from tollbook.gateway.routing import Plan
from tollbook.gateway.upstream import Pool
from tollbook.journal.entry import Attempt, Close, RequestEntry
from tollbook.providers.contract import Prepared, Reading

_GOOD: Final = frozenset(range(200, 300))


class Exchange:
    """The state of one request. Callbacks come from the client's connection, its attempts and the ticker.

    Mostly one attempt follows another. A hedge runs beside the first attempt: the one that answers first is
    passed on, the other is lost, and the request's record ends when both have.
    """

    __slots__ = (
        "_admitted", "_connection", "_failures", "_gone", "_hedging", "_legs", "_opened", "_parts", "_plan",
        "_result", "_settled", "_slow_since", "_started", "_ticket", "_timeouts", "_tried", "drain_until",
    )  # fmt: skip

    def __init__(self, parts: Parts, connection: ClientConnection | RecordingConnection, admitted: Admitted) -> None:
        """Raises Refusal when no target of the model may serve its tenant."""
        self._parts: Final = parts
        self._connection: Final = connection
        self._admitted: Final = admitted
        self._plan: Final = _plan(parts, admitted)
        self._tried: list[Target] = []
        self._failures: list[str] = []
        self._settled: list[settling.Settled] = []
        self._legs: list[Leg] = []
        self._result: tuple[str, Refusal | None] | None = None
        self._opened = False
        self._gone = False
        self._started = False
        self._ticket: Ticket | None = None
        self._hedging: asyncio.TimerHandle | None = None
        self._slow_since = 0
        self._timeouts: Final = self._plan.timeouts or parts.settings.gateway.timeouts
        self.drain_until = 0

    # --- attempts

    def start(self) -> None:
        """Make the first attempt. Raises Refusal when it cannot be made."""
        self._ticket = self._parts.limiter.admit(self._admitted)
        self._parts.running.add(self)
        try:
            self._next_with_room("first", self._plan.targets[0], None)
        except BaseException:
            self._leave()
            raise
        if self._plan.hedge is not None:
            self._hedging = self._parts.later(self._plan.hedge, self._hedge)

    def _next_with_room(self, reason: str, target: Target, because: str | None) -> None:
        """Make an attempt at a target, or at the next one in the plan while its vendor has no room. Raises Refusal."""
        targets = self._plan.targets
        *others, last = targets[targets.index(target) :]
        for one in others:
            with contextlib.suppress(VendorBusy):
                return self._next(reason, one, because)
            reason = "fallback" if reason == "retry" else reason
        return self._next(reason, last, because)

    def _leave(self) -> None:
        """The request is over, with all that was still read of it."""
        self._parts.running.discard(self)
        if self._ticket is not None:
            self._ticket.end(sum(tokens(one.usage) for one in self._settled if one.usage is not None))

    def _next(self, reason: str, target: Target, because: str | None) -> None:
        parts, admitted = self._parts, self._admitted
        vendor = parts.settings.vendors[target.vendor]
        key = parts.key(vendor, admitted, self._plan.key)
        if key is None:
            raise Refusal(503, "no_vendor_key", f"no key of vendor {vendor.name!r} serves this tenant")
        try:
            call = admitted.call if vendor.ask_usage else replace(admitted.call, asks_usage=False)
            prepared = admitted.adapter.prepare(call, target.model)
            fixed = self._fixed_lines(vendor, key, prepared)
        except BadInput as fault:
            raise Refusal(400, fault.code, str(fault)) from fault
        number = len(self._tried) + 1
        attempt = entry_of(number, target, key, reason, because, admitted.call, len(prepared.body))
        opening = self._open(attempt)
        self._tried.append(target)
        leg = Leg(self, admitted.adapter, attempt, opening, target, vendor, key, prepared)
        leg.ticket = parts.take(vendor.name, key.name, admitted)
        self._legs.append(leg)
        self._dispatch(leg, fixed)

    def _fixed_lines(self, vendor: Vendor, key: VendorKey, prepared: Prepared) -> bytes:
        """The lines that depend on the vendor key: the same each time, but where a vendor wants a signature."""
        parts, admitted = self._parts, self._admitted
        fixed = parts.fixed_lines(vendor, key, admitted.adapter)
        if not admitted.adapter.signs:
            return fixed
        return signed_lines(
            admitted, parts.pools[vendor.name][1], fixed, prepared, parts.secrets[vendor.name, key.name]
        )

    def _open(self, attempt: Attempt) -> Opening | None:
        """Write the attempt down; None when it goes unrecorded by explicit setting."""
        parts, admitted = self._parts, self._admitted
        try:
            opening = parts.recorder.open(admitted.encoded, attempt)
        except JournalUnavailable:
            if parts.settings.journal.on_failure != "forward_unrecorded":
                raise _unwritable() from None
            if attempt.number == 1 or self._opened:  # once for the request, whatever it takes
                parts.recorder.unrecorded(admitted.caller.tenant.name)
            self._opened = False
            return None
        self._opened = True
        return opening

    def _dispatch(self, leg: Leg, fixed: bytes) -> None:
        parts, admitted = self._parts, self._admitted
        pool, address = parts.pools[leg.vendor.name]
        data = outgoing(admitted, address.path, fixed, leg.prepared, leg.attempt.number)
        call = leg.call = UpstreamCall(leg, data, self._timeouts, parts.clock)
        parts.calls.add(call)
        if leg.opening is not None and parts.durable is not None:
            # A disk that hangs says nothing: who waits for it is not left waiting with it.
            waiting = parts.later(self._timeouts.connect, lambda: call.cut(JournalUnavailable.code))
            parts.durable(leg.opening.sequence, lambda fault: self._send(leg, pool, waiting, fault))
        else:
            call.start(pool)

    def _send(self, leg: Leg, pool: Pool, waiting: asyncio.TimerHandle, fault: Exception | None) -> None:
        """Go on once the opening is on disk (`before_forward`)."""
        call = leg.call
        waiting.cancel()
        if call.over:
            return
        if fault is not None:
            call.cut(JournalUnavailable.code)
        elif self._gone or leg.lost:
            call.cut("client_gone")
        else:
            call.start(pool)

    # --- what the vendor says

    def answering(self, leg: Leg) -> None:
        if self._hedging is not None:
            self._unhedge()
        if len(self._legs) > 1 and leg.call.status in _GOOD:
            self._win(leg)

    def pass_on(self, leg: Leg, data: bytes, size: int) -> None:
        if self._gone or leg.lost:
            leg.body_size += size
            if leg.body_size > self._parts.settings.gateway.drain.bytes:
                leg.call.cut("drain_limit")
        elif data:
            self._relay(data, leg)

    def _relay(self, data: bytes, leg: Leg) -> None:
        leg.delivered += len(data)
        if self._started:
            self._connection.write(chunk(data))
            return
        self._started = True
        call = leg.call
        assert call.status is not None
        head = answer.stream_head(call.status, call.headers, self._admitted, self._tried)
        self._connection.write(head + chunk(data))

    def leg_over(self, leg: Leg, ending: Ending) -> None:
        self._parts.calls.discard(leg.call)
        self._legs.remove(leg)
        try:
            self._judge(leg, ending)
        except BaseException:
            self._break_off()
            raise

    def _break_off(self) -> None:
        """After a fault of ours: what is open stays open in the book, where it is found; nobody is left waiting."""
        self._leave()
        self._connection.abort()

    def _judge(self, leg: Leg, ending: Ending) -> None:
        """Settle an attempt that is over, and go on from there."""
        if leg.reader is not None:
            rest = leg.reader.flush()
            if rest and not self._gone and not leg.lost:
                self._relay(rest, leg)
        facts = leg.facts(self._admitted, ending, self._gone, self._parts.bearers)
        settled = settling.settle(facts, self._parts.digest)
        self._parts.learn(leg, settled.outcome, len(self._plan.targets) > 1)
        if leg.ticket is not None:
            leg.ticket.end(tokens(settled.usage or {}))
        if self._hedging is not None:
            self._unhedge()
        if leg.lost or (self._legs and self._is_beside(leg, settled.outcome)):
            self._end_beside(leg, ending, settled)
            return
        following = self._following(settled.outcome, leg, ending)
        if following is None:
            self._finish(leg, ending, settled)
        else:
            self._repeat(leg, ending, settled, *following)

    def _following(self, outcome: str, leg: Leg, ending: Ending) -> tuple[Target, str] | None:
        """The attempt that follows, if the policy allows one and the client can still be served by it."""
        if outcome == "ok" or self._started or self._gone or self._parts.stopping:
            return None
        if not routing.retryable(self._plan.retry, outcome, leg.call.status, ending.fully_sent):
            return None
        again = self._parts.may_do_better(leg, self._admitted.caller.tenant)
        return routing.next_target(self._plan, self._tried, again)

    # --- a second attempt beside a slow first one

    def _hedge(self) -> None:
        """The first attempt has not answered for as long as the policy waits: make another one beside it."""
        self._hedging = None
        target = routing.hedge_target(self._plan, self._tried)
        if target is None or not self._legs or self._gone or self._parts.stopping:
            return
        try:
            self._next("hedge", target, None)
        except Refusal:
            return  # the first goes on alone
        except BaseException:
            self._break_off()
            raise

    def _unhedge(self) -> None:
        """The first attempt has answered, or is over: it needs no other beside it."""
        assert self._hedging is not None
        self._hedging.cancel()
        self._hedging = None

    def _is_beside(self, leg: Leg, outcome: str) -> bool:
        """Whether another attempt may still give a better answer than this one, which is over; else this one wins."""
        beside = not routing.is_answer(outcome, leg.call.status) and not all(other.lost for other in self._legs)
        if not beside:
            self._win(leg)
        return beside

    def _win(self, leg: Leg) -> None:
        """This attempt answers the request: the others are read to their end or cut, as when a client leaves."""
        for other in list(self._legs):
            if other is not leg and not other.lost:
                other.lost = True
                self._let_go(other, "not_needed")

    def _end_beside(self, leg: Leg, ending: Ending, settled: settling.Settled) -> None:
        """Record an attempt beside which another one answers, or may do so."""
        if not leg.lost:
            self._fail(leg, ending)
        settled = settled.followed("hedge")
        self._settled.append(settled)
        self._keep_objects(leg, settled, lambda: None)  # nobody learns of them here, but whose they are is known
        if self._result is None or self._legs:
            self._record(leg, settled, None)
            return
        self._record(leg, settled, self._close(*self._result))
        self._leave()

    # --- ends

    def _repeat(self, leg: Leg, ending: Ending, settled: settling.Settled, target: Target, reason: str) -> None:
        self._fail(leg, ending)
        settled = settled.followed(reason)
        self._settled.append(settled)
        self._record(leg, settled, None)
        delay = answer.backoff(self._plan.retry.backoff, len(self._tried), reason)
        if delay:
            self._parts.later(delay, lambda: self._try_again(target, reason, settled.outcome))
        else:
            self._try_again(target, reason, settled.outcome)

    def _try_again(self, target: Target, reason: str, because: str) -> None:
        if self._gone:
            self._close_without_attempt("client_gone", None)
            self._connection.done(keep_alive=False)
            return
        try:
            self._next_with_room(reason, target, because)
        except Refusal as refusal:
            self._close_without_attempt("refused", refusal)
        except BaseException:
            self._break_off()
            raise

    def _close_without_attempt(self, outcome: str, refusal: Refusal | None) -> None:
        """The attempts so far are settled and no further one could be made: only the request's end is missing."""
        close = self._close(outcome, refusal)
        self._leave()
        self._parts.repeats.ended(self._admitted, outcome)
        with contextlib.suppress(JournalUnavailable):  # the supervisor finds the request open and marks it
            self._parts.recorder.close(self._admitted.facts, close, self._admitted.arrived)
        if refusal is not None:
            self._refuse(refusal)

    def _finish(self, leg: Leg, ending: Ending, settled: settling.Settled) -> None:
        answered = self._started or leg.call.status is not None
        settled = settled.last("answer" if answered else "give_up")
        outcome = "client_gone" if self._gone else settled.outcome
        self._settled.append(settled)
        refusal = self._own_error(leg, ending, settled)
        if self._legs:  # a lost attempt is still being read: the record ends with it
            self._result = outcome, refusal
            self._slow_since = 0
            self._record(leg, settled, None)
        else:
            self._record(leg, settled, self._close(outcome, refusal))
            self._leave()
        self._parts.repeats.ended(self._admitted, outcome)
        if self._gone:
            self._connection.done(keep_alive=False)
        elif refusal is not None:
            self._refuse(refusal)
        else:
            self._keep_objects(leg, settled, lambda: self._answer(leg, ending))

    def _keep_objects(self, leg: Leg, settled: settling.Settled, then: Callable[[], None]) -> None:
        """Put on record what the answer made, before the client can learn of it; and what it deleted."""
        admitted, made, status = self._admitted, settled.reading.made, leg.call.status
        tenant = admitted.facts.tenant
        if admitted.call.route.method == "DELETE" and status is not None and status < 300:
            for named in admitted.adapter.objects(admitted.call):
                self._parts.objects.forget(tenant, named)
        if admitted.adapter.purpose == "object" and awaited.is_told(settled.reading, status):
            for named in admitted.adapter.objects(admitted.call):
                self._parts.objects.tell(tenant, named, lambda opening: self._told(opening, settled.reading))
        if not made:
            then()
            return
        attempt = leg.attempt
        owned = [
            Owned(kind, name, attempt.vendor, attempt.vendor_key, admitted.facts.id, attempt.number, settled.at)
            for kind, name in made
        ]
        begun = awaited.is_begun(settled.reading, settled.outcome)
        self._parts.objects.keep(tenant, owned, then, leg.opening if begun else None)

    def _told(self, opening: Opening, reading: Reading) -> RequestEntry:
        return awaited.settlement_of(opening, reading, self._admitted.adapter.name, self._parts)

    def _own_error(self, leg: Leg, ending: Ending, settled: settling.Settled) -> Refusal | None:
        """The gateway's own final error, where no answer of a vendor can be passed on."""
        status = leg.call.status
        passable = ending.lost is None and status is not None and not 300 <= status < 400
        if self._gone or self._started or passable:
            return None
        if ending.lost == JournalUnavailable.code:
            return _unwritable()
        self._fail(leg, ending)
        return answer.exhausted(self._failures, settled.outcome)

    def _fail(self, leg: Leg, ending: Ending) -> None:
        """Keep why this attempt gave no answer, for the error that the client may get in the end."""
        self._failures.append(f"{routing.name_of(leg.target)}: {ending.lost or leg.call.status}")

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

    def _record(self, leg: Leg, settled: settling.Settled, close: Close | None) -> None:
        if leg.opening is None:
            return
        parts, admitted = self._parts, self._admitted
        settling.rate(parts.rater, settled, leg.vendor.billing, admitted.adapter.name, admitted.caller.tenant.name)
        parts.recorder.settle(leg.opening, settled.settlement, settled.rating, close)
        if settled.expected and settled.rating is not None:
            # After the entry: the sum stands on the lane that took it, which may be the spare by now.
            parts.recorder.add_expected(settled.rating.currency, settled.expected)

    def _answer(self, leg: Leg, ending: Ending) -> None:
        connection, admitted, call = self._connection, self._admitted, leg.call
        if self._started:
            if ending.lost is None:
                connection.write(LAST_CHUNK)
                connection.done(admitted.keep_alive)
            else:
                connection.abort()  # the client must see that its answer is not whole
            return
        assert call.status is not None
        body = leg.body
        head = answer.buffered_head(call.status, call.headers, admitted, self._tried, self._settled, len(body))
        connection.write(head + body)
        connection.done(admitted.keep_alive)

    # --- what the client does

    def client_gone(self) -> None:
        self._gone = True
        self._parts.repeats.ended(
            self._admitted, "client_gone"
        )  # now: it may be asked again while the answer is drained
        for leg in list(self._legs):
            self._let_go(leg, "client_gone")

    def _let_go(self, leg: Leg, unsent: str) -> None:
        """Drain an answer that nobody takes to learn its usage, or cut it, as the setting says; cut it too if nothing
        was sent, which is then `unsent`."""
        call, gateway = leg.call, self._parts.settings.gateway
        if not call.sent:
            call.cut(unsent)
        elif gateway.client_gone == "cancel":
            call.cut("cancelled")
        else:
            self.drain_until = self._parts.clock() + gateway.drain.seconds * SECOND
            call.resume()

    def client_slow(self) -> None:
        if self._legs and not self._gone:
            self._slow_since = self._parts.clock()
            for leg in self._legs:
                if not leg.lost:
                    leg.call.pause()

    def client_ready(self) -> None:
        self._slow_since = 0
        for leg in self._legs:
            leg.call.resume()

    def check(self, now: int) -> None:
        """End a drain whose time is over; a client that has taken nothing for as long as a vendor may be silent is
        gone, so that it cannot have an answer without its end, which tells the cost."""
        if self.drain_until and now >= self.drain_until:
            for leg in list(self._legs):
                if self._gone or leg.lost:
                    leg.call.cut("drain_limit")
        if self._slow_since and now - self._slow_since >= self._timeouts.idle * SECOND:
            self._slow_since = 0
            self._connection.abort()


def _plan(parts: Parts, admitted: Admitted) -> Plan:
    if admitted.plan is not None:
        return admitted.plan
    assert admitted.model is not None, "what asks for no model brings its plan"
    return parts.plan(admitted.model, admitted.caller.tenant, admitted.facts.id)


def _unwritable() -> Refusal:
    return Refusal(
        503, "journal_unavailable", "the journal cannot be written, so nothing was forwarded; try again later"
    )
