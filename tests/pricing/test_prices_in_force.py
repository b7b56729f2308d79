"""Which price book is in force: what the entries say, also after somebody was killed between entry and file."""

from pathlib import Path

from tollbook import __version__
from tollbook.assembly import service
from tollbook.assembly.acts import Act
from tollbook.assembly.alone import do_alone, take_lane
from tollbook.assembly.prices import FILE, activate, active_prices, read_activations
from tollbook.journal.book import Book
from tollbook.journal.recording import BookLane
from tollbook.pricing.book import base_book


def announce(book: Book, *announced: tuple[bytes, int]) -> None:
    """Put objects in force, each from an instant on."""
    lane = BookLane.open(book, release=__version__)
    try:
        for data, since in announced:
            activate(book, lane, data, "0" * 64, since, "test")
        lane.advance(lane.keeper())
    finally:
        lane.close("done")


def test_of_two_books_from_one_instant_the_later_word_holds(tmp_path: Path) -> None:
    """Who announces another book for the same instant replaces the first; before that instant nothing changes."""
    book = service.init(tmp_path / "book")
    announce(book, (b"first", 1_000), (b"second", 1_000))
    found = read_activations(book.root)
    assert active_prices(book, 1_000) == found[2].object != found[1].object
    assert active_prices(book, 999) == found[0].object


def test_a_file_that_was_not_written_is_made_good_by_the_next_writer(tmp_path: Path) -> None:
    """Killed after the entry and before the file: whoever writes the book next puts the file right by the entries."""
    book = service.init(tmp_path / "book")
    before = (book.root / FILE).read_bytes()
    announce(book, (base_book().dump(), 1_000))
    after = (book.root / FILE).read_bytes()
    for broken in (before, None):
        (book.root / FILE).unlink()
        if broken is not None:
            (book.root / FILE).write_bytes(broken)
        do_alone(book.root, take_lane(book.root), Act("case.read", {}))
        assert (book.root / FILE).read_bytes() == after
