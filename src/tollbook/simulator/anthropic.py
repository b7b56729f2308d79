"""The Anthropic messages wire format, as the vendor writes it.

Checked in tests against the types of the official SDK. Usage is disjoint: `input_tokens` is only what was neither
read from nor written to a cache; `output_tokens` includes thinking.
"""

from collections.abc import Container
from typing import Any, Final

import msgspec

from tollbook.simulator.answer import Answer, Event
from tollbook.simulator.tokens import Tokens

vendor: Final = "anthropic"
path: Final = "/v1/messages"
standard_tier: Final = "standard"

_encode: Final = msgspec.json.Encoder().encode
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


def key(headers: dict[bytes, bytes]) -> str | None:
    secret = headers.get(b"x-api-key")
    if secret is not None:
        return secret.decode("latin-1")
    scheme, _, bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else None


def objection(headers: dict[bytes, bytes], limit: int | None) -> str | None:
    if b"anthropic-version" not in headers:
        return "anthropic-version: header is required"
    return "max_tokens: Field required" if limit is None else None


def served_tier(asked: str | None, sold: Container[str]) -> str:
    """Priority is sold by commitment only, and this vendor's accounts have none."""
    return standard_tier


def served_geo(asked: str | None, us_sold: bool) -> str | None:
    return "us" if asked == "us" and us_sold else "global"


def request_id(number: str) -> str:
    return f"req_{number[:24]}"


def response_id(number: str) -> str:
    return f"msg_{number[:24]}"


def headers(number: str, milliseconds: int) -> bytes:
    return (
        f"request-id: {request_id(number)}\r\nanthropic-organization-id: org-simulator\r\n"
        "anthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\n"
        "anthropic-ratelimit-requests-reset: 2030-01-01T00:00:00Z\r\n"
        "anthropic-ratelimit-input-tokens-limit: 4000000\r\n"
        "anthropic-ratelimit-input-tokens-remaining: 4000000\r\n"
        "anthropic-ratelimit-input-tokens-reset: 2030-01-01T00:00:00Z\r\n"
        "anthropic-ratelimit-output-tokens-limit: 800000\r\n"
        "anthropic-ratelimit-output-tokens-remaining: 800000\r\n"
        "anthropic-ratelimit-output-tokens-reset: 2030-01-01T00:00:00Z\r\n"
    ).encode()


def usage(answer: Answer, tokens: Tokens) -> dict[str, object]:
    return {
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": tokens.all_output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "server_tool_use": None,
        "service_tier": answer.tier,
        "inference_geo": answer.geo,
    }


def body(answer: Answer) -> bytes:
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text, "citations": None}]
    if answer.tokens.reasoning:
        content.insert(0, {**_THINKING, "signature": _SIGNATURE})
    message = _message(answer, content)
    message["stop_reason"] = _stop_reason(answer)
    _put_usage(message, usage(answer, answer.tokens), answer.quirks)
    return _encode(message)


def events(answer: Answer) -> list[Event]:
    tokens = answer.tokens
    message = _message(answer, [])
    if "delta_only" not in answer.quirks:
        _put_usage(message, usage(answer, _opening_tokens(answer)), answer.quirks)
    events = [_event("message_start", 0, message=message)]
    text_index = 0
    if tokens.reasoning:
        text_index = 1
        events += _thinking_events(tokens.reasoning)
    start = {"type": "text", "text": "", "citations": None}
    events.append(_event("content_block_start", tokens.reasoning, index=text_index, content_block=start))
    events.append(_event("ping", tokens.reasoning))
    events += _text_events(answer, text_index)
    events.append(_event("content_block_stop", tokens.all_output, index=text_index))
    events.append(_message_delta(answer, tokens, _stop_reason(answer)))
    events.append(_event("message_stop", tokens.all_output))
    return events


def error(status: int, message: str, number: str) -> bytes:
    return _encode(_error(_KINDS.get(status, "api_error"), message, number))


def error_event(number: str) -> Event:
    return Event("error", _encode(_error("overloaded_error", "Overloaded", number)), 0)


def _error(kind: str, message: str, number: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id(number)}


def _message(answer: Answer, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": response_id(answer.number),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _put_usage(holder: dict[str, Any], usage: dict[str, object], quirks: Container[str]) -> None:
    if "usage_null" in quirks:
        holder["usage"] = None
    elif "usage_missing" not in quirks:
        holder["usage"] = usage


def _opening_tokens(answer: Answer) -> Tokens:
    """The input side in full, and one output token as a placeholder."""
    if "usage_zero_first" in answer.quirks:
        return Tokens()
    return msgspec.structs.replace(answer.tokens, output=min(1, answer.tokens.all_output), reasoning=0)


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
        events.append(Event("content_block_delta", head + _encode(text) + b"}}", generated, content=True))
        if "usage_cumulative" in answer.quirks:
            events.append(_message_delta(answer, answer.tokens.generated(generated), None))
    return events


def _message_delta(answer: Answer, tokens: Tokens, stop_reason: str | None) -> Event:
    """Cumulative usage without the TTL split, tier and region, which stand in `message_start` only."""
    whole = usage(answer, tokens)
    for name in ("cache_creation", "service_tier", "inference_geo"):
        del whole[name]
    if "delta_zero_input" in answer.quirks:
        whole |= {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    members: dict[str, Any] = {"delta": {"stop_reason": stop_reason, "stop_sequence": None}}
    _put_usage(members, whole, answer.quirks)
    return _event("message_delta", tokens.all_output, **members)


def _event(name: str, generated: int, **members: Any) -> Event:
    return Event(name, _encode({"type": name, **members}), generated)


def _stop_reason(answer: Answer) -> str:
    return "max_tokens" if answer.truncated else "end_turn"
