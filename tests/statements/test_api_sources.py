"""What vendors' APIs give, in their own shapes, read into disjoint classes and exact amounts."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_files import read, sample, short, total

from tollbook.core.faults import BadInput
from tollbook.statements.sources import IMPORTERS, guess

SAMPLES = (
    ("openai_costs", "openai_costs/page.json"),
    ("openai_usage", "openai_usage/page.json"),
    *(
        (kind, f"samples/{kind}.json")
        for kind in (
            "anthropic_usage",
            "anthropic_costs",
            "openrouter_generations",
            "openrouter_activity",
            "litellm",
        )
    ),
)


def test_anthropics_usage_is_disjoint_as_it_stands() -> None:
    """Each class of each result is a line; a key or workspace of null stays null."""
    lines, reading = read("anthropic_usage", sample("samples/anthropic_usage.json"))
    assert short(lines)[:6] == [
        ("input", "1500", None),
        ("input_cache_read", "200", None),
        ("output", "500", None),
        ("input_cache_write_5m", "500", None),
        ("input_cache_write_1h", "1000", None),
        ("web_searches", "10", None),
    ]
    assert {line.processing for line in lines[:6]} == {"batch"} and lines[6].vendor_key is None
    assert len(lines) == 12 and reading.problems == []


def test_anthropics_costs_are_cents() -> None:
    """`123.78912` is a dollar and some: read as dollars it would be a hundred times too much."""
    lines, reading = read("anthropic_costs", sample("samples/anthropic_costs.json"))
    assert short(lines) == [
        ("input", None, "1.2378912"),
        ("web_searches", None, "0.5"),
        ("session_usage", None, "-0.105"),
    ]
    assert total(lines) == reading.totals["USD"] == Decimal("1.6328912") and reading.unknown == 1
    page = json.loads(sample("samples/anthropic_costs.json"))
    page["data"][0]["results"][0]["currency"] = "JPY"
    lines, reading = read("anthropic_costs", json.dumps(page).encode())
    assert lines[0].amount is None and reading.problem_count == 1


def test_openrouters_calls_have_an_id_and_native_tokens() -> None:
    """What is billed are the model's own tokens; cached and reasoning ones are taken out of the whole."""
    lines, reading = read("openrouter_generations", sample("samples/openrouter_generations.json"))
    assert short(lines) == [
        ("total_cost", None, "0.0015"),
        ("input", "60", None),
        ("input_cache_read", "40", None),
        ("output", "20", None),
        ("output_reasoning", "5", None),
    ]
    assert {line.vendor_request_id for line in lines} == {"gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG"}
    assert IMPORTERS["openrouter_generations"].may_hold_content and not reading.problem_count


def test_openrouters_days_leave_out_what_was_paid_elsewhere() -> None:
    """Inference with one's own key is told, and is no part of the amounts."""
    lines, reading = read("openrouter_activity", sample("samples/openrouter_activity.json"))
    assert short(lines) == [
        ("usage", None, "0.015"),
        ("requests", "5", None),
        ("prompt_tokens", "50", None),
        ("output", "100", None),
        ("output_reasoning", "25", None),
    ]
    assert [problem.severity for problem in reading.problems] == ["note"]
    assert reading.ends is not None and reading.begins is not None and reading.ends - reading.begins == 86_400_000_000


def test_litellms_log_is_read_without_what_names_people() -> None:
    """No user, address or body is in a line, and the file is not kept; an instant without a zone is a problem."""
    lines, reading = read("litellm", sample("samples/litellm.json"))
    assert short(lines)[:4] == [
        ("spend", None, "0.00124"),
        ("input", "70", None),
        ("input_cache_read", "30", None),
        ("completion_tokens", "20", None),
    ]
    assert not {"kim", "someone", "10.0.0.1"} & {word for line in lines for word in map(str, _values(line))}
    assert IMPORTERS["litellm"].may_hold_content
    assert [problem.where for problem in reading.problems] == ["[1].startTime", "[1]"]
    assert reading.totals == {"USD": Decimal("0.50124")}


def _values(line: object) -> list[object]:
    return [getattr(line, name) for name in line.__struct_fields__]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "path"), SAMPLES)
def test_a_file_is_recognised_as_what_it_is(kind: str, path: str) -> None:
    """By its first bytes, and as one kind only."""
    assert guess(sample(path)[:4096]).kind == kind


@pytest.mark.parametrize(("kind", "path"), SAMPLES)
@settings(deadline=None)
@given(data=st.data())
def test_a_broken_file_is_read_or_refused(kind: str, path: str, data: st.DataObject) -> None:
    """Cut, and with bytes changed: lines, problems or one BadInput, and nothing else."""
    source = bytearray(sample(path))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(source) - 1))
        source[place] = data.draw(st.sampled_from(b'0{}[]",:-e9n\x00\xff'))
    try:
        read(kind, bytes(source[: data.draw(st.integers(0, len(source)))]))
    except BadInput:
        return
