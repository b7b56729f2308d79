"""How long a vendor asks us to leave its key alone, in the words of its answer's headers. Pure.

Sources: RFC 9110, section 10.2.3 (`retry-after`); OpenAI, "Rate limits in headers" (`x-ratelimit-remaining-requests`,
`x-ratelimit-reset-tokens: 6m0s`; Groq writes `7.66s`, Azure plain seconds); Anthropic, "Rate limits: response headers"
(`anthropic-ratelimit-requests-remaining`, `-reset` as RFC 3339); `retry-after-ms` is read by both vendors' SDKs.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tollbook.core.clock import SECOND, Clock
from tollbook.gateway.message import Headers

LONGEST: Final = 300 * SECOND
"""A key rests for at most five minutes: after that one request finds out what has become of it."""
DEFAULT: Final = 1 * SECOND

_OPENAI: Final = b"x-ratelimit-remaining-"
_ANTHROPIC: Final = b"anthropic-ratelimit-"
_REMAINING: Final = b"-remaining"
_NUMBER: Final = re.compile(r"\d{1,12}(\.\d{1,12})?", re.ASCII)
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|us|µs|ns|d|h|m|s)")
_UNITS: Final = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def rest_after_refusal(headers: Headers, now: Clock) -> int:
    """How long to leave a key alone after a 429, in microseconds: as `retry-after` says, else until what is used up
    comes back, else a second."""
    told = dict(headers)
    asked = _read(told, b"retry-after-ms", 1000)
    if asked is None:
        asked = _read(told, b"retry-after", SECOND)
    if asked is None and b"retry-after" in told:
        asked = _until_date(told[b"retry-after"].decode("latin-1"), now)
    if asked is None:
        asked = rest_after_answer(headers, now)
    return DEFAULT if asked is None else min(max(asked, 0), LONGEST)


def rest_after_answer(headers: Headers, now: Clock) -> int | None:
    """How long until something comes back of which nothing remains, in microseconds; None when something remains."""
    longest: int | None = None
    told: dict[bytes, bytes] | None = None
    for name, value in headers:
        if not _is_used_up(name, value):
            continue
        told = told or dict(headers)
        wait = _reset(told, name, now)
        wait = DEFAULT if wait is None else min(max(wait, 0), LONGEST)
        longest = wait if longest is None else max(longest, wait)
    return longest


def _is_used_up(name: bytes, value: bytes) -> bool:
    if not name.startswith((_OPENAI, _ANTHROPIC)):
        return False
    counts = name.startswith(_OPENAI) or name.endswith(_REMAINING)
    return counts and not value.strip().strip(b"0")


def _reset(told: dict[bytes, bytes], name: bytes, now: Clock) -> int | None:
    """When the count of a header comes back, from now."""
    if name.startswith(_ANTHROPIC):
        instant = told.get(name.removesuffix(_REMAINING) + b"-reset", b"").decode("latin-1")
        try:
            return _from(datetime.fromisoformat(instant), now)
        except ValueError:
            return None
    text = told.get(name.replace(b"-remaining-", b"-reset-"), b"").decode("latin-1").strip()
    if _NUMBER.fullmatch(text):
        return int(float(text) * SECOND)
    if not text or _PART.sub("", text):
        return None
    return int(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)) * SECOND)


def _read(told: dict[bytes, bytes], name: bytes, unit: int) -> int | None:
    """A header that holds a plain number, in microseconds."""
    text = told.get(name, b"").decode("latin-1").strip()
    return int(float(text) * unit) if _NUMBER.fullmatch(text) else None


def _until_date(text: str, now: Clock) -> int | None:
    try:
        return _from(parsedate_to_datetime(text), now)
    except ValueError:
        return None


def _from(instant: datetime, now: Clock) -> int:
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp() * SECOND) - now()
