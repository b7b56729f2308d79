"""Google's generateContent and its kin, on the Gemini API's paths and on Vertex's, as the vendor writes them.

Checked in tests with the official SDK. The input side of usage is nested, the output side is not: thoughts stand
beside `candidatesTokenCount`, what tools put into the prompt beside `promptTokenCount`. A stream is an SSE stream
with `alt=sse`, else one JSON array.
"""

from collections.abc import Container
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct, field

from tollbook.core.clock import SECOND, format_instant
from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.embeddings import vector
from tollbook.simulator.question import Question, check_limit, read_body
from tollbook.simulator.tokens import Tokens, count_request
from tollbook.simulator.vendor import JSON, SSE, Desk, Operation, Paper, Vendor, paper

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TRAFFIC: Final = {"flex": "ON_DEMAND_FLEX", "priority": "ON_DEMAND_PRIORITY"}
_TIER_HEADERS: Final = (b"x-vertex-ai-llm-shared-request-type", b"x-gemini-service-tier")


class _Part(Struct, rename="camel"):
    text: str | None = None
    inline_data: Any = None
    file_data: Any = None
    function_call: Any = None


class _Content(Struct):
    parts: list[_Part] = []
    role: str | None = None


class _Config(Struct, rename="camel"):
    max_output_tokens: int | None = None


class _Body(Struct, rename="camel"):
    contents: list[_Content]
    system_instruction: _Content | None = None
    tools: msgspec.Raw = msgspec.Raw(b"null")
    generation_config: _Config = field(default_factory=_Config)
    service_tier: str | None = None


class _Embed(Struct):
    content: _Content


class _EmbedBatch(Struct):
    requests: list[_Embed]


class _Count(Struct, rename="camel"):
    contents: list[_Content] | None = None
    generate_content_request: _Body | None = None


_BODY: Final = msgspec.json.Decoder(_Body)
_EMBED: Final = msgspec.json.Decoder(_Embed)
_EMBED_BATCH: Final = msgspec.json.Decoder(_EmbedBatch)
_COUNT: Final = msgspec.json.Decoder(_Count)


class Google(Vendor):
    """The vendor's manners: key in a header, in the query, or as bearer; no id in the headers."""

    name = "gemini"
    format = "gemini"
    standard_tier = "ON_DEMAND"

    def key(self, call: Call) -> str | None:
        return call.header(b"x-goog-api-key") or call.parameter("key") or super().key(call)

    def model_named(self, asked: str) -> str:
        return asked.removeprefix("models/")

    def served_tier(self, asked: str | None, sold: Container[str]) -> str:
        return super().served_tier(_TRAFFIC.get((asked or "").lower().removeprefix("service_tier_")), sold)

    def request_id(self, number: str) -> str:
        return number

    def headers(self, number: str, milliseconds: int) -> bytes:
        return f"server-timing: gfet4t7; dur={milliseconds}\r\nvary: X-Origin\r\n".encode()

    def error(self, status: int, message: str, number: str) -> bytes:
        return encode({"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}})


GOOGLE: Final = Google()


class Generate(Operation):
    """`:generateContent` and `:streamGenerateContent`."""

    name = "generate"
    streams: ClassVar[bool] = False

    def read(self, call: Call) -> Question:
        body = read_body(_BODY, call.body)
        if not body.contents:
            raise BadInput("contents is not specified")
        contents = [*([body.system_instruction] if body.system_instruction else []), *body.contents]
        headers = (call.header(name) for name in _TIER_HEADERS)
        limit = body.generation_config.max_output_tokens
        return Question(
            model=call.names["model"],
            texts=_texts(contents),
            counts={"input": _count(contents, bytes(body.tools).decode())},
            limit=check_limit("max_output_tokens", limit),
            stream=self.streams,
            tier=next(filter(None, (body.service_tier, *headers)), None),
            details={"sse": call.parameter("alt") == "sse", "vertex": "/projects/" in call.path},
        )

    def response_id(self, number: str) -> str:
        return number[:22]

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        prompt = tokens.all_input - tokens.tool_prompt
        text = prompt - tokens.input_audio - tokens.input_image
        shown = tokens.output + tokens.output_audio + tokens.output_image
        usage: dict[str, Any] = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": shown,
            "totalTokenCount": tokens.all_input + tokens.all_output,
            "promptTokensDetails": _modalities(TEXT=text, AUDIO=tokens.input_audio, IMAGE=tokens.input_image),
        }
        if tokens.cache_read:
            usage["cachedContentTokenCount"] = tokens.cache_read
            usage["cacheTokensDetails"] = _modalities(TEXT=tokens.cache_read)
        if tokens.reasoning:
            usage["thoughtsTokenCount"] = tokens.reasoning
        if tokens.tool_prompt:
            usage["toolUsePromptTokenCount"] = tokens.tool_prompt
            usage["toolUsePromptTokensDetails"] = _modalities(TEXT=tokens.tool_prompt)
        if shown:
            parts = _modalities(TEXT=tokens.output, AUDIO=tokens.output_audio, IMAGE=tokens.output_image)
            usage["candidatesTokensDetails"] = parts
        if answer.details["vertex"]:
            usage["trafficType"] = answer.tier
        return usage

    def head(self, answer: Answer, stream: bool) -> bytes:
        tier = answer.tier.removeprefix("ON_DEMAND").strip("_").lower() or "standard"
        return b"" if answer.details["vertex"] else f"x-gemini-service-tier: {tier}\r\n".encode()

    def content_type(self, answer: Answer, stream: bool) -> str:
        return SSE if stream and answer.details["sse"] else JSON

    def body(self, answer: Answer) -> bytes:
        return encode(self._reply(answer, answer.text, True, answer.reported))

    def events(self, answer: Answer) -> list[Event]:
        total, early = answer.tokens.all_output, "usage_zero_first" in answer.quirks
        # Every chunk has usage so far, as at the vendor: the first ones already tell the prompt's.
        events = [
            Event(
                None,
                encode(self._reply(answer, text, False, Tokens() if early and place == 0 else answer.reported_by(at))),
                at,
                content=True,
            )
            for place, (text, at) in enumerate(answer.chunks())
        ]
        events.append(Event(None, encode(self._reply(answer, "", True, answer.reported)), total))
        return events if answer.details["sse"] else [*events, Event(None, b"]", total)]

    def error_event(self, answer: Answer) -> Event:
        return Event(None, self.vendor.error(500, "An internal error has occurred.", answer.number), 0)

    def frame(self, event: Event, answer: Answer, first: bool) -> bytes:
        if answer.details["sse"]:
            return super().frame(event, answer, first)
        if event.data == b"]":
            return b"]"
        return (b"[" if first else b",\r\n") + event.data

    def _reply(self, answer: Answer, text: str, last: bool, tokens: Tokens) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if answer.truncated else "STOP"
            if answer.tokens.web_searches:
                queries = [f"toll {place}" for place in range(answer.tokens.web_searches)]
                candidate["groundingMetadata"] = {"webSearchQueries": queries}
        reply: dict[str, Any] = {
            "candidates": [candidate],
            "modelVersion": answer.model,
            "createTime": format_instant(answer.created * SECOND),
            "responseId": self.response_id(answer.number),
        }
        holder = candidate if "usage_elsewhere" in answer.quirks else reply
        answer.put_usage(holder, "usageMetadata", self.usage(answer, tokens))
        return reply


class StreamGenerate(Generate):
    """The same, streamed."""

    name = "stream_generate"
    streams = True


class Embed(Operation):
    """`:embedContent` and `:batchEmbedContents`. The Gemini API reports no usage; Vertex counts each text."""

    name = "embed"

    def read(self, call: Call) -> Question:
        if call.path.endswith(":batchEmbedContents"):
            contents = [request.content for request in read_body(_EMBED_BATCH, call.body).requests]
        else:
            contents = [read_body(_EMBED, call.body).content]
        counts = {"input": count_request(_texts(contents), 0, 0), "output": 0}
        details = {"inputs": len(contents), "batch": call.path.endswith(":batchEmbedContents")}
        return Question(model=call.names["model"], texts=_texts(contents), counts=counts, details=details)

    def response_id(self, number: str) -> str:
        return number[:22]

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        count = tokens.all_input
        return {"promptTokenCount": count, "totalTokenCount": count, "promptTokenDetails": _modalities(TEXT=count)}

    def body(self, answer: Answer) -> bytes:
        vectors = [{"values": vector(answer.number, place)} for place in range(answer.details["inputs"])]
        reply: dict[str, Any] = {"embeddings": vectors} if answer.details["batch"] else {"embedding": vectors[0]}
        answer.put_usage(reply, "usageMetadata", self.usage(answer, answer.reported))
        return encode(reply)


def count_tokens(call: Call, secret: str, desk: Desk) -> Paper:
    """`:countTokens`, which costs nothing."""
    body = read_body(_COUNT, call.body)
    asked = body.generate_content_request
    contents = asked.contents if asked else body.contents or []
    count = _count(contents, "null")
    return paper({"totalTokens": count, "promptTokensDetails": _modalities(TEXT=count)})


def _texts(contents: list[_Content]) -> list[str]:
    return [part.text for content in contents for part in content.parts if part.text is not None]


def _count(contents: list[_Content], tools: str) -> int:
    objects = sum(part.text is None for content in contents for part in content.parts)
    return count_request([*_texts(contents), "" if tools == "null" else tools], len(contents), objects)


def _modalities(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]
