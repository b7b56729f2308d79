"""Cost of the wire-format adapters: microseconds of CPU per scan, prepare, read and streamed chunk."""

import json
import time
from collections.abc import Callable

from tollbook.providers.body import scan
from tollbook.providers.contract import Adapter, Call
from tollbook.providers.registry import BY_FORMAT

ROUNDS = 7
CALLS = 20_000

MESSAGES = [
    {"role": "system", "content": "You answer briefly and name your sources. " * 8},
    {"role": "user", "content": "When was the first toll gate on this road opened, and by whom? " * 12},
]
REQUEST = {
    "model": "gpt-4o-mini",
    "messages": MESSAGES,
    "temperature": 0.2,
    "max_tokens": 256,
    "user": "u-1",
    "seed": 7,
}

OPENAI_ANSWER = {
    "id": "chatcmpl-BkQ0tQ7sPqFvV8nXy2LwT1uE",
    "object": "chat.completion",
    "created": 1795436400,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It opened in 1663. " * 8, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 231,
        "completion_tokens": 48,
        "total_tokens": 279,
        "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_0123456789",
}
OPENAI_CHUNK = (
    b'data: {"id":"chatcmpl-BkQ0tQ7sPqFvV8nXy2LwT1uE","object":"chat.completion.chunk","created":1795436400,'
    b'"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":" toll"},"finish_reason":null}],'
    b'"usage":null}\n\n'
)
ANTHROPIC_CHUNK = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" toll gates of the road"}}\n\n'
)


def _best(call: Callable[[], object]) -> float:
    """Microseconds of CPU time per call, the best of some rounds: noise only ever adds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time_ns() - start) / CALLS / 1000)
    return best


def _call(adapter: Adapter, body: bytes) -> Call:
    return Call(adapter.routes[0], {}, b"", [], body, scan(body))


def run() -> None:
    """Measure and print one line per operation."""
    compact = json.dumps(REQUEST, separators=(",", ":")).encode()
    spaced = json.dumps(REQUEST).encode()
    streamed = json.dumps(REQUEST | {"stream": True}, separators=(",", ":")).encode()
    answer = json.dumps(OPENAI_ANSWER, separators=(",", ":")).encode()
    openai, anthropic = BY_FORMAT["openai"][0], BY_FORMAT["anthropic"][0]
    asked, asked_streamed = _call(openai, compact), _call(openai, streamed)
    prepared = openai.prepare(asked_streamed, "gpt-4o")
    plain, hiding = openai.stream(openai.prepare(asked, "gpt-4o")), openai.stream(prepared)
    messages = anthropic.stream(prepared)
    plain.feed(OPENAI_CHUNK)
    two, half = OPENAI_CHUNK * 2, len(OPENAI_CHUNK) // 2
    cut = OPENAI_CHUNK[half:] + OPENAI_CHUNK[:half]
    shifted = openai.stream(prepared)
    shifted.feed(OPENAI_CHUNK[:half])
    lines: list[tuple[str, Callable[[], object]]] = [
        (f"scan, compact, {len(compact)} bytes", lambda: scan(compact)),
        (f"scan, spaced, {len(spaced)} bytes", lambda: scan(spaced)),
        ("prepare, same model", lambda: openai.prepare(asked, "gpt-4o-mini")),
        ("prepare, other model", lambda: openai.prepare(asked, "gpt-4o")),
        ("prepare, stream", lambda: openai.prepare(asked_streamed, "gpt-4o")),
        (f"read, {len(answer)} bytes", lambda: openai.read(200, [], answer)),
        (f"feed, openai, {len(OPENAI_CHUNK)} bytes", lambda: plain.feed(OPENAI_CHUNK)),
        ("feed, openai, hiding", lambda: hiding.feed(OPENAI_CHUNK)),
        ("feed, openai, two events at once", lambda: plain.feed(two)),
        ("feed, openai, cut in the middle, hiding", lambda: shifted.feed(cut)),
        (f"feed, anthropic, {len(ANTHROPIC_CHUNK)} bytes", lambda: messages.feed(ANTHROPIC_CHUNK)),
    ]
    print("wire-format adapters, microseconds of CPU per call")
    for name, call in lines:
        print(f"  {name:42s} {_best(call):7.2f}")


if __name__ == "__main__":
    run()
