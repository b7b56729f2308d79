"""Which operation of which wire format a client's path names."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote

from tollbook.providers.contract import Adapter, Route

_NAME: Final = re.compile(r"\{(\w+)\}")

_GROQ: Final = b"/groq/openai/v1/"
"""Where Groq's own library calls when its base URL is our `/groq`: it adds `/openai/v1`, which by itself is Azure's."""


class Match(NamedTuple):
    """An operation found, by which of its routes, and what the path names, decoded."""

    adapter: Adapter
    route: Route
    names: dict[str, str]


class Routes:
    """All routes of some adapters. A path without names in it is found first."""

    def __init__(self, adapters: Iterable[Adapter]) -> None:
        self._plain: Final[dict[bytes, dict[bytes, Match]]] = {}
        self._named: Final[list[tuple[re.Pattern[str], Adapter, Route]]] = []
        for adapter in adapters:
            for route in adapter.routes:
                if "{" in route.path:
                    self._named.append((_pattern(route.path), adapter, route))
                else:
                    methods = self._plain.setdefault(route.path.encode(), {})
                    methods[route.method.encode()] = Match(adapter, route, {})

    def find(self, method: bytes, path: bytes) -> Match | None:
        """The operation at a path; for another method than its own, the first one there; None when there is none."""
        if path.startswith(_GROQ):
            path = b"/v1/" + path[len(_GROQ) :]
        methods = self._plain.get(path) or self._search(path)
        if not methods:
            return None
        return methods.get(method) or next(iter(methods.values()))

    def _search(self, path: bytes) -> dict[bytes, Match]:
        text = path.decode("latin-1")
        found: dict[bytes, Match] = {}
        for pattern, adapter, route in self._named:
            match = pattern.fullmatch(text)
            if match is not None:
                names = {name: unquote(value) for name, value in match.groupdict().items()}
                found.setdefault(route.method.encode(), Match(adapter, route, names))
        return found


def _pattern(path: str) -> re.Pattern[str]:
    """A route's path as a pattern: a name is not empty and holds no `/` but an encoded one."""
    pieces = _NAME.split(path)
    return re.compile(
        "".join(re.escape(piece) if index % 2 == 0 else f"(?P<{piece}>[^/]+?)" for index, piece in enumerate(pieces))
    )
