"""What of an Anthropic usage other models did, and what its top level leaves out: `usage.iterations`.

Source: the types of the official SDK, anthropic 2.12 (`BetaIterationsUsage`): each entry counts one sampling. The top
level is the sum of the executor's; a `compaction` is not in it, nor is an `advisor_message`, which has its own model's
price; `fallback_message` stands in place of the last `message` when another model served the answer.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.usage import Usage
from tollbook.providers.answer import flag, word
from tollbook.providers.anthropic_usage import decompose
from tollbook.providers.body import UNREADABLE
from tollbook.providers.contract import Reading, Share

_ADDED: Final = "compaction"
_ADVISOR: Final = "advisor_message"
_FALLBACK: Final = "fallback_message"
_SPLIT: Final = ("_reasoning", "_5m", "_1h")
_SAMPLED: Final = ("message", _FALLBACK)


class _Entry(Struct, gc=False):
    type: Any = None
    model: Any = None


class _Report(Struct, gc=False):
    iterations: list[msgspec.Raw] | None = None


_decode_report: Final = msgspec.json.Decoder(_Report).decode
_decode_entry: Final = msgspec.json.Decoder(_Entry).decode


def apportion(reading: Reading, usage: Usage, raw: bytes) -> Usage:
    """The usage that is priced at the served model: the top level, compactions added, other models' work taken out.

    Other models' work becomes `shares` of the reading; a fallback model becomes the one that served. The flag
    `iterations` says that the entries and the top level do not fit each other; the top level stands then.
    """
    entries = _read(reading, raw)
    served = next((model for kind, model, _ in entries if kind == _FALLBACK and model), reading.model_served)
    reading.model_served = served
    own: Usage = {}
    sampled: Usage = {}
    others: dict[str, Usage] = {}
    total = dict(usage)
    for kind, model, counts in entries:
        if kind == _ADDED:
            _add(total, counts)
            continue
        if kind in _SAMPLED:
            _add(sampled, counts)
        if model in (None, served) and kind != _ADVISOR:
            _add(own, counts)
        else:
            _add(others.setdefault(model or "", {}), counts)
    top = _comparable(usage)
    if top == _comparable(sampled) != _comparable(own):
        total = _less(total, _difference(sampled, own))
    elif top != _comparable(own) and (own or others):
        flag(reading.flags, "iterations")
    if others.pop("", None) is not None:
        flag(reading.flags, "iterations")
    reading.shares = [Share(model, counts) for model, counts in others.items()]
    return total


def _read(reading: Reading, raw: bytes) -> list[tuple[str, str | None, Usage]]:
    """The entries in classes; what is none is flagged and left out."""
    try:
        listed = _decode_report(raw).iterations or []
        found = [(_decode_entry(one), bytes(one)) for one in listed]
    except UNREADABLE:
        flag(reading.flags, "iterations")
        return []
    entries: list[tuple[str, str | None, Usage]] = []
    for entry, one in found:
        if entry.type not in (_ADDED, _ADVISOR, *_SAMPLED):
            flag(reading.flags, "iterations")
            continue
        counts = decompose(one)
        for remark in counts.flags:
            flag(reading.flags, remark)
        entries.append((entry.type, word(entry.model), counts.usage))
    return entries


def _comparable(usage: Usage) -> Usage:
    """A usage as far as entries can be compared with the top level: they do not tell thinking or a time to live."""
    found: Usage = {}
    for name, count in usage.items():
        base = next((name.removesuffix(suffix) for suffix in _SPLIT if name.endswith(suffix)), name)
        if count and base != "web_searches":
            found[base] = found.get(base, 0) + count
    return found


def _add(usage: Usage, more: Usage) -> None:
    for name, count in more.items():
        usage[name] = usage.get(name, 0) + count


def _difference(whole: Usage, part: Usage) -> Usage:
    return {name: count - part.get(name, 0) for name, count in whole.items()}


def _less(usage: Usage, taken: Usage) -> Usage:
    """A usage without what others did; of a class that is split, from its parts when the base does not suffice."""
    left = dict(usage)
    for base, count in taken.items():
        rest = count
        for name in (base, *(f"{base}{suffix}" for suffix in _SPLIT)):
            step = min(rest, left.get(name, 0))
            rest -= step
            if step:
                left[name] -= step
    return left
