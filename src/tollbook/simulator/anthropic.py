"""The Anthropic messages wire format, as the vendor writes it.

Checked in tests against the types of the official SDK. Usage is disjoint: `input_tokens` is only what was neither
read from nor written to a cache; `output_tokens` includes thinking. What a second model or a compaction used stands in
`iterations` alone.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.pricelist import ADVISOR
from tollbook.simulator.question import Message, Part, Question, check_limit, count_contents, read_body, texts_of
from tollbook.simulator.tokens import Tokens
from tollbook.simulator.vendor import Operation, Vendor

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_THINKING: Final = {"type": "thinking", "thinking": "", "signature": ""}
_SIGNATURE: Final = "c2ltdWxhdG9y"
_LIMITS: Final = (
    b"anthropic-organization-id: org-simulator\r\n"
    b"anthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\n"
    b"anthropic-ratelimit-requests-reset: 2030-01-01T00:00:00Z\r\n"
    b"anthropic-ratelimit-input-tokens-limit: 4000000\r\n"
    b"anthropic-ratelimit-input-tokens-remaining: 4000000\r\n"
    b"anthropic-ratelimit-input-tokens-reset: 2030-01-01T00:00:00Z\r\n"
    b"anthropic-ratelimit-output-tokens-limit: 800000\r\n"
    b"anthropic-ratelimit-output-tokens-remaining: 800000\r\n"
    b"anthropic-ratelimit-output-tokens-reset: 2030-01-01T00:00:00Z\r\n"
)


class _Body(Struct):
    model: str
    messages: list[Message]
    system: str | list[Part] | None = None
    tools: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None
    max_tokens: int | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None


_BODY: Final = msgspec.json.Decoder(_Body)


class Anthropic(Vendor):
    """The vendor's manners. Priority is sold by commitment only, and this vendor's accounts have none."""

    name = "anthropic"
    format = "anthropic"
    standard_tier = "standard"
    batch_tier = "batch"

    def key(self, call: Call) -> str | None:
        return call.header(b"x-api-key") or super().key(call)

    def objection(self, call: Call) -> str | None:
        return None if b"anthropic-version" in call.headers else "anthropic-version: header is required"

    def served_geo(self, asked: str | None, us_sold: bool) -> str | None:
        return "us" if asked == "us" and us_sold else "global"

    def request_id(self, number: str) -> str:
        return f"req_{number[:24]}"

    def headers(self, number: str, milliseconds: int) -> bytes:
        return f"request-id: {self.request_id(number)}\r\n".encode() + _LIMITS

    def error(self, status: int, message: str, number: str) -> bytes:
        return encode(_error(self, _KINDS.get(status, "api_error"), message, number))


ANTHROPIC: Final = Anthropic()


def read_messages(body: bytes) -> Question:
    """A request for a message, whatever is done with it."""
    asked = read_body(_BODY, body)
    if not asked.messages:
        raise BadInput("messages: at least one message is required")
    contents = [message.content for message in asked.messages]
    if asked.system is not None:
        contents.insert(0, asked.system)
    texts = texts_of(contents)
    return Question(
        model=asked.model,
        texts=texts,
        counts={"input": count_contents(texts, contents, asked.tools)},
        limit=check_limit("max_tokens", asked.max_tokens),
        stream=bool(asked.stream),
        tier=asked.service_tier,
        geo=asked.inference_geo,
        speed=asked.speed,
    )


class Messages(Operation):
    """`POST /v1/messages`."""

    name = "messages"

    def read(self, call: Call) -> Question:
        question = read_messages(call.body)
        if question.limit is None:
            raise BadInput("max_tokens: Field required")
        return question

    def response_id(self, number: str) -> str:
        return f"msg_{number[:24]}"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return usage(answer, tokens)

    def body(self, answer: Answer) -> bytes:
        return encode(message(answer))

    def events(self, answer: Answer) -> list[Event]:
        return events(answer)

    def error_event(self, answer: Answer) -> Event:
        return Event("error", encode(_error(self.vendor, "overloaded_error", "Overloaded", answer.number)), 0)


def usage(answer: Answer, tokens: Tokens) -> dict[str, Any]:
    """The usage object; its headline is what the answering model itself used."""
    searches = {"web_search_requests": tokens.web_searches, "web_fetch_requests": 0}
    whole: dict[str, Any] = {
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": tokens.all_output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "server_tool_use": searches if tokens.web_searches else None,
        "service_tier": answer.tier,
        "inference_geo": answer.geo,
    }
    if answer.speed is not None:
        whole["speed"] = answer.speed
    if tokens.advisor_input or tokens.advisor_output or tokens.compaction_input or tokens.compaction_output:
        whole["iterations"] = _iterations(answer, tokens)
    return whole


def _iterations(answer: Answer, tokens: Tokens) -> list[dict[str, Any]]:
    """All that was used, by what it was for: the sum of them is what is billed."""
    entries = []
    if tokens.compaction_input or tokens.compaction_output:
        entries.append(_iteration("compaction", Tokens(tokens.compaction_input, output=tokens.compaction_output)))
    entries.append({**_iteration("message", tokens), "model": answer.model})
    if tokens.advisor_input or tokens.advisor_output:
        advised = Tokens(tokens.advisor_input, output=tokens.advisor_output)
        entries.append({**_iteration("advisor_message", advised), "model": ADVISOR})
    return entries


def _iteration(kind: str, tokens: Tokens) -> dict[str, Any]:
    return {
        "type": kind,
        "input_tokens": tokens.input,
        "output_tokens": tokens.all_output,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
    }


def message(answer: Answer) -> dict[str, Any]:
    """A whole message."""
    whole = _message(answer, [*_tool_blocks(answer), {"type": "text", "text": answer.text, "citations": None}])
    if answer.tokens.reasoning:
        whole["content"].insert(0, {**_THINKING, "signature": _SIGNATURE})
    whole["stop_reason"] = _stop_reason(answer)
    answer.put_usage(whole, "usage", usage(answer, answer.reported))
    return whole


def events(answer: Answer) -> list[Event]:
    """A message as a stream."""
    tokens, elsewhere = answer.tokens, "usage_elsewhere" in answer.quirks
    begun = _message(answer, [])
    if "delta_only" not in answer.quirks and not elsewhere:
        answer.put_usage(begun, "usage", usage(answer, _opening_tokens(answer)))
    events = [_event("message_start", 0, message=begun)]
    place = 0
    if tokens.reasoning:
        place = 1
        events += _thinking_events(tokens.reasoning)
    for block in _tool_blocks(answer):
        events.append(_event("content_block_start", tokens.reasoning, index=place, content_block=block))
        events.append(_event("content_block_stop", tokens.reasoning, index=place))
        place += 1
    start = {"type": "text", "text": "", "citations": None}
    events.append(_event("content_block_start", tokens.reasoning, index=place, content_block=start))
    events.append(_event("ping", tokens.reasoning))
    events += _text_events(answer, place)
    events.append(_event("content_block_stop", tokens.all_output, index=place))
    events.append(_message_delta(answer, answer.reported, _stop_reason(answer), tokens.all_output))
    stop = {"usage": usage(answer, answer.reported)} if elsewhere else {}
    events.append(_event("message_stop", tokens.all_output, **stop))
    return events


def _error(vendor: Vendor, kind: str, message: str, number: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": vendor.request_id(number)}


def _message(answer: Answer, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.number[:24]}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _opening_tokens(answer: Answer) -> Tokens:
    """The input side in full, and one output token as a placeholder."""
    if "usage_zero_first" in answer.quirks:
        return Tokens()
    told = answer.reported
    written = {"cache_write_5m": told.cache_write_5m, "cache_write_1h": told.cache_write_1h}
    return Tokens(
        told.all_input - told.cache_read - told.cache_write, told.cache_read, **written, output=min(1, told.all_output)
    )


def _tool_blocks(answer: Answer) -> list[dict[str, Any]]:
    """What the vendor's own search did: a use and a result for each."""
    blocks: list[dict[str, Any]] = []
    for place in range(answer.tokens.web_searches):
        name = f"srvtoolu_{place}{answer.number[:22]}"
        blocks.append({"type": "server_tool_use", "id": name, "name": "web_search", "input": {"query": "toll"}})
        blocks.append({"type": "web_search_tool_result", "tool_use_id": name, "content": []})
    return blocks


def _thinking_events(tokens: int) -> list[Event]:
    """A thinking block whose text is withheld; its tokens are billed all the same."""
    signature = {"type": "signature_delta", "signature": _SIGNATURE}
    return [
        _event("content_block_start", 0, index=0, content_block=_THINKING),
        _event("content_block_delta", tokens, index=0, delta=signature),
        _event("content_block_stop", tokens, index=0),
    ]


def _text_events(answer: Answer, index: int) -> list[Event]:
    head = b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":' % index
    events = []
    for text, generated in answer.chunks():
        events.append(Event("content_block_delta", head + encode(text) + b"}}", generated, content=True))
        if "usage_cumulative" in answer.quirks:
            events.append(_message_delta(answer, answer.reported_by(generated), None, generated))
    return events


def _message_delta(answer: Answer, tokens: Tokens, stop_reason: str | None, generated: int) -> Event:
    """Cumulative usage without the TTL split, tier, region and speed, which stand in `message_start` only."""
    whole = usage(answer, tokens)
    for name in ("cache_creation", "service_tier", "inference_geo", "speed"):
        whole.pop(name, None)
    if "delta_zero_input" in answer.quirks:
        whole |= {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    members: dict[str, Any] = {"delta": {"stop_reason": stop_reason, "stop_sequence": None}}
    if "usage_elsewhere" not in answer.quirks:
        answer.put_usage(members, "usage", whole)
    return _event("message_delta", generated, **members)


def _event(name: str, generated: int, **members: Any) -> Event:
    return Event(name, encode({"type": name, **members}), generated)


def _stop_reason(answer: Answer) -> str:
    return "max_tokens" if answer.truncated else "end_turn"
