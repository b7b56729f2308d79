"""OpenAI's cost report is read exactly, and what cannot be read is said."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_files import read, sample

from tollbook.core.faults import BadInput
from tollbook.statements.document import exact_difference, exact_sum
from tollbook.statements.openai_costs import ItemParts, item_parts

KIND = "openai_costs"
SAMPLE = sample("openai_costs/page.json")


def test_amounts_are_exact_and_nothing_is_dropped() -> None:
    """Each result is one line, an unknown item too; the sum is that of the text, and all digits are kept."""
    lines, reading = read(KIND, SAMPLE)
    assert [line.usage_class for line in lines if line.known] == ["input", "input_cache_read", "web_searches", "output"]
    assert reading.unknown == 1 and lines[4].item == '=HYPERLINK("x"), long context'
    assert reading.totals == {"USD": Decimal("3.85")} and reading.rounding == {"USD": Decimal("1e-22")}
    assert [line.stated_amount for line in lines if line.stated_amount] == ["3.0000000000000000000001"]
    assert (reading.begins, reading.ends) == (1_790_035_200_000_000, 1_790_208_000_000_000)
    assert [problem.severity for problem in reading.problems] == ["note"]


def test_all_problems_are_told_at_once() -> None:
    """A page with several faults names each with its place, and keeps the lines that it can."""
    page = json.loads(SAMPLE)
    page["data"][0]["results"][0]["amount"] = {"value": "1,50", "currency": "usd"}
    page["data"][1]["end_time"] = page["data"][1]["start_time"]
    page["has_more"] = True
    lines, reading = read(KIND, json.dumps(page).encode())
    assert [problem.where for problem in reading.problems] == ["data[0].results[0].amount", "data[1]", "has_more"]
    assert lines[0].amount is None and reading.problem_count == 3


HOSTILE = [
    b"",
    b"null",
    b"[1]",
    SAMPLE[:-9],
    b"\xff\xfe" + SAMPLE,
    SAMPLE.decode().encode("utf-16"),
    SAMPLE.replace(b"0.10", b"NaN"),
    SAMPLE.replace(b"0.10", b"1e308"),
    SAMPLE.replace(b"0.10", b"1e" + b"9" * 30),
    SAMPLE.replace(b"0.10", b"1" * 5000),
    SAMPLE.replace(b'"object": "page",', b'"object": "page", "object": "page",'),
    b"[" * 100_000,
    b'{"a":' * 100_000,
]


@pytest.mark.parametrize("kind", [KIND, "openai_usage"])
@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: repr(source[:12]))
def test_hostile_files_are_refused(source: bytes, kind: str) -> None:
    """A file that is no such page, or that could be read in two ways, is one clear fault."""
    with pytest.raises(BadInput):
        read(kind, source)


def test_a_byte_order_mark_changes_nothing() -> None:
    """The same export saved with a byte order mark reads the same."""
    assert read(KIND, b"\xef\xbb\xbf" + SAMPLE)[0] == read(KIND, SAMPLE)[0]


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        ("gpt-5.5-2026-04-23, cache writes", ("gpt-5.5-2026-04-23", "input_cache_write", None, None)),
        ("priority | gpt-5.5, output", ("gpt-5.5", "output", "priority", None)),
        ("gpt-5.5, input, long context", ("gpt-5.5", "input", None, "long context")),
        ("gpt-realtime-2.1, audio input", ("gpt-realtime-2.1", "input.audio", None, None)),
        ("gpt-audio-mini-2025-12-15 audio, input", ("gpt-audio-mini-2025-12-15", "input.audio", None, None)),
        ("gpt-image-2.5-x text, cached input", ("gpt-image-2.5-x", "input_cache_read", None, None)),
        ("Vector storage", (None, None, None, None)),
        ("gpt, a, input", (None, None, None, None)),
    ],
)
def test_the_words_of_an_item(item: str, parts: tuple[str | None, ...]) -> None:
    """The forms that real exports have; any other states nothing."""
    assert item_parts(item) == ItemParts(*parts)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    """No bytes lead to another fault than BadInput."""
    for kind in (KIND, "openai_usage"):
        try:
            read(kind, source)
        except BadInput:
            continue


@settings(deadline=None)
@given(st.decimals(-(10**20), 10**20, places=18), st.decimals(-(10**20), 10**20, places=9))
def test_sums_do_not_round(one: Decimal, other: Decimal) -> None:
    """A sum has all digits of its parts, also beyond the 28 of the decimal context."""
    assert exact_difference(exact_sum(one, other), other) == one


@settings(deadline=None)
@given(st.lists(st.decimals(-(10**9), 10**9, places=20), min_size=1, max_size=20))
def test_a_document_and_its_lines_have_the_same_sum(amounts: list[Decimal]) -> None:
    """Whatever the digits: the lines' rounded amounts and what was rounded away come to the vendor's exact sum."""
    page = json.loads(SAMPLE)
    text = ",".join(f'{{"amount":{{"value":{amount:f},"currency":"usd"}}}}' for amount in amounts)
    page["data"] = [page["data"][0] | {"results": ["HERE"]}]
    lines, reading = read(KIND, json.dumps(page).replace('"HERE"', text).encode())
    assert len(lines) == len(amounts)
    exact = Decimal(0)
    for amount in amounts:
        exact = exact_sum(exact, amount)
    assert exact_sum(reading.totals["USD"], reading.rounding.get("USD", Decimal(0))) == exact
