"""Calendar time in an IANA zone, as SQL that needs no zone data of its own.

The offsets come from the `tzdata` package, whose version is named beside every result that used them: a zone's rules
are changed by governments, and the machine's own copy is another one on every machine.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]

from tollbook.core.clock import SECOND
from tollbook.core.faults import BadInput

TZDATA: Final = str(tzdata.IANA_VERSION)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEP: Final = 6 * 3600 * SECOND


class Offsets(NamedTuple):
    """A zone's offsets from UTC in seconds over a span: `offsets[0]` holds before `changes[0]`, and so on."""

    changes: list[int]
    offsets: list[int]

    def at(self, instant: int) -> int:
        """The offset at an instant in microseconds."""
        return self.offsets[bisect_right(self.changes, instant)]


def load_zone(name: str) -> ZoneInfo:
    """A zone by its IANA name. Raises BadInput when there is none."""
    parts = name.split("/")
    if all(part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        path = resources.files("tzdata").joinpath("zoneinfo", *parts)
        if path.is_file():
            with path.open("rb") as file:
                return ZoneInfo.from_file(file, key=name)
    raise BadInput(f"no such time zone: {name!r}; use an IANA name such as Europe/Berlin or UTC")


def offsets(zone: ZoneInfo, since: int, until: int) -> Offsets:
    """The zone's offsets from `since` up to and with `until` (microseconds), each change to the second."""
    changes: list[int] = []
    start, until = since // SECOND * SECOND, -(-until // SECOND) * SECOND
    found = [_offset(zone, start)]
    while start < until:
        end = min(start + _STEP, until)
        if _offset(zone, end) != found[-1]:
            low, high = start, end
            while high - low > SECOND:
                middle = (low + high) // 2 // SECOND * SECOND
                low, high = (middle, high) if _offset(zone, middle) == found[-1] else (low, middle)
            changes.append(high)
            found.append(_offset(zone, end))
        start = end
    return Offsets(changes, found)


def offset_sql(column: str, span: Offsets) -> str:
    """SQL for the offset in seconds at an instant column."""
    if not span.changes:
        return str(span.offsets[0])
    cases = (
        f"WHEN {column} < {timestamp_sql(change)} THEN {offset}"
        for change, offset in zip(span.changes, span.offsets, strict=False)
    )
    return f"CASE {' '.join(cases)} ELSE {span.offsets[-1]} END"


def timestamp_sql(instant: int) -> str:
    """An instant in microseconds as an SQL literal."""
    return f"TIMESTAMP '{(_EPOCH + timedelta(microseconds=instant)).strftime('%Y-%m-%d %H:%M:%S.%f')}'"


def offset_text(offset: int) -> str:
    """An offset as ISO 8601 writes it: `+05:30`, `-03:30`; with seconds where a zone's history has them."""
    hours, rest = divmod(abs(offset), 3600)
    minutes, seconds = divmod(rest, 60)
    tail = f":{seconds:02d}" if seconds else ""
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}{tail}"


def _offset(zone: ZoneInfo, instant: int) -> int:
    delta = (_EPOCH + timedelta(microseconds=instant)).astimezone(zone).utcoffset()
    assert delta is not None
    return int(delta.total_seconds())
