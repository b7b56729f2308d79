"""Small books with requests of several tenants, loaded and signed, for tests of evidence and disputes."""

from pathlib import Path

from bookmaking import ToldClock, begin_lane, serve_request

from tollbook.core.clock import now
from tollbook.core.digest import keyed_digest
from tollbook.journal.book import Book
from tollbook.journal.entry import decode_request
from tollbook.journal.personal import PersonalKeys, year_of
from tollbook.journal.recording import BookLane
from tollbook.journal.tail import read_lane
from tollbook.ledger.loader import Loader

USER = "bob@example.com"


def fill(root: Path, amount: str = "0.000125", **counts: int) -> dict[str, list[str]]:
    """Requests of tenants in a lane of their own, covered, signed and loaded; their ids."""
    book, clock = Book.open(root), ToldClock(now())
    lane = begin_lane(book, "worker", clock)
    for tenant, count in counts.items():
        user = keyed_digest(PersonalKeys(root).of(tenant, year_of(now())), USER)
        for _ in range(count):
            serve_request(lane, tenant=tenant, user=user, amount=amount, recharge=amount)
    lane.close("stopped")
    writer = BookLane.open(book, release="test")
    heads = writer.keeper()
    while writer.advance(heads) is not None:
        pass
    writer.keep_checkpoint()
    writer.close("test")
    with Loader(root) as loader:
        loader.catch_up()
    found: dict[str, list[str]] = {tenant: [] for tenant in counts}
    for line in read_lane(book.lane_directory(lane.name)):
        if line.kind == "request.settled":
            request = decode_request(line.bytes).request
            found[request.tenant].append(request.id)
    return found
