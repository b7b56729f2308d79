"""Exact money: text in, picodollars inside, the same text out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.money import PICO, UnitPrice, display, divide_half_even, format_amount, parse_amount


@given(st.integers(-(10**40), 10**40))
def test_amount_and_its_text_are_one(pico: int) -> None:
    """Any amount, of any length, is the same after being written and read."""
    assert parse_amount(format_amount(pico)) == pico


@pytest.mark.parametrize(
    "text", ["0.0000000000001", "1.0000000000000000000000000000001", "1e-6", "NaN", "Infinity", "", "one", "1,5"]
)
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    """Finer than a picodollar, an exponent, or no number: refused, however many digits stand before it."""
    with pytest.raises(ValueError, match=r"picodollar|decimal number"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("numerator", "denominator", "result"), [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (3, 2, 2), (1, 3, 0)]
)
def test_division_rounds_half_to_even(numerator: int, denominator: int, result: int) -> None:
    """Halves go to the even neighbour, on both sides of zero."""
    assert divide_half_even(numerator, denominator) == result


@given(st.integers(0, 10**30), st.integers(0, 10**12))
def test_whole_picodollar_price_times_quantity_is_exact(pico: int, quantity: int) -> None:
    """A unit price that is a whole number of picodollars needs no rounding."""
    assert UnitPrice(format_amount(pico)).of(quantity) == pico * quantity


def test_price_below_zero_is_refused() -> None:
    """No price is negative."""
    with pytest.raises(ValueError, match="below zero"):
        UnitPrice("-0.1")


@pytest.mark.parametrize(
    ("pico", "shown"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "< $0.01"),
        (-1, "> -$0.01"),
        (PICO // 100, "$0.01"),
        (1234 * PICO, "$1,234.00"),
    ],
)
def test_people_never_read_zero_for_something(pico: int | None, shown: str) -> None:
    """Unknown is told from zero, and something small from nothing."""
    assert display(pico) == shown
