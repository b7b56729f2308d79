"""Totals against rows: what the vendor does not bill is a known zero in both, what nobody knows is null in both."""

from pathlib import Path

import pytest
from ledger_story import BOOK, Story, load

from tollbook.journal.entry import Rating
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import read
from tollbook.ledger.tieout import check_totals

NOTHING = Rating(book=BOOK, adapter="openai.chat/1", charges=[])


@pytest.mark.parametrize(("rating", "known"), [(NOTHING, "0.000000000000"), (None, None)])
def test_a_rating_without_lines_is_a_known_zero_in_rows_and_totals(
    tmp_path: Path, rating: Rating | None, known: str | None
) -> None:
    """An attempt that the vendor turned away costs nothing, and totals say so as its row does; without a rating its
    cost is unknown, and no total makes a zero of it."""
    story = Story()
    story.settle(story.open(), outcome="rate_limited", status=429, usage=None, billable=False, rating=rating)
    root = load(tmp_path, story.heads())

    def sums(lake: Lake) -> list[tuple[str | None, ...]]:
        return [
            tuple(lake.rows(f"SELECT CAST(sum(amount_expected) AS VARCHAR) FROM {table}")[0])
            for table in ("attempts", "totals")
        ]

    assert read(root, sums) == [(known,), (known,)]
    assert check_totals(root).different == []
