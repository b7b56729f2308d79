"""How much text a decoded JSON value holds, for estimates."""

from typing import Final, NamedTuple

import msgspec

_MEDIA: Final = frozenset(
    {
        "image_url",
        "input_audio",
        "file",
        "image",
        "document",
        "container_upload",
        "input_image",
        "input_file",
        "image_generation_call",
        "computer_screenshot",
    }
)
"""Types of message parts that hold or name something other than text."""

_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Types of message parts whose `input` is a value of the client's own shape."""

_LABELS: Final = frozenset({"id", "type", "data", "bytes", "signature", "tool_use_id", "tool_call_id", "cache_control"})
"""Members that are no text of a conversation wherever they stand."""


class TextSize(NamedTuple):
    """UTF-8 bytes of text, and whether there was something beside text, whose tokens no count of bytes bounds."""

    size: int
    media: bool


def text_bytes(text: str) -> int:
    """The length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def measure_text(value: object, sample: bytearray | None = None, limit: int = 0) -> TextSize:
    """All text in messages, in one part of them or in a delta: every string that stands as a value, labels aside.

    Images, audio and files are not counted but noted; a document given as text is text. Text is added to `sample`
    until that has `limit` bytes.
    """
    size = 0
    media = False
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            size += text_bytes(part)
            if sample is not None and len(sample) < limit:
                sample += part[:limit].encode(errors="ignore")
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            kind = part.get("type")
            if isinstance(kind, str) and kind in _CALLS:
                size += len(msgspec.json.encode((part.get("name"), part.get("input"))))
            elif isinstance(kind, str) and kind in _MEDIA and not _is_text_document(part):
                media = True
            elif kind == "text" and isinstance(document := part.get("data"), str):
                size += text_bytes(document)
            else:
                waiting += [inner for name, inner in part.items() if name not in _LABELS]
    return TextSize(size, media)


def _is_text_document(part: dict[str, object]) -> bool:
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content")
