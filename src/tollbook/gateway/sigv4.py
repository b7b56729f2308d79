"""AWS Signature Version 4, as the side that admits a client checks it.

Source: AWS, "Signature Version 4 for API requests" (canonical request, string to sign, the chain of keys); held in
tests against botocore's signer. The path is coded once more, as for every service but S3. The whole request is signed:
a body outside the signature, which AWS allows some services, is not accepted, nor is a signature in the query.
"""

import hmac
import re
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from tollbook.core.clock import SECOND
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal

TOLERANCE: Final = 300 * SECOND
"""How far the instant of a signature may be from ours, in microseconds."""

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
SERVICE: Final = "bedrock"

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(\w{3,128})/(\d{8})/([a-z0-9-]{1,64})/bedrock/aws4_request, *"
    r"SignedHeaders=([a-z0-9;_-]{1,4096}), *Signature=([0-9a-f]{64})",
    re.ASCII,
)
_DATE: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_OWN: Final = "x-amz-"


class Signature(NamedTuple):
    """What an `authorization` header says; `names` are the headers that are signed."""

    access_key_id: str
    day: str
    region: str
    names: tuple[str, ...]
    digest: str


def read_signature(value: bytes) -> Signature:
    """The parts of an `authorization` header. Raises Refusal 401 when it is not a signature for Bedrock."""
    found = _AUTHORIZATION.fullmatch(value.decode("latin-1").strip())
    if found is None:
        raise _wrong("the authorization header is no signature (AWS4-HMAC-SHA256) for the service bedrock")
    key, day, region, names, digest = found.groups()
    return Signature(key, day, region, tuple(names.split(";")), digest)


def verify(request: ClientRequest, signature: Signature, secret: str, now: int) -> None:
    """Raise Refusal 401 unless the request, all of it, was signed with the secret within five minutes of `now`."""
    instant = _date(request)
    if not instant.startswith(signature.day) or abs(_microseconds(instant) - now) > TOLERANCE:
        raise Refusal(401, "signature_expired", "the signature's date is more than five minutes from our clock")
    _check_headers(request, signature.names)
    scope = f"{signature.day}/{signature.region}/{SERVICE}/aws4_request"
    canonical = _canonical(request, signature.names)
    told = b"\n".join((ALGORITHM, instant.encode(), scope.encode(), sha256(canonical).hexdigest().encode()))
    key = b"AWS4" + secret.encode()
    for part in (*(word.encode() for word in scope.split("/")), told):
        key = hmac.digest(key, part, "sha256")
    if not hmac.compare_digest(key.hex(), signature.digest):
        raise _wrong("the signature is not that of this request by this key")


def _check_headers(request: ClientRequest, names: tuple[str, ...]) -> None:
    """What is signed must be there, and what must be signed is."""
    present = Counter(name.decode("latin-1") for name, _ in request.headers)
    needed = {"host", "x-amz-date", *(name for name in present if name.startswith(_OWN))}
    if tuple(sorted(set(names))) != names or not needed <= set(names) <= set(present):
        raise _wrong("the signed headers must be those sent, host and every x-amz- header among them, in order")
    if present["host"] > 1:
        raise _wrong("there are two host headers")
    told = request.header(b"x-amz-content-sha256")
    if told is not None and not hmac.compare_digest(told, sha256(request.body).hexdigest().encode()):
        raise _wrong("x-amz-content-sha256 is not the digest of the body")


def _canonical(request: ClientRequest, names: tuple[str, ...]) -> bytes:
    pairs = [part.partition(b"=") for part in request.query.split(b"&") if part]
    query = sorted((_code(name), _code(value)) for name, _, value in pairs)
    lines = [f"{name}:{_value(request, name)}" for name in names]
    parts = (
        request.method.decode("latin-1"),
        quote(request.path, safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in query),
        *lines,
        "",
        ";".join(names),
        sha256(request.body).hexdigest(),
    )
    return "\n".join(parts).encode("latin-1")


def _code(raw: bytes) -> str:
    return quote(unquote_to_bytes(raw), safe="-_.~")


def _value(request: ClientRequest, name: str) -> str:
    values = request.all(name.encode())
    return ",".join(" ".join(value.decode("latin-1").split()) for value in values)


def _date(request: ClientRequest) -> str:
    value = (request.header(b"x-amz-date") or b"").decode("latin-1")
    if not _DATE.fullmatch(value):
        raise _wrong("a signature needs the header x-amz-date, such as 20261123T120000Z")
    return value


def _microseconds(text: str) -> int:
    try:
        instant = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _wrong("x-amz-date is no instant") from None
    return int(instant.timestamp()) * SECOND


def _wrong(message: str) -> Refusal:
    return Refusal(401, "signature_wrong", message)
