"""Cohere's v2 chat, embed and rerank, as the vendor writes them.

Checked in tests with the official SDK. `billed_units` are what is charged for; `tokens` are more, by what the
vendor's template adds. All of them are written as numbers with a fraction.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.embeddings import vector
from tollbook.simulator.question import Message, Question, check_limit, count_contents, read_body, texts_of
from tollbook.simulator.tokens import Tokens, count_request
from tollbook.simulator.vendor import Operation, Vendor

_TEMPLATE: Final = 67
"""Tokens that the vendor's template adds, and nobody is charged for."""

PER_SEARCH: Final = 100
"""Documents of one search unit."""


class Cohere(Vendor):
    """The vendor's manners."""

    name = "cohere"
    format = "cohere"

    def request_id(self, number: str) -> str:
        return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))

    def headers(self, number: str, milliseconds: int) -> bytes:
        return (
            f"x-debug-trace-id: {number}\r\nx-envoy-upstream-service-time: {milliseconds}\r\n"
            f"x-trial-endpoint-call-remaining: 999\r\n"
        ).encode()

    def error(self, status: int, message: str, number: str) -> bytes:
        return encode({"id": self.request_id(number), "message": message})


COHERE: Final = Cohere()


class _ChatBody(Struct):
    model: str
    messages: list[Message]
    tools: msgspec.Raw = msgspec.Raw(b"null")
    documents: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None
    max_tokens: int | None = None


class _EmbedBody(Struct):
    model: str
    texts: list[str] = []
    inputs: list[Any] = []
    embedding_types: list[str] | None = None


class _RerankBody(Struct):
    model: str
    query: str
    documents: list[Any]
    top_n: int | None = None


_CHAT: Final = msgspec.json.Decoder(_ChatBody)
_EMBED: Final = msgspec.json.Decoder(_EmbedBody)
_RERANK: Final = msgspec.json.Decoder(_RerankBody)


class Chat(Operation):
    """`POST /v2/chat`."""

    name = "chat"

    def read(self, call: Call) -> Question:
        body = read_body(_CHAT, call.body)
        if not body.messages:
            raise BadInput("messages: at least one message is required")
        contents = [message.content for message in body.messages]
        texts = texts_of(contents)
        return Question(
            model=body.model,
            texts=texts,
            counts={"input": count_contents(texts, contents, body.tools)},
            limit=check_limit("max_tokens", body.max_tokens),
            stream=bool(body.stream),
        )

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        billed = {"input_tokens": _float(tokens.all_input), "output_tokens": _float(tokens.all_output)}
        if tokens.search_units:
            billed["search_units"] = _float(tokens.search_units)
        whole = {"input_tokens": _float(tokens.all_input + _TEMPLATE), "output_tokens": _float(tokens.all_output)}
        return {"billed_units": billed, "tokens": whole, "cached_tokens": _float(tokens.cache_read)}

    def body(self, answer: Answer) -> bytes:
        content: list[dict[str, str]] = [{"type": "text", "text": answer.text}]
        if answer.tokens.reasoning:
            content.insert(0, {"type": "thinking", "thinking": ""})
        reply: dict[str, Any] = {
            "id": self.response_id(answer.number),
            "finish_reason": _finish_reason(answer),
            "message": {"role": "assistant", "content": content},
        }
        if "usage_elsewhere" in answer.quirks:
            reply["meta"] = self.usage(answer, answer.reported)
        else:
            answer.put_usage(reply, "usage", self.usage(answer, answer.reported))
        return encode(reply)

    def events(self, answer: Answer) -> list[Event]:
        total, elsewhere = answer.tokens.all_output, "usage_elsewhere" in answer.quirks
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"message": {"content": {"type": "text", "text": ""}}}
        events = [
            _event("message-start", 0, id=self.response_id(answer.number), delta={"message": message}),
            _event("content-start", 0, index=0, delta=start),
        ]
        for text, generated in answer.chunks():
            delta = _event("content-delta", generated, index=0, delta={"message": {"content": {"text": text}}})
            events.append(msgspec.structs.replace(delta, content=True))
        events.append(_event("content-end", total, index=0))
        delta_end: dict[str, Any] = {"finish_reason": _finish_reason(answer)}
        beside: dict[str, Any] = {}
        answer.put_usage(beside if elsewhere else delta_end, "usage", self.usage(answer, answer.reported))
        events.append(_event("message-end", total, **beside, delta=delta_end))
        return events

    def error_event(self, answer: Answer) -> Event:
        return _event("message-end", 0, delta={"finish_reason": "ERROR", "error": "internal server error"})


class Embed(Operation):
    """`POST /v2/embed`."""

    name = "embed"

    def read(self, call: Call) -> Question:
        body = read_body(_EMBED, call.body)
        objects = len(body.inputs)
        if not body.texts and not objects:
            raise BadInput("texts or inputs are required")
        counts = {"input": count_request(body.texts, 0, objects), "output": 0}
        details = {"texts": body.texts, "inputs": len(body.texts) + objects}
        return Question(model=body.model, texts=body.texts, counts=counts, details=details)

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return {"billed_units": {"input_tokens": _float(tokens.all_input)}}

    def body(self, answer: Answer) -> bytes:
        vectors = [vector(answer.number, place) for place in range(answer.details["inputs"])]
        reply = {
            "id": self.response_id(answer.number),
            "response_type": "embeddings_by_type",
            "embeddings": {"float": vectors},
            "texts": answer.details["texts"],
        }
        return _with_meta(self, answer, reply)


class Rerank(Operation):
    """`POST /v2/rerank`."""

    name = "rerank"

    def read(self, call: Call) -> Question:
        body = read_body(_RERANK, call.body)
        count = len(body.documents)
        if not count:
            raise BadInput("documents: at least one is required")
        counts = {"output": 0, "search_units": -(-count // PER_SEARCH)}
        details = {"results": min(count, count if body.top_n is None else body.top_n)}
        return Question(model=body.model, texts=[body.query], counts=counts, details=details)

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return {"billed_units": {"search_units": _float(tokens.search_units)}}

    def body(self, answer: Answer) -> bytes:
        results = [{"index": place, "relevance_score": 1 / (place + 1)} for place in range(answer.details["results"])]
        return _with_meta(self, answer, {"id": self.response_id(answer.number), "results": results})


def _with_meta(operation: Operation, answer: Answer, reply: dict[str, Any]) -> bytes:
    """The usage of embed and rerank stands in `meta`, beside the version."""
    meta: dict[str, Any] = {"api_version": {"version": "2"}}
    billed = operation.usage(answer, answer.reported)["billed_units"]
    answer.put_usage(meta, "billed_units", billed)
    return encode({**reply, "meta": meta})


def _event(kind: str, generated: int, **members: Any) -> Event:
    return Event(kind, encode({"type": kind, **members}), generated)


def _finish_reason(answer: Answer) -> str:
    return "MAX_TOKENS" if answer.truncated else "COMPLETE"


def _float(count: int) -> Decimal:
    """The count as this vendor writes it: `12.0`."""
    return Decimal(count).quantize(Decimal("0.1"))
