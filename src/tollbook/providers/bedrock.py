"""What all operations of Amazon Bedrock's runtime share: errors, signatures, headers, streams of binary messages.

Source: the service model in botocore 1.44 (`bedrock-runtime`, 2023-09-30) and the Bedrock user guide.

A vendor secret is either a Bedrock API key, which goes as a bearer token, or, when it has a colon, the parts of AWS
credentials: `ACCESSKEYID:SECRET`, `ACCESSKEYID:SECRET:SESSIONTOKEN`, with `@region` after them where the vendor's host
does not name the region.
"""

import re
from abc import ABC, abstractmethod
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tollbook.core.faults import BadInput
from tollbook.core.usage import Usage
from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import error_word, flag, word
from tollbook.providers.body import UNREADABLE, read_value
from tollbook.providers.contract import Call, Headers, Prepared, Reading
from tollbook.providers.eventstream import MESSAGE_LIMIT, Message, MessageSplitter

_HOST: Final = re.compile(
    r"(?:.+\.)?bedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_SIGNED: Final = (b"content-type", b"x-amz")

_ERROR_TYPES: Final = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    409: "ConflictException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_FREE_UNITS: Final = frozenset({"wordPolicyUnits", "sensitiveInformationPolicyFreeUnits"})
_CONTENT: Final = (
    "messages.content",
    "messages.content.toolResult.content",
    "system",
)
_SOURCES: Final = ("audio", "document", "image", "video")


class Secret(NamedTuple):
    """AWS credentials, as they stand in a vendor secret."""

    access_key: str
    secret_key: str
    token: str | None
    region: str | None


class BedrockAdapter(JsonAdapter):
    """The defaults of an operation of Bedrock: the model is in the path, the request is signed."""

    format: str = "bedrock"
    signs: bool = True
    stream_types: tuple[bytes, ...] = (b"application/vnd.amazon.eventstream",)
    # Never x-amzn-bedrock-request-metadata: it labels the vendor's own record of the request.
    request_headers: frozenset[bytes] = frozenset({b"accept", b"content-type", b"user-agent"})
    vendor_request_id_headers: tuple[bytes, ...] = (b"x-amzn-requestid",)
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        # What lies in S3 is read with the gateway's own rights.
        f"{content}.{source}.source.s3Location.uri": "file"
        for content in _CONTENT
        for source in _SOURCES
    }

    def model(self, call: Call) -> str | None:
        """The name in the path; None for operations that are not metered."""
        return call.names["model"] if self.purpose == "metered" else None

    def streamed(self, call: Call) -> bool:
        """Whether the path asks for a stream."""
        return call.route.path.endswith("-stream")

    def prepare(self, call: Call, model: str) -> Prepared:
        """The request for one target: its model in the path."""
        self.refuse_billing(call)
        return Prepared(path=self.path(call, model), body=call.body, streams=self.streamed(call))

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own; the stable code is its `reason`."""
        kind = _ERROR_TYPES.get(status, "InternalServerException" if status >= 500 else "ValidationException")
        return msgspec.json.encode({"__type": kind, "message": f"{message} (request id {request_id})", "reason": code})

    def sign(self, secret: str, method: str, url: str, headers: Headers, body: bytes) -> Headers:
        """A bearer token, or a signature (SigV4) over the host, the body and those headers that concern Bedrock.

        Raises BadInput when the secret is not one, no region is known, or botocore is not installed.
        """
        if ":" not in secret:
            return self.credentials(secret)
        parts = read_secret(secret)
        region = _region(url) or parts.region
        if region is None:
            raise BadInput("the vendor's host names no region; write @region after the vendor secret")
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials
        except ImportError:
            raise BadInput("signing for Bedrock needs botocore; install tollbook[bedrock]") from None
        signed = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name.startswith(_SIGNED)
        }
        request = AWSRequest(method=method, url=url, data=body, headers=signed)
        credentials = Credentials(parts.access_key, parts.secret_key, parts.token)
        SigV4Auth(credentials, "bedrock", region).add_auth(request)
        added = [(name.lower(), value) for name, value in request.headers.items() if name.lower() not in signed]
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in added]


def read_secret(secret: str) -> Secret:
    """The parts of a vendor secret. Raises BadInput, without the secret, when they are not two or three."""
    credentials, _, region = secret.partition("@")
    parts = credentials.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise BadInput(
            "a vendor secret for Bedrock is ACCESSKEYID:SECRET[:SESSIONTOKEN][@region], or a Bedrock API key"
        )
    return Secret(parts[0], parts[1], parts[2] if len(parts) == 3 else None, region or None)


def _region(url: str) -> str | None:
    found = _HOST.fullmatch(urlsplit(url).hostname or "")
    return None if found is None else found[1]


def read_aws_error(status: int, headers: Headers, body: bytes) -> str:
    """A vendor's error by its type, which stands in a header or in the body."""
    named = [value.decode("latin-1").partition(":")[0] for name, value in headers if name == b"x-amzn-errortype"]
    answer = read_value(body) if not named and _is_text(body) else None
    if isinstance(answer, dict) and isinstance(kind := answer.get("__type"), str):
        named = [kind.rpartition("#")[2]]
    return error_word({"type": named[0]} if named else None, status)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def header_word(headers: Headers, name: bytes) -> str | None:
    """A header's value as a word; None when it is absent."""
    return next((word(value.decode("latin-1")) for known, value in headers if known == name), None)


def guardrail_usages(trace: object) -> list[dict[str, Any]]:
    """The usage objects of all guardrails that a trace tells of, wherever in it."""
    found: list[dict[str, Any]] = []
    waiting = [trace]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += reversed(part)
        elif isinstance(part, dict):
            metrics = part.get("invocationMetrics")
            if isinstance(metrics, dict) and isinstance(usage := metrics.get("usage"), dict):
                found.append(usage)
            waiting += reversed(list(part.values()))
    return found


def guardrail_units(usages: list[dict[str, Any]]) -> Usage:
    """The units of guardrails that are billed, all policies together; none of none."""
    units = 0
    for usage in usages:
        for name, count in usage.items():
            if name.endswith("Units") and name not in _FREE_UNITS and type(count) is int and 0 < count < 1 << 53:
                units += count
    return {"units": units} if units else {}


def with_guardrails(raw: bytes, usages: list[dict[str, Any]]) -> bytes:
    """A usage object with those of the guardrails beside it, which are needed to price their units by policy."""
    if not usages:
        return raw
    report = read_value(raw)
    return msgspec.json.encode({**(report if isinstance(report, dict) else {}), "guardrails": usages})


class FrameReader(ABC):
    """Reads a stream of binary messages as it passes; a `StreamReader`. Every byte passes, read or not."""

    __slots__ = ("_deltas", "_error", "_flags", "_splitter", "_text")

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._splitter: Final = MessageSplitter(limit)
        self._flags: list[str] = []
        self._error: str | None = None
        self._text = 0
        self._deltas = 0

    @property
    @abstractmethod
    def terminal(self) -> bool:
        """Whether the terminal event has been seen."""

    @abstractmethod
    def reading(self) -> Reading:
        """What has been learned so far."""

    @abstractmethod
    def _learn(self, event: str, payload: dict[str, Any]) -> None:
        """Take an event."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the vendor; give the same for the client."""
        for message in self._splitter.push(data):
            if isinstance(message, str):
                flag(self._flags, message)
            else:
                self._take(message)
        return data

    def flush(self) -> bytes:
        """Nothing was held back."""
        return b""

    def _take(self, message: Message) -> None:
        kind = message.headers.get(":message-type")
        if kind in ("exception", "error"):
            name = message.headers.get(":exception-type") or message.headers.get(":error-code")
            self._error = error_word({"type": name})
            return
        try:
            payload = msgspec.json.decode(message.payload)
        except UNREADABLE:
            payload = None
        if isinstance(payload, dict):
            self._learn(message.headers.get(":event-type", ""), payload)
        else:
            flag(self._flags, "unreadable_event")
            self._saw(len(message.payload))

    def _saw(self, size: int) -> None:
        if size:
            self._text += size
            self._deltas += 1
