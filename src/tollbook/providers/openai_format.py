"""What all operations of the OpenAI format share: its headers, its errors, and how a usage object becomes a reading."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import Decomposition, keep_raw, put_usage
from tollbook.providers.body import read_value
from tollbook.providers.compat import vendor_cost
from tollbook.providers.contract import Call, Headers, Reading, Route, VendorObject

_ERROR_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_ID_LIMIT: Final = 512


def routes(*operations: str, places: tuple[tuple[str, str], ...] = (("/v1", ""),)) -> tuple[Route, ...]:
    """Routes from `METHOD /path`, at each place: a prefix for clients and one for the vendor's base URL."""
    told = [operation.partition(" ") for operation in operations]
    return tuple(
        Route(method, prefix + path, upstream + path) for prefix, upstream in places for method, _, path in told
    )


def report(reading: Reading, raw: bytes, decompose: Callable[[bytes], Decomposition], final: bool) -> bool:
    """Put a usage object into a reading; whether its usage is final."""
    reading.raw = keep_raw(raw, reading.flags)
    reading.vendor_cost = vendor_cost(raw)
    return put_usage(reading, decompose(raw), final)


def object_id(value: object) -> str | None:
    """The id of something that the vendor keeps. It is never cut: two that differ must stay two."""
    return value if isinstance(value, str) and 0 < len(value) <= _ID_LIMIT else None


class ItemReferences(JsonAdapter):
    """Tells references to items that the vendor keeps from items that are given whole.

    Only a reference makes the vendor look one up; the id of an item that is given whole may be of the client's own
    making.
    """

    def objects(self, call: Call) -> list[VendorObject]:
        """The vendor objects that a request names."""
        found = super().objects(call)
        if not any(one.kind == "item" for one in found):
            return found
        referred = {
            item["id"]
            for path, kind in self.object_fields.items()
            if kind == "item"
            for item in _items(call, path.removesuffix(".id"))
            if item.get("type") in (None, "item_reference") and "role" not in item
        }
        return [one for one in found if one.kind != "item" or one.id in referred]


def _items(call: Call, member: str) -> list[dict[str, Any]]:
    """The items of a member that have an id."""
    items = read_value(call.members.values.get(member))
    listed = items if isinstance(items, list) else [items]
    return [item for item in listed if isinstance(item, dict) and isinstance(item.get("id"), str)]


class OpenAIFormat:
    """The headers and errors of OpenAI, to be inherited before the kind of adapter."""

    format: str = "openai"
    # Never openai-organization and openai-project: they select who is billed.
    request_headers: frozenset[bytes] = frozenset({b"accept", b"content-type", b"openai-beta", b"user-agent"})
    vendor_request_id_headers: tuple[bytes, ...] = (b"x-request-id", b"apim-request-id")

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own."""
        fallback = "server_error" if status >= 500 else "invalid_request_error"
        error = {
            "message": f"{message} (request id {request_id})",
            "type": _ERROR_TYPES.get(status, fallback),
            "param": None,
            "code": code,
        }
        return msgspec.json.encode({"error": error})


def is_json(headers: Headers) -> bool:
    """Whether an answer may be JSON: its content type says so, or nothing."""
    types = [value for name, value in headers if name == b"content-type"]
    return not types or b"json" in types[0].lower()
