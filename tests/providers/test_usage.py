"""Every token in exactly one class: what the two conventions come to."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_wire import ANTHROPIC, OPENAI, read_pieces, usage_of

from tollbook.core.usage import CLASSES, tokens_input, tokens_output
from tollbook.providers import anthropic_usage, openai_usage

COUNTS = st.integers(0, 5000)
MAYBE = st.one_of(st.none(), COUNTS)


def as_raw(report: dict[str, Any]) -> bytes:
    return json.dumps(report).encode()


@st.composite
def openai_reports(draw: st.DrawFn) -> dict[str, Any]:
    """Usage objects as OpenAI's format allows them, details absent, null, zero, fitting or not."""
    report: dict[str, Any] = {"prompt_tokens": draw(COUNTS), "completion_tokens": draw(COUNTS)}
    report["total_tokens"] = (
        report["prompt_tokens"] + report["completion_tokens"] + draw(st.sampled_from([0, 0, 7, -1]))
    )
    if draw(st.booleans()):
        names = ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens")
        report["prompt_tokens_details"] = {name: draw(MAYBE) for name in names}
    if draw(st.booleans()):
        report["completion_tokens_details"] = {name: draw(MAYBE) for name in ("reasoning_tokens", "audio_tokens")}
    return report


@given(openai_reports())
def test_openai_tokens_are_counted_once(report: dict[str, Any]) -> None:
    """Input classes add up to the prompt, all classes to the total; where they cannot, the usage says so."""
    usage, whole, flags = openai_usage.decompose(as_raw(report))
    assert whole and set(usage) <= CLASSES and min(usage.values()) >= 0
    assert tokens_input(usage) == report["prompt_tokens"]
    headlines = report["prompt_tokens"] + report["completion_tokens"]
    total = tokens_input(usage) + tokens_output(usage)
    assert total == max(headlines, report["total_tokens"])
    assert total == report["total_tokens"] or "inconsistent_usage" in flags
    assert (total == headlines) or {"hidden_tokens", "reasoning_beside_output"} & set(flags)


@st.composite
def anthropic_reports(draw: st.DrawFn) -> dict[str, Any]:
    """Usage objects as Anthropic's format allows them."""
    report: dict[str, Any] = {"input_tokens": draw(COUNTS), "output_tokens": draw(COUNTS)}
    if draw(st.booleans()):
        report["cache_read_input_tokens"] = draw(MAYBE)
    if draw(st.booleans()):
        report["cache_creation_input_tokens"] = draw(MAYBE)
    if draw(st.booleans()):
        names = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
        report["cache_creation"] = {name: draw(MAYBE) for name in names}
    if draw(st.booleans()):
        report["output_tokens_details"] = {"thinking_tokens": draw(MAYBE)}
    return report


@given(anthropic_reports())
def test_anthropic_tokens_are_counted_once(report: dict[str, Any]) -> None:
    """Classes add up to the sum of the disjoint counts, whether or not a breakdown fits."""
    usage, whole, flags = anthropic_usage.decompose(as_raw(report))
    assert whole and set(usage) <= CLASSES and min(usage.values()) >= 0
    written = report.get("cache_creation_input_tokens")
    if written is None:
        written = sum(quantity or 0 for quantity in (report.get("cache_creation") or {}).values())
    read = report.get("cache_read_input_tokens") or 0
    assert tokens_input(usage) == report["input_tokens"] + read + written
    assert tokens_output(usage) == report["output_tokens"]
    assert ("input_cache_write" in usage) == ("assumed_cache_ttl" in flags)


@pytest.mark.parametrize("wrong", [-1, 1.5, "12", True, [], {}, 2**60])
def test_what_is_no_count_is_flagged_and_never_a_number(wrong: object) -> None:
    """A fraction, text, a negative or an absurd number is left out, so that the headline is not settled by it."""
    usage, whole, flags = openai_usage.decompose(as_raw({"prompt_tokens": wrong, "completion_tokens": 4}))
    assert (usage, whole, flags) == ({"output": 4}, False, ["inconsistent_usage"])
    usage, whole, flags = anthropic_usage.decompose(as_raw({"input_tokens": wrong, "output_tokens": 4}))
    assert (usage, whole, flags) == ({"output": 4}, False, ["inconsistent_usage"])


def test_zero_and_absent_differ() -> None:
    """A reported zero of a headline stays; an absent one is no zero."""
    assert openai_usage.decompose(b'{"prompt_tokens":0,"completion_tokens":0}').usage == {"input": 0, "output": 0}
    assert openai_usage.decompose(b'{"completion_tokens":3}').usage == {"output": 3}
    assert anthropic_usage.decompose(b'{"output_tokens":0}').usage == {"output": 0}
    assert anthropic_usage.decompose(b"{}").usage == {}


def test_an_unknown_time_to_live_is_not_lost() -> None:
    """A cache write of a lifetime we do not know is still counted, as one whose lifetime was not reported."""
    raw = as_raw(
        {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_creation_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_12h_input_tokens": 6},
        }
    )
    usage, _, flags = anthropic_usage.decompose(raw)
    assert usage["input_cache_write_5m"] == 4 and usage["input_cache_write"] == 6
    assert flags == ["assumed_cache_ttl"]


EVENTS = [
    {
        "type": "message_start",
        "message": {"id": "a", "model": "m", "usage": {"input_tokens": 4522, "output_tokens": 1}},
    },
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20, "input_tokens": 0}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 89, "cache_read_input_tokens": 4511}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("order", list(permutations(range(len(EVENTS)))))
def test_the_order_of_usage_events_does_not_matter(order: tuple[int, ...]) -> None:
    """Start and deltas merge by the maximum of each count, in any order, never by sum (E1)."""
    events = [b"data: " + as_raw(EVENTS[index]) + b"\n\n" for index in order]
    reading, _ = read_pieces(ANTHROPIC, events)
    assert reading.usage == {"input": 4522, "input_cache_read": 4511, "output": 89}
    assert reading.basis == "provider_reported"


@pytest.mark.parametrize("nothing", [None, "", {}, []])
def test_nothing_never_replaces_something(nothing: object) -> None:
    """A later report that leaves a count, a split or a tier empty does not undo what an earlier one said (E1)."""
    split = {"cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 7}}
    said = {"input_tokens": 4522, "service_tier": "priority", **split}
    later = dict.fromkeys(said, nothing) | {"output_tokens": 89}
    assert anthropic_usage.merge(said, later) == said | {"output_tokens": 89}


def test_repeated_events_change_nothing() -> None:
    """A vendor that repeats its cumulative usage is metered as one that says it once (F5)."""
    events = [b"data: " + as_raw(event) + b"\n\n" for event in EVENTS]
    once, _ = read_pieces(ANTHROPIC, events)
    often, _ = read_pieces(ANTHROPIC, [event for event in events for _ in range(10)])
    assert often == once


REPORT = st.dictionaries(st.sampled_from("abc"), COUNTS | st.dictionaries(st.sampled_from("xy"), COUNTS), max_size=3)
COUNTED = st.fixed_dictionaries({}, optional={"a": COUNTS, "b": COUNTS, "c": st.dictionaries(st.just("x"), COUNTS)})


@given(COUNTED, COUNTED, COUNTED)
def test_merging_is_order_free(one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]) -> None:
    """Merging counts is commutative, associative and idempotent."""
    merge = anthropic_usage.merge
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == one


@given(REPORT, REPORT)
def test_merging_leaves_its_inputs_alone(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Reports are values: merging changes neither."""
    before = json.dumps([one, two])
    anthropic_usage.merge(one, two)
    assert json.dumps([one, two]) == before


def test_a_usage_object_that_is_too_long_is_priced_but_not_kept() -> None:
    """More than 8 KiB of usage object is not kept, and said so."""
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6, "x": "y" * 9000}
    reading = OPENAI.read(200, [], as_raw({"model": "m", "usage": usage}))
    assert (reading.raw, reading.flags, reading.usage) == (None, ["raw_too_long"], {"input": 5, "output": 1})


def test_a_raw_usage_is_always_one_line_of_utf8() -> None:
    """The raw object goes into a line of the journal: no line ends, no stray bytes, whatever the vendor sent."""
    body = b'{"usage":{"prompt_tokens":5,\r\n"completion_tokens":1,"note":"\xff\xc3\xbc"}}'
    raw = OPENAI.read(200, [], body).raw
    assert raw is not None and b"\n" not in raw and b"\r" not in raw
    assert json.loads(raw.decode())["completion_tokens"] == 1


def test_the_answer_decides_the_tier() -> None:
    """The tier is what the answer says, also where a stream starts in one tier and ends in another (L33)."""
    name = b'data: {"id":"c","model":"m","service_tier":"%s","choices":[%s]%s}\n\n'
    finish = b'{"index":0,"delta":{},"finish_reason":"stop"}'
    events = [name % (b"priority", b"", b""), name % (b"default", finish, b"")]
    assert read_pieces(OPENAI, events)[0].tier == "default"


@pytest.mark.parametrize("absurd", ["x" * 300, "", 7, None, ["m"]])
def test_names_that_are_none_are_unknown(absurd: object) -> None:
    """A model or id that is no name is unknown, not text of a megabyte in the journal."""
    reading = OPENAI.read(200, [], as_raw({"model": absurd, "id": absurd, "service_tier": absurd}))
    assert (reading.model_served, reading.response_id, reading.tier) == (None, None, None)


def test_prediction_tokens_are_inside_the_completion() -> None:
    """Rejected prediction tokens are billed inside the completion and never counted again."""
    details = {"accepted_prediction_tokens": 3, "rejected_prediction_tokens": 9, "reasoning_tokens": 0}
    report = {"prompt_tokens": 5, "completion_tokens": 20, "total_tokens": 25, "completion_tokens_details": details}
    assert usage_of(OPENAI.read(200, [], as_raw({"usage": report}))) == {"input": 5, "output": 20}
