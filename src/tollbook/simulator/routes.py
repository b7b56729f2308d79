"""Which path leads to which operation."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from tollbook.simulator.vendor import Errand, Operation

_NAME: Final = re.compile(r"\{(\w+)\}")

Target = Operation | Errand


class Route(NamedTuple):
    """A method, a path in which `{name}` stands for one segment (up to a slash or colon), and what it leads to."""

    method: str
    path: str
    target: Target


class Found(NamedTuple):
    """What a path leads to, and the names in it. `methods` are those the path knows, when none of them was asked."""

    target: Target
    names: Mapping[str, str]
    known: bool = True


class Routes:
    """All paths of all vendors."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.table = tuple(routes)
        self._plain: dict[tuple[str, str], Target] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Target]] = []
        for route in self.table:
            if "{" in route.path:
                self._patterns.append((route.method, _pattern(route.path), route.target))
            else:
                self._plain[route.method, route.path] = route.target

    def find(self, method: str, path: str) -> Found | None:
        """Where a request leads; `known` is False when only its method is wrong, None when nothing is there."""
        plain = self._plain.get((method, path))
        if plain is not None:
            return Found(plain, {})
        wrong: Found | None = None
        for known, pattern, target in self._patterns:
            matched = pattern.fullmatch(path)
            if matched is not None:
                names = {name: unquote(text) for name, text in matched.groupdict().items()}
                if known == method:
                    return Found(target, names)
                wrong = Found(target, names, False)
        others = (target for (_, plain_path), target in self._plain.items() if plain_path == path)
        return next((Found(target, {}, False) for target in others), wrong)


def _pattern(path: str) -> re.Pattern[str]:
    parts = _NAME.split(path)
    # A model's name may hold an encoded slash, never a plain one; a colon ends a name when the path goes on with one.
    coded = [re.escape(part) if place % 2 == 0 else f"(?P<{part}>[^/]+?)" for place, part in enumerate(parts)]
    return re.compile("".join(coded))
