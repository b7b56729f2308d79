"""One price of a book, and the conditions under which it applies.

The fields stand in the order of their names in the file, so that what msgspec writes is canonical JSON.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct, field, to_builtins

from tollbook.core.clock import SECOND, parse_instant
from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.usage import CLASSES

DAY: Final = 86_400 * SECOND
FOREVER: Final = 1 << 62
DIMENSIONS: Final = ("processing", "tier", "speed", "region")
"""What a vendor may report of an answer that changes its price. None in a row means the vendor's standard."""

PRICE_LIMIT: Final = 200
"""The longest price text, far beyond any that was seen; it bounds the arithmetic."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00", re.ASCII)
_PRICE: Final = re.compile(r"(0|[1-9]\d*)(\.\d*[1-9])?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Band(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The context band a price belongs to, decided by all input tokens, cached or not.

    `over` excludes the threshold, `at_least` includes it. `whole_request`: once over the edge, every token of the
    request has the band's price; no vendor is known to price only what lies beyond the edge.
    """

    at_least: int | None = None
    over: int | None = None
    rule: Literal["whole_request"] = "whole_request"

    @property
    def first(self) -> int:
        """The smallest number of input tokens that is in the band."""
        return self.at_least if self.at_least is not None else (self.over or 0) + 1

    def words(self) -> str:
        """The band for people."""
        if self.at_least is not None:
            return f"from {self.at_least:,} input tokens"
        return f"over {self.over:,} input tokens"


class Window(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Hours of the day in which a price applies: from `from_` up to but not including `to`, by the clocks of `zone`.

    `days` are ISO weekdays (1 is Monday) of the date there; empty means every day. `holidays` are dates there on which
    the window does not apply. Without a zone clocks show UTC. An hour that clocks show twice is in the window twice.
    """

    days: tuple[int, ...] = ()
    from_: str = field(name="from", default="00:00")
    holidays: tuple[str, ...] = ()
    to: str = "24:00"
    zone: str | None = None

    def holds(self, at: int) -> bool:
        """Whether an instant lies in the window."""
        if self.zone is not None:
            at += _offset(self.zone, at)
        day, time = divmod(at, DAY)
        if self.days and (day + 3) % 7 + 1 not in self.days:  # 1970-01-01 was a Thursday
            return False
        if self.holidays and (_EPOCH + timedelta(days=day)).date().isoformat() in self.holidays:
            return False
        return self.span[0] <= time < self.span[1]

    @property
    def span(self) -> tuple[int, int]:
        """Begin and end in microseconds since midnight."""
        return clock(self.from_), clock(self.to)

    def meets(self, other: "Window") -> bool:
        """Whether two windows may share a moment; those of two zones may always."""
        if self.zone != other.zone:
            return True
        days = set(self.days or range(1, 8)) & set(other.days or range(1, 8))
        return bool(days) and self.span[0] < other.span[1] and other.span[0] < self.span[1]

    def words(self) -> str:
        """The window for people."""
        names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
        days = ", ".join(names[day - 1] for day in self.days) or "every day"
        off = f" but {len(self.holidays)} holidays" if self.holidays else ""
        return f"{self.from_}-{self.to} {self.zone or 'UTC'}, {days}{off}"


class Row(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True, kw_only=True):
    """The price of one unit of one class.

    `price` is decimal text for ONE unit (one token, one search). `since` and `until` are a date (midnight UTC; the
    vendor gave no hour) or an instant; `until` is the first moment at which the row no longer holds. `assumed` names
    what the row itself takes for granted. What is absent is the book's own (`currency`, `source`, `retrieved`).
    """

    assumed: tuple[str, ...] = ()
    band: Band | None = None
    class_: str = field(name="class", default="")
    currency: str | None = None
    price: str = ""
    processing: str | None = None
    region: str | None = None
    retrieved: str | None = None
    since: str | None = None
    source: str | None = None
    speed: str | None = None
    tier: str | None = None
    until: str | None = None
    window: Window | None = None

    @cached_property
    def span(self) -> tuple[int, int]:
        """The instants from and until which the row holds."""
        return (
            edge(self.since) if self.since is not None else -FOREVER,
            edge(self.until) if self.until is not None else FOREVER,
        )

    @property
    def first_token(self) -> int:
        """The smallest number of input tokens at which the row applies."""
        return self.band.first if self.band is not None else 0


class Key(NamedTuple):
    """What tells two rows of one model apart, their dates and hours aside."""

    class_: str
    processing: str | None
    tier: str | None
    speed: str | None
    region: str | None
    first_token: int


def key_of(row: Row) -> Key:
    """What a row prices, its dates and hours aside."""
    return Key(row.class_, row.processing, row.tier, row.speed, row.region, row.first_token)


def conflict(one: Row, other: Row) -> bool:
    """Whether two rows with the same key hold at the same moment, with neither going before the other.

    Within its hours a row with a window goes before one without.
    """
    if one.span[0] >= other.span[1] or other.span[0] >= one.span[1]:
        return False
    if one.window is None or other.window is None:
        return one.window is other.window
    return one.window.meets(other.window)


def row_id(party: str, model: str, row: Row) -> str:
    """Twelve digits that name a price: of what it says, not of where and when it was read.

    So the same price has the same id in the next book, and any change of price, class, condition or date a new one.
    """
    content = to_builtins(row)
    for evidence in ("assumed", "retrieved", "source"):
        content.pop(evidence, None)
    return sha256_hex(canonical_json({**content, "party": party, "model": model}))[:12]


def edge(text: str) -> int:
    """A date or an instant in microseconds. Raises ValueError when it is neither."""
    if _DATE.fullmatch(text):
        return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH).days * DAY
    return parse_instant(text)


def is_date(text: str) -> bool:
    """Whether an edge is a day of the calendar, given without an hour."""
    if _DATE.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def clock(text: str) -> int:
    """`HH:MM` as microseconds since midnight."""
    return (int(text[:2]) * 60 + int(text[3:])) * 60 * SECOND


def problems_of(row: Row) -> list[str]:
    """What is wrong with a row, for people; empty when it is sound."""
    found = []
    if row.class_ not in CLASSES:
        found.append(f"class {row.class_!r} is not one of the usage classes")
    if len(row.price) > PRICE_LIMIT or not _PRICE.fullmatch(row.price):
        found.append(f"price {row.price[:PRICE_LIMIT]!r} is not shortest decimal text (like 0.0000025)")
    if row.currency is not None and not _CURRENCY.fullmatch(row.currency):
        found.append(f"currency {row.currency!r} is not an ISO 4217 code")
    if "standard" in (row.processing, row.tier, row.speed, row.region):
        found.append("'standard' is said by leaving the dimension out")
    if row.band is not None:
        found += _band_problems(row.band)
    if row.window is not None:
        found += _window_problems(row.window)
    return found + _span_problems(row)


def _band_problems(band: Band) -> list[str]:
    if (band.over is None) == (band.at_least is None):
        return ["a band has either `over` or `at_least`"]
    return [] if band.first > 0 else ["a band begins above zero"]


def _window_problems(window: Window) -> list[str]:
    bad = [text for text in (window.from_, window.to) if not _CLOCK.fullmatch(text)]
    if bad:
        return [f"{text!r} is not a time of day (like 16:30)" for text in bad]
    if clock(window.from_) >= clock(window.to):
        return ["a window ends after it begins; one over midnight is two rows"]
    if list(window.days) != sorted({day for day in window.days if 1 <= day <= 7}):
        return ["`days` are ISO weekdays 1 to 7, rising"]
    if list(window.holidays) != sorted(set(window.holidays)) or not all(map(is_date, window.holidays)):
        return ["`holidays` are dates, rising"]
    return [] if window.zone is None or _is_zone(window.zone) else [f"{window.zone!r} is not a time zone (IANA)"]


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _offset(zone: str, at: int) -> int:
    """What clocks in a zone are ahead of UTC at an instant, in microseconds."""
    offset = (_EPOCH + timedelta(microseconds=at)).astimezone(_zone(zone)).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)


def _span_problems(row: Row) -> list[str]:
    found = []
    for text in (row.since, row.until):
        if text is not None:
            try:
                edge(text)
            except ValueError as problem:
                found.append(str(problem))
    if not found and row.span[0] >= row.span[1]:
        found.append(f"ends ({row.until}) before it begins ({row.since})")
    if row.retrieved is not None and not is_date(row.retrieved):
        found.append(f"retrieved {row.retrieved!r} is not a date")
    return found
