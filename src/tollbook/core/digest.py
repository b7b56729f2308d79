"""Digests and the canonical JSON they are taken over."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and UTF-8 text. Floats are refused: no digest may rest on one."""
    _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def keyed_digest(key: bytes, value: str) -> str:
    """A digest of what names a person: `SHA-256(s || value)`, `s = HMAC-SHA256(key, value)`, base64url, 43 letters.

    Equal values under one key group together; one value can be shown to an auditor with its `s` alone, without the
    key that would open all others (decisions/0006-personal-digests.md).
    """
    return opening_of(key, value)[0]


def opening_of(key: bytes, value: str) -> tuple[str, bytes]:
    """A value's keyed digest, and the `s` that opens it beside the value."""
    data = value.encode()
    opening = hmac.digest(key, data, "sha256")
    return urlsafe_b64encode(hashlib.sha256(opening + data).digest())[:43].decode(), opening


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError(f"a float has no canonical form: {value!r}")
    if isinstance(value, dict):
        for part in value.values():
            _refuse_floats(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_floats(part)
