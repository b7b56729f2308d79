"""Draws: decided by seal and seed alone, even, and the same everywhere."""

import hashlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tollbook.disputes.draw import ordinals, portions, units


def test_a_draw_is_the_same_everywhere() -> None:
    """By the description alone: SHA-256 over seal, seed, stratum, counter, one to a line."""
    expected: set[int] = set()
    counter = 0
    while len(expected) < 3:
        number = int.from_bytes(hashlib.sha256(f"seal\nseed\n\n{counter}\n".encode()).digest())
        expected.add(number % 1000)
        counter += 1
    assert ordinals("seal", "seed", 3, 1000) == sorted(expected)
    assert ordinals("seal", "other", 3, 1000) != sorted(expected) != ordinals("other", "seed", 3, 1000)


@given(st.integers(0, 40), st.integers(1, 60))
def test_as_many_different_items_as_were_asked_for(count: int, size: int) -> None:
    """In order, none twice, none beyond the end; all of them when there are no more."""
    found = ordinals("seal", "seed", count, size)
    assert found == sorted(set(found)) and len(found) == min(count, size)
    assert all(0 <= place < size for place in found)


def test_each_item_is_as_likely_as_the_other() -> None:
    """Over many seeds every place of a small population is drawn about as often."""
    seen = Counter(place for seed in range(3000) for place in ordinals("seal", str(seed), 1, 7))
    assert min(seen.values()) > 350 and max(seen.values()) < 510


@given(st.integers(1, 30), st.integers(1, 10**15))
def test_units_of_money_lie_in_equal_steps(count: int, total: int) -> None:
    """One in each step: no item larger than two steps is missed."""
    found = units("seal", "seed", count, total)
    assert (
        found == sorted(set(found)) and len(found) == min(count, len(found)) and all(0 <= one < total for one in found)
    )
    if total >= count:
        assert len(found) == count
        gaps = [after - before for before, after in zip(found, [*found[1:], found[0] + total], strict=True)]
        assert max(gaps) <= total // count + 1
    assert units("seal", "seed", count, 0) == []


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=6), st.integers(0, 80))
def test_strata_get_their_portion(sizes: dict[str, int], count: int) -> None:
    """Portions add up to what was asked for, exceed no stratum, and are off the exact share by less than one."""
    total, found = sum(sizes.values()), portions(sizes, count)
    assert sum(found.values()) == min(count, total) or not total
    for name, portion in found.items():
        assert 0 <= portion <= sizes[name]
        assert abs(portion * total - min(count, total) * sizes[name]) < total
