"""Instants: integers of microseconds since 1970-01-01 UTC inside, RFC 3339 text outside."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Gives the present instant in microseconds; handed in wherever time matters."""

SECOND: Final = 1_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)")


def now() -> int:
    """The present instant in microseconds."""
    return time.time_ns() // 1000


def format_instant(instant: int) -> str:
    """An instant as RFC 3339 text in UTC with microseconds: `2026-11-23T16:40:00.123456Z`."""
    return (_EPOCH + timedelta(microseconds=instant)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str) -> int:
    """RFC 3339 text as microseconds.

    Raises ValueError when it has no zone: an instant without one is a guess.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not an instant with a zone (like 2026-11-23T16:40:00Z): {text!r}")
    return (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(microseconds=1)
