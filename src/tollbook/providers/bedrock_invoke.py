"""Bedrock's InvokeModel and InvokeModelWithResponseStream: each model family's own bodies, and Bedrock's counts beside.

Source: the service model in botocore 1.44, the Bedrock user guide (inference parameters by model), and bodies that
other gateways quote in their issues. A family is known by the shape of its answer, since aliases and profiles hide its
name.

A model's own usage stands, because it may tell reasoning and the cache's time to live; where it has none, Bedrock's
counts do. Where both are there and differ, the reading says so.
"""

import base64
import binascii
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from tollbook.core.usage import Usage
from tollbook.providers import anthropic_usage, bedrock_usage, openai_usage
from tollbook.providers.answer import Decomposition, flag, keep_raw, put_usage, word
from tollbook.providers.anthropic_messages import MessageReader
from tollbook.providers.bedrock import (
    BedrockAdapter,
    FrameReader,
    guardrail_units,
    guardrail_usages,
    header_word,
    read_aws_error,
    with_guardrails,
)
from tollbook.providers.bedrock_usage import Counts, agree, counted, read_headers, read_metrics
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.openai_chat import ChatReader
from tollbook.providers.reader import EventReader
from tollbook.providers.text import measure_text

_TEXTS: Final = ("content", "output", "results", "generation", "outputText", "text", "generations", "choices")
"""Members of an answer or chunk that hold generated text, family by family."""
_DELTAS: Final = ("contentBlockDelta", *_TEXTS)

_CONVERSATION: Final = ("messages", "system", "prompt", "inputText", "message", "chat_history", "texts")
_LIMITS: Final = ("max_tokens", "max_gen_len", "max_tokens_to_sample", "max_completion_tokens")
_INNER_LIMITS: Final = (
    ("textGenerationConfig", "maxTokenCount"),
    ("inferenceConfig", "maxTokens"),
    ("inferenceConfig", "max_new_tokens"),
)

_ANTHROPIC_EVENTS: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    }
)


class _Answer(Struct, gc=False):
    """What concerns us of an answer or chunk, whatever the family."""

    type: Any = None
    id: Any = None
    choices: Any = None
    usage: Raw = Raw()
    inputTextTokenCount: Raw = Raw()
    prompt_token_count: Raw = Raw()
    generation_token_count: Raw = Raw()
    results: Any = None
    embedding: Any = None
    embeddings: Any = None
    embeddingsByType: Any = None
    images: Any = None
    metadata: Any = None
    stop_reason: Any = None
    completionReason: Any = None
    messageStop: Any = None
    metrics: Raw = field(name="amazon-bedrock-invocationMetrics", default=Raw())
    trace: Any = field(name="amazon-bedrock-trace", default=None)

    @property
    def embeds(self) -> bool:
        """Whether this is an embedding, which has no output to be counted."""
        return self.embedding is not None or self.embeddings is not None or self.embeddingsByType is not None

    @property
    def stops(self) -> bool:
        """Whether this chunk ends the text of a family that has no events of its own (Llama, Titan, Nova)."""
        return bool(self.stop_reason or self.completionReason or self.messageStop)


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode


def _own_usage(answer: _Answer) -> tuple[bytes, Decomposition] | None:
    """The model's own usage, as it came and in classes; None when the family reports none in the body."""
    raw = bytes(answer.usage)
    if raw.startswith(b"{"):
        if b'"input_tokens"' in raw:
            return raw, anthropic_usage.decompose(raw)
        if b'"prompt_tokens"' in raw or b'"completion_tokens"' in raw:
            return raw, openai_usage.decompose(raw)
        return raw, bedrock_usage.decompose(raw)
    texts = answer.results if isinstance(answer.results, list) else []
    if answer.prompt_token_count:
        report: dict[str, object] = {
            "inputTokens": answer.prompt_token_count,
            "outputTokens": answer.generation_token_count or None,
        }
    elif answer.inputTextTokenCount:
        counts = [one.get("tokenCount") for one in texts if isinstance(one, dict)]
        known = [count for count in counts if type(count) is int]
        output = sum(known) if known and len(known) == len(counts) else None
        report = {"inputTokens": answer.inputTextTokenCount, "outputTokens": output}
    else:
        return None
    raw = msgspec.json.encode({name: count for name, count in report.items() if count is not None})
    usage, whole, flags = bedrock_usage.decompose(raw)
    return raw, Decomposition(usage, whole or (answer.embeds and "input" in usage), flags)


def _put(reading: Reading, own: tuple[bytes, Decomposition] | None, counts: Counts, answer: _Answer) -> bool:
    """Put a model's own usage, or Bedrock's counts, into a reading; whether it is the last word."""
    guardrails = guardrail_usages(answer.trace)
    beside = counted(counts, output=not answer.embeds)
    raw = msgspec.json.encode({name: one for name, one in msgspec.to_builtins(counts).items() if one is not None})
    chosen = beside
    if own is not None and (own[1].whole or not beside.whole):
        raw, chosen = own
        if chosen.whole and not agree(chosen.usage, counts):
            flag(chosen.flags, "inconsistent_usage")
    if not chosen.usage and not guardrails:
        return _put_images(reading, answer)
    reading.raw = keep_raw(with_guardrails(raw, guardrails), reading.flags) or None
    usage: Usage = chosen.usage | guardrail_units(guardrails)
    return put_usage(reading, Decomposition(usage, chosen.whole, chosen.flags), final=True)


def _put_images(reading: Reading, answer: _Answer) -> bool:
    """Images are counted: nobody reports a usage of them."""
    if not isinstance(answer.images, list) or not answer.images:
        return False
    reading.usage, reading.basis = {"images": len(answer.images)}, "computed"
    return True


def _shown(value: object, names: tuple[str, ...]) -> int:
    """The bytes of text in those members of an answer or chunk."""
    if not isinstance(value, dict):
        return 0
    return sum(measure_text(value[name]).size for name in names if name in value)


class InvokeReader(FrameReader):
    """Reads one stream of InvokeModel. Its messages hold, in base64, what the model's own vendor would stream.

    It is complete with Bedrock's counts, which come with the model's last chunk, with that vendor's terminal event, or
    with the reason why the text stops.
    """

    __slots__ = ("_counts", "_last", "_native", "_stopped")

    def __init__(self) -> None:
        super().__init__()
        self._native: EventReader | None = None
        self._counts: Counts | None = None
        self._last = _Answer()
        self._stopped = False

    @property
    def terminal(self) -> bool:
        """Whether Bedrock's counts, or the model's own end, have been seen."""
        return self._counts is not None or self._stopped or (self._native is not None and self._native.terminal)

    def reading(self) -> Reading:
        """What has been learned so far."""
        native = Reading() if self._native is None else self._native.reading()
        reading = Reading(
            response_id=native.response_id,
            error=self._error or native.error,
            flags=[*self._flags, *(one for one in native.flags if one != "partial_usage")],
        )
        reading.complete = self.terminal and reading.error is None
        usage = native.usage if native.usage is not None else native.partial or {}
        own = (native.raw or b"", Decomposition(usage, native.usage is not None, [])) if usage else None
        if own is None and self._counts is None:
            final = False
        elif self._counts is None:
            reading.usage, reading.partial, reading.raw = native.usage, native.partial, native.raw
            reading.basis, reading.flags = native.basis, [*self._flags, *native.flags]
            final = native.usage is not None
        else:
            final = _put(reading, own, self._counts, self._last)
        if not final:
            reading.output_text = self._text + native.output_text
            reading.output_deltas = self._deltas + native.output_deltas
        return reading

    def _learn(self, event: str, payload: dict[str, Any]) -> None:
        try:
            data = base64.b64decode(payload.get("bytes") or b"")
            answer = _decode_answer(data)
        except (*UNREADABLE, binascii.Error, TypeError, ValueError):
            flag(self._flags, "unreadable_event")
            return
        if self._native is None:
            self._native = _native_reader(answer)
        if self._native is not None:
            # As the event it would be in the stream of the model's own vendor; JSON has no need of line ends.
            self._native.feed(b"data: " + data.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n")
        else:
            self._saw(_shown(read_value(data), _DELTAS))
            self._stopped |= answer.stops
        metrics = bytes(answer.metrics)
        if metrics.startswith(b"{"):
            self._counts = read_metrics(metrics)
        if answer.trace is not None:
            self._last = answer


def _native_reader(answer: _Answer) -> EventReader | None:
    if isinstance(answer.type, str) and answer.type in _ANTHROPIC_EVENTS:
        return MessageReader()
    return ChatReader(hides=False) if isinstance(answer.choices, list) else None


class BedrockInvoke(BedrockAdapter):
    """The adapter of InvokeModel and InvokeModelWithResponseStream."""

    endpoint: str = "bedrock.invoke"
    name: str = "bedrock.invoke/1"
    routes: tuple[Route, ...] = (
        Route("POST", "/model/{model}/invoke", "/model/{model}/invoke"),
        Route("POST", "/model/{model}/invoke-with-response-stream", "/model/{model}/invoke-with-response-stream"),
    )
    convention: str = "disjoint"
    not_captured: tuple[str, ...] = (
        "Units of guardrails, unless the request asks for the guardrail's trace.",
        "The size and quality of images, which are counted by number.",
        "Reranking, which Bedrock bills by the query and reports nothing of.",
    )
    model_fields: frozenset[str] = frozenset(
        {
            "imageGenerationConfig",
            "inferenceConfig",
            "mode",
            "reasoning_effort",
            "service_tier",
            "speed",
            "textGenerationConfig",
            "thinking",
            "toolConfig",
            "tools",
        }
    )
    request_headers: frozenset[bytes] = frozenset(
        {
            b"accept",
            b"content-type",
            b"user-agent",
            b"x-amzn-bedrock-accept",
            b"x-amzn-bedrock-guardrailidentifier",
            b"x-amzn-bedrock-guardrailversion",
            b"x-amzn-bedrock-performanceconfig-latency",
            b"x-amzn-bedrock-service-tier",
            b"x-amzn-bedrock-trace",
        }
    )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_aws_error(status, headers, body))
        try:
            answer = _decode_answer(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        reading = Reading(response_id=word(answer.id))
        if not _put(reading, _own_usage(answer), read_headers(headers), answer):
            reading.output_text = _shown(read_value(body), _TEXTS)
        self.read_head(reading, headers)
        return reading

    def stream(self, prepared: Prepared) -> InvokeReader:
        """A reader for one streamed answer."""
        return InvokeReader()

    def read_head(self, reading: Reading, headers: Headers) -> None:
        """Tier and latency class, which only headers tell."""
        reading.tier = header_word(headers, b"x-amzn-bedrock-service-tier")
        reading.speed = header_word(headers, b"x-amzn-bedrock-performanceconfig-latency")

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        conversation = present(members, _CONVERSATION)
        prompt = Prompt(
            conversation=conversation or [call.body],
            schemas=present(members, ("tools", "toolConfig")),
            media=any(b'"source"' in raw or b"image" in raw for raw in conversation),
        )
        return estimate_usage(prompt, output_limit(*_limits(members)), reading)


def _limits(members: dict[str, bytes]) -> list[bytes | None]:
    """The limits of output that a body sets, family by family."""
    limits = [members.get(name) for name in _LIMITS]
    for outer, name in _INNER_LIMITS:
        config = read_value(members.get(outer))
        limits.append(msgspec.json.encode(config.get(name)) if isinstance(config, dict) else None)
    return limits
