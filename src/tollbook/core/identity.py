"""Identifiers: request ids, attempt ids, W3C trace context.

A request id is a UUIDv7 minted at the edge (RFC 9562). What the caller did not give us is derived from it, so that
it need not be stored: a trace we start has the request id as its trace id, the request's span id is the last 16
digits of the request id, and attempt n's span id is that number plus n.
"""

import os
import re
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from tollbook.core.digest import sha256_hex


def _noise() -> Iterator[str]:
    """Endless random hexadecimal digits, 19 at a time; the kernel is asked for many. Never used across a fork."""
    while True:
        digits = os.urandom(10 * 256).hex()
        yield from (digits[at : at + 19] for at in range(0, len(digits), 20))


_NOISE: Final = _noise()
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit that holds the variant (binary 10) and two random bits (RFC 9562, section 4.1)."""
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


def new_request_id(now_us: int | None = None) -> str:
    """A fresh UUIDv7 as text; its first 48 bits are the instant in milliseconds."""
    milliseconds = time.time_ns() // 1_000_000 if now_us is None else now_us // 1000
    noise = next(_NOISE)
    time_digits = f"{milliseconds:012x}"
    variant = _VARIANTS[noise[18]]
    return f"{time_digits[:8]}-{time_digits[8:]}-7{noise[:3]}-{variant}{noise[3:6]}-{noise[6:18]}"


def derived_request_id(request_id: str, name: str) -> str:
    """The id of a part of a request, by the part's name: always the same, with the instant of the whole."""
    noise = sha256_hex(f"{request_id}\n{name}".encode())
    variant = _VARIANTS[noise[18]]
    return f"{request_id[:13]}-7{noise[:3]}-{variant}{noise[3:6]}-{noise[6:18]}"


def is_request_id(text: str) -> bool:
    """Whether a text has the form of a request id."""
    return _UUID.fullmatch(text) is not None


def instant_of(request_id: str) -> int:
    """The instant a request id was minted, in microseconds, to the millisecond."""
    return int(request_id[:8] + request_id[9:13], 16) * 1000


def attempt_id(request_id: str, number: int) -> str:
    """What the vendor is told of an attempt (`x-tollbook-attempt-id`): request id, dot, number."""
    return f"{request_id}.{number}"


def trace_id_of(request_id: str) -> str:
    """The trace id of a request whose caller sent none."""
    return request_id.replace("-", "")


def own_traceparent(request_id: str, number: int) -> str:
    """The W3C `traceparent` of attempt `number` in the trace that we start for a request: not sampled."""
    digits = trace_id_of(request_id)
    return f"00-{digits}-{_span(digits[16:], number)}-00"


def span_id_of(request_id: str, number: int = 0) -> str:
    """The span id of a request (number 0) or of its attempt `number`."""
    return _span(request_id[19:23] + request_id[24:], number)


def _span(base: str, number: int) -> str:
    return f"{int(base, 16) + number & 0xFFFFFFFFFFFFFFFF:016x}"


class TraceParent(NamedTuple):
    """A valid W3C `traceparent`: trace id, parent span id, flags (only the sampled bit is kept)."""

    trace_id: str
    parent_id: str
    flags: int


def parse_traceparent(text: str) -> TraceParent | None:
    """Read a `traceparent` header by the W3C rules; None when it is invalid, which restarts the trace.

    Source: W3C Trace Context, section 3.2. A version above 00 is read by its first four fields.
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, parent_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return TraceParent(trace_id, parent_id, int(flags, 16) & 0x01)
