"""Anthropic's files and its counting of tokens, which are free.

Source: the API reference (beta files) and the official SDK, anthropic 2.12. OpenAI's files have the same path, so those
of Anthropic are found below `/anthropic` only: a client that uses them has that as its base address.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.providers.adapter import NO_BODY, FreeAdapter
from tollbook.providers.answer import read_error, word
from tollbook.providers.anthropic_format import MOUNT, AnthropicFormat, mounted
from tollbook.providers.body import UNREADABLE, Members, splice, text_member
from tollbook.providers.contract import Call, Headers, Prepared, Purpose, Reading, Route, VendorObject


class _File(Struct, gc=False):
    id: Any = None


_decode_file: Final = msgspec.json.Decoder(_File).decode


class AnthropicCount(AnthropicFormat, FreeAdapter):
    """The adapter of counting tokens. Only the model of the request is the target's; nothing is metered."""

    endpoint: str = "anthropic.count"
    name: str = "anthropic.count/1"
    routes: tuple[Route, ...] = mounted("POST", "/v1/messages/count_tokens")
    object_fields: dict[str, str] = AnthropicFormat.message_objects

    def model(self, call: Call) -> str | None:
        """The member `model`: it decides who counts."""
        return text_member(call.members.values, "model")

    def prepare(self, call: Call, model: str) -> Prepared:
        """The body with the target's model."""
        return Prepared(path=self.path(call, model), body=splice(call.body, self.model_change(call, model)))


class AnthropicUpload(AnthropicFormat, FreeAdapter):
    """The adapter of uploading a file."""

    endpoint: str = "anthropic.uploads"
    name: str = "anthropic.uploads/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = (Route("POST", f"{MOUNT}/v1/files", "/v1/files"),)

    def scan(self, headers: Headers, body: bytes) -> Members:
        """No members: the body is a form."""
        return NO_BODY

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """The file that was made."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            made = word(_decode_file(body).id)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"])
        return Reading(made=[VendorObject("file", made)] if made else [])


class AnthropicFile(AnthropicFormat, FreeAdapter):
    """The adapter of fetching and deleting a file, and of fetching what is in it."""

    endpoint: str = "anthropic.files"
    name: str = "anthropic.files/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = (
        Route("GET", f"{MOUNT}/v1/files/{{file}}", "/v1/files/{file}"),
        Route("DELETE", f"{MOUNT}/v1/files/{{file}}", "/v1/files/{file}"),
        Route("GET", f"{MOUNT}/v1/files/{{file}}/content", "/v1/files/{file}/content"),
    )
    object_fields: dict[str, str] = {"/file": "file"}  # noqa: RUF012  a table of the class, never changed


class AnthropicFiles(AnthropicFormat, FreeAdapter):
    """The adapter of listing files."""

    endpoint: str = "anthropic.file_list"
    name: str = "anthropic.file_list/1"
    purpose: Purpose = "list"
    lists: str | None = "file"
    routes: tuple[Route, ...] = (Route("GET", f"{MOUNT}/v1/files", "/v1/files"),)
