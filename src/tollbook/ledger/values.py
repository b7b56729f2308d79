"""Values as the ledger gives them, turned into the ones used inside and outside."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tollbook.core.money import SCALE

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  DuckDB gives instants in UTC without a zone


def as_folded(value: Any) -> Any:
    """A value read from a table as folding made it: instants as microseconds, amounts as picodollars, maps as sorted
    pairs."""
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, Decimal):
        return pico_of(value)
    if isinstance(value, dict):
        return sorted(value.items())
    return value


def pico_of(amount: Decimal) -> int:
    """An amount with twelve decimal places as picodollars, exactly, however large (a context would round)."""
    sign, digits, exponent = amount.as_tuple()
    assert exponent == -SCALE
    pico = int("".join(map(str, digits)))
    return -pico if sign else pico
