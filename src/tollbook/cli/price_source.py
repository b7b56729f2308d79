"""Which price book a command looks into: the one that ships, one of the journal's objects, or a file."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tollbook.cli.options import book_root
from tollbook.core.faults import BadInput, NotFound

if TYPE_CHECKING:
    from tollbook.pricing.book import PriceBook

_DIGEST: Final = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_DIGITS: Final = 64


def load_prices(named: str | None, config: Path | None, book: Path | None = None) -> "PriceBook":
    """The price book of a digest, or in a file; without a name the one that ships.

    A digest is looked for in the package, then among the objects and drafts of the book; its first eight digits do
    where only one begins so. Raises BadInput or NotFound.
    """
    from tollbook.pricing.book import PriceBook, base_book

    if named is None:
        return base_book()
    if not _DIGEST.fullmatch(named) or (len(named) < _DIGITS and Path(named).exists()):
        return _from_file(Path(named))
    if base_book().digest == named:
        return base_book()
    root = book_root(config, book)
    from tollbook.assembly.drafts import Drafts
    from tollbook.journal.objects import ObjectStore

    if len(named) < _DIGITS:
        named = _whole(named, root)
        if base_book().digest == named:
            return base_book()
    draft = Drafts(root).find(named)
    if draft is not None:
        return draft
    objects = ObjectStore(root)
    if not objects.path(named).is_file():
        raise NotFound(f"no price book {named} in {root}; list those there are with: tollbook prices list")
    return PriceBook.load(objects.get(named))


def _whole(start: str, root: Path) -> str:
    """The digest that begins so. Raises NotFound when there is none, BadInput when there are several."""
    from tollbook.assembly.drafts import Drafts
    from tollbook.assembly.prices import read_activations
    from tollbook.pricing.book import base_book

    known = {base_book().digest, *Drafts(root).digests(), *(one.book for one in read_activations(root))}
    found = sorted(digest for digest in known if digest.startswith(start))
    if not found:
        raise NotFound(f"no price book {start} in {root}; list those there are with: tollbook prices list")
    if len(found) > 1:
        raise BadInput(f"{start} begins several price books: {', '.join(found)}; give more of its digits")
    return found[0]


def _from_file(path: Path) -> "PriceBook":
    from tollbook.pricing.sheet import read_book

    try:
        data = path.read_bytes()
    except OSError as fault:
        raise BadInput(
            f"{path}: neither the digest of a price book (8 to 64 digits) nor a file: {fault.strerror}"
        ) from None
    try:
        return read_book(data)
    except BadInput as fault:
        raise BadInput(f"{path}: {fault}") from None
