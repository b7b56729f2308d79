"""OpenAI audio: `POST /v1/audio/transcriptions`, `/translations` and `/speech`.

Source: the API reference and the types of the official SDK, openai 3.54. A transcription reports tokens or a duration,
by its model; in the formats text, srt and vtt it reports nothing. Speech reports nothing but in a stream of events,
which some of its models have; older ones are billed by the character of the input.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.usage import Usage
from tollbook.providers.adapter import JsonAdapter, Passing
from tollbook.providers.answer import Decomposition, error_word, flag, read_error, word
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.compat import read_groq
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route, StreamReader
from tollbook.providers.estimate import Prompt, estimate_usage
from tollbook.providers.form import FormAdapter
from tollbook.providers.openai_format import OpenAIFormat, is_json, report, routes
from tollbook.providers.openai_usage import decompose_audio, whole_seconds
from tollbook.providers.reader import EventReader
from tollbook.providers.text import text_bytes

_AUDIO_TYPES: Final = tuple(
    b"audio/" + name for name in (b"mpeg", b"opus", b"ogg", b"aac", b"flac", b"wav", b"x-wav", b"pcm", b"l16")
)

CHARACTERS: Final = "characters v1"
"""The method of a usage that counts the characters (Unicode code points) of the text to speak."""


class _Transcription(Struct, gc=False):
    """What concerns us of a buffered transcription; `x_groq` is Groq's."""

    model: Any = None
    text: Any = None
    duration: Raw = Raw()
    usage: Raw = Raw()
    error: Any = None
    x_groq: Raw = Raw()


class _Event(Struct, gc=False):
    """What concerns us of an event of a stream."""

    type: Any = None
    delta: Any = None
    usage: Raw = Raw()
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Transcription).decode
_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_duration: Final = msgspec.json.Decoder(Decimal).decode


class AudioReader(EventReader):
    """Reads one streamed transcription or speech: pieces, then a last event with the usage."""

    event_limit = 16 << 20  # an event may hold a piece of audio, or a whole transcript

    __slots__ = ("_spoken", "_terminal", "_usage")

    def __init__(self, spoken: bool) -> None:
        super().__init__()
        self._spoken = spoken
        self._usage: bytes | None = None
        self._terminal = False

    @property
    def terminal(self) -> bool:
        """Whether the last event has been seen."""
        return self._terminal

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(complete=self._terminal and self._error is None, error=self._error, flags=list(self._flags))
        if self._usage is None or not report(reading, self._usage, self._decompose, final=self._terminal):
            reading.output_text, reading.output_deltas = self._text, self._deltas
        return reading

    def _decompose(self, raw: bytes) -> Decomposition:
        return decompose_audio(raw, self._spoken)

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            said = _decode_event(data)
        except UNREADABLE:
            if not data.strip().startswith(b"[DONE]"):
                flag(self._flags, "unreadable_event")
            return False
        if said.type == "transcript.text.delta" and type(said.delta) is str:
            self._saw(text_bytes(said.delta))
        if said.error is not None or said.type == "error" or name == b"error":
            self._error = error_word(said.error)
        raw = bytes(said.usage)
        if raw.startswith(b"{"):
            self._usage = raw
        if said.type in ("transcript.text.done", "speech.audio.done"):
            self._terminal = True
        return False


class OpenAIAudio(OpenAIFormat, FormAdapter):
    """The adapter of OpenAI transcriptions and translations."""

    endpoint: str = "openai.audio"
    name: str = "openai.audio/1"
    routes: tuple[Route, ...] = routes("POST /audio/transcriptions", "POST /audio/translations")
    model_fields: frozenset[str] = frozenset({"chunking_strategy"})
    # Mistral takes a file that was uploaded before.
    object_fields: dict[str, str] = {"file_id": "file"}  # noqa: RUF012  a table of the class, never changed
    convention: str = "nested"
    not_captured: tuple[str, ...] = (
        "In the formats text, srt and vtt the vendor reports no usage; the length of the audio is not measured.",
        "A usage without details does not say how much of its input is audio; it is flagged.",
    )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer, which is plain text in some formats."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        if not is_json(headers):
            return Reading(output_text=len(body))
        try:
            answer = _decode(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        reading = Reading(model_served=word(answer.model))
        raw, duration = bytes(answer.usage), bytes(answer.duration)
        if not raw.startswith(b"{") or not report(reading, raw, decompose_audio, final=True):
            seconds = _seconds(duration) if reading.partial is None else None
            if seconds is not None:
                reading.usage, reading.basis = {"seconds": seconds}, "computed"
            elif isinstance(answer.text, str):
                reading.output_text = text_bytes(answer.text)
        if answer.x_groq:
            reading.request_id = word(read_groq(bytes(answer.x_groq)).id)
        if answer.error is not None:
            reading.error = error_word(answer.error)
            reading.complete = False
        return reading

    def stream(self, prepared: Prepared) -> AudioReader:
        """A reader for one streamed answer."""
        return AudioReader(spoken=False)

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """The text that was seen. What the audio comes to is unknown: no class of the input is told but as reported."""
        if reading.usage is not None:
            return Estimate(usage=reading.usage, method="duration v1", bound=reading.usage, basis="computed")
        estimate = estimate_usage(Prompt(conversation=[], schemas=[], open_ended=True), None, reading)
        return _without_input(estimate, reading.partial or {})


def _without_input(estimate: Estimate, reported: Usage) -> Estimate:
    if not any(name.startswith("input") for name in reported):
        del estimate.usage["input"]
    return estimate


def _seconds(raw: bytes) -> int | None:
    """The duration that a verbose transcription tells, as a number or, in older versions, as text."""
    if not raw:
        return None
    try:
        return whole_seconds(_decode_duration(raw))
    except UNREADABLE:
        return None


class OpenAISpeech(OpenAIFormat, JsonAdapter):
    """The adapter of OpenAI speech. The answer is audio, which is not looked at."""

    endpoint: str = "openai.speech"
    name: str = "openai.speech/1"
    routes: tuple[Route, ...] = routes("POST /audio/speech")
    model_fields: frozenset[str] = frozenset({"speed"})
    stream_types: tuple[bytes, ...] = (b"text/event-stream", *_AUDIO_TYPES)
    convention: str = "computed"
    not_captured: tuple[str, ...] = (
        "Without a stream of events the vendor reports no usage: characters are counted, and a model that is priced by"
        " the token has no price for them.",
    )

    def streamed(self, call: Call) -> bool:
        """Whether a stream of events is asked for."""
        return call.members.values.get("stream_format") == b'"sse"'

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer: it says nothing of its usage, which the request decides (`estimate`)."""
        return Reading(error=read_error(status, body)) if status >= 400 else Reading()

    def stream(self, prepared: Prepared) -> StreamReader:
        """A reader for a stream of events; audio passes as it comes."""
        return AudioReader(spoken=True) if prepared.streams else Passing()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """The characters of the input: exact, where it is text."""
        members = call.members.values
        texts = [text for raw in present(members, ("input",)) if isinstance(text := read_value(raw), str)]
        usage = {"characters": sum(map(len, texts))}
        return Estimate(usage=usage, method=CHARACTERS, bound=dict(usage), basis="computed")
