"""Spans as each emitter makes them, read into our disjoint classes."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook.dialects.counts import count_of, split
from tollbook.dialects.read import read
from tollbook.dialects.reading import DISJOINT, NESTED, UNKNOWN
from tollbook.dialects.recognise import restates
from tollbook.dialects.span import Scope, Span


def span(attributes: dict[str, Any], scope: str = "", **facts: Any) -> Span:
    return Span(trace_id="a" * 32, span_id="b" * 16, attributes=attributes, scope=Scope(scope), **facts)


CASES: dict[str, tuple[str, dict[str, Any], dict[str, int], str]] = {
    "otel-1.26": (
        "",
        {"gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 5},
        {"input": 10, "output": 5},
        "otel-1.26",
    ),
    "otel-1.37 with cache and reasoning": (
        "opentelemetry.instrumentation.openai_v2",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.reasoning.output_tokens": 20,
        },
        {"input": 60, "input_cache_read": 40, "output": 30, "output_reasoning": 20},
        "otel-1.37",
    ),
    "genai-dev writes": (
        "opentelemetry.util.genai",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.usage.input_tokens": 300,
            "gen_ai.usage.output_tokens": 1,
            "gen_ai.usage.cache_write.input_tokens": 100,
        },
        {"input": 200, "input_cache_write": 100, "output": 1},
        "genai-dev",
    ),
    "openllmetry": (
        "opentelemetry.instrumentation.anthropic",
        {
            "llm.request.type": "chat",
            "gen_ai.system": "Anthropic",
            "gen_ai.usage.prompt_tokens": "30",
            "gen_ai.usage.completion_tokens": 4,
            "gen_ai.usage.cache_read_input_tokens": 10,
            "llm.usage.total_tokens": 34,
        },
        {"input": 20, "input_cache_read": 10, "output": 4},
        "openllmetry",
    ),
    "openinference": (
        "openinference.instrumentation.openai",
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "openai",
            "llm.token_count.prompt": 35720,
            "llm.token_count.completion": 7.0,
            "llm.token_count.prompt_details.cache_read": 17817,
        },
        {"input": 17903, "input_cache_read": 17817, "output": 7},
        "openinference",
    ),
    "envoy": (
        "envoyproxy/ai-gateway",
        {
            "openinference.span.kind": "LLM",
            "llm.token_count.prompt": 10,
            "llm.token_count.completion": 2,
            "llm.token_count.prompt_details.cache_creation": 4,
        },
        {"input": 6, "input_cache_write": 4, "output": 2},
        "envoy-ai-gateway",
    ),
    "vercel": (
        "ai",
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.provider": "openai.chat",
            "ai.model.id": "gpt-4o-mini",
            "ai.usage.inputTokens": 12,
            "ai.usage.outputTokens": 3,
            "ai.usage.cachedInputTokens": 2,
        },
        {"input": 10, "input_cache_read": 2, "output": 3},
        "vercel",
    ),
    "langfuse buckets stand beside each other": (
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": '{"input":5,"input_cached_tokens":7,"output":2,"total":14}',
        },
        {"input": 5, "input_cache_read": 7, "output": 2},
        "langfuse",
    ),
    "litellm": (
        "litellm",
        {
            "gen_ai.system": "bedrock",
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 4,
        },
        {"input": 3, "output": 4},
        "litellm",
    ),
    "cloudflare": (
        "",
        {
            "gen_ai.model.provider": "openai",
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 1,
            "gen_ai.usage.output_tokens": 2,
        },
        {"input": 1, "output": 2},
        "cloudflare",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dialect_is_read_into_disjoint_classes(name: str) -> None:
    """Each emitter's counts come out in our classes, under its name."""
    scope, attributes, usage, dialect = CASES[name]
    found = read(span(attributes, scope))
    assert found is not None
    assert (found.dialect, found.usage) == (dialect, usage)


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 9},
        {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 9},
        {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 9},
        {"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 9},
        {"gen_ai.aggregated_usage.input_tokens": 9},
        {"langfuse.observation.type": "span", "gen_ai.usage.input_tokens": 9},
    ],
)
def test_a_sum_over_others_is_no_inference(attributes: dict[str, Any]) -> None:
    """Wrappers repeat the usage of what they wrap: they are recognised and never priced."""
    assert read(span(attributes)) is None
    assert restates(span(attributes))


def test_the_same_usage_told_in_both_conventions_comes_out_the_same() -> None:
    """17,903 fresh and 17,817 cached tokens: as a total with a part, and as two parts."""
    nested = split({"input": 35720, "cache_read": 17817, "output": 1}, NESTED)
    disjoint = split({"input": 17903, "cache_read": 17817, "output": 1}, DISJOINT)
    assert nested.usage == disjoint.usage == {"input": 17903, "input_cache_read": 17817, "output": 1}


def test_an_unknown_convention_is_never_guessed_silently() -> None:
    """What could be read both ways is flagged; what can be read one way only is read so."""
    assert "ambiguous_usage" in split({"input": 10, "cache_read": 4, "output": 1}, UNKNOWN).flags
    beside = split({"input": 3, "cache_read": 4, "output": 1}, UNKNOWN)
    assert beside.usage == {"input": 3, "input_cache_read": 4, "output": 1}
    assert "cached_beside_input" in beside.flags


def test_counts_that_contradict_the_total_are_flagged() -> None:
    """130,213 tokens shown as 260,421 do not pass unseen."""
    assert "inconsistent_usage" in split({"input": 130208, "output": 130213, "total": 130213}, NESTED).flags


@pytest.mark.parametrize("value", [-1, 1.5, "x", "", None, True, [1], {"a": 1}, float("nan"), 10**40, "1e400"])
def test_what_is_no_count_is_none(value: Any) -> None:
    """A bad count is no count, never zero."""
    assert count_of(value) is None


def test_a_bad_count_is_flagged_and_nothing_is_made_up() -> None:
    """A span whose only counts are nonsense has no usage, and says why."""
    found = read(span({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": "many"}))
    assert found is not None
    assert found.usage is None
    assert found.grade == "bare"
    assert "bad_count" in found.flags


def test_dropped_attributes_lower_the_grade() -> None:
    """The SDK drops the oldest attributes first, the model and the tenant among them."""
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.response.id": "chatcmpl-1"}
    attributes |= {"gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 1}  # type: ignore[dict-item]
    whole, less = read(span(attributes)), read(span(attributes, dropped=75))
    assert whole is not None and whole.grade == "complete"
    assert less is not None and less.grade == "partial"


def test_costs_are_kept_as_text_beside() -> None:
    """An emitter's own figure is evidence: its digits, where it stood, its currency."""
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.usage.cost.amount": 0.1, "gen_ai.usage.cost.currency": "EUR"}
    found = read(span(attributes))
    assert found is not None
    assert [(cost.attribute, cost.amount, cost.currency) for cost in found.costs] == [
        ("gen_ai.usage.cost.amount", "0.1", "EUR")
    ]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
NAMES = [*sorted({name for _, attributes, _, _ in CASES.values() for name in attributes}), "x", "operation.cost"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8))
def test_any_attributes_are_read_or_left(attributes: dict[str, Any]) -> None:
    """Whatever types attributes have, reading neither fails nor gives a usage below zero."""
    found = read(span(attributes))
    if found is not None and found.usage is not None:
        assert all(count >= 0 for count in found.usage.values())
