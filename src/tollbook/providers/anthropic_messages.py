"""Anthropic Messages: `POST /v1/messages`.

Source: the API reference and the types of the official SDK, anthropic 2.12.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.answer import error_word, keep_raw, put_usage, read_error, word
from tollbook.providers.anthropic_format import AnthropicFormat, mounted
from tollbook.providers.anthropic_iterations import apportion
from tollbook.providers.anthropic_usage import decompose, merge
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route, VendorObject
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.reader import EventReader
from tollbook.providers.text import text_bytes

_GENERATED: Final = ("text", "thinking", "partial_json", "name")
"""Members of a content block or delta that hold generated text, beside a block's `input`."""

_TOOL_RESULT: Final = "_execution_tool_result"
"""How the types of blocks end that tell what a tool did at the vendor."""

_NO_REGION: Final = "not_available"


class _Message(Struct, gc=False):
    """What concerns us of a buffered answer."""

    type: Any = None
    id: Any = None
    model: Any = None
    content: Any = None
    container: Any = None
    usage: Raw = Raw()
    error: Any = None


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
    decomposed = decompose(raw)
    if final and decomposed.whole and b'"iterations"' in raw:
        decomposed = decomposed._replace(usage=apportion(reading, decomposed.usage, raw))
    return put_usage(reading, decomposed, final)


def read_message(body: bytes) -> Reading:
    """Read a whole message, as it answers a request or stands in a batch's results."""
    try:
        message = _decode_message(body)
        reading = Reading(model_served=word(message.model), response_id=word(message.id))
        content = message.content if isinstance(message.content, list) else []
        raw = bytes(message.usage)
        reported = raw.startswith(b"{")
        if reported:
            reading.raw = keep_raw(raw, reading.flags)
        if not reported or not _describe(reading, raw, final=True):
            reading.output_text = sum(map(_generated, content))
    except UNREADABLE:
        return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
    reading.made = _made(message.container, content)
    if message.type == "error" or message.error is not None:
        reading.error = error_word(message.error)
        reading.complete = False
    return reading


def _made(container: object, content: list[Any]) -> list[VendorObject]:
    """What an answer made at the vendor: the container that tools ran in, and the files they left."""
    name = word(container.get("id")) if isinstance(container, dict) else None
    made = [] if name is None else [VendorObject("container", name)]
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(kind, str) and kind.endswith(_TOOL_RESULT):
            made += _files(block.get("content"))
    return made


def _files(result: object) -> list[VendorObject]:
    """The files that a tool's result names."""
    outputs = result.get("content") if isinstance(result, dict) else None
    names = [word(one.get("file_id")) for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
    return [VendorObject("file", name) for name in names if name is not None]


class MessageReader(EventReader):
    """Reads one streamed message.

    The input side of the usage comes with `message_start`, together with a placeholder for the output; the output comes
    with `message_delta`, cumulative. Both are merged by the maximum of each count, in any order. The usage is final
    when a `message_delta` reported the output and a stop reason or `message_stop` came; before that the placeholder is
    left out, and the rest is a floor. The stream is complete with `message_stop`.
    """

    __slots__ = ("_identity", "_made", "_model", "_output_reported", "_report", "_stopped", "_terminal")

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._identity: str | None = None
        self._report: dict[str, Any] | None = None
        self._made: list[VendorObject] = []
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
            made=list(self._made),
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
            self._made += _made(None, [said.content_block])
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
            self._made += _made(message.get("container"), [])
            self._learn_usage(message.get("usage"))

    def _learn_end(self, delta: object, usage: object) -> None:
        if isinstance(delta, dict):
            self._stopped |= bool(delta.get("stop_reason"))
            self._made += [one for one in _made(delta.get("container"), []) if one not in self._made]
        if isinstance(usage, dict) and usage.get("output_tokens") is not None:
            self._output_reported = True
        self._learn_usage(usage)

    def _learn_usage(self, report: object) -> None:
        if isinstance(report, dict):
            self._report = merge(self._report or {}, report)


class AnthropicMessages(AnthropicFormat):
    """The adapter of Anthropic Messages."""

    endpoint: str = "anthropic.messages"
    name: str = "anthropic.messages/1"
    routes: tuple[Route, ...] = mounted("POST", "/v1/messages")
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
    object_fields: dict[str, str] = AnthropicFormat.message_objects
    convention: str = "disjoint"
    not_captured: tuple[str, ...] = (
        "Container time of code execution is billed by the hour and is not in the usage object.",
        "A fallback credit is flagged; its amount is not reported.",
    )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        return read_message(body)

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
            reasons=b'"disabled"' not in members.get("thinking", b'"disabled"'),
        )
        return estimate_usage(prompt, output_limit(members.get("max_tokens")), reading)


def _has_server_tools(tools: bytes | None) -> bool:
    """Whether a tool has a type of the vendor's: it may run there and add what it found to the input."""
    listed = read_value(tools)
    return isinstance(listed, list) and any(
        isinstance(tool, dict) and tool.get("type") not in (None, "custom") for tool in listed
    )
