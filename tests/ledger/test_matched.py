"""Work that went on at the vendor, in the ledger: what was told first stands, whatever is said again."""

from pathlib import Path

from ledger_story import SUPERVISOR, Open, Story, load

from tollbook.journal.entry import RequestEntry, Settlement
from tollbook.ledger.digests import table_digests
from tollbook.ledger.reader import read
from tollbook.ledger.report import report
from tollbook.ledger.tieout import check_totals


def tell(story: Story, opened: Open, output: int) -> None:
    """The vendor tells what an attempt used."""
    usage = {"input": 10, "output": output}
    settled = Settlement(
        opened=opened.recorded, sequence=opened.sequence, outcome="ok", basis="provider_reported", usage=usage
    )
    entry = RequestEntry(
        request=opened.request, attempt=opened.attempt, settlement=settled, rating=story.rating(), lane=opened.lane
    )
    story.put("attempt.matched", entry, SUPERVISOR)


def test_what_is_told_first_stands(tmp_path: Path) -> None:
    """Said twice it counts once, unreported no more, also when the ledger was opened anew in between."""
    story = Story()
    opened = story.open()
    story.settle(opened, flags=["background"], usage=None, basis="unreported", billable=None, rated=False)
    batches = [story.heads()]
    tell(story, opened, 5)
    batches.append(story.heads())
    tell(story, opened, 7)
    batches.append(story.heads())
    for batch in batches:
        root = load(tmp_path, batch)
    total = report(root, [])["total"]
    assert (total["requests"], total["attempts"], total["unreported"]) == (1, 1, 0)
    assert (total["usage"], total["amount_usd"]) == ({"input": 10, "output": 5}, "0.0000045")
    assert report(root, [], as_of=1)["total"]["unreported"] == 1
    assert check_totals(root).different == []
    assert read(load(tmp_path / "at-once", *batches), table_digests) == read(root, table_digests)
