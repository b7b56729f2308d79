"""Price sheets: what people write is what prices, and what can be misread is refused."""

from decimal import Decimal

import pytest

from tollbook import rate
from tollbook.core.faults import BadInput
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.sheet import read_book

HEAD = 'source: test\nretrieved: "2026-01-01"\nvendors:\n  acme:\n'


def book(text: str, head: str = HEAD) -> PriceBook:
    return read_book((head + text).encode())


def amount(
    made: PriceBook, usage: dict[str, int], model: str = "m", at: str = "2026-06-01T12:00:00Z", **said: str
) -> Decimal | None:
    return rate(usage, vendor="acme", model=model, format="classes", book=made, at=at, **said).amount


def test_prices_are_for_the_quantity_that_is_said() -> None:
    """2.50 per million, 0.0025 per thousand, 0.0000025 each and 0.009 an hour of seconds are the same price of one."""
    for per, price in (("1M", "2.50"), ("1K", "0.0025"), ("1", "0.0000025"), ("hour", "0.009")):
        made = book(f"    models: {{m: {{prices: [{{per: {per}, prices: {{input: {price}}}}}]}}}}\n")
        assert amount(made, {"input": 1000}) == Decimal("0.0025")


def test_eighteen_digits_are_kept() -> None:
    """A price is text all the way: 0.123456789012345678 per million for 10^12 units is 123,456.789012345678."""
    made = book("    models: {m: {prices: [{per: 1M, prices: {input: 0.123456789012345678}}]}}\n")
    assert amount(made, {"input": 10**12}) == Decimal("123456.789012345678")


def test_multipliers_stack_in_their_order_on_what_has_none() -> None:
    """10 % more in the us on tokens, half in a batch: 4 x 1.1 x 0.5 = 2.2 per million; searches keep their price."""
    made = book(
        "    multipliers: [{region: us, times: 1.1}, {processing: batch, times: 0.5}]\n"
        "    models: {m: {prices: [{per: 1M, prices: {input: 4}}, {per: 1K, prices: {web_searches: 10}}]}}\n"
    )
    million = {"input": 1_000_000}
    assert amount(made, million) == 4
    assert amount(made, million, region="us") == Decimal("4.4")
    assert amount(made, million, processing="batch") == 2
    assert amount(made, million, processing="batch", region="us") == Decimal("2.2")
    assert amount(made, {"web_searches": 3}, region="us") == Decimal("0.03")
    assert amount(made, million, region="eu") is None


def test_a_multiplier_can_be_kept_off_another_dimension() -> None:
    """`not_with: [processing]`: a batch in the us has no price then, rather than a wrong one."""
    made = book(
        "    multipliers: [{processing: batch, times: 0.5}, {region: us, times: 1.1, not_with: [processing]}]\n"
        "    models: {m: {prices: [{per: 1M, prices: {input: 4}}]}}\n"
    )
    assert amount(made, {"input": 1_000_000}, region="us") == Decimal("4.4")
    assert amount(made, {"input": 1_000_000}, processing="batch", region="us") is None


def test_an_alias_means_what_it_meant_that_day() -> None:
    """One name, two models after one another: the change is half-open at midnight UTC."""
    made = book(
        "    models:\n"
        "      old: {prices: [{per: 1M, prices: {input: 1}}]}\n"
        "      new: {prices: [{per: 1M, prices: {input: 3}}]}\n"
        '      m: {alias: [{of: old, until: "2026-09-10"}, {of: new, since: "2026-09-10"}]}\n'
    )
    million = {"input": 1_000_000}
    assert amount(made, million, at="2026-09-09T23:59:59.999999Z") == 1
    assert amount(made, million, at="2026-09-10T00:00:00Z") == 3


@pytest.mark.parametrize(
    ("at", "price"),
    [
        ("2026-03-29T00:59:59.999999Z", 9),  # 01:59:59 in Berlin, winter time
        ("2026-03-29T01:00:00Z", 1),  # clocks go from 02:00 to 03:00: in the window at once
        ("2026-03-29T01:59:59.999999Z", 1),  # 03:59:59, summer time
        ("2026-03-29T02:00:00Z", 9),  # 04:00: the window was an hour short
        ("2026-10-24T23:59:59.999999Z", 9),  # 01:59:59, summer time
        ("2026-10-25T00:00:00Z", 1),  # 02:00, summer time
        ("2026-10-25T01:30:00Z", 1),  # 02:30 for the second time
        ("2026-10-25T02:59:59.999999Z", 1),  # 03:59:59, winter time
        ("2026-10-25T03:00:00Z", 9),  # 04:00: the window was an hour longer
        ("2026-12-25T02:00:00Z", 9),  # a holiday
        ("2026-12-26T02:00:00Z", 1),  # the day after it
        ("2026-12-24T23:30:00Z", 9),  # half past midnight
    ],
)
def test_hours_are_those_of_the_zone_whatever_its_clocks_do(at: str, price: int) -> None:
    """From 02:00 to 04:00 in Berlin, every day but Christmas: also on the days with 23 and 25 hours."""
    made = book(
        "    models:\n      m:\n        prices:\n"
        "          - {per: 1M, prices: {input: 9}}\n"
        "          - per: 1M\n"
        '            windows: [{from: "02:00", to: "04:00", zone: Europe/Berlin, holidays: ["2026-12-25"]}]\n'
        "            prices: {input: 1}\n"
    )
    assert amount(made, {"input": 1_000_000}, at=at) == price


def test_a_sheet_over_the_base_book_changes_only_what_it_names() -> None:
    """The model it names has its price, by each of its names, and explicit zero; every other keeps price and row id."""
    head = 'source: test\nretrieved: "2026-11-20"\nextends: base\nvendors:\n  openai:\n'
    made = book(
        "    models: {gpt-4o-own: {names: [gpt-4o-2024-08-06], prices: [{per: 1M, prices: {input: 0, output: 0}}]}}\n",
        head,
    )
    usage = {"input": 1_000_000, "output": 1}
    zero = rate(
        usage, vendor="openai", model="gpt-4o-2024-08-06", format="classes", book=made, at="2026-11-22T00:00:00Z"
    )
    assert (zero.amount, zero.unpriced) == (0, ())
    ours, theirs = (
        rate(usage, vendor="openai", model="gpt-4o", format="classes", book=one, at="2026-11-22T00:00:00Z")
        for one in (made, base_book())
    )
    assert ours.charges == theirs.charges
    assert made.party("openai") == base_book().party("openai")


def test_the_bytes_of_a_book_are_read_as_they_are() -> None:
    """A canonical file keeps its digest."""
    assert read_book(base_book().dump()).digest == base_book().digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("    models: {m: {prices: [{per: 1M, prices: {input: 1, input: 2}}]}}\n", "'input' stands there twice"),
        ("    models: {m: {prices: [{prices: {input: 1}}]}}\n", "per"),
        ("    models: {m: {prices: [{per: 10M, prices: {input: 1}}]}}\n", "10M"),
        ("    models: {m: {prices: [{per: 1M, prices: {inputs: 1}}]}}\n", "'inputs' is not a class of usage"),
        ("    models: {m: {prices: [{per: 1M, prices: {input: -1}}]}}\n", "below zero"),
        ("    models: {m: {prices: [{per: 1M, prices: {input: .nan}}]}}\n", "not a decimal number: '.nan'"),
        ("    models: {m: {prices: [{per: 1M, prices: {input: NaN}}]}}\n", "not a plain decimal number: 'NaN'"),
        ("    models: {m: {prices: [{per: 1M, prices: {input: 1e9}}]}}\n", "not a plain decimal number: '1e9'"),
        ("    models: {m: {prices: [{per: 1M, prices: {input: " + "9" * 300 + "}}]}}\n", "a price of 300 digits"),
        ("    models: {m: {prices: [{per: hour, prices: {seconds: 1}}]}}\n", "has no end as a decimal"),
        ("    models: {m: {prices: [{per: 1M, over: 5, at_least: 5, prices: {input: 1}}]}}\n", "either `over`"),
        ("    models: {m: {prices: [&a {per: 1M, prices: {input: 1}}, *a]}}\n", "a reference (*name); write it out"),
        (
            "    models: {m: {prices: [{per: 1M, prices: {input: 1}}, {per: 1M, prices: {input: 2}}]}}\n",
            "price the same thing at the same time",
        ),
        ("    models: {m: {}}\n", "give `prices`, or `alias`"),
        ("    models: {m: {alias: [{of: nobody}]}}\n", "alias of 'nobody'"),
        ("    models: {m: {prices: [{per: 1M, prise: 1, prices: {input: 1}}]}}\n", "prise"),
        (
            "    models: {m: {prices: [{per: 1M, windows: [{zone: Mars/Olympus}], prices: {input: 1}}]}}\n",
            "'Mars/Olympus' is not a time zone",
        ),
        ("    multipliers: [{times: 2}]\n    models: {m: {prices: [{per: 1M, prices: {input: 1}}]}}\n", "names the"),
        ("    models: {m: {prices: [{per: 1M, since: 2026-13-01, prices: {input: 1}}]}}\n", "month must be in 1..12"),
        (
            "    models: {m: {alias: [{of: n, since: soon}]}, n: {prices: [{per: 1M, prices: {input: 1}}]}}\n",
            "alias of 'n': not an instant",
        ),
        ("\t: {", "price sheet"),
    ],
)
def test_what_can_be_misread_is_refused(text: str, said: str) -> None:
    """A clear error each: what is twice, unknown, contradictory, negative, endless or no number at all."""
    with pytest.raises(BadInput) as refused:
        book(text)
    assert said in str(refused.value)
