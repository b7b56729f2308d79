"""Explanations: which row prices a class, and why each of the others does not."""

import json

import pytest

from tollbook.core.clock import parse_instant
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater

BOOK = base_book()
NOW = parse_instant("2026-11-23T12:00:00Z")


def reasons(party: str, model: str, at: str = "2026-11-23T12:00:00Z", **asked: str | int | None) -> dict[str, set[str]]:
    explanation = BOOK.explain(party, model, parse_instant(at), **asked)  # type: ignore[arg-type]
    return {choice.class_: {other.why for other in choice.runners_up} for choice in explanation.classes}


def test_the_chosen_row_is_the_one_that_is_charged() -> None:
    """Rating and explaining never tell two stories: same rows, same assumptions, for every kind of condition."""
    rater = Rater(BOOK)
    cases = [
        ("openai", "gpt-5.5", {}),
        ("openai", "gpt-5.5", {"tier": "priority"}),
        ("openai", "gpt-6-astra", {"processing": "batch"}),
        ("anthropic", "claude-opus-5-5", {"speed": "fast", "tier": "standard"}),
        ("azure", "gpt-5.5", {}),
        ("deepseek", "deepseek-v4-pro", {}),
        ("google", "gemini-2.5-flash", {"tier": "ON_DEMAND"}),
    ]
    for party, model, asked in cases:
        for at in ("2026-08-10T02:00:00Z", "2026-10-12T02:00:00Z", "2026-11-23T02:00:00Z", "2026-11-30T12:00:00Z"):
            for tokens in (10, 300_000):
                explanation = BOOK.explain(party, model, parse_instant(at), tokens_input=tokens, **asked)
                for choice in explanation.classes:
                    usage = {choice.class_: tokens}
                    if not choice.class_.startswith("input"):
                        usage["input"] = tokens
                    priced = rater.rate(party, model, usage, parse_instant(at), **asked)
                    charge = next(charge for charge in priced.charges if charge[0] == choice.class_)
                    assert charge[6] == (choice.row.id if choice.row else None)
                    assert charge[2] == (choice.row.unit_price if choice.row else None)
                    assert set(choice.assumed) <= set(priced.assumed)
                    assert choice.row or choice.unpriced


def test_why_a_row_lost_is_said_in_words() -> None:
    """Another tier, another date, another band, other hours: each runner-up says what speaks against it."""
    assert "for tier priority; asked for standard" in reasons("openai", "gpt-5.5")["input"]
    assert "for tier standard; asked for flex" in reasons("openai", "gpt-5.5", tier="flex")["input"]
    assert "for processing batch; asked for standard" in reasons("openai", "gpt-5.5")["output"]
    assert (
        "applies over 272,000 input tokens; the request has 272,000"
        in (reasons("openai", "gpt-6-astra", tokens_input=272_000)["output"])
    )
    assert "applies over 272,000 input tokens; their number is not given" in reasons("openai", "gpt-6-astra")["output"]
    assert (
        "the price over 272,000 input tokens goes before it"
        in (reasons("openai", "gpt-6-astra", tokens_input=272_001)["output"])
    )
    assert "begins 2026-12-01" in reasons("google", "gemini-4-argon")["input"]
    assert "ended 2026-07-30" in reasons("openai", "gpt-5.6-luna")["input"]
    saturday = reasons("deepseek", "deepseek-v4-pro", "2026-10-10T02:00:00Z")["input"]
    assert "applies 01:00-04:00 UTC, Mon, Tue, Wed, Thu, Fri; it was 2026-10-10T02:00:00.000000Z" in saturday
    friday = reasons("deepseek", "deepseek-v4-pro", "2026-10-09T02:00:00Z")["input"]
    assert "the price of these hours goes before it" in friday


def test_why_a_borrowed_tier_is_not_priced() -> None:
    """Another party's tier price is shown, with the reason why it is not used."""
    told = reasons("azure", "gpt-5.5", tier="flex")["input"]
    assert "another party's prices are shared for the standard service only" in told


def test_how_the_name_led_to_the_model() -> None:
    """An explanation says which entry the name led to, and whether by exact name or by pattern."""
    exact = BOOK.explain("openai", "gpt-4o-2024-08-06", NOW)
    assert (exact.entry, exact.matched, exact.unpriced) == ("openai gpt-4o", "exact name", None)
    pattern = BOOK.explain("anthropic", "claude-haiku-4-5-20251001", NOW)
    assert (pattern.entry, pattern.matched) == ("anthropic claude-haiku-4-5", "pattern")
    unknown = BOOK.explain("openai", "gpt-99", NOW)
    assert (unknown.entry, unknown.matched, unknown.unpriced, unknown.classes) == (None, None, "unknown_model", [])


def test_unpriced_tier_shows_what_there_would_have_been() -> None:
    """Without a price the explanation gives the code and every row that was passed over."""
    explanation = BOOK.explain("openai", "gpt-4o", NOW, tier="scale")
    assert explanation.unpriced == "unknown_tier"
    assert {choice.unpriced for choice in explanation.classes} == {"unknown_tier"}
    assert all(choice.row is None and choice.runners_up for choice in explanation.classes)


def test_billed_as_another_class_quotes_the_rule() -> None:
    """A class priced by a vendor's rule names the class whose price it is, and the rule's source."""
    choices = {choice.class_: choice for choice in BOOK.explain("anthropic", "claude-sonnet-4-5", NOW).classes}
    written = choices["input_cache_write"]
    assert (written.billed_as, written.assumed) == ("input_cache_write_5m", ["cache_ttl"])
    assert written.rule is not None
    assert written.rule.startswith("https://")
    assert choices["output_reasoning"].billed_as == "output"
    assert choices["output"].billed_as is None


@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-99"])
def test_an_explanation_is_plain_json(model: str) -> None:
    """What a program gets holds no float and no name of ours that is not a word."""
    told = BOOK.explain("openai", model, NOW).to_json()
    text = json.dumps(told)
    assert "class_" not in text
    json.loads(text, parse_float=lambda number: pytest.fail(f"a float: {number}"))
    assert told["book"] == BOOK.digest


def test_show_gives_every_row_of_a_model() -> None:
    """All tiers, bands and dates, with currency, source and day of retrieval filled in."""
    rows = BOOK.show("openai", "gpt-5.5")
    entry = BOOK.find("openai", "gpt-5.5").entry
    assert entry is not None
    assert len(rows) == len(entry.rows) > 10
    assert {(row.currency, row.source, row.retrieved) for row in rows} == {("USD", "genai-prices 0.2.3", "2026-11-09")}
    assert BOOK.show("openai", "gpt-99") == []
