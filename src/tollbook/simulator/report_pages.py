"""What reports of usage and cost have in common: their parameters, their pages, the lines behind a billed amount."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from tollbook.core.clock import SECOND, parse_instant
from tollbook.core.faults import BadInput
from tollbook.core.money import parse_decimal
from tollbook.simulator.books import Billed
from tollbook.simulator.call import Call
from tollbook.simulator.tariff import charges, find_model
from tollbook.simulator.tokens import Tokens

_WIDTHS: Final = {"1m": 60, "1h": 3600, "1d": 86_400}

Limits = dict[str, tuple[int, int]]
"""Width of buckets -> how many a page has unless told, and at most."""


class Asked(NamedTuple):
    """What a report is asked for: buckets of `width` microseconds from `since` up to `until`, at most `limit`."""

    since: int
    until: int
    width: int
    limit: int
    groups: frozenset[str]

    def page(self, number: int) -> list[tuple[int, int]]:
        """The buckets of one page."""
        first = self.since + number * self.limit * self.width
        last = min(self.until, first + self.limit * self.width)
        return [(start, start + self.width) for start in range(first, last, self.width)]


Results = Callable[[Sequence[Billed], Asked], Iterator[dict[str, Any]]]
"""Makes the results of one bucket from its lines."""


def asked_of(call: Call, since: int, until: int | None, limits: Limits, groups: Sequence[str]) -> Asked:
    """What is asked for, whole buckets of it. Raises BadInput."""
    word = call.parameter("bucket_width") or "1d"
    if word not in limits:
        raise BadInput(f"bucket_width: found {word!r}; allowed: {', '.join(limits)}")
    usual, most = limits[word]
    limit = number("limit", call.parameter("limit") or str(usual))
    if not 1 <= limit <= most:
        raise BadInput(f"limit: found {limit}; allowed: 1 to {most} with bucket_width={word}")
    width = _WIDTHS[word] * SECOND
    since = since // width * width
    end = since + usual * width if until is None else -(-until // width) * width
    return Asked(since, end, width, limit, frozenset(groups))


def paged(
    call: Call, asked: Asked, billed: Sequence[Billed], vendor: str
) -> tuple[list[tuple[tuple[int, int], list[Billed]]], str | None]:
    """The buckets of the page asked for with their lines, and the next page's name."""
    name = call.parameter("page")
    page = 0 if name is None else number("page", name.removeprefix("page_"))
    gathered: dict[int, list[Billed]] = {}
    for one in billed:
        if one.vendor == vendor:
            gathered.setdefault(parse_instant(one.instant) // asked.width * asked.width, []).append(one)
    buckets = [(bucket, gathered.get(bucket[0], [])) for bucket in asked.page(page)]
    return buckets, f"page_{page + 1}" if asked.page(page + 1) else None


def number(name: str, text: str | None) -> int:
    """A parameter that is a number. Raises BadInput."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 13):
        raise BadInput(f"{name}: found {text!r}; needed: a number")
    return int(text)


def lines_of(one: Billed) -> dict[tuple[str, str], int]:
    """The lines of a billed amount; they come to it exactly: what halves and percents rounded goes to the first."""
    model = find_model(one.vendor, one.model_served)
    assert model is not None
    lines = charges(model, one.tier, Tokens(**one.counts), one.geo, one.speed)
    rest = _pico(one.amount) - sum(lines.values())
    if lines and rest:
        lines[next(iter(lines))] += rest
    return lines


def _pico(amount: str) -> int:
    return int(parse_decimal(amount).scaleb(12))
