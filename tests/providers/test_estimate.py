"""Estimates: at least what was delivered, never above their bound, and they say how they were made."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_wire import ANTHROPIC, OPENAI, body_of, call_of, read_pieces

from tollbook.providers.contract import Adapter, Estimate, Reading
from tollbook.providers.text import measure_text

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "When did the road open?"}]}


def estimate(adapter: Adapter, request: dict[str, Any], reading: Reading) -> Estimate:
    body = json.dumps(request, ensure_ascii=False).encode()
    return adapter.estimate(call_of(adapter, body), reading)


def test_input_is_estimated_from_text_and_bound_by_bytes() -> None:
    """Four bytes of text are a token; labels and braces are none; no tokenizer gives more tokens than bytes."""
    made = estimate(OPENAI, PLAIN, Reading())
    assert made.usage["input"] == -(-(len("user") + len("When did the road open?")) // 4)
    assert made.bound["input"] == len(json.dumps(PLAIN["messages"]))
    assert made.method == "bytes/4 v1 (-55%..+105%), bound text seen"


def test_an_aborted_stream_is_worth_what_was_delivered() -> None:
    """806 pieces of one or two letters are at least 806 tokens, not one (B2, X1)."""
    chunk = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
    reading, _ = read_pieces(OPENAI, [chunk % (b"a ", b"b")[index % 2] for index in range(806)])
    made = estimate(OPENAI, PLAIN | {"max_tokens": 4000}, reading)
    assert made.usage["output"] == 806
    assert made.bound["output"] == 4000
    assert made.method == "bytes/4 v1 (-55%..+105%), bound output limit"


@pytest.mark.parametrize("name", ["openai/stream_cut_clean.sse", "anthropic/stream_cut_in_text.sse"])
def test_recorded_cut_streams_are_estimated(name: str) -> None:
    """Ten words of a cut stream are ten tokens; what Anthropic reported of the input stands."""
    adapter = OPENAI if name.startswith("openai") else ANTHROPIC
    reading, _ = read_pieces(adapter, [body_of(name)])
    made = estimate(adapter, PLAIN | {"max_tokens": 500}, reading)
    assert made.usage == {"input": 472 if adapter is ANTHROPIC else 7, "output": 10}


def test_reported_parts_are_a_floor() -> None:
    """A cumulative usage that broke off is never estimated below what it had come to."""
    reading, _ = read_pieces(OPENAI, [body_of("openai/stream_cumulative_cut.sse")])
    reading.output_text = 4
    reading.output_deltas = 1
    made = estimate(OPENAI, PLAIN, reading)
    assert made.usage == {"input": 231, "output": 10}
    assert made.bound["output"] >= 10


def test_the_request_caps_the_estimate() -> None:
    """However much text came, no more than the request allows is estimated, answers multiplied (X2)."""
    reading = Reading(output_text=4_000_000, output_deltas=1_165_619)
    assert estimate(OPENAI, PLAIN | {"max_completion_tokens": 100, "max_tokens": 200}, reading).usage["output"] == 100
    assert estimate(OPENAI, PLAIN | {"max_completion_tokens": 100, "n": 3}, reading).usage["output"] == 300
    assert estimate(ANTHROPIC, PLAIN | {"max_tokens": 128_000}, reading).usage["output"] == 128_000


@pytest.mark.parametrize("limit", [0, -5, 1.5, "100", None, True, [], 10**400])
def test_a_limit_that_is_none_is_ignored(limit: object) -> None:
    """A limit the vendor would refuse bounds nothing."""
    made = estimate(OPENAI, PLAIN | {"max_tokens": limit}, Reading(output_text=40, output_deltas=2))
    assert made.usage["output"] == 10
    assert made.bound["output"] == 40


READINGS = st.builds(
    Reading,
    output_text=st.integers(0, 10_000),
    output_deltas=st.integers(0, 10_000),
    partial=st.one_of(
        st.none(),
        st.dictionaries(
            st.sampled_from(["input", "input_cache_read", "output", "output_reasoning", "web_searches"]),
            st.integers(0, 3000),
        ),
    ),
)


@given(READINGS, st.integers(1, 5000) | st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_no_class_exceeds_its_bound(reading: Reading, limit: int | None, text: str) -> None:
    """For any reading and request: within the bound, at least what was reported, nothing below zero."""
    request: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": limit}
    for adapter in (OPENAI, ANTHROPIC):
        made = estimate(adapter, request, reading)
        assert set(made.usage) == set(made.bound) >= {"input", "output"}
        assert all(0 <= quantity <= made.bound[name] for name, quantity in made.usage.items())
        assert all(
            made.usage[name] >= quantity for name, quantity in (reading.partial or {}).items() if name != "input"
        )


MEDIA = [
    [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}],
    [{"type": "input_audio", "input_audio": {"data": "A" * 5000, "format": "wav"}}],
    [{"type": "file", "file": {"file_id": "file-1"}}],
    [{"type": "image", "source": {"type": "base64", "data": "A" * 5000}}],
    [{"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}],
    [
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "image", "source": {"type": "url", "url": "u"}}],
        }
    ],
]


@pytest.mark.parametrize("content", MEDIA)
def test_what_is_not_text_has_no_bound(content: list[dict[str, Any]]) -> None:
    """Images, audio and files are not counted as text, and take the bound of the input away."""
    for adapter in (OPENAI, ANTHROPIC):
        made = estimate(adapter, {"model": "m", "messages": [{"role": "user", "content": content}]}, Reading())
        assert made.usage["input"] < 10
        assert "input" not in made.bound


@pytest.mark.parametrize(
    ("adapter", "more"),
    [
        (OPENAI, {"web_search_options": {}}),
        (ANTHROPIC, {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}),
        (ANTHROPIC, {"mcp_servers": []}),
    ],
)
def test_what_the_vendor_adds_itself_has_no_bound(adapter: Adapter, more: dict[str, Any]) -> None:
    """Search results become input that no request shows."""
    assert "input" not in estimate(adapter, PLAIN | more, Reading()).bound


def test_tools_are_input() -> None:
    """Schemas count whole, names that look like media included, and the bound leaves room for the vendor's words."""
    tools = [{"name": "save", "input_schema": {"type": "object", "properties": {"file": {"type": "string"}}}}]
    with_tools, without = (estimate(ANTHROPIC, PLAIN | more, Reading()) for more in ({"tools": tools}, {}))
    size = len(json.dumps(tools))
    assert with_tools.usage["input"] - without.usage["input"] in (size // 4, size // 4 + 1)
    assert with_tools.bound["input"] == without.bound["input"] + size + 1024


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("\u00fc\U0001f6e3", 6),
        ({"type": "text", "text": "abc", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, 3),
        ({"type": "tool_use", "id": "t1", "name": "f", "input": {"type": "file", "path": "x"}}, 32),
        ({"type": "document", "source": {"type": "text", "media_type": "", "data": "abcd"}}, 4),
        ([{"role": "user", "content": None}, 5, 1.5, True], 4),
        (None, 0),
    ],
)
def test_text_is_measured_in_bytes(value: object, size: int) -> None:
    """Text is counted wherever a model would read it, in bytes of UTF-8; labels are not."""
    assert measure_text(value) == (size, False)


def test_deep_messages_are_measured_without_recursion() -> None:
    """Deep nesting is no stack overflow."""
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    assert measure_text(deep) == (1, False)


def test_hidden_reasoning_makes_a_lower_bound() -> None:
    """Where a model may have reasoned unseen, the method says that more may be billed."""
    told = "lower bound: reasoning is not seen"
    assert told in estimate(OPENAI, PLAIN, Reading(model_served="gpt-5.5-2026-04-01")).method
    assert told in estimate(OPENAI, PLAIN, Reading(model_served="o3-mini")).method
    assert told not in estimate(OPENAI, PLAIN, Reading(model_served="gpt-4o-mini-2024-07-18")).method
    assert told in estimate(ANTHROPIC, PLAIN | {"thinking": {"type": "adaptive"}}, Reading()).method
    assert told not in estimate(ANTHROPIC, PLAIN | {"thinking": {"type": "disabled"}}, Reading()).method
    assert told not in estimate(ANTHROPIC, PLAIN, Reading()).method
