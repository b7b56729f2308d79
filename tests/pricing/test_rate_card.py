"""Rate cards: what tenants pay."""

import pytest

from tollbook.core.faults import BadInput
from tollbook.pricing.card import RateCard, RateCards


def test_without_cards_everyone_pays_cost() -> None:
    """No card: the recharge is the expected amount."""
    card = RateCards().find("acme", 0)
    assert card.at_cost
    assert card.of(123) == 123


@pytest.mark.parametrize(
    ("percent", "expected", "recharge"),
    [("10", 1_000, 1_100), ("0.05", 1_000, 1_000), ("0.15", 1_000, 1_002), ("0", 7, 7), ("100", 7, 14), ("50", 1, 2)],
)
def test_markup_is_exact_and_rounds_half_to_even(percent: str, expected: int, recharge: int) -> None:
    """A percentage of any length, one rounding to a picodollar per charge."""
    assert RateCards([RateCard(kind="cost_plus", percent=percent)]).find("acme", 0).of(expected) == recharge


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ([RateCard(kind="cost_plus")], "rate card of everyone: `percent` goes with cost_plus"),
        ([RateCard(kind="free", percent="5", tenant="a")], "rate card of a: `percent` goes with cost_plus"),
        ([RateCard(kind="cost_plus", percent="-5")], "below zero"),
        ([RateCard(kind="cost_plus", percent="ten")], "not a decimal number: 'ten'"),
        ([RateCard(since=5, until=5)], "ends before it begins"),
        ([RateCard(), RateCard(kind="free", since=9)], "two cards of everyone hold at the same time"),
    ],
)
def test_unsound_cards_are_refused(cards: list[RateCard], said: str) -> None:
    """A card that cannot be meant is refused, and says whose it is."""
    with pytest.raises(BadInput) as refused:
        RateCards(cards)
    assert said in str(refused.value)


def test_cards_that_follow_one_another_leave_no_gap_to_cost() -> None:
    """At the instant of the change the new card holds; after the last one the tenant pays cost."""
    cards = RateCards([RateCard(tenant="a", kind="free", since=0, until=10), RateCard(tenant="a", since=10, until=20)])
    assert [cards.find("a", at).free for at in (-1, 0, 9, 10, 20)] == [False, True, True, False, False]
    assert not cards.find("b", 5).free
