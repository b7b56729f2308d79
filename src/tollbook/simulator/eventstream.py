"""The binary framing of AWS event streams (`application/vnd.amazon.eventstream`).

A message is: total length and headers' length (4 bytes each, big-endian), a CRC-32 of those, the headers, the payload,
a CRC-32 of all before it. A header is: length of the name, the name, the type (7, text), length of the value in two
bytes, the value. Checked in tests against botocore's own parser.
"""

import struct
import zlib
from typing import Final

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">II")
_CRC: Final = struct.Struct(">I")
_TEXT: Final = 7


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message with text headers."""
    coded = b"".join(_header(name, value) for name, value in headers.items())
    prelude = _PRELUDE.pack(16 + len(coded) + len(payload), len(coded))
    before = prelude + _CRC.pack(zlib.crc32(prelude)) + coded + payload
    return before + _CRC.pack(zlib.crc32(before))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return bytes((len(key),)) + key + bytes((_TEXT,)) + struct.pack(">H", len(text)) + text
