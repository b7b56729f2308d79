"""One request for each operation that the simulator meters, buffered and streamed, as bytes."""

import json
from typing import Any, NamedTuple

from tollbook.simulator.catalogue import ROUTES
from tollbook.simulator.vendor import Operation

KEY = "sk-sim-case"
_TURN = [{"role": "user", "content": "hello there"}]
_GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}
_CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hello there"}]}]}
_FORM = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o-transcribe\r\n'
    b'--b\r\ncontent-disposition: form-data; name="stream"\r\n\r\n%s\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n'
    b"content-type: audio/mpeg\r\n\r\n" + b"\0" * 32_000 + b"\r\n--b--\r\n"
)


class Case(NamedTuple):
    """A request: whose, for what, in which form, to which path, with what body."""

    vendor: str
    operation: str
    stream: bool
    path: str
    body: bytes

    def request(self, *commands: str, headers: str = "") -> bytes:
        """Its bytes on the wire. Commands are faults with their options, and counts."""
        faults = ";".join(command for command in commands if command.startswith("fault="))
        usage = ";".join(command for command in commands if not command.startswith("fault="))
        kind = "multipart/form-data; boundary=b" if self.body.startswith(b"--") else "application/json"
        lines = (
            f"POST {self.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            f"anthropic-version: 2023-06-01\r\ncontent-type: {kind}\r\nconnection: close\r\n{headers}"
            + (f"x-simulator-fault: {faults}\r\n" if faults else "")
            + (f"x-simulator-usage: {usage}\r\n" if usage else "")
            + f"content-length: {len(self.body)}\r\n\r\n"
        )
        return lines.encode() + self.body

    def __str__(self) -> str:
        return f"{self.vendor}-{self.operation}-{'stream' if self.stream else 'whole'}"


def _chat(vendor: str, path: str, model: str) -> list[Case]:
    asked = {"model": model, "messages": _TURN, "stream_options": {"include_usage": True}}
    return _both(vendor, "chat", path, asked)


def _both(vendor: str, operation: str, path: str, body: dict[str, Any]) -> list[Case]:
    """The buffered and the streamed form of an operation that has `stream` in its body."""
    return [
        Case(vendor, operation, stream, path, json.dumps(body | {"stream": stream}).encode())
        for stream in (False, True)
    ]


def _whole(vendor: str, operation: str, path: str, body: dict[str, Any]) -> list[Case]:
    return [Case(vendor, operation, False, path, json.dumps(body).encode())]


def _stream(vendor: str, operation: str, path: str, body: dict[str, Any]) -> list[Case]:
    return [Case(vendor, operation, True, path, json.dumps(body).encode())]


def _openai(vendor: str, base: str, version: str) -> list[Case]:
    """What OpenAI and Azure have in common."""
    options = {"stream_options": {"include_usage": True}}
    audio, speech = f"{base}/audio/transcriptions{version}", f"{base}/audio/speech{version}"
    spoken = {"model": "gpt-4o-mini-tts", "input": "hello there"}
    painted = {"model": "gpt-image-1", "prompt": "hello there", "partial_images": 2}
    completed = {"model": "gpt-3.5-turbo-instruct", "prompt": "hello there", **options}
    return [
        *_chat(vendor, f"{base}/chat/completions{version}", "gpt-4o"),
        *_both(vendor, "completions", f"{base}/completions{version}", completed),
        *_whole(vendor, "embeddings", f"{base}/embeddings{version}", {"model": "text-embedding-3-small", "input": "a"}),
        *_both(vendor, "images", f"{base}/images/generations{version}", painted),
        Case(vendor, "transcriptions", False, audio, _FORM % b"false"),
        Case(vendor, "transcriptions", True, audio, _FORM % b"true"),
        *_whole(vendor, "speech", speech, spoken),
        *_stream(vendor, "speech", speech, spoken | {"stream_format": "sse"}),
        *_both(vendor, "responses", f"{base}/responses{version}", {"model": "gpt-4o", "input": "hello there"}),
    ]


def _gemini() -> list[Case]:
    flash, embedding = "/v1beta/models/gemini-2.5-flash", "/v1beta/models/gemini-embedding-001"
    return [
        *_whole("gemini", "generate", f"{flash}:generateContent", _GEMINI),
        *_stream("gemini", "stream_generate", f"{flash}:streamGenerateContent?alt=sse", _GEMINI),
        *_whole("gemini", "embed", f"{embedding}:embedContent", {"content": _GEMINI["contents"][0]}),
    ]


def _bedrock() -> list[Case]:
    base, llama = "/model/amazon.nova-lite-v1%3A0", "/model/meta.llama3-1-8b-instruct-v1%3A0"
    invoked = {"prompt": "hello there"}
    return [
        *_whole("bedrock", "converse", f"{base}/converse", _CONVERSE),
        *_stream("bedrock", "converse_stream", f"{base}/converse-stream", _CONVERSE),
        *_whole("bedrock", "invoke", f"{llama}/invoke", invoked),
        *_stream("bedrock", "invoke_stream", f"{llama}/invoke-with-response-stream", invoked),
    ]


def _cohere() -> list[Case]:
    ranked = {"model": "rerank-v3.5", "query": "q", "documents": ["a", "b"]}
    return [
        *_both("cohere", "chat", "/v2/chat", {"model": "command-a-03-2025", "messages": _TURN}),
        *_whole("cohere", "embed", "/v2/embed", {"model": "embed-v4.0", "texts": ["a"]}),
        *_whole("cohere", "rerank", "/v2/rerank", ranked),
    ]


_CLAUDE = {"model": "claude-haiku-4-5", "max_tokens": 4096, "messages": _TURN}

CASES = [
    *_openai("openai", "/v1", ""),
    *_openai("azure", "/openai/v1", ""),
    *_chat("xai", "/xai/v1/chat/completions", "grok-4"),
    *_chat("deepseek", "/deepseek/v1/chat/completions", "deepseek-chat"),
    *_chat("groq", "/groq/openai/v1/chat/completions", "llama-3.3-70b-versatile"),
    *_chat("mistral", "/mistral/v1/chat/completions", "mistral-small-latest"),
    *_whole("mistral", "embeddings", "/mistral/v1/embeddings", {"model": "mistral-embed", "input": "a"}),
    *_chat("openrouter", "/openrouter/api/v1/chat/completions", "openai/gpt-4o-mini"),
    *_chat("vllm", "/vllm/v1/chat/completions", "meta-llama/Llama-3.1-8B-Instruct"),
    *_both("anthropic", "messages", "/v1/messages", _CLAUDE),
    *_gemini(),
    *_bedrock(),
    *_cohere(),
]
"""Every metered operation. The array form of Gemini's stream has a test of its own."""

OPERATIONS = {
    (route.target.vendor.name, route.target.name) for route in ROUTES.table if isinstance(route.target, Operation)
}
STREAMS = [case for case in CASES if case.stream]
