"""The OpenAI chat completions wire format, as the vendor writes it.

Checked in tests against the types of the official SDK. Usage is nested: `prompt_tokens` includes what was read from
and written to caches, `completion_tokens` includes reasoning.
"""

from collections.abc import Container
from typing import Any, Final

import msgspec

from tollbook.simulator.answer import Answer, Event
from tollbook.simulator.tokens import Tokens

vendor: Final = "openai"
path: Final = "/v1/chat/completions"
standard_tier: Final = "default"

_encode: Final = msgspec.json.Encoder().encode
_FINGERPRINT: Final = "fp_simulator"
_KINDS: Final = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    502: ("server_error", None),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "timeout"),
    529: ("server_error", "overloaded"),
}


def key(headers: dict[bytes, bytes]) -> str | None:
    scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def objection(headers: dict[bytes, bytes], limit: int | None) -> str | None:
    return None


def served_tier(asked: str | None, sold: Container[str]) -> str:
    """`fast` is another name for `priority`, which is the one reported; what is not sold is served as default."""
    tier = "priority" if asked == "fast" else asked
    return tier if tier is not None and tier in sold else standard_tier


def served_geo(asked: str | None, us_sold: bool) -> str | None:
    return None


def request_id(number: str) -> str:
    return f"req_{number}"


def response_id(number: str) -> str:
    return f"chatcmpl-{number[:29]}"


def headers(number: str, milliseconds: int) -> bytes:
    return (
        f"x-request-id: {request_id(number)}\r\nopenai-processing-ms: {milliseconds}\r\n"
        "openai-organization: org-simulator\r\nopenai-version: 2020-10-01\r\n"
        "x-ratelimit-limit-requests: 30000\r\nx-ratelimit-limit-tokens: 150000000\r\n"
        "x-ratelimit-remaining-requests: 29999\r\nx-ratelimit-remaining-tokens: 149999000\r\n"
        "x-ratelimit-reset-requests: 2ms\r\nx-ratelimit-reset-tokens: 0s\r\n"
    ).encode()


def usage(answer: Answer, tokens: Tokens) -> dict[str, object]:
    return {
        "prompt_tokens": tokens.all_input,
        "completion_tokens": tokens.all_output,
        "total_tokens": tokens.all_input + tokens.all_output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def body(answer: Answer) -> bytes:
    reply: dict[str, Any] = {
        "id": response_id(answer.number),
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": _finish_reason(answer),
            }
        ],
        "usage": usage(answer, answer.tokens),
        "service_tier": answer.tier,
        "system_fingerprint": _FINGERPRINT,
    }
    if "usage_missing" in answer.quirks:
        del reply["usage"]
    elif "usage_null" in answer.quirks:
        reply["usage"] = None
    return _encode(reply)


def events(answer: Answer) -> list[Event]:
    quirks, tokens = answer.quirks, answer.tokens
    final = _encode(usage(answer, tokens))
    spare = b"null" if answer.include_usage and "usage_missing" not in quirks else b""
    first = _encode(usage(answer, Tokens())) if "usage_zero_first" in quirks else spare
    chunk = _Chunk(answer)
    events = [chunk.event({"role": "assistant", "content": "", "refusal": None}, None, first, tokens.reasoning)]
    for text, generated in answer.chunks():
        repeated = _encode(usage(answer, tokens.generated(generated))) if "usage_cumulative" in quirks else spare
        events.append(chunk.event({"content": text}, None, repeated, generated))
    total = tokens.all_output
    with_choices = "usage_with_choices" in quirks
    events.append(chunk.event({}, _finish_reason(answer), final if with_choices else spare, total))
    if answer.include_usage and not with_choices and "usage_missing" not in quirks:
        events.append(chunk.closing(b"null" if "usage_null" in quirks else final, total))
    events.append(Event(None, b"[DONE]", total))
    return events


class _Chunk:
    """Writes the chunks of one answer, whose members before `choices` are all the same."""

    def __init__(self, answer: Answer) -> None:
        head = {
            "id": response_id(answer.number),
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
            "service_tier": answer.tier,
            "system_fingerprint": _FINGERPRINT,
        }
        self._head = _encode(head)[:-1] + b',"choices":['

    def event(self, delta: dict[str, Any], finish_reason: str | None, usage: bytes, generated: int) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return Event(None, self._end(_encode(choice), usage), generated, content=len(delta) == 1)

    def closing(self, usage: bytes, generated: int) -> Event:
        return Event(None, self._end(b"", usage), generated)

    def _end(self, choices: bytes, usage: bytes) -> bytes:
        return self._head + choices + (b'],"usage":' + usage + b"}" if usage else b"]}")


def error(status: int, message: str, number: str) -> bytes:
    kind, code = _KINDS.get(status, ("invalid_request_error", None))
    return _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def error_event(number: str) -> Event:
    return Event(None, error(500, "The server had an error while processing your request.", number), 0)


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"
