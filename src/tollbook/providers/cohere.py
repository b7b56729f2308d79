"""Cohere's API, version 2: chat, embeddings and reranking.

Source: the API reference and the types of the official SDK, cohere 7.3.
"""

from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import error_word, keep_raw, put_usage, read_error, word
from tollbook.providers.body import UNREADABLE, present
from tollbook.providers.cohere_usage import decompose
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.reader import EventReader
from tollbook.providers.text import measure_text, text_bytes

_GENERATED: Final = ("content", "tool_plan", "tool_calls")
_FAILED: Final = "ERROR"
_BOTH_SIDES: Final = frozenset({"input_tokens", "output_tokens"})
_HEADERS: Final = frozenset({b"accept", b"content-type", b"user-agent"})


class _Answer(Struct, gc=False):
    """What concerns us of a buffered answer: of chat the usage, of the others what they call `meta`."""

    id: Any = None
    finish_reason: Any = None
    message: Any = None
    usage: Raw = Raw()
    meta: Raw = Raw()


class _Event(Struct, gc=False):
    """What concerns us of one event of a stream."""

    type: Any = None
    id: Any = None
    delta: Any = None


class _End(Struct, gc=False, frozen=True):
    usage: Raw = Raw()


class _EndEvent(Struct, gc=False):
    delta: _End = _End()


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode
_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_end: Final = msgspec.json.Decoder(_EndEvent).decode


def _describe(reading: Reading, raw: bytes, headlines: frozenset[str]) -> bool:
    """Put a usage object into a reading; whether its usage is final."""
    if not raw.startswith(b"{"):
        return False
    reading.raw = keep_raw(raw, reading.flags)
    return put_usage(reading, decompose(raw, headlines), final=True)


def _generated(message: object) -> int:
    """The bytes of generated text in a message or in a delta's message, whose content may be one part."""
    if not isinstance(message, dict):
        return 0
    content = message.get("content")
    if isinstance(content, dict) and isinstance(text := content.get("text", content.get("thinking")), str):
        return text_bytes(text)
    return sum(measure_text(message[name]).size for name in _GENERATED if name in message)


class ChatReader(EventReader):
    """Reads one streamed chat. The usage comes with `message-end`, which ends it."""

    __slots__ = ("_identity", "_terminal", "_usage")

    def __init__(self) -> None:
        super().__init__()
        self._identity: str | None = None
        self._usage = b""
        self._terminal = False

    @property
    def terminal(self) -> bool:
        """Whether `message-end` has been seen."""
        return self._terminal

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(
            response_id=self._identity,
            complete=self._terminal and self._error is None,
            error=self._error,
            flags=list(self._flags),
        )
        if not _describe(reading, self._usage, _BOTH_SIDES):
            reading.output_text, reading.output_deltas = self._text, self._deltas
        return reading

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            said = _decode_event(data)
        except UNREADABLE:
            if not data.strip().startswith(b"[DONE]"):
                self._saw_unreadable(data)
            return False
        delta = said.delta if isinstance(said.delta, dict) else {}
        if said.type == "message-start":
            self._identity = word(said.id)
        elif said.type == "message-end":
            self._terminal = True
            self._usage = bytes(_decode_end(data).delta.usage)
            if delta.get("finish_reason") == _FAILED or delta.get("error") is not None:
                self._error = error_word({"type": word(delta.get("finish_reason"))})
        elif isinstance(said.type, str) and not said.type.startswith("citation"):
            self._saw(_generated(delta.get("message")))
        return False


class _Cohere(JsonAdapter):
    """The defaults of Cohere's operations."""

    format: str = "cohere"
    headlines: ClassVar[frozenset[str]] = frozenset()
    convention: str = "disjoint"
    request_headers: frozenset[bytes] = _HEADERS | {b"x-client-name"}
    vendor_request_id_headers: tuple[bytes, ...] = (b"x-request-id", b"x-debug-trace-id")

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            answer = _decode_answer(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        reading = Reading(response_id=word(answer.id))
        if not _describe(reading, bytes(answer.usage) or bytes(answer.meta), self.headlines):
            reading.output_text = _generated(answer.message)
        if answer.finish_reason == _FAILED:
            reading.error, reading.complete = error_word({"type": _FAILED}), False
        return reading

    def stream(self, prepared: Prepared) -> ChatReader:
        """A reader for one streamed answer."""
        return ChatReader()

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own; Cohere's have a message and an id."""
        return msgspec.json.encode({"id": request_id, "message": f"{message} (request id {request_id})", "code": code})


class CohereChat(_Cohere):
    """The adapter of Cohere's chat. The answer does not name the model that served it."""

    endpoint: str = "cohere.chat"
    name: str = "cohere.chat/1"
    routes: tuple[Route, ...] = (Route("POST", "/v2/chat", "/v2/chat"),)
    headlines: ClassVar[frozenset[str]] = _BOTH_SIDES
    not_captured: tuple[str, ...] = (
        "The price of what was read from a cache, which Cohere reports and bills as input.",
    )
    model_fields: frozenset[str] = frozenset({"documents", "priority", "reasoning_effort", "thinking", "tools"})

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        prompt = Prompt(
            conversation=present(members, ("messages", "documents")),
            schemas=present(members, ("tools", "response_format")),
        )
        return estimate_usage(prompt, output_limit(members.get("max_tokens")), reading)


class CohereEmbed(_Cohere):
    """The adapter of Cohere's embeddings."""

    endpoint: str = "cohere.embed"
    name: str = "cohere.embed/1"
    routes: tuple[Route, ...] = (Route("POST", "/v2/embed", "/v2/embed"),)
    model_fields: frozenset[str] = frozenset(
        {"embedding_types", "images", "input_type", "output_dimension", "truncate"}
    )

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came: the text that was sent."""
        members = call.members.values
        prompt = Prompt(conversation=present(members, ("texts", "inputs")), schemas=[], media="images" in members)
        estimate = estimate_usage(prompt, 0, reading)
        del estimate.usage["output"], estimate.bound["output"]
        return estimate


class CohereRerank(_Cohere):
    """The adapter of Cohere's reranking, which is billed by search units."""

    endpoint: str = "cohere.rerank"
    name: str = "cohere.rerank/1"
    routes: tuple[Route, ...] = (Route("POST", "/v2/rerank", "/v2/rerank"),)
    model_fields: frozenset[str] = frozenset({"documents", "max_tokens_per_doc", "top_n"})

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """One search unit for every hundred documents, as Cohere bills; long documents count more than once."""
        documents = call.members.values.get("documents")
        listed = _decode_documents(documents) if documents is not None else []
        units = max(1, -(-len(listed) // _DOCUMENTS_PER_UNIT))
        return Estimate(usage={"units": units}, method="documents/100 v1", bound={})


_DOCUMENTS_PER_UNIT: Final = 100
"""Source: Cohere's page of prices: a search unit is one query with up to 100 documents."""


def _decode_documents(raw: bytes) -> list[Raw]:
    try:
        return msgspec.json.decode(raw, type=list[Raw])
    except UNREADABLE:
        return []
