"""Anthropic's message batches, and the results in which each request of a batch has its own message and usage.

Source: the API reference and the types of the official SDK, anthropic 2.12 (`MessageBatch`,
`MessageBatchIndividualResponse`): of the four kinds of result only `succeeded` has a message, and the others are not
billed. Making a batch costs nothing; what it costs is read from its results.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.faults import BadInput
from tollbook.providers.adapter import FreeAdapter
from tollbook.providers.answer import error_word, read_error, word
from tollbook.providers.anthropic_format import AnthropicFormat, mounted
from tollbook.providers.anthropic_messages import read_message
from tollbook.providers.body import (
    UNREADABLE,
    AmbiguousBody,
    BillingFieldRefused,
    Members,
    Splice,
    replace_model,
    scan,
    splice,
    text_member,
)
from tollbook.providers.contract import Call, Headers, Prepared, Purpose, Reading, Route, VendorObject

_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode


class _Batch(Struct, gc=False):
    id: Any = None


class _Result(Struct, gc=False, frozen=True):
    type: Any = None
    message: Raw = Raw()
    error: Any = None


class _Line(Struct, gc=False):
    custom_id: Any = None
    result: _Result = _Result()


class BatchResult(Struct, kw_only=True):
    """One line of a batch's results, without content. `custom_id` is the client's own name of the request, None when
    the line has none; `kind` is `succeeded`, `errored`, `canceled`, `expired`, or `unreadable`."""

    custom_id: str | None
    kind: str
    reading: Reading


_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode


def read_result(line: bytes) -> BatchResult:
    """One line of a batch's results. Its usage is priced as a batch's: the message says `"service_tier":"batch"`.

    A request that errored, was cancelled or expired used nothing that is billed; its usage is empty.
    """
    try:
        said = _decode_line(line)
        kind = said.result.type if isinstance(said.result.type, str) else "unreadable"
    except UNREADABLE:
        return BatchResult(custom_id=None, kind="unreadable", reading=_unreadable())
    name = word(said.custom_id)
    if kind == "succeeded":
        return BatchResult(custom_id=name, kind=kind, reading=read_message(bytes(said.result.message)))
    if kind in ("errored", "canceled", "expired"):
        error = said.result.error.get("error") if isinstance(said.result.error, dict) else None
        told = error_word(error) if kind == "errored" else kind
        reading = Reading(usage={}, basis="provider_reported", complete=False, error=told)
        return BatchResult(custom_id=name, kind=kind, reading=reading)
    return BatchResult(custom_id=name, kind="unreadable", reading=_unreadable())


def _unreadable() -> Reading:
    return Reading(complete=False, flags=["unreadable_body"])


class AnthropicBatchCreate(AnthropicFormat, FreeAdapter):
    """The adapter of making a batch. All its requests must ask for one model, by which the batch is routed."""

    endpoint: str = "anthropic.batch_create"
    name: str = "anthropic.batch_create/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = mounted("POST", "/v1/messages/batches")
    model_fields: frozenset[str] = frozenset({"requests"})
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        f"requests.params.{path}": kind for path, kind in AnthropicFormat.message_objects.items()
    }

    def model(self, call: Call) -> str | None:
        """The model that all requests ask for. Raises BadInput when one has none or another."""
        asked = {text_member(params.values, "model") for _, params in _requests(call.members)}
        if len(asked) != 1:
            raise BadInput("the requests of a batch must ask for one and the same model here; make a batch for each")
        return asked.pop()

    def prepare(self, call: Call, model: str) -> Prepared:
        """The batch with the target's model in every request. Raises BillingFieldRefused."""
        changes: list[Splice] = []
        for start, params in _requests(call.members):
            if "billing_policy" in params.values:
                raise BillingFieldRefused('member "billing_policy" selects who is billed; only the configuration does')
            changes += [Splice(start + one.start, start + one.end, one.text) for one in replace_model(params, model)]
        return Prepared(path=self.path(call, model), body=splice(call.body, changes))

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """The batch that was made."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            made = word(_decode_batch(body).id)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"])
        return Reading(response_id=made, made=[VendorObject("batch", made)] if made else [])


class AnthropicBatch(AnthropicFormat, FreeAdapter):
    """The adapter of fetching, cancelling and deleting a batch, and of fetching its results."""

    endpoint: str = "anthropic.batches"
    name: str = "anthropic.batches/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = (
        *mounted("GET", "/v1/messages/batches/{batch}"),
        *mounted("DELETE", "/v1/messages/batches/{batch}"),
        *mounted("POST", "/v1/messages/batches/{batch}/cancel"),
        *mounted("GET", "/v1/messages/batches/{batch}/results"),
    )
    object_fields: dict[str, str] = {"/batch": "batch"}  # noqa: RUF012  a table of the class, never changed


class AnthropicBatches(AnthropicFormat, FreeAdapter):
    """The adapter of listing batches."""

    endpoint: str = "anthropic.batch_list"
    name: str = "anthropic.batch_list/1"
    purpose: Purpose = "list"
    lists: str | None = "batch"
    routes: tuple[Route, ...] = mounted("GET", "/v1/messages/batches")


def _requests(members: Members) -> list[tuple[int, Members]]:
    """The `params` of each request of a batch, and where each begins in the body.

    Raises BadInput (AmbiguousBody) when one cannot be read in one way only.
    """
    raw = members.values.get("requests")
    if raw is None:
        raise BadInput('the request body has no member "requests"; add it, as a list')
    try:
        listed = [bytes(one) for one in _decode_list(raw)]
    except UNREADABLE:
        raise AmbiguousBody('member "requests" is not a list') from None
    found: list[tuple[int, Members]] = []
    position = members.spans["requests"][0]
    offset = 0
    for place, one in enumerate(listed):
        begin = raw.index(one, offset)
        offset = begin + len(one)
        outer = scan(one, f'member "requests" at {place}')
        params = outer.values.get("params")
        if params is None:
            raise BadInput(f'member "requests" at {place} has no member "params"')
        start = position + begin + outer.spans["params"][0]
        found.append((start, scan(params, f'member "params" of "requests" at {place}')))
    return found
