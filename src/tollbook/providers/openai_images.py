"""OpenAI images: `POST /v1/images/generations`, `/edits` and `/variations`.

Source: the API reference and the types of the official SDK, openai 3.54. GPT image models report tokens by modality,
and stream, one image at a time (several are refused); dall-e models report nothing and are billed by the image.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.answer import error_word, flag, read_error, word
from tollbook.providers.body import UNREADABLE, present
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route, Share
from tollbook.providers.estimate import Prompt, estimate_usage
from tollbook.providers.form import FormAdapter, is_form
from tollbook.providers.openai_format import OpenAIFormat, report, routes
from tollbook.providers.openai_usage import decompose_images, decompose_response
from tollbook.providers.reader import EventReader

COUNTED: Final = "counted v1"
"""The method of a usage that was counted from the answer."""


class _Image(Struct, gc=False):
    """An image of an answer: nothing of it concerns us but that it is there."""


class _SvgUsage(Struct, gc=False):
    model: Any = None


class _Answer(Struct, gc=False):
    """What concerns us of a buffered answer; OpenAI itself names no model and no id."""

    id: Any = None
    model: Any = None
    data: list[_Image] | None = None
    usage: Raw = Raw()
    svg_usage: Raw = Raw()
    error: Any = None


class _Event(Struct, gc=False):
    """What concerns us of an event of a stream."""

    type: Any = None
    model: Any = None
    usage: Raw = Raw()
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Answer).decode
_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_svg: Final = msgspec.json.Decoder(_SvgUsage).decode


def svg_share(raw: bytes) -> list[Share]:
    """What a second model did to draw vectors: its usage is reported apart, with its name."""
    if not raw.startswith(b"{"):
        return []
    usage = decompose_response(raw).usage
    model = word(_decode_svg(raw).model)
    return [Share(model, usage)] if model is not None and usage else []


class ImagesReader(EventReader):
    """Reads one stream of images: partial ones, then the completed one with the usage, which ends it.

    OpenAI streams one image only. Where a vendor completes several, with usages that differ, the last one stands, under
    the flag `repeated_usage`: whether they add up is not documented.
    """

    event_limit = 32 << 20  # an event holds a whole image

    __slots__ = ("_model", "_terminal", "_usage")

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._usage: bytes | None = None
        self._terminal = False

    @property
    def terminal(self) -> bool:
        """Whether a completed image has been seen."""
        return self._terminal

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(
            model_served=self._model,
            complete=self._terminal and self._error is None,
            error=self._error,
            flags=list(self._flags),
        )
        if self._usage is not None:
            report(reading, self._usage, decompose_images, final=self._terminal)
        return reading

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            said = _decode_event(data)
        except UNREADABLE:
            if not data.strip().startswith(b"[DONE]"):
                flag(self._flags, "unreadable_event")
            return False
        self._model = word(said.model) or self._model
        if said.error is not None or said.type == "error" or name == b"error":
            self._error = error_word(said.error)
        raw = bytes(said.usage)
        if raw.startswith(b"{"):
            if self._usage not in (None, raw):
                flag(self._flags, "repeated_usage")
            self._usage = raw
        if isinstance(said.type, str) and said.type.endswith(".completed"):
            self._terminal = True
        return False


class OpenAIImages(OpenAIFormat, FormAdapter):
    """The adapter of OpenAI images."""

    endpoint: str = "openai.images"
    name: str = "openai.images/1"
    routes: tuple[Route, ...] = routes("POST /images/generations", "POST /images/edits", "POST /images/variations")
    model_fields: frozenset[str] = frozenset(
        {"complexity", "frame_count", "input_fidelity", "moderation", "n", "partial_images", "quality", "size", "svg"}
    )
    # An edit asked in JSON may name its images by file.
    object_fields: dict[str, str] = {"images.file_id": "file", "mask.file_id": "file"}  # noqa: RUF012  never changed
    convention: str = "nested"
    not_captured: tuple[str, ...] = (
        "Images of dall-e models are counted, as the answer has no usage; their size and quality are not told apart.",
    )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. Images that come without a usage are counted."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            answer = _decode(body)
            shares = svg_share(bytes(answer.svg_usage))
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"])
        reading = Reading(model_served=word(answer.model), response_id=word(answer.id), shares=shares)
        raw = bytes(answer.usage)
        reported = raw.startswith(b"{") and report(reading, raw, decompose_images, final=True)
        if not reported and reading.partial is None and answer.data:
            reading.usage, reading.basis = {"images": len(answer.data)}, "computed"
            reading.flags = [remark for remark in reading.flags if remark != "partial_usage"]
        if answer.error is not None:
            reading.error = error_word(answer.error)
            reading.complete = False
        return reading

    def stream(self, prepared: Prepared) -> ImagesReader:
        """A reader for one streamed answer."""
        return ImagesReader()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """What was counted; else the text of the prompt. What an image costs in tokens is in no estimate."""
        if reading.usage is not None:
            return Estimate(usage=reading.usage, method=COUNTED, bound=reading.usage, basis="computed")
        members = call.members.values
        raw = present(members, ("prompt",))
        if is_form(call.headers):
            raw = [msgspec.json.encode(text.decode(errors="replace")) for text in raw]
        prompt = Prompt(conversation=raw, schemas=[], open_ended=call.route.path.rpartition("/")[2] != "generations")
        estimate = estimate_usage(prompt, None, reading)
        if not reading.partial:
            del estimate.usage["output"], estimate.bound["output"]
        return estimate
