"""What all operations of Anthropic's API share: headers, errors, credentials, places.

Source: the API reference and the types of the official SDK, anthropic 2.12.
"""

from typing import ClassVar, Final

import msgspec

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.contract import Headers, Route

MOUNT: Final = "/anthropic"
"""Where everything of Anthropic's is found too, so that a client can use what has the same path at other vendors."""

_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def mounted(method: str, path: str) -> tuple[Route, ...]:
    """The routes of an operation: at the root, and below `MOUNT`."""
    return (Route(method, path, path), Route(method, MOUNT + path, path))


class AnthropicFormat(JsonAdapter):
    """The defaults of an operation in Anthropic's format."""

    format: str = "anthropic"
    # Never anthropic-user-profile-id: it bills another organisation.
    request_headers: frozenset[bytes] = frozenset(
        {b"accept", b"anthropic-beta", b"anthropic-version", b"content-type", b"user-agent"}
    )
    query_fields: frozenset[str] = frozenset({"beta"})
    vendor_request_id_headers: tuple[bytes, ...] = (b"request-id",)
    message_objects: ClassVar[dict[str, str]] = {
        "container": "container",
        "container.id": "container",
        "container.skills.skill_id": "skill",
        "diagnostics.previous_message_id": "response",
        "messages.content.content.file_id": "file",
        "messages.content.content.source.file_id": "file",
        "messages.content.file_id": "file",
        "messages.content.source.file_id": "file",
        "thread.previous_message_id": "response",
    }
    """What a message's request may name: uploads, what earlier tools made, and what is inside a tool's result."""

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own; the stable code stands where the SDK looks for one."""
        error = {
            "type": _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error"),
            "message": f"{message} (request id {request_id})",
            "details": {"error_code": code},
        }
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})

    def credentials(self, secret: str) -> Headers:
        """The headers that carry a vendor secret."""
        return [(b"x-api-key", secret.encode())]
