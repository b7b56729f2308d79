"""Instants: integers inside, RFC 3339 in UTC outside, and nothing without a zone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import format_instant, parse_instant


@pytest.mark.parametrize(
    "text",
    ["2026-11-23T16:40:00", "2026-11-23 16:40:00.5", "2026-11-23", "16:40:00Z", "20261123T164000Z", "", "now",
     "2026-13-01T00:00:00Z", "2026-11-23T16:40:00+25:00", "2026-11-23T16:40:00 UTC"],
)  # fmt: skip
def test_an_instant_without_a_zone_is_refused(text: str) -> None:
    """A naive time is a guess, and a guess is an error that says what is expected (X14)."""
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T18:30:00-05:30", 0),
        ("1970-01-01t00:00:00.000001z", 1),
        ("1970-01-01 00:00:01.5Z", 1_500_000),
    ],
)
def test_an_instant_is_the_same_in_every_zone(text: str, instant: int) -> None:
    """Offsets are taken into account, whatever form they come in."""
    assert parse_instant(text) == instant


@given(st.integers(0, 4_102_444_800_000_000))
def test_instants_go_out_and_come_back(instant: int) -> None:
    """Outside an instant is UTC to the microsecond, and reading it gives the same number."""
    text = format_instant(instant)
    assert text.endswith("Z")
    assert parse_instant(text) == instant
