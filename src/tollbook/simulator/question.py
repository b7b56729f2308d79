"""A request as the vendor reads it: just what it meters, bills and answers by."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.tokens import count_request

_Body = TypeVar("_Body")


class Question(Struct, kw_only=True):
    """What every wire format's request comes down to.

    `counts` is what the request itself uses, by the names of `Tokens`; without `output` the vendor makes a length up.
    `details` is what this wire format needs to answer: it is read by nobody else.
    """

    model: str
    texts: list[str]
    counts: dict[str, int]
    limit: int | None = None
    """The most output tokens, reasoning included, that were asked for."""
    stream: bool = False
    tier: str | None = None
    geo: str | None = None
    speed: str | None = None
    include_usage: bool = False
    background: bool = False
    """Whether the answer is made later and fetched."""
    details: dict[str, Any] = {}


class Part(Struct):
    """One part of a content list; what is not text counts as an object."""

    type: str
    text: str | None = None


class Message(Struct):
    """A message of a conversation."""

    role: str
    content: str | list[Part] | None = None


Content = str | list[Part] | None


def read_body(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """A JSON body in its type. Raises BadInput with the reason for what a vendor would refuse."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadInput(f"Invalid request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"We could not parse the JSON body of your request. ({error})") from None


def check_limit(name: str, limit: int | None) -> int | None:
    """The most output tokens. Raises BadInput when it allows none."""
    if limit is not None and limit < 1:
        raise BadInput(f"{name}: must be at least 1")
    return limit


def texts_of(contents: Iterable[Content]) -> list[str]:
    """All texts of some contents, in order."""
    texts: list[str] = []
    for content in contents:
        if isinstance(content, str):
            texts.append(content)
        elif content:
            texts += [part.text for part in content if part.text is not None]
    return texts


def count_contents(texts: list[str], contents: list[Content], tools: msgspec.Raw) -> int:
    """Input tokens of contents by the simulator's own rule: each present one is a message; tools count as text."""
    objects = sum(part.text is None for content in contents if isinstance(content, list) for part in content)
    definitions = bytes(tools).decode()
    return count_request([*texts, "" if definitions in ("null", "") else definitions], len(contents), objects)
