"""OpenAI responses: `POST /v1/responses` and `/compact`; and a response fetched, cancelled or deleted by its id.

Source: the API reference and the types of the official SDK, openai 3.54. A stream ends with `response.completed`,
`.incomplete` or `.failed`, which hold the whole response with its usage; there is nothing to ask for. In the
background, the first answer has a status and no usage; the usage comes when the response is fetched.
"""

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.adapter import FreeAdapter
from tollbook.providers.answer import error_word, read_error, word
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Purpose, Reading, Route, StreamReader
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.openai_format import ItemReferences, OpenAIFormat, routes
from tollbook.providers.openai_response import (
    Item,
    count_items,
    decode_item,
    decode_response,
    made,
    put_counters,
    read_response,
    served_tier,
)
from tollbook.providers.reader import EventReader
from tollbook.providers.text import measure_text

_TERMINAL: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_FAILED: Final = ("response.failed", "response.cancelled")
_BEGINNING: Final = ("response.created", "response.queued", "response.in_progress")
_MEDIA_DELTAS: Final = ("response.audio.delta", "response.output_audio.delta")

_GENERATED: Final = ("content", "summary", "name", "arguments", "input", "code")
"""Members of an output item that hold generated text."""

_TOOLS: Final = {
    "vector_store_ids": "vector_store",
    "container": "container",
    "container.file_ids": "file",
    "environment.container_id": "container",
    "environment.file_ids": "file",
    "environment.skills.skill_id": "skill",
    "input_image_mask.file_id": "file",
}
"""Members of a tool that name something the vendor keeps."""


class _Event(Struct, gc=False):
    """What concerns us of an event of a stream."""

    type: Any = None
    delta: Any = None
    response: Raw = Raw()
    item: Raw = Raw()
    error: Any = None
    code: Any = None


class _Output(Struct, gc=False):
    output: Any = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_output: Final = msgspec.json.Decoder(_Output).decode


class ResponsesReader(EventReader):
    """Reads one streamed response. The usage comes with the terminal event, or never.

    A stream of a response in the background that breaks off leaves the work going on (flag `background`).
    """

    event_limit = 32 << 20  # the terminal event holds the whole response, with its images

    __slots__ = ("_background", "_identity", "_items", "_model", "_terminal", "_tier", "_told")

    def __init__(self) -> None:
        super().__init__()
        self._model: str | None = None
        self._identity: str | None = None
        self._tier: str | None = None
        self._background = False
        self._items: list[Item] = []
        self._told: Reading | None = None
        self._terminal = False

    @property
    def terminal(self) -> bool:
        """Whether a terminal event has been seen."""
        return self._terminal

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = self._told
        if reading is None:
            reading = Reading(
                model_served=self._model,
                response_id=self._identity,
                tier=self._tier,
                complete=False,
                made=made(self._identity, self._items),
                flags=["background"] if self._background else [],
            )
            put_counters(reading, count_items(self._items), final=False)
        if reading.usage is None:
            self._put_text(reading)
        if self._error is not None:
            reading.error = reading.error or self._error
            reading.complete = False
        reading.flags += [remark for remark in self._flags if remark not in reading.flags]
        return reading

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            said = _decode_event(data)
        except UNREADABLE:
            if not data.strip().startswith(b"[DONE]"):
                self._saw_unreadable(data)
            return False
        kind = said.type
        if type(said.delta) is str:
            if kind not in _MEDIA_DELTAS:
                self._saw_text(said.delta)
        elif kind in _TERMINAL:
            self._end(bytes(said.response), kind)
        elif kind in _BEGINNING:
            self._begin(bytes(said.response))
        elif kind == "response.output_item.done":
            self._learn_item(bytes(said.item))
        elif kind == "error" or said.error is not None or name == b"error":
            self._error = error_word(said.error if isinstance(said.error, dict) else {"code": said.code})
        return False

    def _begin(self, raw: bytes) -> None:
        try:
            response = decode_response(raw)
        except UNREADABLE:
            return
        self._model = word(response.model) or self._model
        self._identity = word(response.id) or self._identity
        self._tier = served_tier(response.service_tier) or self._tier
        self._background = response.background is True

    def _end(self, raw: bytes, kind: str) -> None:
        self._terminal = True
        if kind in _FAILED:
            self._error = kind.removeprefix("response.")
        try:
            self._told = read_response(decode_response(raw), self._items)
        except UNREADABLE:
            self._saw_unreadable(raw)

    def _learn_item(self, raw: bytes) -> None:
        try:
            self._items.append(decode_item(raw))
        except UNREADABLE:
            self._saw_unreadable(raw)


def read_body(body: bytes) -> Reading:
    """Read a buffered response. One that cannot be decoded counts as text, all of it."""
    try:
        response = decode_response(body)
        reading = read_response(response)
        if reading.usage is None and "background" not in reading.flags:
            reading.output_text = _generated(_decode_output(body).output)
    except UNREADABLE:
        return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
    return reading


def _generated(output: object) -> int:
    """The bytes of generated text in the items of an output."""
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    return sum(measure_text(item[name]).size for item in items for name in _GENERATED if name in item)


class OpenAIResponses(OpenAIFormat, ItemReferences):
    """The adapter of OpenAI responses."""

    endpoint: str = "openai.responses"
    name: str = "openai.responses/1"
    routes: tuple[Route, ...] = routes("POST /responses", "POST /responses/compact")
    model_fields: frozenset[str] = frozenset(
        {
            "access_programs",
            "background",
            "context_management",
            "image",
            "max_tool_calls",
            "moderation",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning",
            "service_tier",
            "store",
            "tools",
        }
    )
    object_fields: dict[str, str] = {  # noqa: RUF012  a table of the class, never changed
        "previous_response_id": "response",
        "conversation": "conversation",
        "conversation.id": "conversation",
        "prompt.id": "prompt",
        "prompt.variables.*.file_id": "file",
        "input.id": "item",
        "input.content.file_id": "file",
        "input.output.file_id": "file",
        "input.container_id": "container",
        "input.environment.container_id": "container",
        **{f"{place}.{path}": kind for place in ("tools", "input.tools") for path, kind in _TOOLS.items()},
    }
    convention: str = "nested"
    not_captured: tuple[str, ...] = (
        "A container that is used again within its session is counted again as a session of code.",
        "Searches that the vendor does not bill are counted where it reports no tool usage.",
        "Images drawn by a tool have the model that the request named for it; without one they have no price.",
        "A response cancelled in the background reports no usage.",
    )

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer."""
        return Reading(error=read_error(status, body)) if status >= 400 else read_body(body)

    def stream(self, prepared: Prepared) -> ResponsesReader:
        """A reader for one streamed answer."""
        return ResponsesReader()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        earlier = ("previous_response_id", "conversation", "prompt")
        prompt = Prompt(
            conversation=present(members, ("instructions", "input")),
            schemas=present(members, ("tools", "text")),
            open_ended=_has_server_tools(members.get("tools")) or bool(present(members, earlier)),
        )
        return estimate_usage(prompt, output_limit(members.get("max_output_tokens")), reading)


def _has_server_tools(tools: bytes | None) -> bool:
    """Whether a tool may run at the vendor and add what it found to the input."""
    listed = read_value(tools)
    return isinstance(listed, list) and any(
        isinstance(tool, dict) and tool.get("type") not in ("function", "custom") for tool in listed
    )


class OpenAIResponse(OpenAIFormat, FreeAdapter):
    """The adapter of one response by its id. Nothing of it is billed; one that was made in the background tells its
    usage here: it settles the request that made it, never this one."""

    endpoint: str = "openai.response"
    name: str = "openai.response/1"
    purpose: Purpose = "object"
    routes: tuple[Route, ...] = routes(
        "GET /responses/{response_id}",
        "DELETE /responses/{response_id}",
        "POST /responses/{response_id}/cancel",
        "GET /responses/{response_id}/input_items",
    )
    object_fields: dict[str, str] = {"/response_id": "response"}  # noqa: RUF012  a table of the class, never changed
    query_fields: frozenset[str] = frozenset(
        {"after", "include", "include[]", "include_obfuscation", "limit", "order", "starting_after", "stream"}
    )

    def streamed(self, call: Call) -> bool:
        """Whether the query asks to go on with the stream of a response."""
        return dict(parse_qsl(call.query.decode("latin-1"))).get("stream", "").lower() == "true"

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a response that was fetched or cancelled; a list of its items says nothing."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            response = decode_response(body)
        except UNREADABLE:
            return Reading()
        if response.deleted is True or response.object not in (None, "response"):
            return Reading(response_id=word(response.id))
        return read_body(body)

    def stream(self, prepared: Prepared) -> StreamReader:
        """A reader for the rest of a stream."""
        return ResponsesReader()


class OpenAIInputTokens(OpenAIFormat, ItemReferences, FreeAdapter):
    """The adapter of counting the tokens of an input, which is free."""

    endpoint: str = "openai.input_tokens"
    name: str = "openai.input_tokens/1"
    routes: tuple[Route, ...] = routes("POST /responses/input_tokens")
    object_fields: dict[str, str] = OpenAIResponses.object_fields
