"""Amazon's binary event stream (`application/vnd.amazon.eventstream`), cut from a byte stream at any split.

Source: the Smithy specification, "Amazon event stream", and botocore 1.44 (`botocore.eventstream`), against which the
decoder is tested. A message is a prelude (its length, the length of its headers, a CRC of both), headers, a payload and
a CRC of all of it; numbers are big-endian. A header is a name, a type and a value.
"""

import struct
from typing import Final, NamedTuple
from zlib import crc32

MESSAGE_LIMIT: Final = 1 << 20
"""A message longer than this many bytes is passed on unread."""

_PRELUDE: Final = 12
_CRC: Final = 4
_NUMBER: Final = struct.Struct(">I")
_LENGTHS: Final = struct.Struct(">III")

_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type, where they are fixed; 6 (bytes) and 7 (text) begin with their length."""
_BYTES, _TEXT = 6, 7

TOO_LONG: Final = "event_too_long"
UNREADABLE_EVENT: Final = "unreadable_event"


class Message(NamedTuple):
    """A message whose CRCs fit. Of the headers the texts are kept, with their names."""

    headers: dict[str, str]
    payload: bytes


class MessageSplitter:
    """Cuts a stream into messages. Holds what is not whole yet, never more than `limit` bytes.

    A message that is too long, or whose second CRC or headers are wrong, is skipped and named by a flag in its place.
    After a prelude that is wrong nobody can know where the next message begins: the rest is not read.
    """

    __slots__ = ("_held", "_limit", "_lost", "_skip")

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._limit: Final = limit
        self._held: Final = bytearray()
        self._skip = 0
        self._lost = False

    @property
    def clear(self) -> bool:
        """Whether the stream stands between two messages."""
        return not self._held and not self._skip and not self._lost

    def push(self, data: bytes) -> list[Message | str]:
        """Take the next bytes; give the messages that are complete, and flags where one could not be read."""
        found: list[Message | str] = []
        if self._lost:
            return found
        held = self._held
        held += data
        position = 0
        while True:
            skipped = min(self._skip, len(held) - position)
            position += skipped
            self._skip -= skipped
            if self._skip or len(held) - position < _PRELUDE:
                break
            total, headers, crc = _LENGTHS.unpack_from(held, position)
            if crc32(held[position : position + 8]) != crc or total < _PRELUDE + headers + _CRC:
                self._lost = True
                held.clear()
                return [*found, UNREADABLE_EVENT]
            if total > self._limit:
                self._skip = total
                found.append(TOO_LONG)
            elif len(held) - position < total:
                break
            else:
                found.append(_parse(bytes(held[position : position + total]), headers))
                position += total
        del held[:position]
        return found


def _parse(message: bytes, headers_length: int) -> Message | str:
    """A whole message whose prelude fits."""
    (crc,) = _NUMBER.unpack_from(message, len(message) - _CRC)
    if crc32(message[:-_CRC]) != crc:
        return UNREADABLE_EVENT
    start = _PRELUDE + headers_length
    headers = _parse_headers(message[_PRELUDE:start])
    return UNREADABLE_EVENT if headers is None else Message(headers, message[start:-_CRC])


def _parse_headers(data: bytes) -> dict[str, str] | None:
    """The texts among the headers; None when they cannot be read."""
    texts: dict[str, str] = {}
    position = 0
    try:
        while position < len(data):
            name_end = position + 1 + data[position]
            name = data[position + 1 : name_end].decode()
            kind = data[name_end]
            position = name_end + 1
            if kind in (_BYTES, _TEXT):
                size = int.from_bytes(data[position : position + 2], "big")
                position += 2
            else:
                size = _SIZES[kind]
            if kind == _TEXT:
                texts[name] = data[position : position + size].decode()
            position += size
    except (IndexError, KeyError, UnicodeDecodeError):
        return None
    return texts if position == len(data) else None
