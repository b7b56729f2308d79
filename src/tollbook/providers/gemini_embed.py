"""Google's `embedContent`, `batchEmbedContents` and `countTokens`.

Source: the REST reference and the types of the official SDK, google-genai 3.4 (`EmbedContentResponse`).
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.adapter import FreeAdapter
from tollbook.providers.answer import keep_raw, put_usage
from tollbook.providers.body import UNREADABLE, AmbiguousBody, Splice, read_value, scan, splice
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route, StreamReader
from tollbook.providers.estimate import Prompt, estimate_usage
from tollbook.providers.gemini import (
    GoogleAdapter,
    every_spelling,
    gemini_routes,
    google_error,
    qualified,
    read_google_error,
    renamed,
    spellings,
    vertex_routes,
)
from tollbook.providers.gemini_generate import GeminiGenerate, GenerateReader, has_media
from tollbook.providers.gemini_usage import decompose_input

_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode


class _Answer(Struct, gc=False):
    usageMetadata: Raw = Raw()
    error: Any = None


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode


class GeminiEmbed(GoogleAdapter):
    """The adapter of the Gemini API's embeddings. The answer names no model and has no id."""

    endpoint: str = "gemini.embed"
    name: str = "gemini.embed/1"
    routes: tuple[Route, ...] = gemini_routes("models/{model}:embedContent", "models/{model}:batchEmbedContents")
    convention: str = "nested"
    not_captured: tuple[str, ...] = ("The usage of embedding models that report none; it is estimated.",)
    model_fields: frozenset[str] = spellings("embedContentConfig", "model", "outputDimensionality", "requests")
    object_fields: dict[str, str] = every_spelling(
        {"content.parts.fileData.fileUri": "file", "requests.content.parts.fileData.fileUri": "file"}
    )

    def prepare(self, call: Call, model: str) -> Prepared:
        """The request for one target: the model in the path and, as Google demands, the same one in the body."""
        self.refuse_billing(call)
        body = renamed(call, model)
        requests = call.members.values.get("requests")
        if requests is not None:
            start, end = call.members.spans["requests"]
            body = splice(call.body, [Splice(start, end, text)] if (text := _rename_all(requests, model)) else [])
        return Prepared(path=self.path(call, model), body=body)

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer."""
        if status >= 400:
            return Reading(error=read_google_error(status, body))
        try:
            answer = _decode_answer(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"])
        reading = Reading()
        raw = bytes(answer.usageMetadata)
        if raw.startswith(b"{"):
            reading.raw = keep_raw(raw, reading.flags)
            put_usage(reading, decompose_input(raw), final=True)
        if answer.error is not None:
            reading.error = google_error(answer.error)
            reading.complete = False
        return reading

    def stream(self, prepared: Prepared) -> StreamReader:
        """Embeddings do not stream; what comes as one is read like any answer of Google's."""
        return GenerateReader()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came: the text that was sent."""
        members = call.members.values
        texts = [members[name] for name in ("content", "requests") if name in members]
        estimate = estimate_usage(Prompt(conversation=texts, schemas=[], media=any(map(has_media, texts))), 0, reading)
        estimate.usage.pop("output", None)
        estimate.bound.pop("output", None)
        return estimate


class VertexEmbed(GeminiEmbed):
    """The adapter of Vertex AI's embeddings by `embedContent`."""

    endpoint: str = "vertex.embed"
    name: str = "vertex.embed/1"
    format: str = "vertex"
    routes: tuple[Route, ...] = vertex_routes("publishers/google/models/{model}:embedContent")


class GeminiCount(GoogleAdapter, FreeAdapter):
    """The adapter of the Gemini API's `countTokens`, which is free."""

    endpoint: str = "gemini.count"
    name: str = "gemini.count/1"
    routes: tuple[Route, ...] = gemini_routes("models/{model}:countTokens")
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        prefix + path: kind
        for path, kind in GeminiGenerate.object_fields.items()
        for prefix in ("", "generateContentRequest.", "generate_content_request.")
    }

    def prepare(self, call: Call, model: str) -> Prepared:
        """The request for one target: the model in the path, and the same one where the body names it again."""
        body = renamed(call, model)
        for name in spellings("generateContentRequest") & call.members.values.keys():
            request = scan(call.members.values[name], f'member "{name}"')
            inner = renamed(Call(call.route, {}, b"", [], call.members.values[name], request), model)
            body = splice(call.body, [Splice(*call.members.spans[name], inner)])
        return Prepared(path=self.path(call, model), body=body)


class VertexCount(GeminiCount):
    """The adapter of Vertex AI's `countTokens`, which is free."""

    endpoint: str = "vertex.count"
    name: str = "vertex.count/1"
    format: str = "vertex"
    routes: tuple[Route, ...] = vertex_routes("publishers/google/models/{model}:countTokens")


def _rename_all(requests: bytes, model: str) -> bytes | None:
    """The requests of a batch with their models in agreement with the path; None when they are already.

    Raises AmbiguousBody when a request cannot be read in one way only.
    """
    try:
        listed = [bytes(one) for one in _decode_list(requests)]
    except UNREADABLE:
        raise AmbiguousBody('member "requests" is not a list') from None
    changed = False
    for place, one in enumerate(listed):
        members = scan(one, f'member "requests" at {place}')
        asked = read_value(members.values.get("model"))
        if isinstance(asked, str) and (named := qualified(asked, model)) != asked:
            start, end = members.spans["model"]
            listed[place] = splice(one, [Splice(start, end, msgspec.json.encode(named))])
            changed = True
    return b"[" + b",".join(listed) + b"]" if changed else None
