"""`from tollbook import rate`: pleasant, exact, and never a silent number."""

import json
from decimal import Decimal

import pytest
from anthropic.types import Usage as AnthropicUsage
from google.genai.types import GenerateContentResponseUsageMetadata
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.completion_usage import CompletionUsage
from openai.types.responses import ResponseUsage

import tollbook
from tollbook import rate
from tollbook.core.faults import BadInput
from tollbook.pricing.book import base_book
from tollbook.providers.raw_usage import formats

CHAT = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "total_tokens": 1010,
    "prompt_tokens_details": {"cached_tokens": 900},
}
NOW = "2026-11-23T12:00:00Z"


def test_a_usage_in_any_dress_costs_the_same() -> None:
    """A mapping, text, bytes, an SDK's object and the whole answer: 100 x 2.5 + 900 x 1.25 + 10 x 10 = 1,475 per M."""
    text = json.dumps(CHAT)
    answer = {"id": "c", "model": "gpt-4o", "service_tier": "default", "usage": CHAT}
    for usage in (CHAT, text, text.encode(), CompletionUsage.model_validate(CHAT), answer):
        assert rate(usage, vendor="openai", model="gpt-4o", at=NOW).amount == Decimal("0.001475")


def test_objects_of_other_sdks_are_read() -> None:
    """What the official SDKs of the other formats return can be handed in as it is."""
    message = AnthropicUsage.model_validate({"input_tokens": 1_000_000, "output_tokens": 0, "service_tier": "standard"})
    assert rate(message, vendor="anthropic", model="claude-opus-5-5", at=NOW).amount == 4
    metadata = GenerateContentResponseUsageMetadata.model_validate(
        {"prompt_token_count": 100_000, "candidates_token_count": 1000, "total_token_count": 101_000}
    )
    assert rate(metadata, vendor="google", model="gemini-2.5-pro", at=NOW).amount == Decimal("0.135")
    response = ResponseUsage.model_validate(
        {
            "input_tokens": 1000,
            "output_tokens": 100,
            "total_tokens": 1100,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 40},
        }
    )
    found = rate(response, vendor="openai", model="gpt-5.5", format="openai.responses", at=NOW)
    assert found.amount == Decimal("0.008")  # 1,000 x 5 + 60 x 30 + 40 x 30 per million


def test_the_answer_names_model_and_tier_and_arguments_go_before_it() -> None:
    """From a whole answer the model and the tier are read; 10 x 4.25 + 3 x 17 = 93.5 per million by priority."""
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    answer = {"model": "gpt-4o", "service_tier": "priority", "usage": usage}
    assert rate(answer, vendor="openai", at=NOW).amount == Decimal("0.0000935")
    assert rate(answer, vendor="openai", tier="default", at=NOW).amount == Decimal("0.000055")
    with pytest.raises(BadInput, match="model: none was named"):
        rate(usage, vendor="openai")


def test_work_of_other_models_has_their_prices() -> None:
    """An answer in which another model did a part is priced line by line at the price of who did it."""
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "iterations": [
            {"type": "message", "model": "claude-sonnet-5-5", "input_tokens": 100, "output_tokens": 50},
            {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 1000, "output_tokens": 10},
        ],
    }
    found = rate(usage, vendor="anthropic", model="claude-sonnet-5-5", at=NOW)
    lines = [(charge.model, charge.class_, charge.amount) for charge in found.charges]
    assert ("claude-opus-5-5", "input", Decimal("0.004")) in lines
    assert ("claude-sonnet-5-5", "input", Decimal("0.0002")) in lines
    assert found.amount == Decimal("0.0002") + Decimal("0.0005") + Decimal("0.004") + Decimal("0.0002")


def test_unknown_is_none_and_says_why() -> None:
    """No price, no total: a model, a vendor, a tier or a class that the book does not know."""
    for arguments, word in (
        ({"vendor": "openai", "model": "no-such"}, "unknown_model"),
        ({"vendor": "nobody", "model": "gpt-4o"}, "unknown_party"),
        ({"vendor": "openai", "model": "gpt-4o", "tier": "ultrafast"}, "unknown_tier"),
        ({"vendor": "openai", "model": "gpt-4o", "processing": "nightly"}, "unknown_processing"),
        ({"vendor": "openai", "model": "ft:gpt-4o:acme"}, "fine_tuned"),
    ):
        found = rate(CHAT, at=NOW, **arguments)
        assert (found.amount, found.sound) == (None, False)
        assert set(found.unpriced) == {"input", "input_cache_read", "output"}
        assert any(note.startswith(f"unpriced: {word}") for note in found.notes)
        assert found.to_json()["amount_usd"] is None


def test_a_usage_that_is_not_whole_or_contradicts_itself_is_not_sound() -> None:
    """Half a usage has no total; parts that exceed the vendor's total are priced and flagged."""
    half = rate({"prompt_tokens": 10}, vendor="openai", model="gpt-4o", at=NOW)
    assert (half.amount, half.basis, half.sound) == (None, "unreported", False)
    odd = rate({**CHAT, "total_tokens": 7}, vendor="openai", model="gpt-4o", at=NOW)
    assert not odd.sound
    assert any(note.startswith("inconsistent_usage") for note in odd.notes)


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ('{"prompt_tokens": NaN, "completion_tokens": 1}', "NaN is not a number"),
        ('{"prompt_tokens": Infinity}', "Infinity is not a number"),
        ('{"prompt_tokens": 1e400}', "found 1e400; a count is a whole number"),
        ('{"prompt_tokens": 1.0, "completion_tokens": 1}', "found 1.0; a count is a whole number"),
        ('{"prompt_tokens": -1, "completion_tokens": 1}', "prompt_tokens: found -1; a quantity is never below zero"),
        ('{"prompt_tokens": 9007199254740992}', "the largest quantity is 9,007,199,254,740,991"),
        ('{"prompt_tokens": 1' + "0" * 5000 + "}", "a number of 5,001 digits"),
        ('{"prompt_tokens": "1000", "completion_tokens": 1}', "found a text; a count is a whole number"),
        ('{"prompt_tokens": true, "completion_tokens": 1}', "found true or false"),
        ('{"prompt_tokens": 1, "prompt_tokens": 2}', "'prompt_tokens' stands there twice"),
        ('{"completion_tokens_details": {"a": 1, "a": 1}}', "'a' stands there twice"),
        ('{"prompt_tokens_details": {"cached_tokens": -3}}', "prompt_tokens_details.cached_tokens: found -3"),
        ("[1]", "found a list; expected a JSON object"),
        ("null", "found null"),
        ("", "not one JSON object"),
        ('{"prompt_tokens": 1} {"prompt_tokens": 2}', "Extra data"),
        (b"\xff\xfe\x00", "not one JSON object"),
        ('{"a":' * 100_000, "usage:"),
        ("{}", "holds no count that openai.chat reports (it holds nothing)"),
        ('{"input_tokens": 5, "output_tokens": 5}', "name its operation as format"),
        (object(), "cannot be written as JSON"),
        ({"prompt_tokens": float("nan")}, "usage"),
    ],
)
def test_hostile_usage_is_refused_with_the_place(usage: object, said: str) -> None:
    """What can be read in two ways, or in none, is an error that names the place, never a number."""
    with pytest.raises(BadInput) as refused:
        rate(usage, vendor="openai", model="gpt-4o", at=NOW)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"input": 5, "outputs": 1}, "'outputs' is not a class of usage"),
        ({"input": -5}, "a quantity is never below zero"),
        ({"input": "5"}, "input: found '5'"),
        ({"input": None}, "input: found None"),
    ],
)
def test_our_own_classes_are_read_as_strictly(usage: object, said: str) -> None:
    """With `format="classes"` a usage is in our classes, and nothing else passes."""
    with pytest.raises(BadInput, match=said):
        rate(usage, vendor="openai", model="gpt-4o", format="classes", at=NOW)


def test_an_instant_without_a_zone_and_an_unknown_format_are_refused() -> None:
    """Neither is guessed; the message says what is allowed."""
    with pytest.raises(BadInput, match="not an instant with a zone"):
        rate(CHAT, vendor="openai", model="gpt-4o", at="2026-11-23T12:00:00")
    with pytest.raises(BadInput, match=r"format: found 'openai\.chats'; allowed: classes, anthropic\.messages"):
        rate(CHAT, vendor="openai", model="gpt-4o", format="openai.chats")


@given(
    st.dictionaries(
        st.text(max_size=12),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usage", "prompt_tokens", "x"]), inner)
            ),
            max_leaves=8,
        ),
        max_size=5,
    ),
    st.sampled_from(formats()),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_handed_in_is_priced_or_refused(usage: dict[str, object], operation: str) -> None:
    """No input of any operation gives anything but a quote or BadInput, and no quote without a usage has an amount."""
    try:
        found = rate(usage, vendor="openai", model="gpt-4o", format=operation, at=NOW)
    except BadInput:
        return
    assert found.amount is None or found.basis != "unreported"


def test_amounts_beyond_any_decimal_context_stay_exact() -> None:
    """2^53 - 1 tokens at 2.5 per million: 22,517,998,136.852478 and 0.0000000 more, every digit there."""
    found = rate({"input": (1 << 53) - 1, "output": 1}, vendor="openai", model="gpt-4o", format="classes", at=NOW)
    assert found.amount == Decimal("22517998136.8524775") + Decimal("0.00001")
    assert found.to_json()["amount"] == "22517998136.8524875"


def test_a_quote_can_be_printed_and_names_its_book() -> None:
    """People see every line and the sum; machines the digest."""
    found = rate(CHAT, vendor="openai", model="gpt-4o", at=NOW)
    assert "0.001475 USD" in str(found)
    assert found.price_book == base_book().digest
    assert tollbook.__version__
    with pytest.raises(AttributeError):
        tollbook.no_such_name  # noqa: B018
