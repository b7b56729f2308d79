"""A span as it was received, whatever wire format it came in."""

from typing import TypeAlias

from msgspec import Struct

Value: TypeAlias = str | bool | int | float | list["Value"] | dict[str, "Value"] | None
"""A value of an attribute."""


class Scope(Struct, frozen=True):
    """Which instrumentation made a span."""

    name: str = ""
    version: str = ""


class Span(Struct, frozen=True, kw_only=True):
    """One span. Ids are lower-case hexadecimal; `start` and `end` microseconds UTC; `failed` is its status; `dropped`
    counts the attributes that the emitter left out."""

    trace_id: str
    span_id: str
    parent_id: str | None = None
    name: str = ""
    start: int = 0
    end: int = 0
    failed: bool = False
    attributes: dict[str, Value] = {}
    resource: dict[str, Value] = {}
    scope: Scope = Scope()
    dropped: int = 0
