"""One attempt of an exchange, from its opening to its end: what was sent where, and what has come of it."""

from typing import Final, Protocol

from tollbook.core.charging import Bearers
from tollbook.core.settings import Target, Vendor, VendorKey
from tollbook.gateway import answer
from tollbook.gateway.attempt import ANSWER_LIMIT, Ending, UpstreamCall
from tollbook.gateway.limits import Ticket
from tollbook.gateway.recorder import Opening
from tollbook.gateway.request import Admitted
from tollbook.gateway.settling import Facts
from tollbook.journal.entry import Attempt
from tollbook.providers.adapter import Encoded
from tollbook.providers.contract import Adapter, Call, Prepared, StreamReader
from tollbook.providers.limits import asked_limit


class Owner(Protocol):
    """The exchange that an attempt is made for."""

    def answering(self, leg: "Leg") -> None:
        """Status and headers have come."""
        ...

    def pass_on(self, leg: "Leg", data: bytes, size: int) -> None:
        """`size` more bytes of a streamed answer have come; `data` is what of them is for the client."""
        ...

    def leg_over(self, leg: "Leg", ending: Ending) -> None: ...


class Leg:
    """An attempt that is being made. `lost` is set once another attempt of the request gave the answer; `delivered` is
    the number of bytes that the client got of this one."""

    __slots__ = (
        "_owner",
        "adapter",
        "attempt",
        "body_size",
        "call",
        "delivered",
        "key",
        "lost",
        "opening",
        "parts",
        "prepared",
        "reader",
        "target",
        "ticket",
        "vendor",
    )

    call: UpstreamCall

    def __init__(
        self,
        owner: Owner,
        adapter: Adapter,
        attempt: Attempt,
        opening: Opening | None,
        target: Target,
        vendor: Vendor,
        key: VendorKey,
        prepared: Prepared,
    ) -> None:
        self._owner: Final = owner
        self.adapter: Final = adapter
        self.attempt: Final = attempt
        self.opening: Final = opening
        self.target: Final = target
        self.vendor: Final = vendor
        self.key: Final = key
        self.prepared: Final = prepared
        self.reader: StreamReader | None = None
        self.parts: Final[list[bytes]] = []
        self.body_size = 0
        self.delivered = 0
        self.lost = False
        self.ticket: Ticket | None = None

    @property
    def body(self) -> bytes:
        """What has come of a buffered answer."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    def facts(self, admitted: Admitted, ending: Ending, gone: bool, bearers: Bearers) -> Facts:
        """What is known of it now that it is over; `gone`: whether the client had left."""
        return Facts(
            admitted,
            self.attempt,
            self.opening,
            self.call,
            ending,
            self.reader,
            self.body,
            gone,
            self.delivered,
            bearers,
        )

    # --- what the vendor says

    def answering(self, call: UpstreamCall) -> None:
        assert call.status is not None
        if call.status < 300 and answer.is_stream(call.headers, self.adapter.stream_types, self.prepared.streams):
            encoded = answer.is_encoded(call.headers)
            self.reader = Encoded() if encoded else self.adapter.stream(self.prepared)
        self._owner.answering(self)

    def answer_data(self, data: bytes) -> None:
        reader = self.reader
        if reader is not None:
            self._owner.pass_on(self, reader.feed(data), len(data))
            return
        self.parts.append(data)
        self.body_size += len(data)
        if self.body_size > ANSWER_LIMIT:
            self.call.cut("answer_too_large")

    def attempt_over(self, call: UpstreamCall, ending: Ending) -> None:
        self._owner.leg_over(self, ending)


def entry_of(
    number: int, target: Target, key: VendorKey, reason: str, because: str | None, call: Call, size: int
) -> Attempt:
    """What is written down of an attempt before it is sent; `size` is that of its body."""
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
        tier_asked=_tier(call.members.values.get("service_tier")),
        body_bytes=size,
        output_limit=asked_limit(call.members.values),
    )


def _tier(raw: bytes | None) -> str | None:
    """The tier a request asks for, where it is a plain short word."""
    return raw[1:-1].decode() if raw is not None and raw[:1] == b'"' and len(raw) <= 34 and raw.isascii() else None
