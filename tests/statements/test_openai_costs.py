"""OpenAI's cost report is read exactly, and what cannot be read is said."""

import json
import pathlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.faults import BadInput
from tollbook.statements.document import amounts_by_currency, exact_sum
from tollbook.statements.openai_costs import item_parts, read_openai_costs

SAMPLE = (pathlib.Path(__file__).parent / "openai_costs" / "page.json").read_bytes()


def test_amounts_are_exact_and_nothing_is_dropped() -> None:
    """Each result is one line, an unknown item too, and the sum is that of the text, not of floats."""
    document = read_openai_costs(SAMPLE)
    assert [line.usage_class for line in document.lines] == ["input", "input_cache_read", None, "output", None]
    assert amounts_by_currency(document.lines) == {"USD": Decimal("3.8500000000000000000001")}
    assert document.problems == ()
    assert (document.begins, document.ends) == (1_790_035_200_000_000, 1_790_208_000_000_000)


def test_all_problems_are_told_at_once() -> None:
    """A page with several faults names each with its place, and keeps the lines that it can."""
    page = json.loads(SAMPLE)
    page["data"][0]["results"][0]["amount"] = {"value": "1,50", "currency": "usd"}
    page["data"][1]["end_time"] = page["data"][1]["start_time"]
    page["has_more"] = True
    document = read_openai_costs(json.dumps(page).encode())
    assert [problem.where for problem in document.problems] == ["data[0].results[0].amount", "data[1]", "has_more"]
    assert document.lines[0].amount is None


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"null",
        b"[1]",
        SAMPLE[:-9],
        b"\xff\xfe" + SAMPLE,
        SAMPLE.decode().encode("utf-16"),
        SAMPLE.replace(b"0.10", b"NaN"),
        SAMPLE.replace(b"0.10", b"1e308"),
        SAMPLE.replace(b"0.10", b"1" * 5000),
        SAMPLE.replace(b'"object": "page",', b'"object": "page", "object": "page",'),
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda source: repr(source[:12]),
)
def test_hostile_files_are_refused(source: bytes) -> None:
    """A file that is no such page, or that could be read in two ways, is one clear fault."""
    with pytest.raises(BadInput):
        read_openai_costs(source)


def test_a_byte_order_mark_changes_nothing() -> None:
    """The same export saved with a byte order mark reads the same."""
    assert read_openai_costs(b"\xef\xbb\xbf" + SAMPLE) == read_openai_costs(SAMPLE)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    """No bytes lead to another fault than BadInput."""
    try:
        read_openai_costs(source)
    except BadInput:
        return


@given(st.text(max_size=60))
def test_any_item_has_parts_or_none(item: str) -> None:
    """Words that are not known state nothing; known ones state model and class together."""
    model, usage_class, _ = item_parts(item)
    assert (model is None) == (usage_class is None)


@given(st.decimals(-(10**20), 10**20, places=18), st.decimals(-(10**20), 10**20, places=9))
def test_sums_do_not_round(one: Decimal, other: Decimal) -> None:
    """A sum has all digits of its parts, also beyond the 28 of the decimal context."""
    total = exact_sum(one, other)
    assert total.as_tuple().exponent == -18
    assert exact_sum(total, other.copy_negate()).compare(one) == 0
