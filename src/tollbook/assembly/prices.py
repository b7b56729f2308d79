"""Which price book prices: activations are entries of the book's lane; a file beside them saves reading them all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.journal.book import Book
from tollbook.journal.entry import PricesActivated
from tollbook.journal.files import write_whole
from tollbook.journal.heads import book_lines
from tollbook.journal.line import Line
from tollbook.journal.objects import ObjectStore
from tollbook.journal.recording import BookLane
from tollbook.pricing.book import PriceBook
from tollbook.pricing.rate import Rater

FILE: Final = "prices.json"


class Activation(Struct, frozen=True):
    """A price book's digest, the instant it prices from, the object that holds it."""

    book: str
    since: int
    object: str


def activate(book: Book, lane: BookLane, data: bytes, digest: str, since: int, actor: str) -> None:
    """Put a price book in force from an instant on: object, entry, then the file that workers' starts look at."""
    named = ObjectStore(book.root).put(data)
    lane.append("prices.activated", PricesActivated(book=digest, since=since, object=named, actor=actor))
    activations = [*read_activations(book.root), Activation(digest, since, named.sha256)]
    write_whole(book.root / FILE, msgspec.json.encode(activations))


def recover_prices(book: Book) -> None:
    """Make the file anew from the book's own lanes, as after a restore."""
    complete_prices(book, list(_activated(book)))


def complete_prices(book: Book, lines: list[Line]) -> None:
    """Let the file say what these entries say, all there are: whoever wrote the last one may have been killed before he
    wrote the file. Without entries nothing is touched."""
    told = [msgspec.json.decode(line.bytes, type=PricesActivated) for line in lines]
    activations = [Activation(one.book, one.since, one.object.sha256) for one in told]
    if activations and activations != read_activations(book.root):
        write_whole(book.root / FILE, msgspec.json.encode(activations))


def _activated(book: Book) -> Iterator[Line]:
    return (line for line in book_lines(book.root) if line.kind == "prices.activated")


class Raters:
    """Raters by the price books in force, each made when it is first needed."""

    def __init__(self, book: Book) -> None:
        self._book: Final = book
        self._raters: Final[dict[str, Rater]] = {}

    def at(self, instant: int) -> Rater:
        """By the price book in force at an instant. Raises BadInput when there is none."""
        digest = active_prices(self._book, instant)
        if digest not in self._raters:
            self._raters[digest] = Rater(PriceBook.load(ObjectStore(self._book.root).path(digest).read_bytes()))
        return self._raters[digest]


def active_prices(book: Book, at: int) -> str:
    """The object of the price book in force at an instant. Raises BadInput when there is none."""
    in_force = [one for one in read_activations(book.root) if one.since <= at]
    if not in_force:
        raise BadInput(f"{book.root} has no price book in force; make the book anew with: tollbook init")
    return max(reversed(in_force), key=lambda one: one.since).object  # of two from one instant, the later word


def read_activations(root: Path) -> list[Activation]:
    """The price books that were put in force in the book of a directory, as they were announced."""
    try:
        return msgspec.json.decode((root / FILE).read_bytes(), type=list[Activation])
    except FileNotFoundError:
        return []
