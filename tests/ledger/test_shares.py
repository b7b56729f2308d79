"""Usage inside one answer that other models did: at those models' prices, in every sum; the vendor's figure beside."""

from pathlib import Path

import pytest
from ledger_story import Story, load
from msgspec.structs import replace

from tollbook.core.money import parse_amount
from tollbook.gateway.rating import OTHER_CURRENCY, Conditions, rated
from tollbook.ledger.digests import table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import read
from tollbook.ledger.report import report
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import TENANT, trace
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater

AT = 1_795_436_400_000_000
OWN = {"input": 1_000, "output": 100}
ADVICE = {"input": 400, "output": 60}
RATER = Rater(base_book())


def expected(party: str, model: str, usage: dict[str, int]) -> int:
    amount = RATER.rate(party, model, usage, AT).expected
    assert amount is not None
    return amount


def test_each_model_of_an_answer_has_its_own_price(tmp_path: Path) -> None:
    """Lines name the other model; the attempt, the report and the totals sum all of them; a rebuild agrees (L29)."""
    shares = [("claude-opus-4-5", ADVICE)]
    conditions = Conditions(party="anthropic", at=AT)
    rating, total, _ = rated(RATER, "anthropic.messages/1", "claude-haiku-4-5", OWN, conditions, shares)
    both = expected("anthropic", "claude-haiku-4-5", OWN) + expected("anthropic", "claude-opus-4-5", ADVICE)
    assert total == both
    story = Story(AT)
    opened = story.open()
    story.settle(opened, rating=rating, usage=OWN, shares=shares, vendor_cost="0.0000012345678901", provider="acme")
    heads = story.heads()
    root = load(tmp_path, heads)
    told = trace(root, opened.request.id)
    attempt = told["attempts"][0]
    lines = [(line["model"], line["class"], line["quantity"]) for line in attempt["charges"]]
    other = "claude-opus-4-5"
    assert lines == [(None, "input", 1_000), (None, "output", 100), (other, "input", 400), (other, "output", 60)]
    assert parse_amount(attempt["amounts"]["expected"]) == parse_amount(told["request"]["amount"]) == both
    assert attempt["usage_shares"] == {other: ADVICE}
    assert (attempt["vendor_cost"], attempt["provider"]) == ("0.0000012345678901", "acme")
    assert report(root, [])["total"]["amount_usd"] == told["request"]["amount"]
    assert check_totals(root).different == []
    assert read(load(tmp_path / "again", heads), table_digests) == read(root, table_digests)


def test_a_tenant_is_not_told_what_the_vendor_says_it_cost(tmp_path: Path) -> None:
    """The vendor's own figure is the operator's to see (L43)."""
    story = Story(AT)
    opened = story.open()
    story.settle(opened, vendor_cost="0.5", provider="acme")
    root = load(tmp_path, story.heads())
    attempt = trace(root, opened.request.id, view=TENANT)["attempts"][0]
    assert "vendor_cost" not in attempt and attempt["provider"] == "acme"


def test_the_vendors_figure_is_exact_and_charges_nothing(tmp_path: Path) -> None:
    """More digits than an amount has stay as they are; the amounts are ours alone."""
    story = Story(AT)
    opened = story.open()
    story.settle(opened, vendor_cost="123.00000000000000000000001")
    root = load(tmp_path, story.heads())

    def query(lake: Lake) -> list[tuple[object, ...]]:
        return lake.rows("SELECT vendor_cost, CAST(amount_expected AS VARCHAR) FROM attempts")

    assert read(root, query) == [("123.00000000000000000000001", "0.000004500000")]


def test_an_unknown_model_leaves_the_sum_unknown() -> None:
    """A share without a price makes the attempt unpriced, and its quantities stay."""
    found = rated(RATER, "a/1", "claude-haiku-4-5", OWN, Conditions(party="anthropic", at=AT), [("nobody-9", ADVICE)])
    assert (found.expected, found.rating.unpriced) == (None, "unknown_model")
    assert [line[:2] for line in found.rating.lines()][2:] == [("input", 400), ("output", 60)]


def test_an_answer_that_other_models_did_alone_is_priced_by_them() -> None:
    """No usage of its own is no reason to be unpriced."""
    found = rated(RATER, "a/1", "router", {}, Conditions(party="anthropic", at=AT), [("claude-haiku-4-5", OWN)])
    assert found.rating.unpriced is None and found.rating.charges == []
    assert found.expected == expected("anthropic", "claude-haiku-4-5", OWN)


def test_a_share_in_another_currency_is_unpriced(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rating has one currency: nothing is added up across two."""
    rater = Rater(base_book())
    price = rater.rate

    def foreign(party: str, model: str, *rest: object, **more: object) -> object:
        found = price(party, model, *rest, **more)  # type: ignore[arg-type]
        return replace(found, currency="CNY") if model == "claude-opus-4-5" else found

    monkeypatch.setattr(rater, "rate", foreign)
    found = rated(
        rater, "a/1", "claude-haiku-4-5", OWN, Conditions(party="anthropic", at=AT), [("claude-opus-4-5", ADVICE)]
    )
    assert (found.expected, found.rating.currency, found.rating.unpriced) == (None, "USD", OTHER_CURRENCY)
