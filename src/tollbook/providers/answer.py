"""What all formats read of an answer alike: words, errors, the vendor's usage object, and what a usage comes to."""

import contextlib
import re
from typing import Annotated, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from tollbook.core.usage import Usage
from tollbook.providers.body import UNREADABLE, read_value
from tollbook.providers.contract import Reading

RAW_LIMIT: Final = 8 * 1024
WORD_LIMIT: Final = 128
_ERROR_WORD: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)


Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""A reported quantity. What is none (a fraction, text, below zero) does not pass."""

_Report = TypeVar("_Report", bound=msgspec.Struct)


class Decomposition(NamedTuple):
    """A vendor's usage object in disjoint classes. `whole` is False when a headline count is missing."""

    usage: Usage
    whole: bool
    flags: list[str]


def decode_report(decoder: msgspec.json.Decoder[_Report], raw: bytes, flags: list[str]) -> _Report:
    """A vendor's usage object, as the type of the decoder; members that are not what they should be are left out.

    Leaving one out is flagged `inconsistent_usage`. `raw` is a JSON object.
    """
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        flag(flags, "inconsistent_usage")
    kind: type[_Report] = decoder.type
    loose = read_value(raw)
    kept: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        value = loose.get(field.encode_name) if isinstance(loose, dict) else None
        with contextlib.suppress(msgspec.ValidationError):
            kept[field.name] = None if value is None else msgspec.convert(value, field.type)
    return kind(**kept)


def flag(flags: list[str], word: str) -> None:
    """Add a flag once."""
    if word not in flags:
        flags.append(word)


def word(value: object) -> str | None:
    """A name a vendor sent (model, id, tier); None when it is no text, empty, or far longer than any name. Within
    that it is cut to what an identifier may be, and what cannot be printed is replaced."""
    if value is None or not isinstance(value, str) or not 0 < len(value) <= 2 * WORD_LIMIT:
        return None
    if len(value) <= WORD_LIMIT and value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else "?" for letter in value[:WORD_LIMIT])


def put_usage(reading: Reading, decomposed: Decomposition, final: bool) -> bool:
    """Put a usage into a reading, as its usage or as a partial one; whether it is the last word."""
    for remark in decomposed.flags:
        flag(reading.flags, remark)
    if final and decomposed.whole:
        reading.usage = decomposed.usage
        reading.basis = "provider_reported"
        return True
    reading.partial = decomposed.usage or None
    flag(reading.flags, "partial_usage")
    return False


def split_headline(usage: Usage, headline: int, base: str, parts: dict[str, int | None], flags: list[str]) -> None:
    """Add a headline count without its parts to a usage, and the parts that are not zero.

    Parts that exceed the headline are dropped and flagged: the headline is the vendor's own figure, and the base class
    alone still counts each token once.
    """
    rest = headline
    for quantity in parts.values():
        if quantity:
            rest -= quantity
    if rest < 0:
        flag(flags, "inconsistent_usage")
        usage[base] = headline
        return
    usage[base] = rest
    for name, quantity in parts.items():
        if quantity:
            usage[name] = quantity


def keep_raw(raw: bytes, flags: list[str]) -> bytes | None:
    """A vendor's usage object as it is kept: as it came, but on one line, in UTF-8 and of bounded length."""
    if b"\n" in raw or b"\r" in raw:
        raw = msgspec.json.format(raw, indent=-1)
    if not raw.isascii():
        raw = raw.decode(errors="replace").encode()
    if len(raw) > RAW_LIMIT:
        flag(flags, "raw_too_long")
        return None
    return raw


def error_word(error: object, status: int | None = None) -> str:
    """A vendor's error as `type/code`, from its error object; `http_<status>` when it does not say.

    The message is never used: it may quote what the client sent.
    """
    words: list[str] = []
    if isinstance(error, dict):
        details = error.get("details")
        codes = (error.get("type"), error.get("code"), details.get("error_code") if isinstance(details, dict) else None)
        for value in codes:
            text = str(value) if type(value) is int else value
            if isinstance(text, str) and _ERROR_WORD.fullmatch(text) and text not in words:
                words.append(text)
    return "/".join(words)[:WORD_LIMIT] or ("error" if status is None else f"http_{status}")


def read_error(status: int, body: bytes) -> str:
    """The error of a buffered answer with status 400 or above."""
    try:
        body.decode()
    except UNREADABLE:
        return error_word(None, status)
    answer = read_value(body)
    return error_word(answer.get("error") if isinstance(answer, dict) else None, status)
