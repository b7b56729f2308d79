"""Bridges: effects add up exactly, and what changed alone is told alone."""

from hypothesis import given
from hypothesis import strategies as st

from tollbook.disputes.bridge import EFFECTS, Answers, Period, bridge, group_of

CLASSES = st.sampled_from(
    ["input", "input_cache_read", "input_cache_write_5m", "output", "output_reasoning", "searches"]
)
LINES = st.dictionaries(CLASSES, st.tuples(st.integers(1, 10**7), st.integers(0, 10**16)), max_size=5)
ANSWERS = st.builds(Answers, st.integers(1, 10**6), LINES)
MONEY = st.integers(-(10**15), 10**15)
PERIODS = st.builds(Period, st.dictionaries(st.sampled_from("abcd"), ANSWERS, max_size=4), MONEY, MONEY, MONEY)


@given(PERIODS, PERIODS)
def test_effects_add_up_exactly(first: Period, second: Period) -> None:
    """Whatever the two periods hold, down to the picodollar, in the documented order."""
    found = bridge(first, second)
    assert list(found) == list(EFFECTS)
    assert sum(found.values()) == second.amount - first.amount


@given(PERIODS)
def test_nothing_changed_is_nothing_explained(period: Period) -> None:
    """The same period twice has no effect at all."""
    assert set(bridge(period, period).values()) == {0}


def told(first: Period, second: Period) -> dict[str, int]:
    return {name: amount for name, amount in bridge(first, second).items() if amount}


def period(requests: int = 10, tokens: int = 1000, cached: int = 0, price: int = 100, model: str = "a") -> Period:
    """So many requests of one model, each of so many input tokens, some of them cached at a tenth of the price."""
    fresh = requests * (tokens - cached)
    lines = {"input": (fresh, fresh * price)}
    if cached:
        lines["input_cache_read"] = (requests * cached, requests * cached * price // 10)
    return Period({model: Answers(requests, lines)})


def test_what_changed_alone_is_told_alone() -> None:
    """Twice the requests, tokens or price; half of the input from the cache; another model; a credit; a retry."""
    base = period()
    assert told(base, period(requests=20)) == {"volume": 1_000_000}
    assert told(base, period(tokens=2000)) == {"tokens": 1_000_000}
    assert told(base, period(price=200)) == {"price": 1_000_000}
    assert told(base, period(cached=500)) == {"cache": -450_000}
    assert told(base, period(model="b", price=50)) == {"mix": -500_000}
    assert told(base, base._replace(adjustments=-7)) == {"adjustments": -7}
    assert told(base, base._replace(retries=5, aborted=3)) == {"retries": 5, "aborted": 3}
    assert told(Period({}), base) == {"mix": 1_000_000} and told(base, Period({})) == {"volume": -1_000_000}


def test_classes_of_one_input_are_one_group() -> None:
    """Cached or not, the input of a modality is one; output is its own."""
    assert group_of("input_cache_read") == group_of("input_cache_write_1h") == group_of("input") == "input"
    assert group_of("output_reasoning") == "output_reasoning"
