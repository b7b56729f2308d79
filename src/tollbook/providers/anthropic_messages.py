"""Anthropic Messages: `POST /v1/messages`.

Source: the API reference and the types of the official SDK, anthropic 2.12.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import error_word, keep_raw, put_usage, read_error, word
from tollbook.providers.anthropic_usage import decompose, merge
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.reader import EventReader
from tollbook.providers.text import text_bytes

_GENERATED: Final = ("text", "thinking", "partial_json", "name")
"""Members of a content block or delta that hold generated text, beside a block's `input`."""

_NO_REGION: Final = "not_available"

_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class _Message(Struct, gc=False):
    """What concerns us of a buffered answer."""

    type: Any = None
    id: Any = None
    model: Any = None
    usage: Raw = Raw()
    error: Any = None


class _Content(Struct, gc=False):
    content: Any = None


class _Event(Struct, gc=False):
    """What concerns us of one event of a stream."""

    type: Any = None
    message: Any = None
    delta: Any = None
    content_block: Any = None
    usage: Any = None
    error: Any = None


class _Service(Struct, gc=False):
    """What a usage object says of how the request was served."""

    service_tier: Any = None
    inference_geo: Any = None
    speed: Any = None


_decode_message: Final = msgspec.json.Decoder(_Message).decode
_decode_content: Final = msgspec.json.Decoder(_Content).decode
_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_service: Final = msgspec.json.Decoder(_Service).decode


def _generated(block: object) -> int:
    """The bytes of generated text in a content block or delta. The result of a server tool was not generated."""
    if not isinstance(block, dict):
        return 0
    size = sum(text_bytes(text) for name in _GENERATED if isinstance(text := block.get(name), str))
    call = block.get("input")
    return size + (len(msgspec.json.encode(call)) if call else 0)


def _describe(reading: Reading, raw: bytes, final: bool) -> bool:
    """Put what a usage object says into a reading; whether its usage is final."""
    service = _decode_service(raw)
    reading.tier = word(service.service_tier)
    reading.region = None if service.inference_geo == _NO_REGION else word(service.inference_geo)
    reading.speed = word(service.speed)
    return put_usage(reading, decompose(raw), final)


class MessageReader(EventReader):
    """Reads one streamed message.

    The input side of the usage comes with `message_start`, together with a placeholder for the output; the output comes
    with `message_delta`, cumulative. Both are merged by the maximum of each count, in any order. The usage is final
    when a `message_delta` reported the output and a stop reason or `message_stop` came; before that the placeholder is
    left out, and the rest is a floor. The stream is complete with `message_stop`.
    """

    __slots__ = ("_identity", "_model", "_output_reported", "_report", "_stopped", "_terminal")

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._identity: str | None = None
        self._report: dict[str, Any] | None = None
        self._output_reported = False
        self._stopped = False
        self._terminal = False

    @property
    def terminal(self) -> bool:
        """Whether `message_stop` has been seen."""
        return self._terminal

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(
            model_served=self._model,
            response_id=self._identity,
            complete=self._terminal and self._error is None,
            error=self._error,
            flags=list(self._flags),
        )
        final = self._output_reported and (self._stopped or self._terminal)
        if self._report is None or not self._describe_report(reading, self._report, final):
            reading.output_text, reading.output_deltas = self._text, self._deltas
        return reading

    def _describe_report(self, reading: Reading, report: dict[str, Any], final: bool) -> bool:
        raw = msgspec.json.encode(report)
        reading.raw = keep_raw(raw, reading.flags)
        if not self._output_reported:
            raw = msgspec.json.encode({name: report[name] for name in report if not name.startswith("output_tokens")})
        return _describe(reading, raw, final)

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            said = _decode_event(data)
        except UNREADABLE:
            self._saw_unreadable(data)
            return False
        kind = said.type
        if kind == "content_block_delta":
            delta = said.delta
            text = delta.get("text") if type(delta) is dict else None
            self._saw(text_bytes(text) if type(text) is str else _generated(delta))
        elif kind == "content_block_start":
            self._saw(_generated(said.content_block))
        elif kind == "message_delta":
            self._learn_end(said.delta, said.usage)
        elif kind == "message_start":
            self._learn_start(said.message)
        elif kind == "message_stop":
            self._terminal = True
        elif kind == "error" or said.error is not None or name == b"error":
            self._error = error_word(said.error)
        return False

    def _learn_start(self, message: object) -> None:
        if isinstance(message, dict):
            self._model = word(message.get("model")) or self._model
            self._identity = word(message.get("id")) or self._identity
            self._learn_usage(message.get("usage"))

    def _learn_end(self, delta: object, usage: object) -> None:
        if isinstance(delta, dict) and delta.get("stop_reason"):
            self._stopped = True
        if isinstance(usage, dict) and usage.get("output_tokens") is not None:
            self._output_reported = True
        self._learn_usage(usage)

    def _learn_usage(self, report: object) -> None:
        if isinstance(report, dict):
            self._report = merge(self._report or {}, report)


class AnthropicMessages(JsonAdapter):
    """The adapter of Anthropic Messages."""

    endpoint: str = "anthropic.messages"
    name: str = "anthropic.messages/1"
    routes: tuple[Route, ...] = (Route("POST", "/v1/messages", "/v1/messages"),)
    format: str = "anthropic"
    model_fields: frozenset[str] = frozenset(
        {
            "cache_control",
            "compaction",
            "container",
            "context_management",
            "fallback_credit_token",
            "fallbacks",
            "inference_geo",
            "mcp_servers",
            "service_tier",
            "speed",
            "thinking",
            "tools",
        }
    )
    billing_fields: frozenset[str] = frozenset({"billing_policy"})
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        "container": "container",
        "container.id": "container",
        "container.skills.skill_id": "skill",
        "messages.content.file_id": "file",
        "messages.content.source.file_id": "file",
        "thread.previous_message_id": "response",
    }
    # Never anthropic-user-profile-id: it bills another organisation.
    request_headers: frozenset[bytes] = frozenset(
        {b"accept", b"anthropic-beta", b"anthropic-version", b"content-type", b"user-agent"}
    )
    query_fields: frozenset[str] = frozenset({"beta"})
    vendor_request_id_headers: tuple[bytes, ...] = (b"request-id",)
    convention: str = "disjoint"
    not_captured: tuple[str, ...] = (
        "Container time of code execution is billed by the hour and is not in the usage object.",
        "A fallback credit is flagged; its amount is not reported.",
    )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            message = _decode_message(body)
            reading = Reading(model_served=word(message.model), response_id=word(message.id))
            raw = bytes(message.usage)
            reported = raw.startswith(b"{")
            if reported:
                reading.raw = keep_raw(raw, reading.flags)
            if not reported or not _describe(reading, raw, final=True):
                content = _decode_content(body).content
                reading.output_text = sum(map(_generated, content)) if isinstance(content, list) else 0
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        if message.type == "error" or message.error is not None:
            reading.error = error_word(message.error)
            reading.complete = False
        return reading

    def stream(self, prepared: Prepared) -> MessageReader:
        """A reader for one streamed answer."""
        return MessageReader()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        prompt = Prompt(
            conversation=present(members, ("messages", "system")),
            schemas=present(members, ("tools",)),
            open_ended="mcp_servers" in members or _has_server_tools(members.get("tools")),
        )
        return estimate_usage(prompt, output_limit(members.get("max_tokens")), reading)

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own; the stable code stands where the SDK looks for one."""
        error = {
            "type": _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error"),
            "message": f"{message} (request id {request_id})",
            "details": {"error_code": code},
        }
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})

    def credentials(self, secret: str) -> Headers:
        """The headers that carry a vendor secret."""
        return [(b"x-api-key", secret.encode())]


def _has_server_tools(tools: bytes | None) -> bool:
    """Whether a tool has a type of the vendor's: it may run there and add what it found to the input."""
    listed = read_value(tools)
    return isinstance(listed, list) and any(
        isinstance(tool, dict) and tool.get("type") not in (None, "custom") for tool in listed
    )
