"""The vendor's own counting and its own price arithmetic."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.simulator import Simulator
from tollbook.simulator.tariff import amount, find_model, model_names
from tollbook.simulator.tokens import Tokens, answer_words, count_text

COUNTS = st.integers(0, 10**6)
TOKENS = st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("  \n", 0), ("Hello, world!", 4), ("it's 3.14", 6), ("東京 naïve", 2), ("a_b-c", 3)]
)
def test_words_and_marks_are_counted(text: str, tokens: int) -> None:
    """A run of letters, digits and underscores is one token, every other visible character one."""
    assert count_text(text) == tokens


@given(st.integers(0, 500), st.integers(0, 2**40))
def test_an_answer_has_as_many_tokens_as_it_says(count: int, offset: int) -> None:
    """The text of an answer, counted by the simulator's own rule, has exactly the tokens it was made for."""
    words = answer_words(count, offset)
    assert len(words) == count == count_text("".join(words))


def test_input_is_counted_from_the_body(ask: Any) -> None:
    """Texts, 4 for each message (the system prompt is one), 85 for each object, tools as text, 3 for the request."""
    plain = ask("one two three").json["usage"]["prompt_tokens"]
    assert plain == 3 + 4 + 3
    parts = [{"type": "text", "text": "one two three"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert ask(messages=[{"role": "user", "content": parts}]).json["usage"]["prompt_tokens"] == plain + 85
    claude = ask("one two three", vendor="anthropic", system="four five").json["usage"]
    assert claude["input_tokens"] == plain + 2 + 4
    tools = [{"type": "function"}]
    assert ask("one two three", tools=tools).json["usage"]["prompt_tokens"] == plain + count_text(str(tools))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
def test_no_answer_is_longer_than_asked(ask: Any, simulator: Simulator, vendor: str, stream: bool) -> None:
    """`max_tokens` bounds reasoning and text together, dictated or not, and the finish reason says so."""
    answer = ask("[[sim output=100 reasoning=8]]", vendor=vendor, stream=stream, max_tokens=20)
    assert answer.data.count(b'"length"') + answer.data.count(b'"max_tokens"') == 1
    usage = simulator.books.billed[0].usage
    assert usage.get("completion_tokens", usage.get("output_tokens")) == 20
    if not stream and vendor == "openai":
        assert count_text(answer.json["choices"][0]["message"]["content"]) == 12


@given(TOKENS, st.integers(0, 10**6))
def test_an_aborted_answer_never_counts_more(tokens: Tokens, count: int) -> None:
    """What was generated when an answer broke off: the same input, at most the same output, reasoning first."""
    part = tokens.generated(count)
    assert part.all_input == tokens.all_input
    assert part.all_output == min(count, tokens.all_output)
    assert part.output == 0 or part.reasoning == tokens.reasoning


@given(TOKENS)
def test_amounts_equal_the_price_list(tokens: Tokens) -> None:
    """Integer arithmetic agrees with decimals, for a nested price list and a disjoint one."""
    gpt, claude = find_model("openai", "gpt-5-mini"), find_model("anthropic", "claude-haiku-4-5-20251001")
    assert gpt and claude
    output = tokens.output + tokens.reasoning
    uncached = tokens.input + tokens.cache_write_5m + tokens.cache_write_1h
    flex = Decimal("0.125") * uncached + Decimal("0.0125") * tokens.cache_read + output
    assert Decimal(amount(gpt, "flex", tokens)) * 10**6 == flex
    written = Decimal("1.25") * tokens.cache_write_5m + 2 * tokens.cache_write_1h
    haiku = tokens.input + Decimal("0.1") * tokens.cache_read + written + 5 * output
    assert Decimal(amount(claude, "standard", tokens)) * 10**6 == haiku


def test_long_context_and_region_change_the_whole_price() -> None:
    """Above 272,000 input tokens all of gpt-5.5's rates change, not for priority; processing in the US costs 1.1."""
    gpt, claude = find_model("openai", "gpt-5.5"), find_model("anthropic", "claude-sonnet-4-6")
    assert gpt and claude
    assert amount(gpt, "default", Tokens(input=272_000, output=1000)) == "1.39"
    assert amount(gpt, "default", Tokens(input=272_000, cache_read=1, output=1000)) == "2.765001"
    assert amount(gpt, "priority", Tokens(input=272_001)) == "3.4000125"
    assert amount(claude, "standard", Tokens(input=1000, output=10), "us") == "0.003465"
    assert amount(claude, "standard", Tokens(input=1000, output=10), "global") == "0.00315"


def test_processing_in_the_us_is_asked_for_and_reported(ask: Any) -> None:
    """Where a model is sold so; elsewhere it stays global."""
    models = ("claude-sonnet-4-6", "claude-haiku-4-5")
    served = [ask(vendor="anthropic", model=name, inference_geo="us").json["usage"] for name in models]
    assert [usage["inference_geo"] for usage in served] == ["us", "global"]


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_every_model_sold_is_served(ask: Any, simulator: Simulator, vendor: str) -> None:
    """By alias and by snapshot; the answer names the snapshot."""
    for alias in model_names(vendor):
        model = find_model(vendor, alias)
        assert model and find_model(vendor, model.snapshot) is model
        assert ask(vendor=vendor, model=alias).json["model"] == model.snapshot
    by_token = [line for line in simulator.books.billed if line.model_served not in ("dall-e-3", "whisper-1", "tts-1")]
    assert all(Decimal(line.amount) > 0 for line in by_token)
