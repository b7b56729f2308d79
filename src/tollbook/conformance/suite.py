"""The recorded suite: requests in every wire format, and what the vendor is told to do with them."""

import json
from importlib.resources import files
from typing import Any, Final

import yaml
from msgspec import Struct

from tollbook.core.faults import BadInput

KEY_HEADERS: Final = {"azure": "api-key", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}
"""Where clients of a format put their key; else `Authorization: Bearer`."""

_SAY: Final = "{say}"


class Case(Struct, frozen=True, kw_only=True):
    """One request. `terminal` is the event that ends its stream, where the format has one; `again` says how often a
    client tries again after 429 or 5xx; `leave_after` after how many bytes of the answer it hangs up."""

    name: str
    format: str
    path: str
    headers: dict[str, str]
    body: bytes
    stream: bool
    terminal: str | None
    again: int
    leave_after: int | None

    def key_header(self, key: str) -> dict[str, str]:
        """The header that carries a key."""
        name = KEY_HEADERS.get(self.format)
        return {"authorization": f"Bearer {key}"} if name is None else {name: key}


class _Form(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operation of a format: its path and body, and what makes a stream of it."""

    format: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = {}
    stream: dict[str, Any] | None = None
    stream_path: str | None = None
    terminal: str | None = None


class _Turn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said to the vendor, in which forms; `add` are members of the body by form."""

    say: str = ""
    forms: tuple[str, ...] | None = None
    stream: bool | None = None
    add: dict[str, dict[str, Any]] = {}
    again: int = 0
    leave_after: int | None = None


class _Suite(Struct, frozen=True, forbid_unknown_fields=True):
    forms: dict[str, _Form]
    turns: dict[str, _Turn]


def _read() -> _Suite:
    import msgspec

    text = files("tollbook.conformance").joinpath("suite.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), _Suite)


def formats() -> list[str]:
    """The formats that the suite knows."""
    return sorted({form.format for form in _read().forms.values()})


def cases(wanted: list[str] | None = None) -> list[Case]:
    """Every case of the formats wanted; of all by default. Raises BadInput for a format that the suite has not."""
    suite, known = _read(), formats()
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise BadInput(f"--formats: found {', '.join(unknown)}; allowed: {', '.join(known)}")
    return [
        _case(place, form, title, turn, stream)
        for place, form in suite.forms.items()
        if not wanted or form.format in wanted
        for title, turn in suite.turns.items()
        if turn.forms is None or place in turn.forms
        for stream in (False, True)
        if turn.stream in (None, stream) and not (stream and form.stream is None and form.stream_path is None)
    ]


def _case(place: str, form: _Form, title: str, turn: _Turn, stream: bool) -> Case:
    body = {**form.body, **(form.stream or {} if stream else {}), **turn.add.get(place, {})}
    told = f"[[sim {turn.say}]]" if turn.say else "how much is it?"
    return Case(
        name=f"{place}/{title}/{'streamed' if stream else 'whole'}",
        format=form.format,
        path=form.stream_path if stream and form.stream_path else form.path,
        headers=form.headers,
        body=json.dumps(body).replace(_SAY, told).encode(),
        stream=stream,
        terminal=form.terminal if stream else None,
        again=turn.again,
        leave_after=turn.leave_after,
    )
