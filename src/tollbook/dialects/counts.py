"""Token counts of a span in disjoint classes."""

from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from tollbook.core.usage import Usage
from tollbook.dialects.reading import DISJOINT, NESTED, UNKNOWN
from tollbook.dialects.span import Value

MOST: Final = 10**12
"""No single answer has so many tokens; a larger count is no count."""


class Counts(NamedTuple):
    """The counts of a span under our names, as the emitter told them."""

    told: dict[str, int]
    flags: tuple[str, ...]


class Split(NamedTuple):
    """Disjoint usage, the convention it was read by, and what was odd."""

    usage: Usage | None
    convention: str
    flags: tuple[str, ...]


def count_of(value: Value) -> int | None:
    """A count as it is sent: a whole number, also as text or as a float without fraction; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, str) and not value):
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number <= MOST or number != number.to_integral_value():
        return None
    return int(number)


def read_counts(attributes: dict[str, Value], names: dict[str, tuple[str, ...]]) -> Counts:
    """The first usable attribute of each count. One that is there and no count is flagged, never taken as zero."""
    told: dict[str, int] = {}
    flags: list[str] = []
    for name, candidates in names.items():
        for attribute in candidates:
            if attribute not in attributes:
                continue
            count = count_of(attributes[attribute])
            if count is None:
                flags.append("bad_count")
                continue
            if name in told and told[name] != count:
                flags.append("counts_differ")
            told.setdefault(name, count)
    return Counts(told, tuple(dict.fromkeys(flags)))


def split(told: dict[str, int], convention: str) -> Split:
    """Disjoint classes of counts that were told in a convention.

    What a nested convention cannot hold (more cached than input) was told in the disjoint one. Where the convention is
    unknown and there is something cached, it is read as nested if that is possible, and flagged `ambiguous_usage`.
    """
    if "input" not in told and "output" not in told:
        return Split(None, convention, ())
    flags: list[str] = []
    read, writes = told.get("cache_read", 0), _writes(told)
    cached = read + sum(writes.values())
    if cached and convention == UNKNOWN:
        flags.append("ambiguous_usage")
    nested = convention != DISJOINT
    if nested and cached > told.get("input", 0):
        nested = False
        flags.append("cached_beside_input")
    usage: Usage = {}
    if "input" in told:
        usage["input"] = told["input"] - cached if nested else told["input"]
    if "cache_read" in told:
        usage["input_cache_read"] = read
    usage |= writes
    flags += _outputs(told, usage)
    _check_total(told, usage, flags)
    return Split(usage, NESTED if nested else DISJOINT, tuple(flags))


def _writes(told: dict[str, int]) -> Usage:
    """Writes to the cache, by time to live where that was told; the parts of a sum are not added to it."""
    lives = [life for life in ("5m", "1h") if f"cache_write_{life}" in told]
    timed = {f"input_cache_write_{life}": told[f"cache_write_{life}"] for life in lives}
    rest = told.get("cache_write", 0) - sum(timed.values())
    return timed | ({"input_cache_write": rest} if rest > 0 or ("cache_write" in told and not timed) else {})


def _outputs(told: dict[str, int], usage: Usage) -> list[str]:
    """Output and reasoning; reasoning lies in the output in every dialect but for a few emitters' mistakes."""
    if "output" not in told:
        return []
    reasoning = told.get("reasoning")
    beside = reasoning is not None and reasoning > told["output"]
    usage["output"] = told["output"] - (0 if beside else reasoning or 0)
    if reasoning is not None:
        usage["output_reasoning"] = reasoning
    return ["reasoning_beside_output"] if beside else []


def _check_total(told: dict[str, int], usage: Usage, flags: list[str]) -> None:
    """What we make of the counts is the emitter's own total, where it tells one."""
    if "total" in told and sum(usage.values()) not in (told["total"], told["total"] + told.get("cache_read", 0)):
        flags.append("inconsistent_usage")
