"""Batches of every format that has them, in one form: where a batch is asked after, how far it is, what it tells of
itself as a whole, and the lines of its output, each without content.

Sources: `openai_batch` and `anthropic_batches`, which name their own. Azure has OpenAI's batches below `/openai/v1`.
What a batch is billed for are the requests that were answered; a request that failed, expired or was cancelled is not,
unless a usage is reported for it.
"""

from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from tollbook.core.clock import SECOND, parse_instant
from tollbook.core.usage import token_sums
from tollbook.providers.answer import Count, word
from tollbook.providers.anthropic_batches import read_result
from tollbook.providers.body import UNREADABLE
from tollbook.providers.contract import Headers, Reading
from tollbook.providers.openai_batch import line_endpoint, read_batch, read_line

COMPARED: Final = ("lines", "completed", "failed", "input", "input_cache_read", "output", "output_reasoning")
"""What a vendor may tell of a batch as a whole: lines, those answered and those not, and tokens. `input` and `output`
are whole sums, the other two are parts of them."""

_MOST_SECONDS: Final = 1 << 40


class BatchState(Struct, kw_only=True, frozen=True):
    """How far a batch is, in the vendor's word. `at` is when it ended (microseconds), `endpoint` the operation of its
    lines, `outputs` the paths of its results; `told` what the vendor says of the whole (words of COMPARED), without
    what cannot be held against the lines."""

    status: str
    ended: bool
    at: int | None = None
    endpoint: str | None = None
    outputs: tuple[str, ...] = ()
    told: dict[str, int] = {}


class BatchLine(Struct, kw_only=True):
    """One line: the client's name for it, how it ended (an outcome), the status of its answer where it has one, when
    it was done, as far as the vendor says so (microseconds), and what its answer says."""

    name: str | None
    outcome: str
    status: int | None
    at: int | None
    reading: Reading


class BatchFormat(Protocol):
    """The batches of one wire format."""

    headers: Headers
    """What a request of our own needs beside the credentials."""

    def path(self, batch: str) -> str:
        """Where a batch is asked after, below the vendor's base URL."""
        ...

    def state(self, batch: str, body: bytes) -> BatchState | None:
        """How far a batch is; None when the answer does not say so."""
        ...

    def line(self, data: bytes, endpoint: str | None) -> BatchLine:
        """One line of its results; `endpoint` is the state's."""
        ...

    def operation(self, endpoint: str | None) -> tuple[str, str]:
        """Our words for the operation of its lines and for the adapter that reads them."""
        ...


class _Instants(NamedTuple):
    """The members that tell when a batch ended, by its status."""

    names: dict[str, str]

    def of(self, body: bytes, status: str) -> int | None:
        try:
            said = _decode_members(body).get(self.names.get(status, ""))
            seconds = None if said is None else msgspec.json.decode(said, type=int)
        except UNREADABLE:
            return None
        return seconds * SECOND if seconds is not None and 0 <= seconds < _MOST_SECONDS else None


_decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_OPENAI_ENDS: Final = _Instants({name: f"{name}_at" for name in ("completed", "failed", "expired", "cancelled")})


class OpenAIBatches:
    """OpenAI's and, with another root, Azure's."""

    headers: Headers = []  # noqa: RUF012  never changed

    def __init__(self, name: str = "openai", root: str = "") -> None:
        self._name: Final = name
        self._root: Final = root

    def path(self, batch: str) -> str:
        return f"{self._root}/batches/{quote(batch, safe='')}"

    def state(self, batch: str, body: bytes) -> BatchState | None:
        """The counts of a batch that was broken off cannot be held against its lines, but those answered can."""
        said = read_batch(body)
        if said is None or said.status is None or said.id != batch:
            return None
        told: dict[str, int | None] = {"completed": said.completed}
        if said.status == "completed":
            told |= {"lines": said.total, "failed": said.failed}
        if said.usage is not None:
            told |= token_sums(said.usage)
        files = [name for name in (said.output_file, said.error_file) if name is not None]
        return BatchState(
            status=said.status,
            ended=said.ended,
            at=_OPENAI_ENDS.of(body, said.status),
            endpoint=said.endpoint,
            outputs=tuple(f"{self._root}/files/{quote(name, safe='')}/content" for name in files),
            told={name: number for name, number in told.items() if number is not None} if said.ended else {},
        )

    def line(self, data: bytes, endpoint: str | None) -> BatchLine:
        said = read_line(data, endpoint or "")
        reading = said.reading
        if "unreadable_body" in reading.flags and said.custom_id is None:
            outcome = "truncated"
        elif said.status is None:
            outcome = _WITHOUT_ANSWER.get(reading.error or "", "vendor_error")
        else:
            outcome = outcome_of(said.status, reading)
        return BatchLine(name=said.custom_id, outcome=outcome, status=said.status, at=said.at, reading=reading)

    def operation(self, endpoint: str | None) -> tuple[str, str]:
        adapter = line_endpoint(endpoint or "")
        if adapter is None:
            return f"{self._name}.batches", f"{self._name}.batches/1"
        return adapter.endpoint.replace("openai.", f"{self._name}."), adapter.name


_WITHOUT_ANSWER: Final = {"batch_expired": "timeout", "batch_cancelled": "cancelled"}


class _Counts(Struct, gc=False):
    succeeded: Count = 0
    errored: Count = 0
    canceled: Count = 0
    expired: Count = 0


class _Batch(Struct, gc=False):
    id: Any = None
    type: Any = None
    processing_status: Any = None
    ended_at: Any = None
    request_counts: _Counts | None = None


_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_RESULTS: Final = {
    "succeeded": "ok",
    "errored": "vendor_error",
    "canceled": "cancelled",
    "expired": "timeout",
    "unreadable": "truncated",
}


class AnthropicBatches:
    """Anthropic's. `results_url` of its answer is not followed: where results are is known, and a secret goes to no
    address that an answer names."""

    headers: Headers = [(b"anthropic-version", b"2023-06-01")]  # noqa: RUF012  never changed

    def path(self, batch: str) -> str:
        return f"/v1/messages/batches/{quote(batch, safe='')}"

    def state(self, batch: str, body: bytes) -> BatchState | None:
        try:
            said = _decode_batch(body)
        except UNREADABLE:
            return None
        if said.type != "message_batch" or said.id != batch or not isinstance(said.processing_status, str):
            return None
        status = word(said.processing_status) or ""
        if status != "ended":
            return BatchState(status=status, ended=False)
        counts = said.request_counts
        told = {}
        if counts is not None:
            failed = counts.errored + counts.canceled + counts.expired
            told = {"lines": counts.succeeded + failed, "completed": counts.succeeded, "failed": failed}
        outputs = (f"{self.path(batch)}/results",)
        return BatchState(status=status, ended=True, at=_instant(said.ended_at), outputs=outputs, told=told)

    def line(self, data: bytes, endpoint: str | None) -> BatchLine:
        said = read_result(data)
        reading = said.reading
        if said.kind != "succeeded" and not reading.usage:
            reading.usage, reading.basis = None, "unreported"
        outcome = _RESULTS[said.kind]
        if outcome == "ok" and not reading.complete:
            outcome = "truncated"
        return BatchLine(name=said.custom_id, outcome=outcome, status=None, at=None, reading=reading)

    def operation(self, endpoint: str | None) -> tuple[str, str]:
        return "anthropic.messages", "anthropic.messages/1"


BATCH_FORMATS: Final[dict[str, BatchFormat]] = {
    "openai": OpenAIBatches(),
    "azure": OpenAIBatches("azure", "/openai/v1"),
    "anthropic": AnthropicBatches(),
}
"""The formats whose batches are followed."""


def outcome_of(status: int, reading: Reading) -> str:
    """How one line's answer ended."""
    if status == 429:
        return "rate_limited"
    if status >= 400:
        return "client_error" if status < 500 else "vendor_error"
    if status >= 300 or reading.error is not None:
        return "vendor_error"
    return "ok" if reading.complete else "truncated"


def _instant(text: object) -> int | None:
    try:
        return parse_instant(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
