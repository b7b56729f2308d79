"""What the client gets: heads of answers, our own headers, errors in the client's wire format."""

import json
from collections.abc import Sequence
from typing import Final

from tollbook.core.clock import SECOND
from tollbook.core.money import format_amount
from tollbook.core.settings import Target
from tollbook.gateway import routing
from tollbook.gateway.message import HOP_BY_HOP, Headers, status_line
from tollbook.gateway.objects import Owned
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted
from tollbook.gateway.settling import Settled
from tollbook.providers.contract import Adapter

_JSON: Final = (b"content-type", b"application/json")

_PLAIN: Final = (b"", b"identity")

_WITHHELD: Final = HOP_BY_HOP | {
    b"content-length",
    b"set-cookie",
    b"openai-organization",
    b"openai-project",
    b"anthropic-organization-id",
    b"anthropic-workspace-id",
    b"alt-svc",
}
"""Not passed to clients: framing that is ours, and names of the operator's own accounts at the vendor."""


def is_stream(headers: Headers, types: tuple[bytes, ...], asked: bool) -> bool:
    """Whether an answer is of one of some media types of streams. JSON is one where a stream was asked for only: an
    error, and the answer of a vendor that does not stream, are JSON too."""
    for name, value in headers:
        if name == b"content-type":
            told = value.lower()
            return told.startswith(types) and (asked or not told.startswith(b"application/json"))
    return False


def is_encoded(headers: Headers) -> bool:
    """Whether an answer came compressed, which we never ask for."""
    return [1 for name, value in headers if name == b"content-encoding" and value.strip().lower() not in _PLAIN] != []


def backoff(base: float, tried: int, reason: str) -> float:
    """Seconds to wait before the next attempt: a fallback goes at once, a retry doubles each time."""
    return 0.0 if reason == "fallback" else base * 2 ** (tried - 1)


def stream_head(status: int, vendors: Headers, admitted: Admitted, tried: Sequence[Target]) -> bytes:
    """The head of a streamed answer: the cost is not known yet."""
    return _head(status, vendors, _own(admitted, tried) + "transfer-encoding: chunked\r\n\r\n")


def buffered_head(
    status: int, vendors: Headers, admitted: Admitted, tried: Sequence[Target], settled: Sequence[Settled], size: int
) -> bytes:
    """The head of a buffered answer of `size` bytes, with the cost to the tenant where it is known."""
    cost = _cost(settled)
    told = "" if cost is None else f"x-tollbook-cost-usd: {format_amount(cost)}\r\n"
    return _head(status, vendors, f"{_own(admitted, tried)}{told}content-length: {size}\r\n\r\n")


def listing(admitted: Admitted, owned: Sequence[Owned]) -> bytes:
    """A tenant's own vendor objects, as lists of both OpenAI's and Anthropic's form: ids and instants only, for what
    the objects hold is the vendor's to tell."""
    ids = [one.id for one in owned]
    listed = [
        {"id": one.id, "object": one.kind, "type": one.kind, "created_at": one.made_at // SECOND} for one in owned
    ]
    page = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None, "has_more": False}
    body = json.dumps({"object": "list", "data": listed, **page}).encode()
    return _head(200, [_JSON], f"{_own(admitted, [])}content-length: {len(body)}\r\n\r\n") + body


def refusal(admitted: Admitted, fault: Refusal, tried: Sequence[Target], *, may_be_billed: bool = False) -> bytes:
    """An error of our own for an admitted request."""
    return error(admitted.adapter, fault, admitted.facts.id, _own(admitted, tried), may_be_billed=may_be_billed)


def error(
    adapter: Adapter,
    fault: Refusal,
    request_id: str,
    own: str | None = None,
    *,
    may_be_billed: bool = False,
) -> bytes:
    """An error of our own in the client's wire format, complete.

    When an attempt may have cost money, the client's library is told not to try again by itself.
    """
    body = adapter.error(fault.status, fault.reason, fault.message, request_id)
    lines = own or f"x-tollbook-request-id: {request_id}\r\n"
    if may_be_billed:
        lines += "x-should-retry: false\r\n"
    elif fault.status in (429, 503):
        lines += f"retry-after: {fault.retry_after}\r\n"
    return _head(fault.status, [_JSON], f"{lines}content-length: {len(body)}\r\n\r\n") + body


def exhausted(failures: Sequence[str], outcome: str) -> Refusal:
    """The gateway's own final error: no attempt gave an answer that can be passed on. `outcome` is the last one's."""
    status = 504 if outcome == "timeout" else 502
    return Refusal(status, "attempts_exhausted", f"no vendor answered ({'; '.join(failures)})")


def _head(status: int, vendors: Headers, ours: str) -> bytes:
    """A head: what may pass of a vendor's fields, then our own lines, the empty one included."""
    parts = [status_line(status)]
    for name, value in vendors:
        if name not in _WITHHELD and not name.startswith(b"x-tollbook-"):
            parts += (name, b": ", value, b"\r\n")
    parts.append(ours.encode())
    return b"".join(parts)


def _own(admitted: Admitted, tried: Sequence[Target]) -> str:
    return (
        f"x-tollbook-request-id: {admitted.facts.id}\r\nx-tollbook-attempts: {len(tried)}\r\n"
        f"x-tollbook-route: {routing.route_of(tried)}\r\n"
    )


def _cost(settled: Sequence[Settled]) -> int | None:
    """What the tenant is charged for all attempts; None as soon as one of them is unknown or not in US dollars."""
    total = 0
    for one in settled:
        if one.recharge is None or one.rating is None or one.rating.currency != "USD":
            return None
        total += one.recharge
    return total
