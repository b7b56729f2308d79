"""`explain` as finance runs it: from one period to another, with evidence, summing to what the report says."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from planting import sow
from test_commands import check, run

from tollbook.assembly import service
from tollbook.ledger.report import report

pytestmark = pytest.mark.xdist_group("explain")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explain") / "book"
    service.init(root)
    sow(root, 5, 1)
    return root


def periods(root: Path) -> tuple[str, str]:
    """Before and after the price change of the planted book, about in the middle of it."""
    days = [row["dimensions"]["day"] for row in report(root, ["day"])["rows"] if row["dimensions"]["day"]]
    return days[0], days[-1]


def explained(root: Path, *words: str) -> dict[str, Any]:
    ran = run("explain", *words, "--book", str(root), "--json")
    assert ran.code == 0, ran.err
    check("explain", ran.document())
    return ran.document()


def test_a_change_is_explained_to_the_last_digit(root: Path) -> None:
    """Both sides are the report's recharge, the effects add up, and each that is not zero names requests."""
    first, second = periods(root)
    document = explained(root, "acme", "--from", first, "--to", second)
    amounts = {
        row["dimensions"]["day"]: row["amounts"]["USD"]
        for row in report(root, ["day"], amount="recharge", tenant="acme")["rows"]
        if row["amounts"]
    }
    assert (document["from"]["amount"], document["to"]["amount"]) == (amounts[first], amounts[second])
    change = Decimal(amounts[second]) - Decimal(amounts[first])
    assert Decimal(document["change"]) == change == sum(Decimal(one["amount"]) for one in document["effects"])
    effects = {one["effect"]: one for one in document["effects"]}
    assert Decimal(effects["price"]["amount"]) < 0
    assert all(one["requests"] for one in document["effects"] if one["amount"] != "0")
    screen = run("explain", "acme", "--from", first, "--to", second, "--book", str(root)).out
    assert "price" in screen and "tenant acme" in screen


def test_refusals(root: Path) -> None:
    """Periods that are none, and a tenant without a charge."""
    for words, told in (
        (("acme", "--from", "2026-13", "--to", "2026-11"), "--from"),
        (("acme", "--from", "2026-11", "--to", "now"), "--to"),
        (("acme", "--from", "2026-11-02..2026-11-01", "--to", "2026-11"), "is empty"),
        (("nobody", "--from", "2026-10", "--to", "2026-11"), "no charge in USD"),
        (("acme", "--from", "9999-12", "--to", "2026-11"), "--from"),
    ):
        ran = run("explain", *words, "--book", str(root))
        assert ran.code == 2 and told in ran.err, (words, ran.err)
