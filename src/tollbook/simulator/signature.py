"""AWS Signature Version 4, as the side that checks it sees it.

Source: AWS, "Signing AWS API requests": canonical request, string to sign, the chain of keys. Checked in tests
against botocore's signer.
"""

import hashlib
import hmac
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote

from tollbook.simulator.call import Call

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    _ALGORITHM + r" Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


class Signature(NamedTuple):
    """What an `authorization` header says."""

    key_id: str
    day: str
    region: str
    service: str
    signed: str
    signature: str


def read_signature(call: Call) -> Signature | None:
    """The signature of a request; None when it has none that is well formed."""
    matched = _AUTHORIZATION.fullmatch(call.header(b"authorization") or "")
    if matched is None or call.header(b"x-amz-date") is None:
        return None
    return Signature(*matched.groups())


def is_right(call: Call, signature: Signature, secret: str) -> bool:
    """Whether a request was signed with a secret, all of it: method, path, query, the signed headers and the body."""
    headers = "".join(f"{name}:{_value(call, name)}\n" for name in signature.signed.split(";"))
    pairs = sorted((_code(name), _code(value)) for name, value in parse_qsl(call.query, keep_blank_values=True))
    canonical = "\n".join(
        (
            call.method,
            quote(call.path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            signature.signed,
            hashlib.sha256(call.body).hexdigest(),
        )
    )
    scope = f"{signature.day}/{signature.region}/{signature.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    told = "\n".join((_ALGORITHM, call.header(b"x-amz-date") or "", scope, digest))
    key = f"AWS4{secret}".encode()
    for part in (signature.day, signature.region, signature.service, "aws4_request", told):
        key = hmac.new(key, part.encode("latin-1"), hashlib.sha256).digest()
    return hmac.compare_digest(key.hex(), signature.signature)


def _value(call: Call, name: str) -> str:
    return " ".join((call.header(name.encode()) or "").split())


def _code(text: str) -> str:
    return quote(text, safe="-_.~")
