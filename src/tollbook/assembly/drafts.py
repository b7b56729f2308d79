"""Price books that were imported and price nothing yet: files in `prices/` of the book, named by their digest."""

from pathlib import Path
from typing import Final

from tollbook.core.faults import Tampered
from tollbook.journal.files import write_whole
from tollbook.pricing.book import PriceBook


class Drafts:
    """The drafts of one book."""

    def __init__(self, root: Path) -> None:
        self._directory: Final = root / "prices"

    def keep(self, book: PriceBook) -> Path:
        """Keep a price book; when it returns it is durable. The same book twice is one file."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{book.digest}.jsonl"
        if not path.is_file():
            write_whole(path, book.dump())
        return path

    def digests(self) -> list[str]:
        """The drafts there are."""
        return sorted(path.stem for path in self._directory.glob("*.jsonl"))

    def find(self, digest: str) -> PriceBook | None:
        """The draft of a digest; None when there is none. Raises Tampered when its bytes have another one."""
        path = self._directory / f"{digest}.jsonl"
        if not path.is_file():
            return None
        book = PriceBook.load(path.read_bytes())
        if book.digest != digest:
            raise Tampered(f"{path} holds another price book ({book.digest}); import it again")
        return book
