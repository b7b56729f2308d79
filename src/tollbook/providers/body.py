"""Request bodies: what stands where in a JSON object, read once over the raw bytes: the vendor sees what we judged.

A body that two decoders could read differently is refused: a member that stands twice, a byte order mark, text that
is not UTF-8, a lone surrogate, anything after the object. Within the values of members that nobody here judges (the
messages), repeated names are let through as they came.
"""

import re
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple, NoReturn

import msgspec
from msgspec import Raw

from tollbook.core.faults import BadInput

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes from outside raises when they are not what they should be."""

_decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_value: Final = msgspec.json.Decoder().decode
_decode_text: Final = msgspec.json.Decoder(str).decode

_SPACE: Final = rb"[ \t\n\r]*+"
_NAME: Final = re.compile(_SPACE + rb'("(?:[^"\\]|\\.)*+")' + _SPACE + rb":" + _SPACE, re.DOTALL)
_OPEN: Final = re.compile(_SPACE + rb"\{")
_NEXT: Final = re.compile(_SPACE + rb"([,}])")


class AmbiguousBody(BadInput):
    """A body that is no JSON object, or one that could be read in two ways."""

    code: ClassVar[str] = "ambiguous_body"


class BillingFieldRefused(BadInput):
    """A member that selects who is billed, which only the configuration may do."""

    code: ClassVar[str] = "billing_field_refused"


class Members:
    """The top-level members of a body: their raw values, and where each value lies (`body[start:end]`)."""

    __slots__ = ("_spans", "values")

    def __init__(self, values: dict[str, bytes], spans: dict[str, tuple[int, int]] | None = None) -> None:
        """Without `spans`, nothing stands between the members but what JSON needs."""
        self.values: Final = values
        self._spans = spans

    @property
    def spans(self) -> dict[str, tuple[int, int]]:
        """Where each value lies; mostly nobody asks."""
        if self._spans is None:
            self._spans = _places(self.values)
        return self._spans


class Splice(NamedTuple):
    """`body[start:end]` is to become `text`."""

    start: int
    end: int
    text: bytes


def scan(body: bytes, place: str = "the request body") -> Members:
    """The members of a JSON object with the place of each value.

    Raises AmbiguousBody, naming `place`, when the body is not exactly one JSON object in UTF-8 with distinct names.
    """
    try:
        if not body.isascii():
            body.decode()
        found = _decode_members(body)
    except UNREADABLE as fault:
        raise AmbiguousBody(f"{place} is not one JSON object in UTF-8 ({_reason(fault)})") from None
    return _add_up(body, found) or _walk(body, found, place)


def _add_up(body: bytes, found: dict[str, Raw]) -> Members | None:
    """The members of a body without spaces, by adding up lengths; None when the sum is not the length of the body.

    Spaces, a repeated name, a name written with escapes and one outside ASCII each make the body longer than the sum,
    never shorter, so an equal sum proves that there are none and that each value lies where the sum says.
    """
    values: dict[str, bytes] = {}
    position = 1
    for name, raw in found.items():
        start = position + 3 + len(name)
        end = start + len(raw)
        values[name] = body[start:end]
        position = end + 1
    return Members(values) if found and position == len(body) else None


def _places(values: dict[str, bytes]) -> dict[str, tuple[int, int]]:
    """Where the values lie in a body without spaces."""
    spans: dict[str, tuple[int, int]] = {}
    position = 1
    for name, raw in values.items():
        start = position + 3 + len(name)
        spans[name] = (start, start + len(raw))
        position = start + len(raw) + 1
    return spans


def _walk(body: bytes, found: dict[str, Raw], place: str) -> Members:
    """The members of a body that do not add up, name by name.

    The decoder keeps the last value of a repeated name; the walk meets the name a second time, or finds another
    value than the decoder did, and refuses.
    """
    values: dict[str, bytes] = {}
    spans: dict[str, tuple[int, int]] = {}
    opening = _OPEN.match(body)
    assert opening is not None, "the decoder accepted an object"
    position = opening.end()
    while (name_found := _NAME.match(body, position)) is not None:
        name = _decode_text(name_found[1])
        start = name_found.end()
        raw = bytes(found[name])
        end = start + len(raw)
        after = _NEXT.match(body, end) if body.startswith(raw, start) else None
        if name in values or after is None:
            _refuse_repeated(name, name_found.start(1), place)
        values[name] = raw
        spans[name] = (start, end)
        position = after.end()
    return Members(values, spans)


def _refuse_repeated(name: str, position: int, place: str) -> NoReturn:
    raise AmbiguousBody(f'member "{shown(name)}" stands more than once in {place} (byte {position}); send it once')


def splice(body: bytes, changes: list[Splice]) -> bytes:
    """The body with some parts replaced, which do not overlap; the same object when there is nothing to change."""
    if not changes:
        return body
    parts: list[bytes] = []
    position = 0
    for change in sorted(changes):
        parts += (body[position : change.start], change.text)
        position = change.end
    parts.append(body[position:])
    return b"".join(parts)


def replace_model(members: Members, model: str) -> list[Splice]:
    """The change that makes a body ask for `model`; none when it already does.

    Raises BadInput when the body names no model or its model is not text.
    """
    told = _as_json(model)
    if members.values.get("model") == told or text_member(members.values, "model") == model:
        return []
    start, end = members.spans["model"]
    return [Splice(start, end, told)]


@lru_cache(maxsize=1024)
def _as_json(model: str) -> bytes:
    return msgspec.json.encode(model)


def text_member(members: dict[str, bytes], name: str) -> str:
    """A member that must be there and be text. Raises BadInput otherwise."""
    raw = members.get(name)
    if raw is None:
        raise BadInput(f'the request body has no member "{name}"; add it, as text')
    try:
        return _decode_text(raw)
    except UNREADABLE:
        raise BadInput(f'member "{name}" of the request body must be text') from None


def present(members: dict[str, bytes], names: tuple[str, ...]) -> list[bytes]:
    """The raw values of those members that are there."""
    return [members[name] for name in names if name in members]


def read_value(raw: bytes | None) -> object:
    """A raw JSON value decoded; None when it is absent or cannot be decoded (a number too large for any use)."""
    if raw is None:
        return None
    try:
        value: object = _decode_value(raw)
    except UNREADABLE:
        return None
    return value


def shown(text: str) -> str:
    """Words from outside for an error message: at most 64 characters, none of them a control character or quote."""
    return "".join(letter if letter.isprintable() and letter != '"' else "?" for letter in text[:64])


def _reason(fault: Exception) -> str:
    """What the decoder objects to. Its messages name kinds and bytes, never content."""
    if isinstance(fault, UnicodeDecodeError):
        return f"byte {fault.start} is not UTF-8"
    if isinstance(fault, RecursionError):
        return "nested too deeply"
    return str(fault)
