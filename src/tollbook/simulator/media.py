"""OpenAI's images and audio, as the vendor writes them.

Checked in tests against the types of the official SDK. Images of `gpt-image-1` report tokens by modality, those of
`dall-e-3` nothing; transcriptions report tokens or, for `whisper-1`, seconds; speech reports tokens in its event
stream only, and nothing beside a plain file.
"""

import base64
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.chat import asked_model
from tollbook.simulator.form import Form, read_form
from tollbook.simulator.question import Question, read_body
from tollbook.simulator.tokens import PER_OBJECT, Tokens, count_request, count_text
from tollbook.simulator.vendor import SSE, Operation

PER_IMAGE: Final = 272
"""Output tokens of one image."""

BYTES_PER_SECOND: Final = 16_000
"""Bytes of an audio file that last a second; a second has 10 input tokens."""

_PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\nsimulated").decode()
_LOOK: Final = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}


class _ImageBody(Struct):
    prompt: str
    model: str = "dall-e-3"
    n: int | None = None
    stream: bool | None = None
    partial_images: int | None = None


class _SpeechBody(Struct):
    input: str
    model: str = ""
    stream_format: str | None = None


_IMAGE: Final = msgspec.json.Decoder(_ImageBody)
_SPEECH: Final = msgspec.json.Decoder(_SpeechBody)


class Images(Operation):
    """Image generations; edits and variations come as a form."""

    name = "images"

    def read(self, call: Call) -> Question:
        if (call.header(b"content-type") or "").startswith("multipart/"):
            form = read_form(call)
            given, model = form.fields, form.fields.get("model", "dall-e-3")
            prompt, count, stream = given.get("prompt", ""), _number(form, "n"), form.flag("stream")
            partial, files = _number(form, "partial_images"), len(form.files)
        else:
            body = read_body(_IMAGE, call.body)
            prompt, model, count, stream = body.prompt, body.model, body.n, bool(body.stream)
            partial, files = body.partial_images, 0
        count = 1 if count is None else count
        if not 1 <= count <= 10:
            raise BadInput("n: from 1 to 10 images")
        model = asked_model(call, model)
        counts = {"output": 0, "images": count}
        if "image" in model:
            painted = PER_IMAGE * count
            counts = {
                "input": count_text(prompt),
                "input_image": PER_OBJECT * files,
                "output": 0,
                "output_image": painted,
            }
        details = {"images": count, "partial": partial or 0, "edit": call.path.rsplit("/", 1)[-1] != "generations"}
        return Question(model=model, texts=[prompt], counts=counts, stream=stream, details=details)

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        """Tokens by modality; the books count the images of a model that reports none."""
        if not _reports(answer):
            return {"images": tokens.images}
        return {
            "input_tokens": tokens.all_input,
            "input_tokens_details": {
                "image_tokens": tokens.input_image,
                "text_tokens": tokens.all_input - tokens.input_image,
            },
            "output_tokens": tokens.all_output,
            "output_tokens_details": {
                "image_tokens": tokens.output_image,
                "text_tokens": tokens.all_output - tokens.output_image,
            },
            "total_tokens": tokens.all_input + tokens.all_output,
        }

    def body(self, answer: Answer) -> bytes:
        reply: dict[str, Any] = {"created": answer.created, "data": [{"b64_json": _PIXEL}] * answer.details["images"]}
        if _reports(answer):
            reply |= _LOOK
            answer.put_usage(reply, "usage", self.usage(answer, answer.reported))
        return encode(reply)

    def events(self, answer: Answer) -> list[Event]:
        kind = "image_edit" if answer.details["edit"] else "image_generation"
        total = answer.tokens.all_output
        common = {"b64_json": _PIXEL, "created_at": answer.created, **_LOOK}
        events = []
        for place in range(answer.details["partial"]):
            name = f"{kind}.partial_image"
            data = encode({"type": name, "partial_image_index": place, **common})
            events.append(Event(name, data, total * place // (answer.details["partial"] + 1), content=True))
        final: dict[str, Any] = {"type": f"{kind}.completed", **common}
        answer.put_usage(final, "usage", self.usage(answer, answer.reported))
        return [*events, Event(f"{kind}.completed", encode(final), total)]


class Transcriptions(Operation):
    """Transcriptions and translations: a file comes as a form, tokens or seconds are reported."""

    name = "transcriptions"

    def read(self, call: Call) -> Question:
        form = read_form(call)
        if not form.files:
            raise BadInput("file: Field required")
        seconds = max(1, sum(len(file.data) for file in form.files) // BYTES_PER_SECOND)
        model = asked_model(call, form.fields.get("model", ""))
        prompt = form.fields.get("prompt", "")
        counts = {"seconds": seconds}
        if not model.startswith("whisper"):
            counts = {"input": count_text(prompt), "input_audio": 10 * seconds}
        details = {"form": form.fields.get("response_format", "json")}
        stream = form.flag("stream") and not model.startswith("whisper")
        return Question(model=model, texts=[prompt], counts=counts, stream=stream, details=details)

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        if answer.model.startswith("whisper"):
            return {"type": "duration", "seconds": tokens.seconds}
        text = tokens.all_input - tokens.input_audio
        return {
            "type": "tokens",
            "input_tokens": tokens.all_input,
            "input_token_details": {"text_tokens": text, "audio_tokens": tokens.input_audio},
            "output_tokens": tokens.all_output,
            "total_tokens": tokens.all_input + tokens.all_output,
        }

    def content_type(self, answer: Answer, stream: bool) -> str:
        if not stream and answer.details["form"] in ("text", "srt", "vtt"):
            return "text/plain; charset=utf-8"
        return super().content_type(answer, stream)

    def body(self, answer: Answer) -> bytes:
        if answer.details["form"] in ("text", "srt", "vtt"):
            return answer.text.encode() + b"\n"
        reply: dict[str, Any] = {"text": answer.text}
        if answer.details["form"] == "verbose_json":
            reply |= {
                "task": "transcribe",
                "language": "english",
                "duration": float(answer.tokens.seconds),
                "segments": [],
            }
        answer.put_usage(reply, "usage", self.usage(answer, answer.reported))
        return encode(reply)

    def events(self, answer: Answer) -> list[Event]:
        name = "transcript.text.delta"
        events = [
            Event(name, encode({"type": name, "delta": text}), generated, content=True)
            for text, generated in answer.chunks()
        ]
        final: dict[str, Any] = {"type": "transcript.text.done", "text": answer.text}
        answer.put_usage(final, "usage", self.usage(answer, answer.reported))
        return [*events, Event("transcript.text.done", encode(final), answer.tokens.all_output)]


class Speech(Operation):
    """Speech: text in, audio out, as a file or as events with usage at their end."""

    name = "speech"

    def read(self, call: Call) -> Question:
        body = read_body(_SPEECH, call.body)
        model = asked_model(call, body.model)
        counts = {"characters": len(body.input), "output": 0}
        if not model.startswith("tts-"):
            spoken = count_text(body.input)
            counts = {"input": count_request([], 0, 0) + spoken, "output": 0, "output_audio": 20 * spoken}
        return Question(model=model, texts=[body.input], counts=counts, stream=body.stream_format == "sse")

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        """Tokens; the books count the characters of a model that is billed by them."""
        if answer.model.startswith("tts-"):
            return {"characters": tokens.characters}
        total = tokens.all_input + tokens.all_output
        return {"input_tokens": tokens.all_input, "output_tokens": tokens.all_output, "total_tokens": total}

    def content_type(self, answer: Answer, stream: bool) -> str:
        return SSE if stream else "audio/mpeg"

    def body(self, answer: Answer) -> bytes:
        return b"\xff\xfb\x90\x00" * (64 + answer.tokens.all_output)

    def events(self, answer: Answer) -> list[Event]:
        total = answer.tokens.all_output
        sound = base64.b64encode(b"\xff\xfb\x90\x00" * 16).decode()
        events = [
            Event(None, encode({"type": "speech.audio.delta", "audio": sound}), total * part // 4, content=True)
            for part in range(1, 5)
        ]
        final: dict[str, Any] = {"type": "speech.audio.done"}
        answer.put_usage(final, "usage", self.usage(answer, answer.reported))
        return [*events, Event(None, encode(final), total)]


def _reports(answer: Answer) -> bool:
    """Whether the serving model reports tokens."""
    return "image" in answer.model


def _number(form: Form, name: str) -> int | None:
    text = form.fields.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise BadInput(f"{name}: not a whole number")
    return int(text)
