"""Outcome to entry: the one place of the road that writes to the journal."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.clock import Clock
from tollbook.core.faults import JournalUnavailable
from tollbook.journal.entry import (
    Attempt,
    Close,
    GapRecorded,
    Rating,
    Request,
    Settlement,
    encode_payload,
)
from tollbook.journal.lane import Lane

_encode: Final = msgspec.json.Encoder().encode


class Opening(Struct, gc=False):
    """Where and when an attempt was opened, and the members of its entry, which the settling entry repeats."""

    lane: str
    sequence: int
    recorded: int
    members: bytes


class Recorder:
    """Writes the entries of requests.

    When the lane fails, what is in flight is settled on the spare lane, nothing new is opened, and `on_failure` is
    told once; `use` brings the next lane.
    """

    def __init__(self, lane: Lane, spare: Lane | None, clock: Clock, on_failure: Callable[[], None]) -> None:
        self._lane = lane
        self._spare = spare
        self._clock: Final = clock
        self._on_failure: Final = on_failure
        self.writable = True
        self.settlements_lost = 0
        self._gap: dict[str, int] = {}
        self._gap_since = 0

    def use(self, lane: Lane, spare: Lane | None) -> None:
        """Open traffic again on a new lane; what went unrecorded meanwhile is its first entry.

        Raises JournalUnavailable when that cannot be written: then traffic remains closed.
        """
        self._lane, self._spare = lane, spare
        if self._gap:
            gap = GapRecorded(since=self._gap_since, until=self._clock(), counts=self._gap)
            try:
                lane.append("gap.recorded", encode_payload(gap))
            except JournalUnavailable:
                self._fail()
                raise
            self._gap = {}
        self.writable = True

    def open(self, request: bytes, attempt: Attempt) -> Opening:
        """Write an attempt down before it is sent; `request` is the encoded `Request`.

        Raises JournalUnavailable: then nothing may be forwarded.
        """
        if not self.writable:
            raise JournalUnavailable("the journal cannot be written")
        members = b'"request":' + request + b',"attempt":' + _encode(attempt)
        kind = "request.opened" if attempt.number == 1 else "attempt.opened"
        try:
            sequence, recorded = self._lane.append(kind, members)
        except JournalUnavailable:
            self._fail()
            raise
        return Opening(self._lane.name, sequence, recorded, members)

    def settle(self, opening: Opening, settlement: Settlement, rating: Rating | None, close: Close | None) -> None:
        """Write down how an attempt ended, and with `close` how its request ended."""
        parts = [opening.members, b',"settlement":', _encode(settlement)]
        if rating is not None:
            parts += (b',"rating":', _encode(rating))
        if close is not None:
            parts += (b',"close":', _encode(close))
        self._settle("attempt.settled" if close is None else "request.settled", opening.lane, b"".join(parts))

    def close(self, request: Request, close: Close, opened: int) -> None:
        """Write down a request that ended without any attempt. Raises JournalUnavailable."""
        if not self.writable:
            raise JournalUnavailable("the journal cannot be written")
        payload = b'"request":%b,"close":%b,"opened":%d' % (_encode(request), _encode(close), opened)
        try:
            self._lane.append("request.closed", payload)
        except JournalUnavailable:
            self._fail()
            raise

    def unrecorded(self, tenant: str) -> None:
        """Count a request that is forwarded although the journal cannot be written."""
        if not self._gap:
            self._gap_since = self._clock()
        self._gap[tenant] = self._gap.get(tenant, 0) + 1

    def add_expected(self, currency: str, pico: int) -> None:
        """Add to the lane's control sum of what vendors should charge."""
        self._lane.expected[currency] = self._lane.expected.get(currency, 0) + pico

    def heartbeat(self) -> None:
        """Write the lane's running counts, and the idle spare's."""
        for lane in (self._lane, self._spare):
            if lane is not None and lane.dead is None:
                try:
                    lane.heartbeat()
                except JournalUnavailable:
                    self._fail()

    def _settle(self, kind: str, opened_in: str, payload: bytes) -> None:
        try:
            self._append_settlement(kind, opened_in, payload)
        except JournalUnavailable:
            self._fail()
            try:
                self._append_settlement(kind, opened_in, payload)
            except JournalUnavailable:
                # The supervisor will find the opening without a settlement and mark it unsettled.
                self.settlements_lost += 1

    def _append_settlement(self, kind: str, opened_in: str, payload: bytes) -> None:
        if opened_in != self._lane.name:
            payload += b',"lane":"%b"' % opened_in.encode()
        self._lane.append(kind, payload)

    def _fail(self) -> None:
        """The lane is dead. The spare gives its ballast back to the disk and takes what is in flight."""
        self.writable = False
        if self._spare is not None:
            self._lane, self._spare = self._spare, None
            self._lane.release_ballast()
        self._on_failure()
