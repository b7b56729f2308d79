"""What workers hand over for the personal directory: a file of JSON lines, one for each value."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Struct

from tollbook.journal.line import UNREADABLE


class Person(Struct):
    """A value that names a person, and the digest that stands for it in the journal."""

    tenant: str
    year: str
    kind: str
    digest: str
    value: str
    recorded: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


_decode: Final = msgspec.json.Decoder(Person).decode


def people(path: Path) -> Iterator[Person]:
    """The values in a file. What a power loss left of a line (a part, or blanks) is no value: it stays unknown until it
    is met again."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        with suppress(*UNREADABLE, RecursionError):
            yield _decode(line)
