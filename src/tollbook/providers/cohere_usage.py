"""Cohere's usage objects in disjoint classes.

Source: the types of the official SDK, cohere 7.3 (`Usage`, `ApiMeta`): `billed_units` is what Cohere bills; `tokens` is
what went through the model, templates included, and stays in the kept usage object. All counts are written as
fractions (`12.0`).
"""

from decimal import Decimal
from typing import Any, Final

import msgspec

from tollbook.core.usage import Usage
from tollbook.providers.answer import Decomposition, flag, split_headline
from tollbook.providers.body import UNREADABLE

_decode_report: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_MAX: Final = 1 << 53

_COUNTERS: Final = {
    "search_units": "units",
    "classifications": "units",
    "images": "images",
    "pages": "pages",
}


def decompose(raw: bytes, headlines: frozenset[str]) -> Decomposition:
    """The classes of the units that are billed. Whole when there is any, and all of the headlines.

    A count that is no whole number is rounded up under the flag `inconsistent_usage`: no class has fractions. Tokens
    of images are `input.image`; they stand beside text where both are told, and inside the input where it is too.
    """
    flags: list[str] = []
    try:
        report = _decode_report(raw)
    except UNREADABLE:
        return Decomposition({}, False, ["inconsistent_usage"])
    units = report.get("billed_units")
    counts = _counts(units, flags) if isinstance(units, dict) else {}
    usage: Usage = {}
    text, images = counts.get("text_tokens"), counts.get("image_tokens")
    entered = counts.get("input_tokens")
    if entered is None and (text is not None or images is not None):
        entered = (text or 0) + (images or 0)
    if entered is not None:
        split_headline(usage, entered, "input", {"input.image": images}, flags)
    if "output_tokens" in counts:
        usage["output"] = counts["output_tokens"]
    for name, counter in _COUNTERS.items():
        if counts.get(name):
            usage[counter] = usage.get(counter, 0) + counts[name]
    return Decomposition(usage, bool(counts) and counts.keys() >= headlines, flags)


def _counts(units: dict[str, Any], flags: list[str]) -> Usage:
    counts: Usage = {}
    for name, value in units.items():
        count = _whole(value, flags)
        if count is not None:
            counts[name] = count
    return counts


def _whole(value: object, flags: list[str]) -> int | None:
    """A count as a whole number; None for null and for what is none."""
    if value is None:
        return None
    if type(value) not in (int, Decimal) or not 0 <= value <= _MAX:  # type: ignore[operator]
        flag(flags, "inconsistent_usage")
        return None
    count = int(value)  # type: ignore[call-overload]
    if count != value:
        flag(flags, "inconsistent_usage")
        count += 1
    return int(count)
