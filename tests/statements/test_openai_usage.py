"""OpenAI's usage report: inclusive counts taken apart, every number kept."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from statement_files import read, sample, short

KIND = "openai_usage"
SAMPLE = sample("openai_usage/page.json")


def test_the_input_is_taken_apart() -> None:
    """Cached and written tokens are no longer inside the input; an unknown number stays under the vendor's name."""
    lines, reading = read(KIND, SAMPLE)
    assert [(name, quantity) for name, quantity, _ in short(lines)][:8] == [
        ("input", "550"),
        ("input_cache_read", "400"),
        ("input_cache_write_30m", "20"),
        ("input_cache_write_12h", "10"),
        ("input_cache_write", "20"),
        ("output", "70"),
        ("output.audio", "20"),
        ("requests", "7"),
    ]
    assert [(line.usage_class, line.quantity) for line in lines if not line.known] == [("new_vendor_counter", "3")]
    assert lines[8].processing == "batch" and lines[8].vendor_key is None
    assert [line.usage_class for line in lines[-2:]] == ["web_searches", "requests"]
    assert reading.problems == [] and reading.totals == {}


def test_parts_that_do_not_come_to_the_whole_are_told() -> None:
    """The vendor's own identity is checked on every result."""
    page = json.loads(SAMPLE)
    page["data"][0]["results"][0]["input_uncached_tokens"] = 551
    _, reading = read(KIND, json.dumps(page).encode())
    assert [problem.what for problem in reading.problems] == ["input_tokens is 1000, its parts come to 1001"]


def test_a_count_that_is_none_is_told() -> None:
    """A fraction or a number below zero is no count: it is said, and not read."""
    page = json.loads(SAMPLE)
    page["data"][0]["results"][1]["output_tokens"] = -5
    page["data"][0]["results"][1]["num_model_requests"] = 1.5
    _, reading = read(KIND, json.dumps(page).encode())
    assert reading.problem_count == 2


@settings(deadline=None)
@given(*(st.integers(0, 10**9) for _ in range(5)))
def test_every_token_is_in_one_class(plain: int, cached: int, half: int, twelve: int, other: int) -> None:
    """Disjoint classes sum to the vendor's input."""
    page = json.loads(SAMPLE)
    written = half + twelve + other
    result = {
        "object": "organization.usage.completions.result",
        "input_tokens": plain + cached + written,
        "input_cached_tokens": cached,
        "input_cache_write_tokens": written,
        "input_cache_write_30m_tokens": half,
        "input_cache_write_12h_tokens": twelve,
    }
    page["data"][0]["results"] = [result]
    lines, reading = read(KIND, json.dumps(page).encode())
    assert sum(int(line.quantity or 0) for line in lines) == plain + cached + written
    assert len({line.usage_class for line in lines}) == len(lines) and not reading.problems


def test_what_the_vendor_gave_later_is_more_final() -> None:
    """Without the instant at which it was given nothing is final; before a bucket's end it is open."""
    bucket = 1_790_035_200_000_000
    for observed, maturity in ((None, "provisional"), (bucket + 1, "open"), (bucket + 10**14, "provisional")):
        assert {line.maturity for line in read(KIND, SAMPLE, observed)[0]} == {maturity}
