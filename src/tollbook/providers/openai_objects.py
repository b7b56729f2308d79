"""What OpenAI keeps for its clients: files, uploads, batches, conversations, vector stores, containers.

Source: the resources of the official SDK, openai 3.54. None of these calls is billed by itself: a batch is billed by
the lines of its output, and storage by size and day, on no answer. Each object belongs to the tenant that made it, so
every route names one, makes one, or is a list, which the gateway answers from its own record.

A container is not made here, as making one begins a session that is billed; those that tools made can be read.
"""

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tollbook.providers.adapter import FreeAdapter
from tollbook.providers.body import UNREADABLE
from tollbook.providers.contract import Headers, Purpose, Reading, VendorObject
from tollbook.providers.form import FormAdapter
from tollbook.providers.openai_format import ItemReferences, OpenAIFormat, object_id, routes

PLACES: Final = (("/v1", ""),)

_KINDS: Final = {
    "file": "file",
    "upload": "upload",
    "batch": "batch",
    "conversation": "conversation",
    "vector_store": "vector_store",
    "container": "container",
}
"""The member `object` of what is made, and our word for it."""


class _Made(Struct, gc=False):
    """What concerns us of an object: a batch names its files, an upload that is complete the file it became."""

    id: Any = None
    object: Any = None
    deleted: Any = None
    output_file_id: Any = None
    error_file_id: Any = None
    file: Any = None


_decode: Final = msgspec.json.Decoder(_Made).decode


class Operations(NamedTuple):
    """The routes of one kind of object. `makes` is False where the answer is content that a client wrote: what it says
    of itself proves nothing."""

    word: str
    routes: tuple[str, ...]
    fields: dict[str, str]
    purpose: Purpose = "object"
    lists: str | None = None
    makes: bool = True
    not_captured: tuple[str, ...] = ()


OPERATIONS: Final = (
    Operations(
        "files",
        ("POST /files", "GET /files/{file_id}", "DELETE /files/{file_id}"),
        {"/file_id": "file"},
        not_captured=("The models that the lines of a batch's input name are not held against the tenant's list.",),
    ),
    Operations("file_content", ("GET /files/{file_id}/content",), {"/file_id": "file"}, makes=False),
    Operations("file_list", ("GET /files",), {}, "list", "file"),
    Operations(
        "uploads",
        (
            "POST /uploads",
            "POST /uploads/{upload_id}/parts",
            "POST /uploads/{upload_id}/complete",
            "POST /uploads/{upload_id}/cancel",
        ),
        {"/upload_id": "upload"},
    ),
    Operations(
        "batches",
        ("POST /batches", "GET /batches/{batch_id}", "POST /batches/{batch_id}/cancel"),
        {"/batch_id": "batch", "input_file_id": "file"},
        not_captured=("A batch is billed by the lines of its output, which are read when it has ended.",),
    ),
    Operations("batch_list", ("GET /batches",), {}, "list", "batch"),
    Operations(
        "conversations",
        (
            "POST /conversations",
            "GET /conversations/{conversation_id}",
            "POST /conversations/{conversation_id}",
            "DELETE /conversations/{conversation_id}",
            "GET /conversations/{conversation_id}/items",
            "POST /conversations/{conversation_id}/items",
            "GET /conversations/{conversation_id}/items/{item_id}",
            "DELETE /conversations/{conversation_id}/items/{item_id}",
        ),
        {
            "/conversation_id": "conversation",
            "items.id": "item",
            "items.content.file_id": "file",
            "items.output.file_id": "file",
            "items.container_id": "container",
        },
    ),
    Operations(
        "vector_stores",
        (
            "POST /vector_stores",
            "GET /vector_stores/{vector_store_id}",
            "POST /vector_stores/{vector_store_id}",
            "DELETE /vector_stores/{vector_store_id}",
            "POST /vector_stores/{vector_store_id}/search",
            "GET /vector_stores/{vector_store_id}/files",
            "POST /vector_stores/{vector_store_id}/files",
            "GET /vector_stores/{vector_store_id}/files/{file_id}",
            "POST /vector_stores/{vector_store_id}/files/{file_id}",
            "DELETE /vector_stores/{vector_store_id}/files/{file_id}",
            "POST /vector_stores/{vector_store_id}/file_batches",
            "GET /vector_stores/{vector_store_id}/file_batches/{file_batch_id}",
            "POST /vector_stores/{vector_store_id}/file_batches/{file_batch_id}/cancel",
            "GET /vector_stores/{vector_store_id}/file_batches/{file_batch_id}/files",
        ),
        {
            "/vector_store_id": "vector_store",
            "/file_id": "file",
            "file_id": "file",
            "file_ids": "file",
            "files.file_id": "file",
        },
        not_captured=("Storage of vector stores is billed by size and day and stands in no answer.",),
    ),
    Operations(
        "vector_store_content",
        ("GET /vector_stores/{vector_store_id}/files/{file_id}/content",),
        {"/vector_store_id": "vector_store", "/file_id": "file"},
        makes=False,
    ),
    Operations("vector_store_list", ("GET /vector_stores",), {}, "list", "vector_store"),
    Operations(
        "containers",
        (
            "GET /containers/{container_id}",
            "DELETE /containers/{container_id}",
            "GET /containers/{container_id}/files",
            "GET /containers/{container_id}/files/{container_file_id}",
            "DELETE /containers/{container_id}/files/{container_file_id}",
            "GET /containers/{container_id}/files/{container_file_id}/content",
        ),
        {"/container_id": "container"},
        makes=False,
    ),
    Operations("container_list", ("GET /containers",), {}, "list", "container"),
)


class OpenAIObjects(OpenAIFormat, ItemReferences, FormAdapter, FreeAdapter):
    """The adapter of one kind of object, or of the list of them."""

    query_fields: frozenset[str] = frozenset({"after", "before", "filter", "include", "include[]", "limit", "order"})

    def __init__(self, operations: Operations, places: tuple[tuple[str, str], ...] = PLACES) -> None:
        self.endpoint = f"{self.format}.{operations.word}"
        self.name = f"{self.endpoint}/1"
        self.routes = routes(*operations.routes, places=places)
        self.purpose = operations.purpose
        self.object_fields = operations.fields
        self.lists = operations.lists
        self.not_captured = operations.not_captured
        self._makes: Final = operations.makes

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """What an answer made: the object itself, and the files of a batch."""
        reading = super().read(status, headers, body)
        if reading.error is None and self._makes:
            reading.made = _made(body)
        return reading


def _made(body: bytes) -> list[VendorObject]:
    try:
        said = _decode(body)
    except UNREADABLE:
        return []
    kind = _KINDS.get(said.object) if isinstance(said.object, str) else None
    if kind is None or said.deleted is True:
        return []
    named = [(kind, object_id(said.id))]
    if kind == "batch":
        named += [("file", object_id(said.output_file_id)), ("file", object_id(said.error_file_id))]
    if kind == "upload" and isinstance(said.file, dict):
        named.append(("file", object_id(said.file.get("id"))))
    return [VendorObject(kind, name) for kind, name in named if name is not None]
