"""What all operations of Google's Gemini API and of Vertex AI share: names, errors, credentials, headers.

Source: the REST reference of the Gemini API and of Vertex AI, and the official SDK, google-genai 3.4.

The two vendors speak one format and differ in paths, which is why they are two formats in the configuration. For
`gemini` a vendor's `base_url` is a host (`https://generativelanguage.googleapis.com`) and the version of the API is the
client's. For `vertex` it holds the version, project and location
(`https://europe-west4-aiplatform.googleapis.com/v1/projects/acme/locations/europe-west4`): they select who is billed
and where, so what a client has in its path in their place is dropped.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import error_word
from tollbook.providers.body import AmbiguousBody, Members, Splice, read_value, shown, splice
from tollbook.providers.contract import Call, Headers, Route, VendorObject

VERSIONS: Final = ("v1beta", "v1", "v1alpha")
FILE_VERSIONS: Final = ("v1beta", "v1alpha")
"""The versions that have files; what would be their place in `v1` is OpenAI's."""
VERTEX_VERSIONS: Final = ("v1beta1", "v1")

REQUEST_HEADERS: Final = frozenset({b"accept", b"content-type", b"user-agent", b"x-goog-api-client"})
"""Never x-goog-user-project, which moves the bill; nor x-goog-fieldmask, which can hide the usage; nor
x-vertex-ai-llm-request-type and its like, which change the price where no policy for members sees it."""

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MODELS: Final = "models/"
_OPEN_HOST: Final = "storage.googleapis.com"
"""Serves addresses of the open web: what is not public there cannot be read by its address alone."""

_Value = TypeVar("_Value")


def gemini_routes(*ends: str, method: str = "POST", versions: tuple[str, ...] = VERSIONS) -> tuple[Route, ...]:
    """The routes of the Gemini API, in some versions, that end so."""
    return tuple(Route(method, f"/{version}/{end}", f"/{version}/{end}") for end in ends for version in versions)


def vertex_routes(*ends: str, method: str = "POST") -> tuple[Route, ...]:
    """The routes of Vertex AI, in every version, that end so; those of models are found without a project too."""
    places = ("/projects/{project}/locations/{location}", "")
    return tuple(
        Route(method, f"/{version}{place}/{end}", f"/{end}")
        for end in ends
        for version in VERTEX_VERSIONS
        for place in places
        if place or end.startswith("publishers/")
    )


class GoogleAdapter(JsonAdapter):
    """The defaults of an operation in Google's format: the model is in the path, members have two spellings."""

    format: str = "gemini"
    request_headers: frozenset[bytes] = REQUEST_HEADERS
    query_fields: frozenset[str] = frozenset({"alt"})
    # Neither service sends an id of the request; the id in the body is the one to ask support by.
    vendor_request_id_headers: tuple[bytes, ...] = ()

    def scan(self, headers: Headers, body: bytes) -> Members:
        """The members of the body. Raises AmbiguousBody also when one stands in both of its spellings."""
        members = super().scan(headers, body)
        for name in members.values:
            if (other := snake(name)) != name and other in members.values:
                raise AmbiguousBody(f'the request body has "{shown(name)}" and "{shown(other)}", which are one member')
        return members

    def model(self, call: Call) -> str | None:
        """The name in the path; None for operations that have none there."""
        return call.names.get("model")

    def objects(self, call: Call) -> list[VendorObject]:
        """What is named in the path and the body, by the last part of its name, as the vendor's ids are unique by it.

        A file in a bucket (`gs://`) is named whole: it is read with the gateway's own rights. An address in the open
        web names no vendor object.
        """
        found = [VendorObject(kind, object_id(name)) for kind, name in super().objects(call)]
        return [one for one in found if one.id]

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own; the stable code is the `reason` of an ErrorInfo."""
        error = {
            "code": status,
            "message": f"{message} (request id {request_id})",
            "status": _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION"),
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": code,
                    "domain": "tollbook",
                    "metadata": {"request_id": request_id},
                }
            ],
        }
        return msgspec.json.encode({"error": error})

    def credentials(self, secret: str) -> Headers:
        """An API key; a secret that begins with `Bearer ` is an access token (Vertex AI)."""
        if secret.startswith("Bearer "):
            return [(b"authorization", secret.encode())]
        return [(b"x-goog-api-key", secret.encode())]


def object_id(name: str) -> str:
    """The id of a vendor object by any name it goes by; empty for an address in the open web, which names none."""
    if "://" not in name:
        return name.rstrip("/").rpartition("/")[2]
    try:
        address = urlsplit(name)
        host = (address.hostname or "").rstrip(".")
    except ValueError:
        return name
    if address.scheme not in ("http", "https"):
        return name
    if not host.endswith("googleapis.com") or host == _OPEN_HOST:
        return ""
    return unquote(address.path).rstrip("/").rpartition("/")[2] or name


def member(members: Mapping[str, _Value], name: str) -> _Value | None:
    """A member by its name or by the name it has in the protocol buffer: Google reads `fileData` and `file_data`."""
    return members.get(name, members.get(snake(name)))


def spellings(*names: str) -> frozenset[str]:
    """Members in both spellings that Google reads."""
    return frozenset({*names, *map(snake, names)})


def every_spelling(objects: dict[str, str]) -> dict[str, str]:
    """Dotted paths, and what they are for, in every mixture of the two spellings."""
    return {
        ".".join(parts): kind
        for path, kind in objects.items()
        for parts in product(*(sorted(spellings(part)) for part in path.split(".")))
    }


def snake(name: str) -> str:
    """`fileData` as `file_data`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def qualified(text: str, model: str) -> str:
    """A model in the form that a body's own member has it in: with everything up to `models/` or without."""
    prefix, found, _ = text.rpartition(_MODELS)
    return prefix + found + model


def bare(text: str) -> str:
    """A model's own name, without the collection before it."""
    return text.rpartition(_MODELS)[2]


def renamed(call: Call, model: str) -> bytes:
    """The body with its own member `model`, if it has one, in agreement with the path."""
    raw = call.members.values.get("model")
    asked = read_value(raw)
    if not isinstance(asked, str) or qualified(asked, model) == asked:
        return call.body
    start, end = call.members.spans["model"]
    return splice(call.body, [Splice(start, end, msgspec.json.encode(qualified(asked, model)))])


def read_google_error(status: int | None, body: bytes) -> str:
    """A vendor's error as `status/code`; a stream that fails at once sends it in a list."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return google_error(None, status)
    answer = read_value(body)
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    return google_error(answer.get("error") if isinstance(answer, dict) else None, status)


def google_error(error: Any, status: int | None = None) -> str:
    """An error object as words: its `status` (`RESOURCE_EXHAUSTED`) and its number."""
    said = {"type": error.get("status"), "code": error.get("code")} if isinstance(error, dict) else None
    return error_word(said, status)
