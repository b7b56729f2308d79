"""One act of the book's writer while nobody serves: the lane is taken, the act done and covered, the lane ended."""

import contextlib
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


def do_alone(root: Path, act: Act) -> Any:
    """Do an act. Raises as it does; BookLocked when another writes the book."""
    book = Book.open(root)
    lane = BookLane.open(book, release=__version__)
    try:
        personal = PersonalDirectory(root)
        personal.reapply(lane.recovered.erasures)
        keeper, heads = RegistryKeeper(book, lane), lane.keeper()
        with contextlib.ExitStack() as stack:

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
