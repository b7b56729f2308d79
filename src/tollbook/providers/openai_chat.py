"""OpenAI chat completions: `POST /v1/chat/completions`, also spoken by many other vendors.

Source: the API reference and the types of the official SDK, openai 3.54.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import error_word, read_error, word
from tollbook.providers.body import UNREADABLE, Members, Splice, present, read_value, scan, splice
from tollbook.providers.compat import read_groq, share_out
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route, VendorObject
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.openai_format import OpenAIFormat, object_id, report
from tollbook.providers.openai_usage import decompose
from tollbook.providers.reader import EventReader
from tollbook.providers.text import measure_text, text_bytes

_ASK: Final = b'{"include_usage":true}'
_GENERATED: Final = (
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "tool_calls",
    "function_call",
    "audio",
)
"""Members of a message or delta that hold generated text; the two for reasoning are other vendors'."""


class _Choice(Struct, gc=False):
    """`text` is that of a legacy completion."""

    delta: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    text: Any = None
    finish_reason: Any = None


class _Chunk(Struct, gc=False):
    """What concerns us of one chunk of a stream."""

    id: Any = None
    model: Any = None
    service_tier: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    moderation: Any = None
    provider: Any = None
    x_groq: Raw = Raw()


class _LooseChunk(_Chunk, gc=False):
    """The same where the choices have an unknown shape."""

    choices: Any = None


class _Completion(Struct, gc=False):
    """What concerns us of a buffered answer, and of a chunk with a usage."""

    id: Any = None
    model: Any = None
    service_tier: Any = None
    usage: Raw = Raw()
    error: Any = None
    provider: Any = None
    x_groq: Raw = Raw()
    usage_breakdown: Raw = Raw()


class _Messages(Struct, gc=False):
    choices: list[_Choice] | None = None


_decode_chunk: Final = msgspec.json.Decoder(_Chunk).decode
_decode_loose_chunk: Final = msgspec.json.Decoder(_LooseChunk).decode
_decode_completion: Final = msgspec.json.Decoder(_Completion).decode
_decode_messages: Final = msgspec.json.Decoder(_Messages).decode


def _read_loosely(data: bytes) -> _Chunk | None:
    """A chunk whose choices have an unknown shape: one choice that says nothing stands for them. None: no object."""
    try:
        chunk = _decode_loose_chunk(data)
    except UNREADABLE:
        return None
    chunk.choices = [_Choice()] if chunk.choices else None
    return chunk


def _generated(message: dict[str, Any]) -> int:
    """The bytes of generated text in a message or delta."""
    content = message.get("content")
    if len(message) == 1 and isinstance(content, str):
        return text_bytes(content)
    return sum(measure_text(message[name]).size for name in _GENERATED if name in message)


def _audio(message: dict[str, Any]) -> list[VendorObject]:
    """The audio that an answer made, which a later request may name."""
    audio = message.get("audio")
    name = object_id(audio.get("id")) if isinstance(audio, dict) else None
    return [] if name is None else [VendorObject("completion", name)]


class ChatReader(EventReader):
    """Reads one streamed chat completion.

    The stream is complete with `[DONE]`, or, for vendors that leave it out, with a usage at or after a finish reason.
    The chunk that only our own asking brought has a usage and no choices; it is hidden. A usage that comes together
    with choices is passed on with them, and `"usage":null` in other chunks is left as it came: to take it out would
    cost every chunk a copy, and clients of the official API know it.

    Vendors that repeat the usage count cumulatively: the last one stands, but zeros never replace counts, and zeros
    that came before the finish reason are no usage.
    """

    __slots__ = (
        "_breakdown",
        "_counted",
        "_done",
        "_finished",
        "_identity",
        "_made",
        "_model",
        "_provider",
        "_request",
        "_settled",
        "_tier",
        "_usage",
    )

    def __init__(self, hides: bool) -> None:
        super().__init__(hides)
        self._model: str | None = None
        self._identity: str | None = None
        self._tier: str | None = None
        self._provider: str | None = None
        self._request: str | None = None
        self._usage: bytes | None = None
        self._breakdown = b""
        self._made: list[VendorObject] = []
        self._counted = False
        self._finished = False
        self._settled = False
        self._done = False

    @property
    def terminal(self) -> bool:
        """Whether `[DONE]` has been seen, or the closing usage chunk after a finish reason."""
        return self._done

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(
            model_served=self._model,
            response_id=self._identity,
            tier=self._tier,
            complete=(self._done or self._settled) and self._error is None,
            error=self._error,
            flags=list(self._flags),
            made=self._made,
            provider=self._provider,
            request_id=self._request,
        )
        final = self._settled or (self._done and self._counted)
        if self._usage is None or not report(reading, self._usage, decompose, final):
            self._put_text(reading)
        share_out(reading, self._breakdown)
        return reading

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            chunk = _decode_chunk(data)
        except UNREADABLE as fault:
            loose = _read_loosely(data) if isinstance(fault, msgspec.ValidationError) else None
            if loose is None:
                self._take_other(data)
                return False
            chunk = loose
        naming = self._model is None
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta:
                content = delta.get("content")
                if len(delta) == 1 and type(content) is str:
                    self._saw_text(content)
                else:
                    self._saw(_generated(delta))
                if "audio" in delta:
                    self._made += [made for made in _audio(delta) if made not in self._made]
            elif type(choice.text) is str:
                self._saw(text_bytes(choice.text))
            if choice.finish_reason:
                self._finished = naming = True
        if chunk.error is not None or name == b"error":
            self._error = error_word(chunk.error)
        if naming or chunk.usage is not None:
            self._model = word(chunk.model) or self._model
            self._identity = word(chunk.id) or self._identity
            self._tier = word(chunk.service_tier) or self._tier
            self._provider = word(chunk.provider) or self._provider
        if chunk.x_groq:
            self._take_groq(chunk)
        if not isinstance(chunk.usage, dict):
            return False
        self._take_usage(chunk, chunk.usage, bytes(_decode_completion(data).usage))
        return not chunk.choices and chunk.error is None and chunk.moderation is None and not chunk.x_groq

    def _take_usage(self, chunk: _Chunk, usage: dict[str, Any], raw: bytes) -> None:
        counted = any(type(value) is int and value > 0 for value in usage.values())
        if counted or not self._counted:
            self._usage = raw
            self._counted = counted
        self._settled |= self._finished
        self._done |= self._finished and not chunk.choices

    def _take_groq(self, chunk: _Chunk) -> None:
        """Groq tells its id with the first chunk, and the usage with the last one, asked for or not."""
        said = read_groq(bytes(chunk.x_groq))
        self._request = word(said.id) or self._request
        self._breakdown = bytes(said.usage_breakdown) or self._breakdown
        if said.error is not None:
            self._error = error_word(said.error)
        usage = read_value(bytes(said.usage))
        if isinstance(usage, dict):
            self._take_usage(chunk, usage, bytes(said.usage))

    def _take_other(self, data: bytes) -> None:
        if data.strip().startswith(b"[DONE]"):
            self._done = True
        else:
            self._saw_unreadable(data)


class OpenAIChat(OpenAIFormat, JsonAdapter):
    """The adapter of OpenAI chat completions."""

    endpoint: str = "openai.chat"
    name: str = "openai.chat/1"
    routes: tuple[Route, ...] = (Route("POST", "/v1/chat/completions", "/chat/completions"),)
    model_fields: frozenset[str] = frozenset(
        {
            "audio",
            "functions",
            "modalities",
            "moderation",
            "n",
            "prediction",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning_effort",
            "service_tier",
            "store",
            "tools",
            "web_search_options",
        }
    )
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        "messages.audio.id": "completion",
        "messages.content.file.file_id": "file",
    }
    convention: str = "nested"
    not_captured: tuple[str, ...] = (
        "Web searches of search models are billed per call and are not in the usage object.",
        "Cached audio and image tokens are not told apart from cached text.",
        "Accepted and rejected prediction tokens are inside output; both are billed as output.",
    )

    def prepare(self, call: Call, model: str) -> Prepared:
        """The body for one target; a stream is asked to end with its usage. See `Adapter.prepare`."""
        changes = self.model_change(call, model)
        streams = call.members.values.get("stream") == b"true"
        asking = _ask_for_usage(call.members) if streams and call.asks_usage else None
        if asking is not None:
            changes.append(asking)
        return Prepared(
            path=self.path(call, model),
            body=splice(call.body, changes),
            hides_usage=asking is not None,
            streams=streams,
        )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            answer = _decode_completion(body)
            reading = Reading(
                model_served=word(answer.model),
                response_id=word(answer.id),
                tier=word(answer.service_tier),
                provider=word(answer.provider),
            )
            raw = bytes(answer.usage)
            if not raw.startswith(b"{") or not report(reading, raw, decompose, final=True):
                reading.output_text = _generated_in(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        if answer.error is not None:
            reading.error = error_word(answer.error)
            reading.complete = False
        if answer.x_groq:
            reading.request_id = word(read_groq(bytes(answer.x_groq)).id)
            share_out(reading, bytes(answer.usage_breakdown))
        if (reading.usage is None or "output.audio" in reading.usage) and b'"audio"' in body:
            reading.made = [made for choice in _choices(body) if choice.message for made in _audio(choice.message)]
        return reading

    def stream(self, prepared: Prepared) -> ChatReader:
        """A reader for one streamed answer."""
        return ChatReader(prepared.hides_usage)

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        limit = output_limit(members.get("max_completion_tokens"), members.get("max_tokens"), answers=members.get("n"))
        prompt = Prompt(
            conversation=present(members, ("messages",)),
            schemas=present(members, ("tools", "functions", "response_format")),
            open_ended="web_search_options" in members,
        )
        return estimate_usage(prompt, limit, reading)


def _choices(body: bytes) -> list[_Choice]:
    """The choices of a buffered answer; none when their shape is unknown."""
    try:
        return _decode_messages(body).choices or []
    except UNREADABLE:
        return []


def _generated_in(body: bytes) -> int:
    """The bytes of generated text in a buffered answer; of the whole body when its shape is unknown."""
    try:
        choices = _decode_messages(body).choices or []
    except msgspec.ValidationError:
        return len(body)
    spoken = sum(_generated(choice.message) for choice in choices if choice.message)
    return spoken + sum(text_bytes(choice.text) for choice in choices if type(choice.text) is str)


def _ask_for_usage(members: Members) -> Splice | None:
    """The change that makes a stream end with its usage; None when the client asked for it already.

    Options of a kind the vendor will refuse are left to the vendor.
    """
    raw = members.values.get("stream_options")
    if raw is None:
        end = members.spans["stream"][1]
        return Splice(end, end, b',"stream_options":' + _ASK)
    start, end = members.spans["stream_options"]
    if raw == b"null":
        return Splice(start, end, _ASK)
    if not raw.startswith(b"{"):
        return None
    options = scan(raw, 'member "stream_options"')
    asked = options.values.get("include_usage")
    if asked is None:
        return Splice(start + 1, start + 1, b'"include_usage":true' + (b"," if options.values else b""))
    if asked not in (b"false", b"null"):
        return None
    inner_start, inner_end = options.spans["include_usage"]
    return Splice(start + inner_start, start + inner_end, b"true")
