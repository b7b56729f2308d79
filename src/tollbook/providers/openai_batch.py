"""A batch of OpenAI's, read without its content: the batch object, and one line of its output or error file.

Source: the API reference and the types of the official SDK, openai 3.54 (`Batch`, `BatchUsage`). Each line holds the
body that the endpoint of the batch would have answered; lines come in any order and are told by `custom_id`, which the
client chose. Usage of the whole batch is on the batch object, for batches made after 2025-09-07.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.clock import SECOND
from tollbook.core.usage import Usage
from tollbook.providers.answer import Count, error_word, word
from tollbook.providers.body import UNREADABLE
from tollbook.providers.contract import Adapter, Reading
from tollbook.providers.openai_chat import OpenAIChat
from tollbook.providers.openai_completions import OpenAICompletions
from tollbook.providers.openai_embeddings import OpenAIEmbeddings
from tollbook.providers.openai_format import object_id
from tollbook.providers.openai_images import OpenAIImages
from tollbook.providers.openai_responses import OpenAIResponses
from tollbook.providers.openai_usage import decompose_response

_ADAPTERS: Final[dict[str, Adapter]] = {
    "chat/completions": OpenAIChat(),
    "responses": OpenAIResponses(),
    "embeddings": OpenAIEmbeddings(),
    "completions": OpenAICompletions(),
    "images/generations": OpenAIImages(),
    "images/edits": OpenAIImages(),
}
"""Who reads the lines of a batch, by the batch's endpoint without its version."""

_CUSTOM_ID_LIMIT: Final = 512


class Batch(Struct, kw_only=True, frozen=True):
    """How far a batch is. `usage` is the vendor's total over all lines; None where it tells none."""

    id: str | None
    status: str | None
    endpoint: str | None
    output_file: str | None
    error_file: str | None
    usage: Usage | None
    completed: int | None
    failed: int | None
    total: int | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchLine(Struct, kw_only=True, frozen=True):
    """One line: the client's name for it, the status of its answer (None: there was none), what the answer says, and
    when it says that it was made (`completed_at`, `created_at`, `created`; microseconds)."""

    custom_id: str | None
    status: int | None
    reading: Reading
    at: int | None = None


class _Counts(Struct, gc=False):
    completed: Count | None = None
    failed: Count | None = None
    total: Count | None = None


class _Batch(Struct, gc=False):
    id: Any = None
    object: Any = None
    status: Any = None
    endpoint: Any = None
    output_file_id: Any = None
    error_file_id: Any = None
    usage: Raw = Raw()
    request_counts: _Counts | None = None


class _Answer(Struct, gc=False):
    status_code: Any = None
    request_id: Any = None
    body: Raw = Raw()


class _Line(Struct, gc=False):
    custom_id: Any = None
    response: _Answer | None = None
    error: Any = None


class _Dated(Struct, gc=False):
    completed_at: Count | float | None = None
    created_at: Count | float | None = None
    created: Count | float | None = None


_decode_dated: Final = msgspec.json.Decoder(_Dated).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode


def read_batch(body: bytes) -> Batch | None:
    """A batch object; None when it is none."""
    try:
        said = _decode_batch(body)
    except UNREADABLE:
        return None
    if said.object != "batch":
        return None
    raw, counts = bytes(said.usage), said.request_counts or _Counts()
    return Batch(
        id=object_id(said.id),
        status=word(said.status),
        endpoint=word(said.endpoint),
        output_file=object_id(said.output_file_id),
        error_file=object_id(said.error_file_id),
        usage=decompose_response(raw).usage or None if raw.startswith(b"{") else None,
        completed=counts.completed,
        failed=counts.failed,
        total=counts.total,
    )


def read_line(line: bytes, endpoint: str) -> BatchLine:
    """One line of an output or error file of a batch for `endpoint`, such as `/v1/chat/completions`.

    A line without an answer has its error (`batch_expired`); a line that cannot be decoded has neither name nor status
    and the flag `unreadable_body`.
    """
    try:
        said = _decode_line(line)
    except UNREADABLE:
        return BatchLine(custom_id=None, status=None, reading=Reading(complete=False, flags=["unreadable_body"]))
    custom_id = said.custom_id
    if not isinstance(custom_id, str) or len(custom_id) > _CUSTOM_ID_LIMIT:
        custom_id = None
    answer = said.response
    status = answer.status_code if answer is not None and type(answer.status_code) is int else None
    reading = _read_answer(answer, 200 if status is None else status, endpoint)
    if said.error is not None:
        reading.error = error_word(said.error)
        reading.complete = False
    at = _made_at(bytes(answer.body)) if answer is not None and answer.body else None
    return BatchLine(custom_id=custom_id, status=status, reading=reading, at=at)


def line_endpoint(endpoint: str) -> Adapter | None:
    """Who reads the lines of a batch for an endpoint such as `/v1/chat/completions`; None when nobody does."""
    return _ADAPTERS.get(endpoint.removeprefix("/").removeprefix("v1/"))


def _made_at(body: bytes) -> int | None:
    try:
        said = _decode_dated(body)
    except UNREADABLE:
        return None
    told = next((one for one in (said.completed_at, said.created_at, said.created) if one is not None), None)
    return int(told) * SECOND if told is not None and 0 <= told < 1 << 40 else None


def _read_answer(answer: _Answer | None, status: int, endpoint: str) -> Reading:
    adapter = line_endpoint(endpoint)
    if answer is None or not answer.body:
        return Reading(complete=False)
    if adapter is None:
        return Reading(request_id=word(answer.request_id))
    reading = adapter.read(status, [], bytes(answer.body))
    reading.request_id = word(answer.request_id)
    return reading
