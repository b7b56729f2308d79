"""One response object of OpenAI, wherever it comes from: created, streamed, fetched, or in a batch's output.

Source: the types of the official SDK, openai 3.54 (`Response`, `ToolUsage`). `usage` covers the model alone. What
built-in tools did is counted from `tool_usage`, where the vendor tells it, else from the output items.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.usage import Usage
from tollbook.providers.answer import Count, error_word, flag, word
from tollbook.providers.body import UNREADABLE
from tollbook.providers.contract import Reading, Share, VendorObject
from tollbook.providers.openai_format import object_id, report
from tollbook.providers.openai_images import svg_share
from tollbook.providers.openai_usage import decompose_images, decompose_response

IMAGE_TOOL: Final = "image_generation"
"""Stands for the model that drew images where the answer does not name it: no price book knows it."""

_RUNNING: Final = ("queued", "in_progress")


class Item(Struct, gc=False):
    """What concerns us of an output item."""

    id: Any = None
    type: Any = None
    action: Any = None
    container_id: Any = None
    environment: Any = None
    svg_usage: Raw = Raw()


class _Tool(Struct, gc=False):
    type: Any = None
    model: Any = None


class _WebSearch(Struct, gc=False):
    num_requests: Count | None = None


class _ToolUsage(Struct, gc=False):
    web_search: _WebSearch | None = None
    image_gen: Raw = Raw()


class Response(Struct, gc=False):
    """What concerns us of a response. `deleted` and other kinds of `object` come where objects are asked for."""

    id: Any = None
    object: Any = None
    model: Any = None
    status: Any = None
    background: Any = None
    service_tier: Any = None
    error: Any = None
    deleted: Any = None
    usage: Raw = Raw()
    tool_usage: Raw = Raw()
    output: Raw = Raw()
    tools: Raw = Raw()


decode_response: Final = msgspec.json.Decoder(Response).decode
decode_item: Final = msgspec.json.Decoder(Item).decode
_decode_items: Final = msgspec.json.Decoder(list[Item]).decode
_decode_tools: Final = msgspec.json.Decoder(list[_Tool]).decode
_decode_tool_usage: Final = msgspec.json.Decoder(_ToolUsage).decode


def served_tier(told: object) -> str | None:
    """The tier a response says that it was served at. `auto`, which a response has until it is done, is the one that
    was asked for and no tier (observed in `response.created`; the reference has it among the values to ask for)."""
    tier = word(told)
    return None if tier == "auto" else tier


def read_response(response: Response, seen: list[Item] | None = None) -> Reading:
    """What a response says of itself. One that still runs in the background has no usage yet (flag `background`).

    `seen` are items that its stream brought; they stand in where the response has none.
    """
    reading = Reading(
        model_served=word(response.model), response_id=word(response.id), tier=served_tier(response.service_tier)
    )
    items = _items(response) or seen or []
    reading.made = made(response.id, items)
    if response.status in _RUNNING:
        flag(reading.flags, "background")
        return reading
    counted = _count_tools(reading, response, items)
    raw = bytes(response.usage)
    final = raw.startswith(b"{") and report(reading, raw, decompose_response, final=True)
    put_counters(reading, counted, final)
    reading.shares = _shares(reading, response, items)
    if response.error is not None or response.status in ("failed", "cancelled"):
        reading.error = error_word(response.error or {"code": response.status})
        reading.complete = False
    return reading


def made(identity: object, items: list[Item]) -> list[VendorObject]:
    """The objects that a response made: itself, its items, its containers."""
    named = [("response", object_id(identity))]
    named += [("item", object_id(item.id)) for item in items]
    named += [("container", container) for container in sorted(_containers(items))]
    return [VendorObject(kind, name) for kind, name in named if name is not None]


def count_items(items: list[Item]) -> Usage:
    """The calls of built-in tools that are billed apart, by output items; classes that are 0 are left out.

    A web search call without an action is a search (older versions have none); opening a page and finding in it are
    not. Sessions of code are told by distinct containers.
    """
    searches = [item for item in items if item.type == "web_search_call" and _searches(item.action)]
    counted = {
        "web_searches": len(searches),
        "file_searches": sum(item.type == "file_search_call" for item in items),
        "code_sessions": len(_containers(items)),
    }
    return {name: quantity for name, quantity in counted.items() if quantity}


def put_counters(reading: Reading, counted: Usage, final: bool) -> None:
    """Add the calls of tools to a usage, or to what is known of one that never came."""
    if final and reading.usage is not None:
        reading.usage |= counted
    elif counted:
        reading.partial = (reading.partial or {}) | counted
        flag(reading.flags, "partial_usage")


def _items(response: Response) -> list[Item]:
    try:
        return _decode_items(response.output) if response.output else []
    except UNREADABLE:
        return []


def _searches(action: object) -> bool:
    return not isinstance(action, dict) or action.get("type") in (None, "search")


def _containers(items: list[Item]) -> set[str]:
    found: set[str | None] = set()
    for item in items:
        if item.type == "code_interpreter_call":
            found.add(object_id(item.container_id))
        elif item.type == "shell_call" and isinstance(item.environment, dict):
            found.add(object_id(item.environment.get("container_id")))
    return {name for name in found if name is not None}


def _told(response: Response) -> _ToolUsage:
    try:
        return _decode_tool_usage(response.tool_usage) if response.tool_usage else _ToolUsage()
    except UNREADABLE:
        return _ToolUsage()


def _count_tools(reading: Reading, response: Response, items: list[Item]) -> Usage:
    """The counters of a response. The vendor's own count of searches is the one it bills by."""
    counted = count_items(items)
    told = _told(response).web_search
    if told is not None and told.num_requests is not None:
        counted.pop("web_searches", None)
        if told.num_requests:
            counted["web_searches"] = told.num_requests
    return counted


def _shares(reading: Reading, response: Response, items: list[Item]) -> list[Share]:
    """What image models did for a response; `usage` has nothing of it."""
    raw = bytes(_told(response).image_gen)
    shares: list[Share] = []
    if raw.startswith(b"{"):
        usage = decompose_images(raw).usage
        if any(usage.values()):
            shares.append(Share(_image_model(response), usage))
    elif any(item.type == "image_generation_call" for item in items):
        flag(reading.flags, "unreported_tool")
    for item in items:
        shares += svg_share(bytes(item.svg_usage))
    return shares


def _image_model(response: Response) -> str:
    try:
        tools = _decode_tools(response.tools) if response.tools else []
    except UNREADABLE:
        tools = []
    return next((word(tool.model) for tool in tools if tool.type == IMAGE_TOOL), None) or IMAGE_TOOL
