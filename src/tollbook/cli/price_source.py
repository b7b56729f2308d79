"""Which price book a command looks into: the one that ships, one of the journal's objects, or a file."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tollbook.cli.options import book_root
from tollbook.core.faults import BadInput, NotFound

if TYPE_CHECKING:
    from tollbook.pricing.book import PriceBook

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def load_prices(named: str | None, config: Path | None, book: Path | None = None) -> "PriceBook":
    """The price book of a digest, or in a file; without a name the one that ships.

    A digest is looked for in the package, then among the objects and drafts of the book. Raises BadInput or NotFound.
    """
    from tollbook.pricing.book import PriceBook, base_book

    if named is None:
        return base_book()
    if not _DIGEST.fullmatch(named):
        return _from_file(Path(named))
    if named == base_book().digest:
        return base_book()
    root = book_root(config, book)
    from tollbook.assembly.drafts import Drafts
    from tollbook.journal.objects import ObjectStore

    draft = Drafts(root).find(named)
    if draft is not None:
        return draft
    objects = ObjectStore(root)
    if not objects.path(named).is_file():
        raise NotFound(f"no price book {named} in {root}; list those there are with: tollbook prices list")
    return PriceBook.load(objects.get(named))


def _from_file(path: Path) -> "PriceBook":
    from tollbook.pricing.sheet import read_book

    try:
        data = path.read_bytes()
    except OSError as fault:
        raise BadInput(f"{path}: neither the digest of a price book (64 digits) nor a file: {fault.strerror}") from None
    try:
        return read_book(data)
    except BadInput as fault:
        raise BadInput(f"{path}: {fault}") from None
