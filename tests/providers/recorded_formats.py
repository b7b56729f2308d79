"""Recorded shapes of the formats that have their own expected.json: what was recorded, and short ways to read it."""

import base64
import json
import struct
from typing import Any
from zlib import crc32

from recorded_wire import WIRE

from tollbook.providers.contract import Adapter, Headers, Prepared, Reading
from tollbook.providers.registry import BY_ENDPOINT

FORMATS = ("bedrock", "cohere", "gemini")
RECORDED: dict[str, dict[str, Any]] = {
    f"{name}/{file}": expected
    for name in FORMATS
    for file, expected in json.loads((WIRE / name / "expected.json").read_text()).items()
}
STREAMED = sorted(name for name in RECORDED if name.endswith((".sse", ".array", ".jsonl")))
WHOLE = sorted(RECORDED.keys() - set(STREAMED))
AROUND = ("endpoint", "status", "headers")
"""What an expectation says beside the reading: how the answer came."""


def adapter_for(name: str) -> Adapter:
    """The adapter of a recorded file."""
    return BY_ENDPOINT[RECORDED[name]["endpoint"]]


def answer_of(name: str) -> tuple[int, Headers, bytes]:
    """A recorded answer that came whole."""
    said = RECORDED[name]
    headers = [(key.encode(), value.encode()) for key, value in said.get("headers", {}).items()]
    return said.get("status", 200), headers, (WIRE / name).read_bytes()


def stream_of(name: str) -> bytes:
    """The bytes of a recorded stream; binary messages are recorded as what they say, one a line."""
    data = (WIRE / name).read_bytes()
    return b"".join(map(_message, data.splitlines())) if name.endswith(".jsonl") else data


def read_stream(name: str, pieces: list[bytes]) -> tuple[Reading, bool, bytes]:
    """The reading of a recorded stream that came in some pieces, whether it was terminal, what its client got."""
    reader = adapter_for(name).stream(Prepared(path="?alt=sse" if name.endswith(".sse") else "", body=b""))
    passed = b"".join(map(reader.feed, pieces)) + reader.flush()
    return reader.reading(), reader.terminal, passed


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """A binary message of Amazon's event stream with text headers."""
    encoded = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    whole = prelude + struct.pack(">I", crc32(prelude)) + encoded + payload
    return whole + struct.pack(">I", crc32(whole))


def _message(line: bytes) -> bytes:
    said = json.loads(line)
    if "exception" in said:
        headers = {":message-type": "exception", ":exception-type": said["exception"]}
        return message(headers | {":content-type": "application/json"}, json.dumps(said["payload"]).encode())
    payload = said.get("payload")
    if "chunk" in said:
        payload = {"bytes": base64.b64encode(json.dumps(said["chunk"]).encode()).decode(), "p": "abcdefghijk"}
    headers = {":event-type": said["event"], ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(payload).encode())
