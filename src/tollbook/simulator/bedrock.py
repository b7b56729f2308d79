"""AWS Bedrock's Converse and InvokeModel, as the vendor writes them.

Checked in tests with botocore, its service model and its event stream parser. Converse usage is disjoint:
`inputTokens` holds nothing that was read from or written to a cache. InvokeModel answers in the model's own format
(Anthropic's for `anthropic.*`, Nova's else) with counts in headers; its stream tells them in the last chunk.
"""

import base64
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator import anthropic, eventstream
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.question import Message, Part, Question, check_limit, count_contents, read_body, texts_of
from tollbook.simulator.shelf import Refusal
from tollbook.simulator.signature import is_right, read_signature
from tollbook.simulator.tokens import Tokens, count_request
from tollbook.simulator.vendor import KEY_PREFIX, Operation, Vendor

_KINDS: Final = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_ROUTED: Final = "arn:aws:bedrock:us-east-1:000000000000:inference-profile/"
_LATENCY_MS: Final = 300


class Bedrock(Vendor):
    """The vendor's manners: signed requests or a bearer key, errors named in a header."""

    name = "bedrock"
    format = "bedrock"

    def key(self, call: Call) -> str | None:
        signature = read_signature(call)
        return signature.key_id if signature else super().key(call)

    def opens(self, secret: str) -> bool:
        """A signing key's id is no secret: any is an account. A bearer begins as all keys here."""
        return secret.startswith(KEY_PREFIX) or not secret.startswith("sk-")

    def verify(self, call: Call, key_pair: str | None) -> None:
        signature = read_signature(call)
        if signature is None:
            if not (super().key(call) or "").startswith(KEY_PREFIX):
                raise Refusal(403, "Missing Authentication Token")
        elif key_pair is not None:
            key_id, _, secret = key_pair.partition(":")
            if signature.key_id != key_id or not is_right(call, signature, secret):
                raise Refusal(403, "The request signature we calculated does not match the signature you provided.")

    def request_id(self, number: str) -> str:
        return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))

    def headers(self, number: str, milliseconds: int) -> bytes:
        return f"x-amzn-requestid: {self.request_id(number)}\r\n".encode()

    def error_headers(self, status: int) -> bytes:
        kind = _KINDS.get(status, _KINDS[500])
        return f"x-amzn-errortype: {kind}:http://internal.amazon.com/coral/com.amazon.bedrock/\r\n".encode()

    def error(self, status: int, message: str, number: str) -> bytes:
        return encode({"message": message})


BEDROCK: Final = Bedrock()


class _ConversePart(Struct):
    text: str | None = None


class _Turn(Struct):
    role: str
    content: list[_ConversePart]


class _Inference(Struct, rename="camel"):
    max_tokens: int | None = None


class _Kind(Struct):
    type: str | None = None
    latency: str | None = None


class _ConverseBody(Struct, rename="camel"):
    messages: list[_Turn]
    system: list[_ConversePart] = []
    inference_config: _Inference | None = None
    tool_config: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: _Kind | None = None
    performance_config: _Kind | None = None


class _InvokeBody(Struct):
    messages: list[Message] = []
    system: str | list[Part] | None = None
    tools: msgspec.Raw = msgspec.Raw(b"null")
    prompt: str | None = None
    max_tokens: int | None = None
    max_gen_len: int | None = None


_CONVERSE: Final = msgspec.json.Decoder(_ConverseBody)
_INVOKE: Final = msgspec.json.Decoder(_InvokeBody)


class Binary(Operation):
    """What both families of operations share: the binary stream and its errors."""

    streams: ClassVar[bool] = False

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def content_type(self, answer: Answer, stream: bool) -> str:
        return eventstream.CONTENT_TYPE if stream else super().content_type(answer, False)

    def error_event(self, answer: Answer) -> Event:
        return Event(
            "!modelStreamErrorException", encode({"message": "The model failed.", "originalStatusCode": 500}), 0
        )

    def frame(self, event: Event, answer: Answer, first: bool) -> bytes:
        name = event.name or "chunk"
        headers = {":content-type": "application/json", ":event-type": name, ":message-type": "event"}
        if name.startswith("!"):
            kind = {":exception-type": name[1:], ":message-type": "exception"}
            headers = {":content-type": "application/json", **kind}
        return eventstream.message(headers, event.data)


class Converse(Binary):
    """`/model/{model}/converse` and `/converse-stream`."""

    name = "converse"

    def read(self, call: Call) -> Question:
        body = read_body(_CONVERSE, call.body)
        if not body.messages:
            raise BadInput("messages: at least one message is required")
        parts = [*body.system, *(part for turn in body.messages for part in turn.content)]
        texts = [part.text for part in parts if part.text is not None]
        tools = bytes(body.tool_config).decode()
        messages = len(body.messages) + bool(body.system)
        counted = count_request([*texts, "" if tools == "null" else tools], messages, len(parts) - len(texts))
        limit = body.inference_config.max_tokens if body.inference_config else None
        return Question(
            model=call.names["model"],
            texts=texts,
            counts={"input": counted},
            limit=check_limit("maxTokens", limit),
            stream=self.streams,
            tier=body.service_tier.type if body.service_tier else None,
            details={
                "tier": body.service_tier is not None,
                "latency": body.performance_config.latency if body.performance_config else None,
            },
        )

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        rest = tokens.all_input - tokens.cache_read - tokens.cache_write
        usage: dict[str, Any] = {
            "inputTokens": rest,
            "outputTokens": tokens.all_output,
            "totalTokens": tokens.all_input + tokens.all_output,
            "cacheReadInputTokens": tokens.cache_read,
            "cacheWriteInputTokens": tokens.cache_write,
        }
        if tokens.cache_write:
            ttls = {"5m": tokens.cache_write_5m, "1h": tokens.cache_write_1h}
            usage["cacheDetails"] = [{"ttl": ttl, "inputTokens": count} for ttl, count in ttls.items() if count]
        return usage

    def body(self, answer: Answer) -> bytes:
        content: list[dict[str, Any]] = [{"text": answer.text}]
        if answer.tokens.reasoning:
            content.insert(0, {"reasoningContent": {"reasoningText": {"text": "", "signature": "c2lt"}}})
        reply = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": _stop_reason(answer)}
        return encode(reply | self._metadata(answer))

    def events(self, answer: Answer) -> list[Event]:
        tokens = answer.tokens
        events = [_event("messageStart", 0, role="assistant")]
        if "usage_zero_first" in answer.quirks:
            events.append(_event("metadata", 0, usage=self.usage(answer, Tokens()), metrics={"latencyMs": 1}))
        for text, generated in answer.chunks():
            delta = _event("contentBlockDelta", generated, delta={"text": text}, contentBlockIndex=0)
            events.append(msgspec.structs.replace(delta, content=True))
            if "usage_cumulative" in answer.quirks:
                usage = self.usage(answer, answer.reported_by(generated))
                events.append(_event("metadata", generated, usage=usage, metrics={"latencyMs": 1}))
        total = tokens.all_output
        closing = [
            _event("contentBlockStop", total, contentBlockIndex=0),
            _event("messageStop", total, stopReason=_stop_reason(answer)),
            _event("metadata", total, **self._metadata(answer)),
        ]
        if "usage_elsewhere" in answer.quirks:
            closing.insert(0, closing.pop())
        return events + closing

    def _metadata(self, answer: Answer) -> dict[str, Any]:
        whole: dict[str, Any] = {"metrics": {"latencyMs": _LATENCY_MS}}
        answer.put_usage(whole, "usage", self.usage(answer, answer.reported))
        if answer.details["tier"]:
            whole["serviceTier"] = {"type": answer.tier}
        if answer.details["latency"] is not None:
            whole["performanceConfig"] = {"latency": answer.details["latency"]}
        if "served_model" in answer.quirks:
            whole["trace"] = {"promptRouter": {"invokedModelId": _ROUTED + answer.model}}
        return whole


class ConverseStream(Converse):
    """The same, streamed."""

    name = "converse_stream"
    streams = True


class Invoke(Binary):
    """`/model/{model}/invoke` and `/invoke-with-response-stream`."""

    name = "invoke"

    def read(self, call: Call) -> Question:
        body = read_body(_INVOKE, call.body)
        contents = [*([] if body.system is None else [body.system]), *(one.content for one in body.messages)]
        if body.prompt is not None:
            contents.append(body.prompt)
        if not contents:
            raise BadInput("Malformed input request: #: required key [messages] not found")
        texts = texts_of(contents)
        limit = body.max_tokens if body.max_tokens is not None else body.max_gen_len
        return Question(
            model=call.names["model"],
            texts=texts,
            counts={"input": count_contents(texts, contents, body.tools)},
            limit=check_limit("max_tokens", limit),
            stream=self.streams,
            tier=call.header(b"x-amzn-bedrock-service-tier"),
            speed=None,
        )

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        if _is_claude(answer):
            return anthropic.usage(answer, tokens)
        rest = tokens.all_input - tokens.cache_read - tokens.cache_write
        return {"prompt_token_count": rest, "generation_token_count": tokens.all_output}

    def head(self, answer: Answer, stream: bool) -> bytes:
        lines = {"service-tier": answer.tier, "performanceconfig-latency": "standard"}
        if stream:
            lines["content-type"] = "application/json"
        elif not {"usage_missing", "usage_null"} & set(answer.quirks):  # type: ignore[call-overload]
            told = answer.reported
            lines |= {
                "input-token-count": str(told.all_input - told.cache_read - told.cache_write),
                "output-token-count": str(told.all_output),
                "cache-read-input-token-count": str(told.cache_read),
                "cache-write-input-token-count": str(told.cache_write),
                "invocation-latency": str(_LATENCY_MS),
            }
        return "".join(f"x-amzn-bedrock-{name}: {value}\r\n" for name, value in lines.items()).encode()

    def body(self, answer: Answer) -> bytes:
        if _is_claude(answer):
            return encode({**anthropic.message(answer), "id": f"msg_bdrk_{answer.number[:24]}"})
        reply: dict[str, Any] = {"generation": answer.text, "stop_reason": "length" if answer.truncated else "stop"}
        if "usage_missing" not in answer.quirks:
            counts = self.usage(answer, answer.reported)
            reply |= dict.fromkeys(counts) if "usage_null" in answer.quirks else counts
        return encode(reply)

    def events(self, answer: Answer) -> list[Event]:
        if _is_claude(answer):
            inner = anthropic.events(answer)
        else:
            inner = [
                Event(None, encode({"generation": text, "stop_reason": None}), generated, content=True)
                for text, generated in answer.chunks()
            ]
            final = {"generation": "", "stop_reason": "length" if answer.truncated else "stop"}
            inner.append(Event(None, encode(final), answer.tokens.all_output))
        if "usage_missing" not in answer.quirks and "usage_null" not in answer.quirks:
            metrics = b',"amazon-bedrock-invocationMetrics":' + encode(_metrics(answer.reported)) + b"}"
            inner[-1] = msgspec.structs.replace(inner[-1], data=inner[-1].data[:-1] + metrics)
        return [msgspec.structs.replace(event, name="chunk", data=_wrapped(event.data)) for event in inner]


class InvokeStream(Invoke):
    """The same, streamed: each chunk is the model's own event, in base64."""

    name = "invoke_stream"
    streams = True


def _event(name: str, generated: int, **members: Any) -> Event:
    return Event(name, encode(members), generated)


def _wrapped(data: bytes) -> bytes:
    return encode({"bytes": base64.b64encode(data).decode(), "p": "abcdefgh"})


def _metrics(tokens: Tokens) -> dict[str, int]:
    return {
        "inputTokenCount": tokens.all_input - tokens.cache_read - tokens.cache_write,
        "outputTokenCount": tokens.all_output,
        "invocationLatency": _LATENCY_MS,
        "firstByteLatency": 20,
        "cacheReadInputTokenCount": tokens.cache_read,
        "cacheWriteInputTokenCount": tokens.cache_write,
    }


def _is_claude(answer: Answer) -> bool:
    return "anthropic." in answer.model


def _stop_reason(answer: Answer) -> str:
    return "max_tokens" if answer.truncated else "end_turn"
