"""The financial fields of an answer: everything in it by which somebody pays, or by which a bill is found again."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from tollbook.conformance.client import Answer
from tollbook.conformance.suite import Case
from tollbook.providers.eventstream import Message, MessageSplitter

Fields: TypeAlias = dict[str, Any]
"""Values by path: `status`, `header.x-request-id`, `usage.prompt_tokens`, `message_delta.usage.output_tokens`."""

HEADERS: Final = re.compile(
    r"(x-)?request-id|apim-request-id|x-amzn-(requestid|bedrock-(.*-token-count|service-tier))|retry-after|.*-service-tier"
)
"""Headers by which a call is found at the vendor, that carry usage, or say what was served and when to come again."""

_SUBTREES: Final = frozenset(
    {"usage", "usageMetadata", "billed_units", "tokens", "x_groq", "amazon-bedrock-invocationMetrics"}
)
_MEMBERS: Final = frozenset(
    (
        *("model", "modelVersion", "service_tier", "serviceTier"),
        *("id", "responseId", "response_id", "generation_id"),
        *("finish_reason", "finishReason", "stop_reason", "stopReason"),
        *("prompt_token_count", "generation_token_count"),
    )
)
_IDENTIFIED: Final = frozenset({"", "message", "response"})
"""Where an `id` is the answer's own, and not that of one of its parts."""


def fields_of(case: Case, answer: Answer) -> Fields:
    """The financial fields of an answer. A member that is null says nothing, as one that is not there.

    Of a stream each field is the last one told by that kind of event; `usage_events` counts the events with usage,
    `ended` says whether its terminal event came.
    """
    found: Fields = {"status": answer.status}
    found |= {f"header.{name}": value for name, value in answer.headers.items() if HEADERS.fullmatch(name)}
    if answer.status >= 400 or not case.stream:
        return found | dict(_walk(_json(answer.body), ""))
    last, with_usage = "", 0
    for name, value in _events(answer):
        last = name
        told = dict(_walk(value, ""))
        with_usage += any(not _SUBTREES.isdisjoint(path.split(".")) for path in told)
        found |= {f"{name}.{path}": leaf for path, leaf in told.items()}
    ended = last == case.terminal if case.terminal else answer.whole
    return found | {"usage_events": with_usage, "ended": ended}


def _walk(value: Any, place: str, *, inside: bool = False) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            below = f"{place}.{name}" if place else name
            if inside or name in _SUBTREES:
                yield from _walk(member, below, inside=True)
            elif name in _MEMBERS and not isinstance(member, dict | list):
                if member is not None and (name != "id" or place in _IDENTIFIED):
                    yield below, member
            else:
                yield from _walk(member, below)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _walk(member, f"{place}.{number}", inside=inside)
    elif inside and value is not None and not place.lower().endswith("latency"):
        yield place, value


def _events(answer: Answer) -> Iterator[tuple[str, Any]]:
    """Each event of a stream, by its name."""
    if "vnd.amazon.eventstream" in answer.headers.get("content-type", ""):
        for message in MessageSplitter().push(answer.body):
            if isinstance(message, Message):
                yield message.headers.get(":event-type", "exception"), _unpacked(_json(message.payload))
        return
    for block in re.split(r"\r?\n\r?\n", answer.body.decode("utf-8", "replace")):
        lines = [line for line in re.split(r"\r?\n", block) if line.startswith("data:")]
        if not lines:
            continue
        text = "\n".join(line[5:].removeprefix(" ") for line in lines)
        value = _json(text.encode())
        yield (text, None) if value is None else (_name(value), value)


def _name(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else "chunk"


def _unpacked(value: Any) -> Any:
    """What a message of InvokeModel wraps."""
    if isinstance(value, dict) and isinstance(value.get("bytes"), str):
        return _json(base64.b64decode(value["bytes"]))
    return value


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
