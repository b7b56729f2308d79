"""What vendors that speak the OpenAI format add to it, beside the classes of the usage itself.

Sources, all read as optional: OpenRouter's API reference (`usage.cost` in US dollars, `provider`, errors within a
stream), xAI's "Cost tracking" (`usage.cost_in_usd_ticks`, 10^10 ticks to the dollar), the types of the Groq SDK
(`x_groq` with `id`, `usage` and `error`; `usage_breakdown` with the models of a compound system).
"""

import re
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.usage import Usage
from tollbook.providers.answer import flag, word
from tollbook.providers.body import UNREADABLE
from tollbook.providers.contract import Reading, Share
from tollbook.providers.openai_usage import decompose

TICKS_PER_DOLLAR_DIGITS: Final = 10
"""One US dollar is ten to this power of xAI's ticks."""

_NUMBER: Final = re.compile(rb"\d{1,18}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?")


class _Costs(Struct, gc=False):
    cost: Raw = Raw()
    cost_in_usd_ticks: Any = None


class Groq(Struct, gc=False):
    """The member `x_groq`."""

    id: Any = None
    usage: Raw = Raw()
    error: Any = None
    usage_breakdown: Raw = Raw()


class _Part(Struct, gc=False):
    model: Any = None
    usage: Raw = Raw()


class _Breakdown(Struct, gc=False):
    models: list[_Part] = []


_decode_costs: Final = msgspec.json.Decoder(_Costs).decode
_decode_groq: Final = msgspec.json.Decoder(Groq).decode
_decode_breakdown: Final = msgspec.json.Decoder(_Breakdown).decode


def vendor_cost(raw: bytes) -> str | None:
    """What the vendor says, in a usage object, that the answer cost: US dollars as decimal text.

    A number is taken digit by digit, never as a float. None when there is none.
    """
    if raw.rfind(b'"cost') < 0:  # from behind, which costs half: nearly no usage has it
        return None
    try:
        costs = _decode_costs(raw)
    except UNREADABLE:
        return None
    ticks = costs.cost_in_usd_ticks
    if type(ticks) is int and 0 <= ticks < 1 << 62:
        return _plain(Decimal(ticks).scaleb(-TICKS_PER_DOLLAR_DIGITS))
    told = bytes(costs.cost)
    return _plain(Decimal(told.decode())) if _NUMBER.fullmatch(told) else None


def read_groq(raw: bytes) -> Groq:
    """The member `x_groq`; empty when it is absent or of another shape."""
    try:
        return _decode_groq(raw) if raw.startswith(b"{") else Groq()
    except UNREADABLE:
        return Groq()


def share_out(reading: Reading, raw: bytes) -> None:
    """Move the parts that other models did from the usage of a reading into its shares (Groq's compound systems).

    The breakdown lies inside the usage. One that does not fit is flagged and left alone: the sum is still right.
    """
    if reading.usage is None or not raw.startswith(b"{"):
        return
    try:
        parts = _decode_breakdown(raw).models
    except UNREADABLE:
        parts = []
    rest = dict(reading.usage)
    shares: list[Share] = []
    for part in parts:
        model, told = word(part.model), bytes(part.usage)
        if model is None or not told.startswith(b"{"):
            return flag(reading.flags, "inconsistent_usage")
        usage = decompose(told).usage
        if model != reading.model_served:
            shares.append(Share(model, usage))
            if not _take(rest, usage):
                return flag(reading.flags, "inconsistent_usage")
    reading.usage, reading.shares = rest, reading.shares + shares
    return None


def _take(rest: Usage, usage: Usage) -> bool:
    """Subtract a usage; whether there was enough of everything."""
    for name, quantity in usage.items():
        rest[name] = rest.get(name, 0) - quantity
        if rest[name] < 0:
            return False
    return True


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
