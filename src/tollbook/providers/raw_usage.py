"""A vendor's usage object on its own, apart from the answer it came in: read strictly, by the adapter of its operation.

An adapter forgives what is wrong in an answer, flags it and goes on, because the answer has been given. Who hands in a
usage to be priced is told instead what is wrong with it.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn

from tollbook.core.faults import BadInput
from tollbook.providers.contract import Reading
from tollbook.providers.registry import BY_ENDPOINT

LARGEST: Final = (1 << 53) - 1
"""The largest quantity that every reader of JSON takes for the same number."""

DEFAULTS: Final = {
    "anthropic": "anthropic.messages",
    "aws": "bedrock.converse",
    "azure": "azure.chat",
    "cohere": "cohere.chat",
    "google": "gemini.generate",
}
"""The usual operation of a billing party; that of every other is OpenAI's chat, whose form they took over."""

USUAL: Final = "openai.chat"
LONGEST: Final = 40
"""The most characters that a number may have."""

_MEMBERS: Final = {"gemini": "usageMetadata", "vertex": "usageMetadata"}
_COUNTS: Final = ("tokens", "tokencount", "_requests", "characters")
_FRACTIONS: Final = ("cost", "seconds", "price", "units")
"""Words in names of members that may hold a fraction; every other number is a count."""


def formats() -> list[str]:
    """The operations whose answers carry a usage."""
    return sorted(name for name, adapter in BY_ENDPOINT.items() if adapter.purpose == "metered")


def read_raw(data: bytes) -> dict[str, Any]:
    """A JSON object, every number of which can be a quantity.

    Raises BadInput for anything that two readers could take for two things, and for negative, endless or broken counts.
    """
    try:
        value = json.loads(
            data, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_Fraction, parse_int=_whole
        )
    except RecursionError:
        raise BadInput("usage: nested too deeply") from None
    except ValueError as problem:
        raise BadInput(f"usage: not one JSON object that can be read in one way only: {problem}") from None
    if not isinstance(value, dict):
        raise BadInput(f"usage: found {_kind(value)}; expected a JSON object, the vendor's usage as it came")
    for found in _problems(value, ""):
        raise BadInput(f"usage: {found}")
    return value


def read_usage(data: bytes, raw: dict[str, Any], vendor: str, name: str | None) -> Reading:
    """What a usage object (`raw`, as `read_raw` read it from `data`), or the answer it stands in, says by the adapter
    of its operation.

    Raises BadInput when the operation is not known, or the object holds nothing that it reads.
    """
    operation = name or DEFAULTS.get(vendor, USUAL)
    adapter = BY_ENDPOINT.get(operation)
    if adapter is None or adapter.purpose != "metered":
        raise BadInput(f"format: found {operation!r}; allowed: classes, {', '.join(formats())}")
    member = _MEMBERS.get(operation.partition(".")[0], "usage")
    answer = data if isinstance(raw.get(member), dict) else b'{"%b":%b}' % (member.encode(), data)
    reading = adapter.read(200, [], answer)
    if reading.usage is None and not reading.partial and not reading.shares:
        told = ", ".join(list(raw)[:8]) or "nothing"
        raise BadInput(
            f"usage: holds no count that {operation} reports (it holds {told}); name its operation as format"
        )
    if reading.usage is None and reading.partial and "partial_usage" not in reading.flags:
        reading.flags = [*reading.flags, "partial_usage"]
    return reading


def _problems(value: object, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _problems(part, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _problems(part, f"{place}[{number}]")
    else:
        problem = _number_problem(place.rpartition(".")[2].lower(), value)
        if problem is not None:
            yield f"{place[:200]}: {problem}"


def _number_problem(name: str, value: object) -> str | None:
    counts = name.endswith(_COUNTS)
    if isinstance(value, _Fraction):
        if not any(word in name for word in _FRACTIONS):
            return f"found {value.text[:LONGEST]}; a count is a whole number"
        return f"found {value.text[:LONGEST]}; no such quantity" if _is_odd(value.text) else None
    if type(value) is int:
        if value < 0 and "cost" not in name:
            return f"found {str(value)[:40]}; a quantity is never below zero"
        return f"found {value}; the largest quantity is {LARGEST:,}" if value > LARGEST else None
    if counts and value is not None:
        return f"found {_kind(value)}; a count is a whole number"
    return None


class _Fraction(NamedTuple):
    """A number with a fraction or an exponent, as it was written."""

    text: str


def _whole(text: str) -> int:
    if len(text) > LONGEST:
        raise ValueError(f"a number of {len(text):,} digits; the largest quantity is {LARGEST:,}")
    return int(text)


def _is_odd(text: str) -> bool:
    """Whether a fraction is below zero, or longer or larger than any that a vendor meters."""
    return len(text) > LONGEST or text.startswith("-") or not -64 < Decimal(text).adjusted() < 16


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"member {twice[:80]!r} stands there twice")
    return found


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
