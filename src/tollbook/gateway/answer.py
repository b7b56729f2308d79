"""What the client gets: heads of answers, our own headers, errors in the client's wire format."""

from collections.abc import Sequence
from typing import Final

from tollbook.core.money import format_amount
from tollbook.core.settings import Target
from tollbook.gateway import routing
from tollbook.gateway.message import HOP_BY_HOP, Headers, head
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted
from tollbook.gateway.settling import Settled
from tollbook.providers.contract import Adapter

RETRY_AFTER_LONGEST: Final = 300
_JSON: Final = (b"content-type", b"application/json")

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


def is_event_stream(headers: Headers) -> bool:
    """Whether an answer is a stream of server-sent events."""
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def retry_after(headers: Headers) -> int:
    """How long a vendor asks us to leave its key alone, in microseconds, at most five minutes."""
    for name, value in headers:
        if name == b"retry-after":
            try:
                return int(min(max(float(value), 0), RETRY_AFTER_LONGEST) * 1_000_000)
            except ValueError:
                return 1_000_000  # a date: rare, and a second is long enough to look again
    return 1_000_000


def backoff(base: float, tried: int, reason: str) -> float:
    """Seconds to wait before the next attempt: a fallback goes at once, a retry doubles each time."""
    return 0.0 if reason == "fallback" else base * 2 ** (tried - 1)


def stream_headers(vendors: Headers, admitted: Admitted, tried: Sequence[Target]) -> Headers:
    """The head of a streamed answer: the cost is not known yet."""
    return [*_passed(vendors), *_own(admitted, tried), (b"transfer-encoding", b"chunked")]


def buffered_headers(
    vendors: Headers, admitted: Admitted, tried: Sequence[Target], last: Settled, settled: Sequence[Settled]
) -> Headers:
    """The head of a buffered answer, with the cost to the tenant where it is known."""
    headers = [*_passed(vendors), *_own(admitted, tried)]
    cost = _cost(settled)
    if cost is not None:
        headers.append((b"x-tollbook-cost-usd", format_amount(cost).encode()))
    return headers


def refusal(admitted: Admitted, fault: Refusal, tried: Sequence[Target], *, may_be_billed: bool = False) -> bytes:
    """An error of our own for an admitted request."""
    return error(admitted.adapter, fault, admitted.facts.id, _own(admitted, tried), may_be_billed=may_be_billed)


def error(
    adapter: Adapter,
    fault: Refusal,
    request_id: str,
    headers: Headers | None = None,
    *,
    may_be_billed: bool = False,
) -> bytes:
    """An error of our own in the client's wire format, complete.

    When an attempt may have cost money, the client's library is told not to try again by itself.
    """
    body = adapter.error(fault.status, fault.reason, fault.message, request_id)
    fields = [_JSON, *(headers or [(b"x-tollbook-request-id", request_id.encode())])]
    if may_be_billed:
        fields.append((b"x-should-retry", b"false"))
    elif fault.status == 503:
        fields.append((b"retry-after", b"1"))
    fields.append((b"content-length", b"%d" % len(body)))
    return head(fault.status, fields) + body


def exhausted(failures: Sequence[str], outcome: str) -> Refusal:
    """The gateway's own final error: no attempt gave an answer that can be passed on. `outcome` is the last one's."""
    status = 504 if outcome == "timeout" else 502
    return Refusal(status, "attempts_exhausted", f"no vendor answered ({'; '.join(failures)})")


def _passed(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name not in _WITHHELD and not name.startswith(b"x-tollbook-")]


def _own(admitted: Admitted, tried: Sequence[Target]) -> Headers:
    return [
        (b"x-tollbook-request-id", admitted.facts.id.encode()),
        (b"x-tollbook-attempts", b"%d" % len(tried)),
        (b"x-tollbook-route", routing.route_of(tried).encode()),
    ]


def _cost(settled: Sequence[Settled]) -> int | None:
    """What the tenant is charged for all attempts; None as soon as one of them is unknown or not in US dollars."""
    total = 0
    for one in settled:
        if one.recharge is None or one.rating is None or one.rating.currency != "USD":
            return None
        total += one.recharge
    return total
