"""One act of the book's writer while nobody serves: the lane is taken, the act done and covered, the lane ended."""

import contextlib
from functools import cache
from pathlib import Path
from typing import Any

from tollbook import __version__
from tollbook.assembly.acts import Act, local_actor
from tollbook.assembly.deeds import authorising
from tollbook.assembly.registering import RegistryKeeper
from tollbook.assembly.transferring import Transferring
from tollbook.core.faults import BookLocked
from tollbook.journal.book import Book
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Loader


def take_lane(root: Path) -> BookLane:
    """Become the book's writer. Raises BookLocked when another is."""
    return BookLane.open(Book.open(root), release=__version__)


def do_alone(root: Path, lane: BookLane, act: Act) -> Any:
    """Do an act in a lane that was taken, and end that. Raises as the act does."""
    book = Book.open(root)
    try:
        personal = PersonalDirectory(root)
        personal.reapply(lane.recovered.erasures)
        keeper, heads = RegistryKeeper(book, lane), lane.keeper()
        with contextlib.ExitStack() as stack:

            @cache  # an act that is measured first asks twice
            def lake() -> Lake:
                loader = stack.enter_context(Loader(root))
                loader.catch_up()
                return loader.lake

            transferring = Transferring(keeper, lake)
            try:
                done = authorising(book, lane, personal, keeper, transferring).do(act, local_actor())
            finally:
                lane.advance(heads)  # what was proposed is on record, too, though it is told as a fault
            if transferring.waiting:
                _post(transferring)
                lane.advance(heads)
    finally:
        lane.close("done")
    return done


def _post(transferring: Transferring) -> None:
    """Post what waits. When another process writes the ledger just now, the next scribe does it."""
    with contextlib.suppress(BookLocked):
        transferring.post()
