"""Bedrock's Converse and ConverseStream.

Source: the service model in botocore 1.44 (`ConverseResponse`, `ConverseStreamOutput`).
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.answer import Decomposition, keep_raw, put_usage, word
from tollbook.providers.bedrock import (
    BedrockAdapter,
    FrameReader,
    guardrail_units,
    guardrail_usages,
    read_aws_error,
    with_guardrails,
)
from tollbook.providers.bedrock_usage import decompose
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.text import text_bytes


class _Answer(Struct, gc=False):
    """What concerns us of an answer, or of the last event of a stream."""

    output: Any = None
    usage: Raw = Raw()
    trace: Any = None
    performanceConfig: Any = None
    serviceTier: Any = None


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode


def _describe(reading: Reading, answer: _Answer) -> bool:
    """Put into a reading what stands around a usage, and the usage; whether there was one."""
    reading.tier = _inner(answer.serviceTier, "type")
    reading.speed = _inner(answer.performanceConfig, "latency")
    trace = answer.trace if isinstance(answer.trace, dict) else {}
    invoked = _inner(trace.get("promptRouter"), "invokedModelId")
    reading.model_served = None if invoked is None else invoked.rpartition("/")[2]
    raw = bytes(answer.usage)
    if not raw.startswith(b"{"):
        return False
    guardrails = guardrail_usages(trace.get("guardrail"))
    reading.raw = keep_raw(with_guardrails(raw, guardrails), reading.flags)
    usage, whole, flags = decompose(raw)
    return put_usage(reading, Decomposition(usage | guardrail_units(guardrails), whole, flags), final=True)


def _inner(value: object, name: str) -> str | None:
    return word(value.get(name)) if isinstance(value, dict) else None


def _generated(block: object) -> int:
    """The bytes of generated text in a content block or a delta."""
    if not isinstance(block, dict):
        return 0
    text = block.get("text")
    if isinstance(text, str):
        return text_bytes(text)
    size = 0
    tool = block.get("toolUse")
    if isinstance(tool, dict):
        name, asked = tool.get("name"), tool.get("input")
        size += text_bytes(name) if isinstance(name, str) else 0
        size += text_bytes(asked) if isinstance(asked, str) else len(msgspec.json.encode(asked)) if asked else 0
    reasoning = block.get("reasoningContent")
    if isinstance(reasoning, dict):
        inner = reasoning.get("reasoningText", reasoning)
        shown = inner.get("text") if isinstance(inner, dict) else None
        size += text_bytes(shown) if isinstance(shown, str) else 0
    return size


class ConverseReader(FrameReader):
    """Reads one ConverseStream. The usage, the tier and the trace come with the event `metadata`, which ends it."""

    __slots__ = ("_metadata",)

    def __init__(self) -> None:
        super().__init__()
        self._metadata: _Answer | None = None

    @property
    def terminal(self) -> bool:
        """Whether `metadata` has been seen."""
        return self._metadata is not None

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(complete=self.terminal and self._error is None, error=self._error, flags=list(self._flags))
        if self._metadata is None or not _describe(reading, self._metadata):
            reading.output_text, reading.output_deltas = self._text, self._deltas
        return reading

    def _learn(self, event: str, payload: dict[str, Any]) -> None:
        if event == "contentBlockDelta":
            self._saw(_generated(payload.get("delta")))
        elif event == "contentBlockStart":
            self._saw(_generated(payload.get("start")))
        elif event == "metadata":
            self._metadata = _decode_answer(msgspec.json.encode(payload))


class BedrockConverse(BedrockAdapter):
    """The adapter of Converse and ConverseStream."""

    endpoint: str = "bedrock.converse"
    name: str = "bedrock.converse/1"
    routes: tuple[Route, ...] = (
        Route("POST", "/model/{model}/converse", "/model/{model}/converse"),
        Route("POST", "/model/{model}/converse-stream", "/model/{model}/converse-stream"),
    )
    convention: str = "disjoint"
    not_captured: tuple[str, ...] = (
        "Units of guardrails, unless the request asks for the guardrail's trace.",
        "The price of guardrails by policy: units are one sum, their parts are in the kept usage object.",
        "Cached tokens that OpenAI models count in `inputTokens` too when they stream.",
    )
    model_fields: frozenset[str] = frozenset(
        {
            "additionalModelRequestFields",
            "guardrailConfig",
            "inferenceConfig",
            "outputConfig",
            "performanceConfig",
            "serviceTier",
            "toolConfig",
        }
    )
    billing_fields: frozenset[str] = frozenset({"requestMetadata"})

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_aws_error(status, headers, body))
        try:
            answer = _decode_answer(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        reading = Reading()
        if not _describe(reading, answer):
            message = answer.output.get("message") if isinstance(answer.output, dict) else None
            content = message.get("content") if isinstance(message, dict) else None
            reading.output_text = sum(map(_generated, content)) if isinstance(content, list) else 0
        return reading

    def stream(self, prepared: Prepared) -> ConverseReader:
        """A reader for one streamed answer."""
        return ConverseReader()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        conversation = present(members, ("messages", "system", "promptVariables"))
        prompt = Prompt(
            conversation=conversation,
            schemas=present(members, ("toolConfig",)),
            open_ended="promptVariables" in members,
            media=any(b'"source"' in raw for raw in conversation),
        )
        config = read_value(members.get("inferenceConfig"))
        limit = config.get("maxTokens") if isinstance(config, dict) else None
        return estimate_usage(prompt, output_limit(msgspec.json.encode(limit)), reading)
