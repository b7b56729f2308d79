"""One upstream call: connects, sends, listens, and says once how it ended."""

from typing import Final, Protocol

from msgspec import Struct

from tollbook.core.clock import Clock
from tollbook.core.settings import Timeouts
from tollbook.gateway.message import Headers
from tollbook.gateway.upstream import Pool, VendorConnection

NEVER: Final = 1 << 62
ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""A buffered answer larger than this is cut; no vendor sends one."""


# How far an attempt has got: plain numbers, since an Enum's members cost a look-up each on every event.
_CONNECTING: Final = 1
_SENT: Final = 2
_ANSWERING: Final = 3
_OVER: Final = 4

_TIMEOUTS: Final = {
    _CONNECTING: "connect_timeout",
    _SENT: "timeout",
    _ANSWERING: "idle_timeout",
    _OVER: "timeout",
}
"""What an attempt is cut for when its time is over, by how far it got."""


class Ending(Struct, frozen=True):
    """How an attempt ended on the wire. `lost` is None when the answer came whole, else a short class of the loss."""

    lost: str | None
    fully_sent: bool


class Owner(Protocol):
    """The request an attempt is made for."""

    def answering(self, attempt: "UpstreamCall") -> None:
        """Status and headers have come."""
        ...

    def answer_data(self, data: bytes) -> None: ...

    def attempt_over(self, attempt: "UpstreamCall", ending: Ending) -> None: ...


class UpstreamCall:
    """An attempt on the wire. All times are instants in microseconds.

    The road's ticker checks deadlines. Whatever moves one sets it to 0, and the next check sets it anew: so no event of
    the wire, a chunk above all, costs a look at the clock. While it connects, the pool's own limit holds.
    """

    __slots__ = (
        "_clock",
        "_connection",
        "_data",
        "_fully_sent",
        "_owner",
        "_paused",
        "_stage",
        "_timeouts",
        "began",
        "deadline",
        "first_byte",
        "headers",
        "status",
    )

    def __init__(self, owner: Owner, data: bytes, timeouts: Timeouts, clock: Clock) -> None:
        self._owner = owner
        self._data = data
        self._timeouts: Final = timeouts
        self._clock: Final = clock
        self._connection: VendorConnection | None = None
        self._stage = _CONNECTING
        self._fully_sent = False
        self._paused = False
        self.status: int | None = None
        self.headers: Headers = []
        self.first_byte: int | None = None
        self.began = 0
        self.deadline = NEVER

    def start(self, pool: Pool) -> None:
        """Take a connection and send; the connection's own time limit is the pool's to keep."""
        pool.connect(self, self._timeouts.connect)

    @property
    def sent(self) -> bool:
        """Whether any byte may have reached the vendor."""
        return self._stage is not _CONNECTING

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._stage is _OVER

    # --- Listener

    def connected(self, connection: VendorConnection) -> None:
        if self._stage is _OVER:
            connection.abandon()
            return
        self._connection = connection
        self._stage = _SENT
        self.began = self._clock()
        self.deadline = 0
        data, self._data = self._data, b""
        connection.send(self, data)

    def connect_failed(self, why: str) -> None:
        self._end(why)

    def answer_began(self, status: int, headers: Headers) -> None:
        if self._stage is _OVER:
            return
        self._stage = _ANSWERING
        self._fully_sent = True
        self.status = status
        self.headers = headers
        self.first_byte = self._clock()
        self.deadline = 0
        self._owner.answering(self)

    def answer_data(self, data: bytes) -> None:
        if self._stage is _ANSWERING:
            self.deadline = 0
            self._owner.answer_data(data)

    def answer_ended(self) -> None:
        self._end(None)

    def connection_lost(self, why: str) -> None:
        self._end(why)

    # --- for the owner and the ticker

    def check(self, now: int) -> None:
        """End the attempt when its time is over."""
        if self.deadline == 0:
            self.deadline = self._next_deadline(now)
        if now >= self.deadline:
            self.cut(_TIMEOUTS[self._stage])

    def cut(self, why: str) -> None:
        """End the attempt from our side."""
        connection = self._connection
        if connection is not None:
            self._fully_sent = self._fully_sent or connection.written
            connection.abandon()
        self._end(why)

    def pause(self) -> None:
        """Stop reading. The vendor is not idle while we do not listen: only the limit of the whole attempt runs."""
        if self._connection is not None and not self._paused:
            self._connection.pause()
            self._paused = True
            self.deadline = 0

    def resume(self) -> None:
        """Read again after `pause`."""
        if self._connection is not None and self._paused:
            self._connection.resume()
            self._paused = False
            self.deadline = 0

    def _next_deadline(self, now: int) -> int:
        end = self.began + _micro(self._timeouts.total)
        if self._paused:
            return end
        silence = self._timeouts.idle if self._stage is _ANSWERING else self._timeouts.first_byte
        return min(now + _micro(silence), end)

    def _end(self, lost: str | None) -> None:
        if self._stage is _OVER:
            return
        stage, self._stage = self._stage, _OVER
        fully_sent = self._fully_sent or (self._connection is not None and stage is _SENT)
        self._connection = None
        owner = self._owner
        del self._owner  # it knows us too: without the circle both are freed at once
        owner.attempt_over(self, Ending(lost, fully_sent))


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)
