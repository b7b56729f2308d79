"""Cases with their sums written out: the vendors' price lists against what we charge.

Each line of `cases/*.txt` holds a usage and, from the vendor's own price list and not from any book of ours, the sum:
quantity times price per million and so on. The sum is checked by fractions, and the charge must be equal to it.
"""

import re
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tollbook.core.clock import parse_instant
from tollbook.core.money import PICO
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater

CASES: Final = Path(__file__).parent / "cases"
RATER: Final = Rater(base_book())


class Case(NamedTuple):
    """One line: what was used, and what it must come to; `?` among the assumptions is any."""

    party: str
    model: str
    at: str
    conditions: dict[str, str]
    usage: dict[str, int]
    result: str
    assumed: str


def read(path: Path) -> list[Case]:
    """The cases of a file."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [_case(*(part.strip() for part in line.split(" | "))) for line in lines]


def _case(party: str, model: str, at: str, conditions: str, usage: str, result: str, assumed: str) -> Case:
    pairs = dict(part.split("=", 1) for part in conditions.split() if part != "-")
    quantities = {name: int(quantity) for name, quantity in (part.split("=") for part in usage.split())}
    return Case(party, model, at, pairs, quantities, result, assumed)


ALL: Final = [
    pytest.param(case, id=f"{path.stem}-{number}")
    for path in sorted(CASES.glob("*.txt"))
    for number, case in enumerate(read(path), start=1)
]


def terms(result: str) -> list[tuple[int, Fraction]]:
    """The quantities and prices per million of a sum that is written out."""
    found = re.findall(r"([\d,]+) x ([\d.]+)", result.partition("=")[0])
    return [(int(quantity.replace(",", "")), Fraction(price)) for quantity, price in found]


@pytest.mark.parametrize("case", ALL)
def test_a_usage_costs_what_the_price_list_says(case: Case) -> None:
    """To the picodollar, with what is assumed named; and where the list says nothing there is no amount at all."""
    priced = RATER.rate(case.party, case.model, case.usage, parse_instant(case.at), **case.conditions)
    if case.result.startswith("unpriced"):
        assert (priced.unpriced, priced.expected) == (case.result.split()[1], None)
        return
    total = Fraction(case.result.partition("=")[2].strip())
    assert sum(quantity * price for quantity, price in terms(case.result)) / 1_000_000 == total
    assert sorted(quantity for quantity, _ in terms(case.result)) == sorted(case.usage.values())
    assert priced.unpriced is None
    assert Fraction(priced.expected or 0, PICO) == total
    if case.assumed != "?":
        assert priced.assumed == [word for word in case.assumed.split() if word != "-"]


def test_there_are_enough_cases_and_none_is_there_twice() -> None:
    """Every kind of price at the edges of its bands: more than 400 different cases."""
    cases = [line for path in CASES.glob("*.txt") for line in path.read_text().splitlines() if not line.startswith("#")]
    assert len(cases) == len(set(cases)) >= 400
