"""What vendors' headers say of the rest of a key: forms that are documented, and whatever else may come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import SECOND
from tollbook.gateway.ratelimits import DEFAULT, LONGEST, rest_after_answer, rest_after_refusal

NOW = 1_795_436_400 * SECOND  # 2026-11-23T12:20:00Z


def fields(text: str) -> list[tuple[bytes, bytes]]:
    """Headers written as `name: value`, separated by semicolons."""
    return [
        (name.strip().encode(), value.strip().encode())
        for name, _, value in (x.partition(":") for x in text.split(";"))
    ]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("retry-after: 20", 20),
        ("retry-after: 1.5", 1.5),
        ("retry-after: 0", 0),
        ("retry-after-ms: 250; retry-after: 1", 0.25),
        ("retry-after: Mon, 23 Nov 2026 12:20:30 GMT", 30),
        ("retry-after: Mon, 23 Nov 2020 12:20:30 GMT", 0),
        ("retry-after: 90000", 300),
        ("retry-after: soon", 1),
        ("x-request-id: 7", 1),
        ("x-ratelimit-remaining-tokens: 0; x-ratelimit-reset-tokens: 6m0s", 300),
        ("x-ratelimit-remaining-tokens: 0; x-ratelimit-reset-tokens: 1m2.5s", 62.5),
        ("retry-after: 3; x-ratelimit-remaining-requests: 0; x-ratelimit-reset-requests: 40s", 3),
    ],
)
def test_a_refusal_says_how_long(headers: str, seconds: float) -> None:
    """`retry-after` in each of its forms, else what is used up, else a second; five minutes at most."""
    assert rest_after_refusal(fields(headers), lambda: NOW) == int(seconds * SECOND)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("x-ratelimit-remaining-requests: 10; x-ratelimit-reset-requests: 1s", None),
        ("x-ratelimit-remaining-requests: 0; x-ratelimit-reset-requests: 88ms", 0.088),
        ("x-ratelimit-remaining-requests: 0; x-ratelimit-reset-requests: 7.66s", 7.66),
        ("x-ratelimit-remaining-requests: 0; x-ratelimit-reset-requests: 12", 12),
        ("x-ratelimit-remaining-requests: 0", 1),
        ("x-ratelimit-remaining-requests: 0; x-ratelimit-reset-requests: later", 1),
        ("x-ratelimit-remaining-tokens: -5; x-ratelimit-reset-tokens: 1s", None),
        ("anthropic-ratelimit-tokens-remaining: 0; anthropic-ratelimit-tokens-reset: 2026-11-23T12:20:09Z", 9),
        ("anthropic-ratelimit-requests-remaining: 0; anthropic-ratelimit-requests-reset: never", 1),
        ("anthropic-ratelimit-requests-remaining: 3; anthropic-ratelimit-requests-reset: 2026-11-23T12:20:09Z", None),
        (
            "x-ratelimit-remaining-requests: 0; x-ratelimit-reset-requests: 2s; "
            "x-ratelimit-remaining-tokens: 0; x-ratelimit-reset-tokens: 5s",
            5,
        ),
    ],
)
def test_an_answer_says_what_is_used_up(headers: str, seconds: float | None) -> None:
    """Nothing remaining of something rests the key until that comes back; else nothing is said."""
    assert rest_after_answer(fields(headers), lambda: NOW) == (None if seconds is None else int(seconds * SECOND))


@given(st.lists(st.tuples(st.sampled_from([
    b"retry-after", b"retry-after-ms", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens",
    b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset",
]), st.binary(max_size=30) | st.sampled_from([b"0", b"1e9", b"9" * 12, b"0001-01-01T00:00:00Z", b"1d"]))))  # fmt: skip
def test_whatever_a_vendor_writes_is_read_within_bounds(headers: list[tuple[bytes, bytes]]) -> None:
    """No header makes a key rest for longer than five minutes, for less than no time, or the gateway fail."""
    assert 0 <= rest_after_refusal(headers, lambda: NOW) <= LONGEST
    used_up = rest_after_answer(headers, lambda: NOW)
    assert used_up is None or 0 <= used_up <= LONGEST
    assert DEFAULT <= LONGEST
