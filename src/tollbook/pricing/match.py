"""Which names a model goes by: exact names and the source's own patterns, as data."""

import re
from typing import Final

from msgspec import Struct

_FINE_TUNED: Final = re.compile(r"(^|[/.:])ft[:-]")
"""How vendors mark a fine-tuned model: `ft:gpt-4o-...`, `gpt-4o-mini-2024-07-18.ft-...`."""


class Match(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A name matches when any of these does; `all` when each of its parts does. Names are compared in lower case."""

    all: tuple["Match", ...] = ()
    contains: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    equals: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    starts_with: tuple[str, ...] = ()

    @property
    def has_patterns(self) -> bool:
        """Whether it can match a name that it does not spell out."""
        return bool(self.all or self.contains or self.ends_with or self.regex or self.starts_with)

    def holds(self, name: str) -> bool:
        """Whether a name in lower case matches."""
        return (
            name in self.equals
            or name.startswith(self.starts_with)
            or name.endswith(self.ends_with)
            or any(part in name for part in self.contains)
            or any(re.search(pattern, name) for pattern in self.regex)
            or (bool(self.all) and all(part.holds(name) for part in self.all))
        )

    def problems(self) -> list[str]:
        """What is wrong with it, for people."""
        found = [] if self.equals or self.has_patterns else ["matches no name"]
        texts = (*self.equals, *self.starts_with, *self.ends_with, *self.contains)
        found += [f"{text!r} is not in lower case" for text in texts if text != text.lower()]
        found += ["an empty pattern matches every name"] if "" in (*texts, *self.regex) else []
        for pattern in self.regex:
            try:
                re.compile(pattern)
            except re.error as problem:
                found.append(f"{pattern!r} is not a regular expression: {problem}")
        for part in self.all:
            found += part.problems()
        return found


def is_fine_tuned(name: str) -> bool:
    """Whether a model name says that the model was fine-tuned, and so has another price than its base."""
    return _FINE_TUNED.search(name) is not None
