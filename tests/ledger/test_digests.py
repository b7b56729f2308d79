"""Digests and totals: they notice what differs, and only that."""

import hashlib
import json
from pathlib import Path

import pytest
from ledger_story import START, Story, load

from tollbook.ledger import location
from tollbook.ledger.digests import TableDigest, table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import read
from tollbook.ledger.tieout import check_totals

DAY = 86_400_000_000


def two_days(story: Story) -> list[object]:
    story.settle(story.open(tags={"b": "2", "a": "1"}), usage={"input": 1, "images": 2})
    story.now = START + DAY
    story.settle(story.open(), rating=story.rating("0.5", None, unpriced="no_row"))
    story.close()
    return [story.heads()]


def test_a_digest_is_of_rows_in_order_of_the_key(tmp_path: Path) -> None:
    """The digest of a small table, made by hand from its rows as the documentation of the format says."""
    root = load(tmp_path, *two_days(Story()))  # type: ignore[arg-type]
    digest = read(root, table_digests)["charges"]

    def rows(lake: Lake) -> list[list[object]]:
        names = "request_id, number, rating, line, tenant, model, class, quantity, unit_price, "
        names += "CAST(amount_list AS VARCHAR), CAST(amount_expected AS VARCHAR), "
        names += "CAST(amount_recharge AS VARCHAR), currency, price_book, price_row, "
        names += "epoch_us(occurred), epoch_us(recorded), kind, lane, sequence, digest, position"
        return [list(row) for row in lake.rows(f"SELECT {names} FROM charges")]

    columns = "request_id number rating line tenant model class quantity unit_price amount_list amount_expected "
    columns += "amount_recharge currency price_book price_row occurred recorded kind lane sequence digest position"
    lines = [["charges", columns.split()], *sorted(read(root, rows), key=lambda row: (row[0], row[1], row[3]))]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    assert (digest.rows, digest.sha256) == (4, hashlib.sha256(text.encode()).hexdigest())
    assert list(digest.days) == ["2026-11-23", "2026-11-24"]


def test_a_changed_value_is_located_by_table_and_day(tmp_path: Path) -> None:
    """One value changed in a ledger changes the digest of its table and day, and no other; totals no longer tie."""
    root = load(tmp_path, *two_days(Story()))  # type: ignore[arg-type]
    before = read(root, table_digests)
    assert check_totals(root).different == []
    with Lake(location.require_current(root), read_only=False) as lake, lake.transaction():
        lake.rows("UPDATE attempts SET input = 2 WHERE usage_other IS NOT NULL")
    after = read(root, table_digests)
    assert [name for name in before if before[name] != after[name]] == ["attempts"]
    changed = _different_days(before["attempts"], after["attempts"])
    assert changed == ["2026-11-23"] == check_totals(root).different


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE totals SET amount_expected = amount_expected + 0.000000000001 WHERE class = 'output'",
        "DELETE FROM totals WHERE class IS NULL",
        "DELETE FROM attempts WHERE outcome = 'ok'",
        "DELETE FROM requests WHERE requests = 1",
        "UPDATE totals SET quantity = 3 WHERE class = 'images'",
        "UPDATE totals SET region = 'eu'",
    ],
)
def test_totals_that_are_not_the_sums_of_the_rows_are_found(tmp_path: Path, harm: str) -> None:
    """A picodollar, a token, a row or a dimension that differs is found on its day."""
    root = load(tmp_path, *two_days(Story()))  # type: ignore[arg-type]
    with Lake(location.require_current(root), read_only=False) as lake, lake.transaction():
        lake.rows(harm)
    assert check_totals(root).different


def _different_days(one: TableDigest, other: TableDigest) -> list[str]:
    return sorted(day for day in one.days | other.days if one.days.get(day) != other.days.get(day))
