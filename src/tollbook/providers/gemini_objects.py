"""What Google keeps for its users: explicit caches and files.

Source: the REST reference of the Gemini API and of Vertex AI, and the official SDK, google-genai 3.4.

A cache is billed when it is made, as input, and then by the hour. A file can be uploaded in one request; an upload that
is begun here and continued at an address the vendor gives is refused, because the file would go past the gateway.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.faults import BadInput
from tollbook.providers.adapter import NO_BODY, FreeAdapter
from tollbook.providers.answer import keep_raw, put_usage, word
from tollbook.providers.body import UNREADABLE, Members, Splice, text_member
from tollbook.providers.contract import (
    Call,
    Estimate,
    Headers,
    Prepared,
    Purpose,
    Reading,
    Route,
    StreamReader,
    VendorObject,
)
from tollbook.providers.estimate import Prompt, estimate_usage
from tollbook.providers.gemini import (
    FILE_VERSIONS,
    REQUEST_HEADERS,
    GoogleAdapter,
    bare,
    gemini_routes,
    member,
    object_id,
    qualified,
    read_google_error,
    spellings,
    vertex_routes,
)
from tollbook.providers.gemini_generate import GeminiGenerate, GenerateReader, has_media
from tollbook.providers.gemini_usage import decompose_input

_WHOLE_UPLOADS: Final = frozenset({b"raw", b"multipart"})


class _Named(Struct, gc=False):
    """What concerns us of an answer that describes a cache or a file."""

    name: Any = None
    model: Any = None
    file: Any = None
    usageMetadata: Raw = Raw()


_decode_named: Final = msgspec.json.Decoder(_Named).decode


def _read_named(body: bytes) -> _Named:
    """An answer; one that says nothing when it cannot be decoded."""
    try:
        return _decode_named(body)
    except UNREADABLE:
        return _Named()


def _made(kind: str, name: object) -> list[VendorObject]:
    known = word(name)
    return [VendorObject(kind, object_id(known))] if known is not None else []


class GeminiCacheCreate(GoogleAdapter):
    """The adapter of making a cache in the Gemini API. The model is in the body, in its collection."""

    endpoint: str = "gemini.cache_create"
    name: str = "gemini.cache_create/1"
    routes: tuple[Route, ...] = gemini_routes("cachedContents")
    convention: str = "nested"
    not_captured: tuple[str, ...] = ("Keeping a cache, billed by the token and hour until it is deleted or expires.",)
    model_fields: frozenset[str] = spellings("expireTime", "tools", "ttl")
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        path: kind for path, kind in GeminiGenerate.object_fields.items() if kind != "cache"
    }

    def model(self, call: Call) -> str | None:
        """The member `model`, without its collection. Raises BadInput when it is missing."""
        return bare(text_member(call.members.values, "model"))

    def model_change(self, call: Call, model: str) -> list[Splice]:
        """The member `model` with the same collection before it."""
        asked = text_member(call.members.values, "model")
        named = qualified(asked, model)
        return [Splice(*call.members.spans["model"], msgspec.json.encode(named))] if named != asked else []

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read the answer: what was cached is input, once."""
        if status >= 400:
            return Reading(error=read_google_error(status, body))
        answer = _read_named(body)
        model = word(answer.model)
        reading = Reading(model_served=bare(model) if model else None, made=_made("cache", answer.name))
        raw = bytes(answer.usageMetadata)
        if raw.startswith(b"{"):
            reading.raw = keep_raw(raw, reading.flags)
            put_usage(reading, decompose_input(raw), final=True)
        return reading

    def stream(self, prepared: Prepared) -> StreamReader:
        """Caches are not made in streams; what comes as one is read like any answer of Google's."""
        return GenerateReader()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """The text that was sent to be cached."""
        members = call.members.values
        texts = [raw for name in ("contents", "systemInstruction") if (raw := member(members, name)) is not None]
        schemas = [members["tools"]] if "tools" in members else []
        prompt = Prompt(conversation=texts, schemas=schemas, media=any(map(has_media, texts)))
        estimate = estimate_usage(prompt, 0, reading)
        del estimate.usage["output"], estimate.bound["output"]
        return estimate


class VertexCacheCreate(GeminiCacheCreate):
    """The adapter of making a cache in Vertex AI."""

    endpoint: str = "vertex.cache_create"
    name: str = "vertex.cache_create/1"
    format: str = "vertex"
    routes: tuple[Route, ...] = vertex_routes("cachedContents")
    billing_fields: frozenset[str] = spellings("encryptionSpec")


class GeminiCache(GoogleAdapter, FreeAdapter):
    """The adapter of fetching, prolonging and deleting a cache in the Gemini API."""

    endpoint: str = "gemini.caches"
    name: str = "gemini.caches/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = (
        gemini_routes("cachedContents/{cache}", method="GET")
        + gemini_routes("cachedContents/{cache}", method="PATCH")
        + gemini_routes("cachedContents/{cache}", method="DELETE")
    )
    object_fields: dict[str, str] = {"/cache": "cache"}  # noqa: RUF012  a table of the class, never changed
    query_fields: frozenset[str] = frozenset({"alt", "updateMask"})


class VertexCache(GeminiCache):
    """The adapter of fetching, prolonging and deleting a cache in Vertex AI."""

    endpoint: str = "vertex.caches"
    name: str = "vertex.caches/1"
    format: str = "vertex"
    routes: tuple[Route, ...] = (
        vertex_routes("cachedContents/{cache}", method="GET")
        + vertex_routes("cachedContents/{cache}", method="PATCH")
        + vertex_routes("cachedContents/{cache}", method="DELETE")
    )


class GeminiCaches(GoogleAdapter, FreeAdapter):
    """The adapter of listing caches in the Gemini API."""

    endpoint: str = "gemini.cache_list"
    name: str = "gemini.cache_list/1"
    purpose: Purpose = "list"
    lists: str | None = "cache"
    routes: tuple[Route, ...] = gemini_routes("cachedContents", method="GET")


class VertexCaches(GeminiCaches):
    """The adapter of listing caches in Vertex AI."""

    endpoint: str = "vertex.cache_list"
    name: str = "vertex.cache_list/1"
    format: str = "vertex"
    routes: tuple[Route, ...] = vertex_routes("cachedContents", method="GET")


class GeminiFile(GoogleAdapter, FreeAdapter):
    """The adapter of fetching and deleting a file."""

    endpoint: str = "gemini.files"
    name: str = "gemini.files/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = (
        gemini_routes("files/{file}:download", "files/{file}", method="GET", versions=FILE_VERSIONS)
        + gemini_routes("files/{file}", method="DELETE", versions=FILE_VERSIONS)
    )  # fmt: skip
    object_fields: dict[str, str] = {"/file": "file"}  # noqa: RUF012  a table of the class, never changed


class GeminiFiles(GoogleAdapter, FreeAdapter):
    """The adapter of listing files."""

    endpoint: str = "gemini.file_list"
    name: str = "gemini.file_list/1"
    purpose: Purpose = "list"
    lists: str | None = "file"
    routes: tuple[Route, ...] = gemini_routes("files", method="GET", versions=FILE_VERSIONS)


class GeminiUpload(GoogleAdapter, FreeAdapter):
    """The adapter of uploading a file, or describing one that the vendor makes, in one request."""

    endpoint: str = "gemini.uploads"
    name: str = "gemini.uploads/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = tuple(
        Route("POST", f"/upload/{version}/files", f"/upload/{version}/files") for version in FILE_VERSIONS
    )
    request_headers: frozenset[bytes] = REQUEST_HEADERS | {b"x-goog-upload-protocol"}
    query_fields: frozenset[str] = frozenset({"alt", "uploadType"})

    def scan(self, headers: Headers, body: bytes) -> Members:
        """No members: the body is a file. Raises BadInput for an upload of several requests."""
        protocols = [value.lower() for name, value in headers if name == b"x-goog-upload-protocol"]
        if len(protocols) != 1 or protocols[0] not in _WHOLE_UPLOADS:
            raise BadInput("send the file in one request, with the header X-Goog-Upload-Protocol: multipart or raw")
        return NO_BODY

    def prepare(self, call: Call, model: str) -> Prepared:
        """The request as it came. Raises BadInput for an upload of several requests."""
        if b"resumable" in call.query.lower():
            raise BadInput("send the file in one request; an upload of several requests goes past the gateway")
        return super().prepare(call, model)

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """The file that was made."""
        if status >= 400:
            return Reading(error=read_google_error(status, body))
        file = _read_named(body).file
        return Reading(made=_made("file", file.get("name")) if isinstance(file, dict) else [])
