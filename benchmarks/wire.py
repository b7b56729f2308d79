"""The bytes that every subject carries: 1.3 kB asked, 0.7 kB answered, and a stream of 100 pieces."""

import json

PATH = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
KEY = "sk-tollbook-benchmark-0123456789"
PIECES = 100

_QUESTION = "When was the first toll gate on this road opened, by whom, and what did a coach pay there? "
_ASKED = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You answer briefly, name your sources and say what you do not know. " * 4},
        {"role": "user", "content": _QUESTION * 9},
    ],
    "temperature": 0.2,
    "max_tokens": 256,
}
_SERVED = {"model": "gpt-4o-mini-2024-07-18", "created": 1795436400, "service_tier": "default"}
_USAGE = {
    "prompt_tokens": 231,
    "completion_tokens": PIECES,
    "total_tokens": 231 + PIECES,
    "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_MESSAGE: dict[str, object] = {
    "role": "assistant",
    "content": "It opened in 1663. " * 8,
    "refusal": None,
    "annotations": [],
}
_ID = "chatcmpl-BkQ0tQ7sPqFvV8nXy2LwT1uE"


def headers() -> dict[str, str]:
    """What a client's SDK sends beside the body."""
    return {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}


def asked(*, stream: bool) -> bytes:
    """The body of a request, of about 1.3 kB. It does not ask for usage in a stream, as most clients do not: a gateway
    that meters has to ask for it, and to hide it again."""
    return _compact(_ASKED | ({"stream": True} if stream else {}))


def answered() -> bytes:
    """The body of an answer, of about 0.7 kB."""
    choice = {"index": 0, "message": _MESSAGE, "logprobs": None, "finish_reason": "stop"}
    return _compact({"id": _ID, "object": "chat.completion", **_SERVED, "choices": [choice], "usage": _USAGE})


def pieces(*, usage: bool) -> list[bytes]:
    """The events of a streamed answer, in order; the last one is the end mark."""
    events = [_piece({"role": "assistant", "content": ""})]
    events += [_piece({"content": " toll gate"}) for _ in range(PIECES - 2)]
    events.append(_piece({}, "stop"))
    if usage:
        events.append(_event({"choices": [], "usage": _USAGE}))
    return [*events, b"data: [DONE]\n\n"]


def _piece(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})


def _event(part: dict[str, object]) -> bytes:
    return b"data: " + _compact({"id": _ID, "object": "chat.completion.chunk", **_SERVED, **part}) + b"\n\n"


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
