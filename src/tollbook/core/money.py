"""Exact money: integers of picodollars (1e-12 of the currency's unit) in memory, decimal text on the wire.

No float comes in or goes out. Unit prices are exact decimals of any length; the one rounding here is of a charge,
half-even, to one picodollar.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

SCALE: Final = 12
PICO: Final = 10**SCALE


def parse_decimal(text: str) -> Decimal:
    """Decimal text, with no exponent, as an exact number.

    Raises ValueError when the text is not a plain finite decimal number.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {text!r}") from None
    if not number.is_finite() or "e" in text.lower():
        raise ValueError(f"not a plain decimal number: {text!r}")
    return number


def parse_amount(text: str) -> int:
    """Decimal text as picodollars. Raises ValueError when it is finer than a picodollar or not a number."""
    sign, digits, exponent = parse_decimal(text).as_tuple()
    places = SCALE + int(exponent)
    # In integers, because Decimal arithmetic rounds to the context's 28 digits without a word.
    mantissa: int = int("".join(map(str, digits))) * 10 ** max(places, 0)
    pico, rest = divmod(mantissa, 10 ** max(-places, 0))
    if rest:
        raise ValueError(f"finer than a picodollar: {text!r}")
    return int(-pico if sign else pico)


def format_amount(pico: int) -> str:
    """Picodollars as the shortest exact decimal text: `"0.0000018"`, `"12.5"`, `"0"`."""
    if pico < 0:
        return "-" + format_amount(-pico)
    digits = "%013d" % pico  # noqa: UP031  a quarter quicker, several times for every request
    return f"{digits[:-SCALE]}.{digits[-SCALE:]}".rstrip("0").rstrip(".")


def format_decimal(number: Decimal) -> str:
    """An exact decimal as the shortest plain text, never with an exponent."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def divide_half_even(numerator: int, denominator: int) -> int:
    """Integer division rounded half to even; the denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = rest * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


class UnitPrice:
    """An exact price of one unit, kept as `mantissa * 10**-places`, so that pricing is integer arithmetic."""

    __slots__ = ("_divisor", "_multiplier", "text")

    def __init__(self, text: str) -> None:
        number = parse_decimal(text)
        if number < 0:
            raise ValueError(f"a price below zero: {text!r}")
        mantissa = int("".join(map(str, number.as_tuple().digits)) or "0")
        exponent = int(number.as_tuple().exponent)
        places = SCALE + exponent
        self.text: Final = format_decimal(number)
        self._multiplier: Final = mantissa * 10**places if places >= 0 else mantissa
        self._divisor: Final = 1 if places >= 0 else 10**-places

    def of(self, quantity: int) -> int:
        """The charge for a quantity in picodollars, rounded half-even where the exact product is finer."""
        if self._divisor == 1:
            return quantity * self._multiplier
        return divide_half_even(quantity * self._multiplier, self._divisor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnitPrice) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"UnitPrice({self.text!r})"


def display(pico: int | None, currency: str = "USD") -> str:
    """An amount for people: cents, "< $0.01" instead of "$0.00", "unknown" instead of nothing."""
    if pico is None:
        return "unknown"
    sign, symbol = ("-" if pico < 0 else ""), ("$" if currency == "USD" else f"{currency} ")
    cents = divide_half_even(abs(pico), PICO // 100)
    if pico and not cents:
        return f"> -{symbol}0.01" if pico < 0 else f"< {symbol}0.01"
    return f"{sign}{symbol}{cents // 100:,}.{cents % 100:02d}"
