"""Rating: exact amounts, and nothing priced that no row asserts."""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollbook.core.clock import parse_instant
from tollbook.core.money import PICO, format_amount, parse_amount
from tollbook.core.usage import CLASSES, tokens_input
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.card import RateCard, RateCards
from tollbook.pricing.entry import Party
from tollbook.pricing.rate import Priced, Rater
from tollbook.pricing.row import Band, Row, Window

MakeBook = Callable[..., PriceBook]
NOW = parse_instant("2026-11-23T12:00:00Z")
BASE = Rater(base_book())


def amounts(priced: Priced) -> dict[str, str | None]:
    return {charge[0]: charge[4] for charge in priced.charges}


def total(priced: Priced) -> str | None:
    return None if priced.expected is None else format_amount(priced.expected)


def test_thousand_in_nine_hundred_cached_ten_out() -> None:
    """1,000 input of which 900 cached and 10 output of gpt-4o cost 0.001475, in exactly these digits."""
    priced = BASE.rate("openai", "gpt-4o", {"input": 100, "input_cache_read": 900, "output": 10}, NOW, tier="default")
    assert amounts(priced) == {"input": "0.00025", "input_cache_read": "0.001125", "output": "0.0001"}
    assert total(priced) == "0.001475"
    assert (priced.unpriced, priced.assumed, priced.currency) == (None, [], "USD")


def test_charge_line_has_the_shape_of_the_journal() -> None:
    """Class, quantity, unit price, list, expected, recharge, row: with no contract and no card all amounts are one."""
    (charge,) = BASE.rate("openai", "gpt-4o-mini", {"output": 7}, NOW).charges
    assert charge[:6] == ("output", 7, "0.0000006", "0.0000042", "0.0000042", "0.0000042")
    assert charge[6] in {row.id for row in base_book().show("openai", "gpt-4o-mini")}


def test_check_values_of_published_tariffs() -> None:
    """Bands, caches and a dated change, against amounts worked out by hand from the vendors' price pages."""
    sonnet = {"input": 40_000, "input_cache_read": 200_000, "input_cache_write_5m": 10_000, "output": 1_000}
    assert total(BASE.rate("anthropic", "claude-sonnet-4-5", sonnet, NOW)) == "0.4575"
    assert total(BASE.rate("openai", "gpt-6-astra", {"input": 272_000, "output": 1_000}, NOW)) == "2.77"
    assert total(BASE.rate("openai", "gpt-6-astra", {"input": 272_001, "output": 1_000}, NOW)) == "5.51502"
    million = {"input": 1_000_000, "output": 1_000_000}
    for at, cost in (("2026-11-30T23:59:59Z", "12"), ("2026-12-01T00:00:00Z", "24")):
        priced = BASE.rate("google", "gemini-4-argon", million, parse_instant(at))
        assert (total(priced), priced.assumed) == (cost, ["instant"])


@pytest.mark.parametrize(
    ("party", "model", "edge", "inclusive"),
    [
        ("openai", "gpt-6-astra", 272_000, False),
        ("openai", "gpt-5.5", 272_000, False),
        ("anthropic", "claude-haiku-5-5", 100_000, False),
        ("google", "gemini-2.5-pro", 200_000, False),
        ("x-ai", "grok-4.7", 200_000, True),
    ],
)
def test_band_changes_every_token_at_its_edge(party: str, model: str, edge: int, inclusive: bool) -> None:
    """One token less, at and over the edge; cached tokens count; beyond it input and output are dearer, whole."""
    prices = {}
    for tokens in (edge - 1, edge, edge + 1):
        usage = {"input": 1_000, "input_cache_read": tokens - 1_000, "output": 10}
        priced = BASE.rate(party, model, usage, NOW)
        prices[tokens] = [charge[2] for charge in priced.charges]
        assert priced.unpriced is None
    assert prices[edge] == prices[edge + 1 if inclusive else edge - 1]
    assert prices[edge - 1] != prices[edge + 1]
    assert all(low != high for low, high in zip(prices[edge - 1], prices[edge + 1], strict=True))


def test_dimensions_compose() -> None:
    """Tier and processing each with the context band and the cache: flex beyond 272k is half of standard beyond it."""
    usage = {"input": 200_000, "input_cache_read": 100_000, "output": 1_000}
    standard = BASE.rate("openai", "gpt-5.5", usage, NOW, tier="default").expected
    flex = BASE.rate("openai", "gpt-5.5", usage, NOW, tier="flex").expected
    batch = BASE.rate("openai", "gpt-5.5", usage, NOW, processing="batch").expected
    priority = BASE.rate("openai", "gpt-5.5", usage, NOW, tier="priority")
    assert standard is not None
    assert flex == batch == standard // 2
    assert amounts(priority)["input"] == "2.5"  # priority has no dearer band: 12.5 per million, whatever the length


def test_what_a_batch_does_not_discount_keeps_its_price() -> None:
    """A cached read of gpt-4o in a batch costs what it costs outside; a web search is never discounted."""
    usage = {"input": 1_000_000, "input_cache_read": 1_000_000, "web_searches": 1_000}
    priced = BASE.rate("openai", "gpt-4o", usage, NOW, processing="batch")
    assert amounts(priced) == {"input": "1.25", "input_cache_read": "1.25", "web_searches": "10"}


@pytest.mark.parametrize(
    ("dimension", "word", "reason"),
    [
        ("tier", "ultrafast", "unknown_tier"),
        ("tier", "scale", "unknown_tier"),
        ("region", "eu", "unknown_region"),
        ("speed", "warp", "unknown_speed"),
        ("processing", "overnight", "unknown_processing"),
    ],
)
def test_unknown_dimension_is_unpriced_and_never_standard(dimension: str, word: str, reason: str) -> None:
    """A tier, region, speed or processing that no row names has no price; the lines stay, with unknown amounts."""
    priced = BASE.rate("openai", "gpt-4o", {"input": 5, "output": 6}, NOW, **{dimension: word})
    assert priced.unpriced == reason
    assert priced.expected is None
    assert priced.charges == [("input", 5, None, None, None, None, None), ("output", 6, None, None, None, None, None)]


def test_dimensions_that_are_priced_alone_but_not_together_are_unpriced() -> None:
    """Each of two modifiers has rows, their combination has none: how they stack is not ours to guess."""
    priced = BASE.rate("openai", "gpt-5.5", {"input": 5}, NOW, tier="flex", processing="batch")
    assert (priced.unpriced, priced.expected) == ("unknown_combination", None)


def test_vendor_words_are_data() -> None:
    """`standard` and `global` are the standard; Anthropic's tier `batch` is the batch price; `us` is not known."""
    usage = {"input": 1_000_000}
    model = ("anthropic", "claude-opus-5-5", usage, NOW)
    plain = BASE.rate(*model)
    assert BASE.rate(*model, tier="standard", region="global", speed="standard") == plain
    assert BASE.rate(*model, region="not_available") == plain
    assert total(plain) == "4"
    assert total(BASE.rate(*model, tier="batch")) == "2"
    assert total(BASE.rate(*model, speed="fast")) == "8"
    assert BASE.rate(*model, region="us").unpriced == "unknown_region"
    assert BASE.rate(*model, tier="priority").unpriced == "unknown_tier"


def test_other_reasons_are_stable_codes(make_book: MakeBook) -> None:
    """Why a usage has no price is a word that programs can rely on."""
    rater = Rater(make_book(Row(class_="input", price="1", since="2026-03-01", until="2026-04-01")))
    cases = {
        ("nobody", "m", "2026-03-15"): "unknown_party",
        ("acme", "x", "2026-03-15"): "unknown_model",
        ("acme", "ft:m", "2026-03-15"): "fine_tuned",
        ("acme", "m", "2026-02-28"): "before_first_price",
        ("acme", "m", "2026-04-01"): "after_last_price",
    }
    for (party, model, day), reason in cases.items():
        priced = rater.rate(party, model, {"input": 1}, parse_instant(f"{day}T00:00:00Z"))
        assert (priced.unpriced, priced.expected) == (reason, None)
    march = parse_instant("2026-03-15T00:00:00Z")
    assert rater.rate("acme", "m", {}, march).unpriced == "no_usage"
    assert rater.rate("acme", "m", {"output": 1}, march).unpriced == "unknown_class"
    assert rater.rate("acme", "m", {"no such class": 1}, march).unpriced == "unknown_class"
    assert rater.rate("acme", "m", {"input": -1}, march).unpriced == "negative_quantity"


def test_one_unpriced_class_leaves_the_others_priced_and_the_total_unknown(make_book: MakeBook) -> None:
    """The line without a price has unknown amounts, the others keep theirs, and the sum is unknown."""
    priced = Rater(make_book(Row(class_="input", price="1"))).rate("acme", "m", {"web_searches": 2, "input": 3}, NOW)
    assert amounts(priced) == {"input": "3", "web_searches": None}
    assert (priced.unpriced, priced.expected) == ("unknown_class", None)


def test_explicit_zero_is_a_price(make_book: MakeBook) -> None:
    """A price of 0 gives an amount of 0, with its row; it is not the same as having none."""
    priced = Rater(make_book(Row(class_="input", price="0"))).rate("acme", "m", {"input": 10}, NOW)
    assert priced.charges[0][2:6] == ("0", "0", "0", "0")
    assert (priced.unpriced, priced.expected) == (None, 0)


def test_zero_quantity_gives_no_line_and_a_request_fee_always_does(make_book: MakeBook) -> None:
    """Reported zeros cost nothing and say nothing; a fee per request is charged once, or as often as counted."""
    rater = Rater(make_book(Row(class_="input", price="1"), Row(class_="requests", price="0.012")))
    assert amounts(rater.rate("acme", "m", {"input": 0}, NOW)) == {"requests": "0.012"}
    assert amounts(rater.rate("acme", "m", {"input": 1, "requests": 3}, NOW)) == {"input": "1", "requests": "0.036"}
    zero = BASE.rate("openai", "gpt-4o", {"input": 0, "output": 0}, NOW)
    assert (zero.charges, zero.unpriced, zero.expected) == ([], None, 0)


def test_vendor_rules_between_classes() -> None:
    """Reasoning costs what output costs; a cache write of unknown duration costs five minutes' and says so."""
    sonnet = ("anthropic", "claude-sonnet-4-5")
    million = 1_000_000
    usage = {"output": million, "output_reasoning": million, "input_cache_write_1h": 1000}
    priced = BASE.rate(*sonnet, usage, NOW)
    assert amounts(priced) == {"input_cache_write_1h": "0.006", "output": "15", "output_reasoning": "15"}
    assert priced.assumed == []
    written = BASE.rate(*sonnet, {"input_cache_write": 1000}, NOW)
    assert (amounts(written), written.assumed) == ({"input_cache_write": "0.00375"}, ["cache_ttl"])
    assert BASE.rate("openai", "gpt-6-astra", {"input_cache_write_30m": 1000}, NOW).expected == 12_500_000_000
    assert BASE.rate("openai", "gpt-4o", {"input.image": 1000}, NOW).expected == 2_500_000_000
    assert BASE.rate("openai", "gpt-4o", {"input.audio": 1000}, NOW).unpriced == "unknown_class"


def test_own_reasoning_price_comes_before_the_rule() -> None:
    """Where reasoning has a row of its own, that row prices it."""
    usage = {"output": 1_000_000, "output_reasoning": 1_000_000}
    assert amounts(BASE.rate("perplexity", "sonar-deep-research", usage, NOW)) == {
        "output": "8",
        "output_reasoning": "3",
    }


def test_silence_is_the_standard_only_where_the_vendor_says_so(make_book: MakeBook) -> None:
    """An answer without a tier is priced as standard; where no rule of the vendor says so, the rating says it."""
    rows = (Row(class_="input", price="1"), Row(class_="input", price="2", tier="quick"))
    for silent, assumed in (((), ["tier"]), (("tier",), [])):
        rater = Rater(make_book(*rows, party=Party(name="Acme", silent=silent)))
        assert rater.rate("acme", "m", {"input": 1}, NOW).assumed == assumed
        assert rater.rate("acme", "m", {"input": 1}, NOW, tier="quick").assumed == []


def test_borrowed_prices_are_assumed_and_standard_only(make_book: MakeBook) -> None:
    """A reseller said to share a vendor's prices shares the standard ones, and the rating says so."""
    rows = (Row(class_="input", price="1"), Row(class_="input", price="2", tier="quick"))
    rater = Rater(make_book(*rows, party=Party(name="Acme", silent=("tier",))))
    standard = rater.rate("reseller", "m", {"input": 1}, NOW, tier="standard")
    assert (standard.unpriced, standard.assumed, standard.currency) == (None, ["party"], "USD")
    assert (standard.expected, standard.recharge) == (PICO, PICO)
    assert rater.rate("reseller", "m", {"input": 1}, NOW, tier="quick").unpriced == "unknown_tier"


def test_price_before_the_source_saw_it_is_assumed(make_book: MakeBook) -> None:
    """A row without a beginning holds from the day it was read; earlier it is used, and the rating says so."""
    rater = Rater(make_book(Row(class_="input", price="1")))
    day = parse_instant("2026-01-01T00:00:00Z")
    assert rater.rate("acme", "m", {"input": 1}, day - 1).assumed == ["effective_from"]
    assert rater.rate("acme", "m", {"input": 1}, day).assumed == []


def test_tier_is_not_priced_before_its_first_day() -> None:
    """Tier prices begin on 2026-10-12; before, the tier is unpriced rather than standard."""
    priced = BASE.rate("openai", "gpt-4o", {"input": 1}, parse_instant("2026-10-11T23:59:59Z"), tier="priority")
    assert (priced.unpriced, priced.expected) == ("before_first_price", None)


def test_hour_of_a_dated_change_is_assumed_and_of_an_exact_one_not(make_book: MakeBook) -> None:
    """Within a day of a change whose hour the vendor does not state, the rating says that the instant is assumed."""
    dated = (Row(class_="input", price="1", until="2026-03-01"), Row(class_="input", price="2", since="2026-03-01"))
    rater, edge = Rater(make_book(*dated)), parse_instant("2026-03-01T00:00:00Z")
    day = 86_400_000_000
    for at, price, assumed in (
        (edge - day, "1", False),
        (edge - day + 1, "1", True),
        (edge - 1, "1", True),
        (edge, "2", True),
        (edge + day - 1, "2", True),
        (edge + day, "2", False),
    ):
        priced = rater.rate("acme", "m", {"input": 1}, at)
        assert (amounts(priced)["input"], "instant" in priced.assumed) == (price, assumed)
    same = Rater(make_book(*(Row(class_="input", price="1", since=row.since, until=row.until) for row in dated)))
    assert "instant" not in same.rate("acme", "m", {"input": 1}, edge).assumed
    exact = (
        Row(class_="input", price="1", until="2026-03-01T16:00:00Z"),
        Row(class_="input", price="2", since="2026-03-01T16:00:00Z"),
    )
    rater, edge = Rater(make_book(*exact)), parse_instant("2026-03-01T16:00:00Z")
    assert "instant" not in rater.rate("acme", "m", {"input": 1}, edge - 1).assumed
    assert amounts(rater.rate("acme", "m", {"input": 1}, edge)) == {"input": "2"}


@pytest.mark.parametrize(
    ("at", "price", "assumed"),
    [
        ("2026-07-01T02:00:00Z", "0.435", ["effective_from"]),  # before the tariff there was no peak
        ("2026-08-16T15:59:59.999999Z", "0.435", ["effective_from"]),
        ("2026-08-16T16:00:00Z", "0.66", []),
        ("2026-08-22T02:00:00Z", "1.32", []),  # a Saturday of the first week
        ("2026-10-10T02:00:00Z", "0.66", []),  # a Saturday later
        ("2026-10-09T00:59:59Z", "0.66", []),
        ("2026-10-09T01:00:00Z", "1.32", ["holiday"]),
        ("2026-10-09T03:59:59Z", "1.32", ["holiday"]),
        ("2026-10-09T04:00:00Z", "0.66", []),
        ("2026-10-09T06:00:00Z", "1.32", ["holiday"]),
        ("2026-10-09T10:00:00Z", "0.66", []),
    ],
)
def test_hours_of_the_day(at: str, price: str, assumed: list[str]) -> None:
    """DeepSeek's peak price holds in its hours, on its weekdays, since it exists."""
    priced = BASE.rate("deepseek", "deepseek-v4-pro", {"input": 1_000_000}, parse_instant(at))
    assert (amounts(priced), priced.assumed) == ({"input": price}, assumed)


def test_cache_of_a_rater_never_outlives_a_change(make_book: MakeBook) -> None:
    """A warm rater gives at every instant what a fresh one gives."""
    book = make_book(
        Row(class_="input", price="1"),
        Row(class_="input", price="2", window=Window(days=(1, 2), from_="06:00", to="07:30")),
        Row(class_="output", price="3", until="2026-02-10"),
        Row(class_="output", price="4", since="2026-02-10"),
    )
    warm, start = Rater(book), parse_instant("2026-02-07T00:00:00Z")
    instants = [start + step * 917_000_001 for step in range(600)]
    for at in [*instants, *reversed(instants)]:
        usage = {"input": 1, "output": 1}
        assert warm.rate("acme", "m", usage, at) == Rater(book).rate("acme", "m", usage, at)


def test_classes_come_in_the_order_of_the_word_list() -> None:
    """The same usage gives the same lines, in whatever order the vendor reported it."""
    usage = {"input": 1, "input_cache_read": 2, "output": 3, "web_searches": 4, "file_searches": 5}
    backwards = dict(reversed(usage.items()))
    assert BASE.rate("openai", "gpt-4o", backwards, NOW) == BASE.rate("openai", "gpt-4o", usage, NOW)
    assert [charge[0] for charge in BASE.rate("openai", "gpt-4o", backwards, NOW).charges] == list(usage)


def test_many_models_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rater keeps is bounded, and forgetting does not change a price."""
    monkeypatch.setattr("tollbook.pricing.rate.CACHED_TABLES", 3)
    rater = Rater(base_book())
    first = rater.rate("openai", "gpt-4o", {"input": 1}, NOW)
    for number in range(10):
        rater.rate("openai", f"made-up-{number}", {"input": 1}, NOW)
        assert len(rater._tables) <= 3
    assert rater.rate("openai", "gpt-4o", {"input": 1}, NOW) == first


# What the tenant pays


def test_tenant_who_does_not_bear_it_pays_nothing_and_the_cost_stays() -> None:
    """What the vendor charges and what the tenant pays are two amounts."""
    priced = BASE.rate("openai", "gpt-4o", {"input": 100}, NOW, tenant_bears=False)
    assert priced.charges[0][3:6] == ("0.00025", "0.00025", "0")
    assert priced.expected == 250_000_000


def test_rate_cards_are_per_tenant_and_dated() -> None:
    """The card in force at the instant decides: the tenant's own, else everyone's, else cost."""
    cards = RateCards(
        [
            RateCard(kind="cost_plus", percent="10"),
            RateCard(tenant="labs", kind="free", until=NOW),
            RateCard(tenant="labs", kind="cost_plus", percent="12.5", since=NOW),
        ]
    )
    rater = Rater(base_book(), cards)

    def recharge(tenant: str | None, at: int) -> str | None:
        return rater.rate("openai", "gpt-4o", {"input": 1_000_000}, at, tenant=tenant).charges[0][5]

    assert recharge("labs", NOW - 1) == "0"
    assert recharge("labs", NOW) == "2.8125"
    assert recharge("other", NOW) == "2.75"
    assert recharge(None, NOW) == "2.75"


# Exactness


def exact(price: str, quantity: int) -> int:
    """Quantity times price in picodollars by Decimal with room for every digit, rounded half-even."""
    with localcontext() as context:
        context.prec = 200
        return int((Decimal(price) * quantity * PICO).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("price", "quantity", "pico"),
    [
        ("0.0000000018125", 1, 1_812),  # 1,812.5 pico: half to even
        ("0.0000000018135", 1, 1_814),
        ("0.0000000018125", 2, 3_625),
        ("0.00000000199375", 1, 1_994),  # batch and regional stacked: 3,625 x 0.5 x 1.1
        ("0.0000000039875", 1, 3_988),
        ("0.000000123456789012", 10**12, 123_456_789_012_000_000),
        ("0.000000000000000001", 1, 0),
        ("0.000000000000000001", 500_000, 0),
        ("0.000000000000000001", 500_001, 1),
        ("0.000000000000000001", 1_500_000, 2),
        ("1", 10**12, 10**24),
    ],
)
def test_amounts_round_once_half_to_even(make_book: MakeBook, price: str, quantity: int, pico: int) -> None:
    """Half-way amounts, stacked multipliers, 18-digit prices and 1e12 units are exact to the picodollar."""
    priced = Rater(make_book(Row(class_="input", price=price))).rate("acme", "m", {"input": quantity}, NOW)
    assert priced.expected == pico == exact(price, quantity)
    assert priced.charges[0][2] == price


prices = st.builds(lambda digits, places: format_price(digits, places), st.integers(0, 10**18), st.integers(0, 24))


def format_price(digits: int, places: int) -> str:
    text = format(Decimal(digits).scaleb(-places), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(CLASSES)), st.tuples(prices, prices, st.integers(0, 10**12)), max_size=8),
    st.integers(1, 10**12),
)
def test_every_amount_is_exact_and_the_sum_is_theirs(lines: dict[str, tuple[str, str, int]], edge: int) -> None:
    """For any prices and quantities: each line exact, none negative, the total their sum, the band by all input."""
    rows = [
        row
        for name, (low, high, _) in lines.items()
        for row in (Row(class_=name, price=low), Row(class_=name, price=high, band=Band(at_least=edge)))
    ]
    make = _make_book()
    usage = {name: quantity for name, (_, _, quantity) in lines.items()}
    priced = Rater(make(*rows)).rate("acme", "m", usage, NOW)
    if not usage:
        assert (priced.expected, priced.charges) == (None, [])
        return
    beyond = tokens_input(usage) >= edge
    wanted = {name: exact(high if beyond else low, quantity) for name, (low, high, quantity) in lines.items()}
    got = {charge[0]: parse_amount(str(charge[4])) for charge in priced.charges if charge[0] in usage}
    assert {name: wanted[name] for name in got} == got
    assert set(got) == {name for name, quantity in usage.items() if quantity}
    assert all(amount >= 0 for amount in got.values())
    assert priced.expected == sum(parse_amount(str(charge[4])) for charge in priced.charges)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*sorted(CLASSES), "odd"]), st.integers(-5, 10**7), max_size=6), st.text())
def test_unknown_is_never_zero(usage: dict[str, int], model: str) -> None:
    """Whatever is asked: a line has all its amounts or none, and a total is known only when every line is."""
    for name in ("gpt-4o", model):
        priced = BASE.rate("openai", name, usage, NOW)
        whole = [charge for charge in priced.charges if None not in charge]
        assert all(charge[2:] == (None,) * 5 for charge in priced.charges if charge not in whole)
        assert (priced.expected is None) == (priced.unpriced is not None)
        assert (len(whole) == len(priced.charges) and bool(usage)) or priced.unpriced is not None
        assert {charge[0] for charge in priced.charges} == {name for name, quantity in usage.items() if quantity}


def _make_book() -> MakeBook:
    from tollbook.pricing.entry import Entry, Header
    from tollbook.pricing.match import Match

    header = Header(
        billed_as=(),
        currency="USD",
        format="tollbook.prices/1",
        parties={"acme": Party(name="Acme")},
        retrieved="2026-01-01",
        source="test",
    )
    return lambda *rows: PriceBook.assemble(
        header, [Entry(party="acme", model="m", match=Match(equals=("m",)), rows=rows)]
    )
