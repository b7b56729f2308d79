"""The short form of `make soak`, and that its judgement can tell a leak from noise."""

import random
from pathlib import Path

import pytest
from soak import soak, table
from soak_watch import MIB, WORKER_FLOOR, Look, course


def looks(growth: float, noise: float = 0.5, seed: int = 1) -> list[Look]:
    """A worker of 40 MiB that grows by so many bytes a second for two minutes, with noise and a spike (MiB)."""
    chance = random.Random(seed)
    found = []
    for second in range(120):
        resident = 40 * MIB + growth * second + chance.uniform(-noise, noise) * MIB + (30 * MIB if second == 100 else 0)
        found.append(Look(float(second), int(resident), 40, 5))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_told_from_noise(seed: int) -> None:
    """Growth beyond the floor is seen through noise and spikes, and neither is taken for growth."""
    assert course("worker 0", looks(0, seed=seed), 0).flat
    assert not course("worker 0", looks(WORKER_FLOOR / 60, seed=seed), 0).flat
    leaking = course("worker 0", looks(1000 * 100, seed=seed), 120 * 1000)
    assert not leaking.flat and leaking.grown == pytest.approx(119 * 1000 * 100, rel=0.1)


def test_descriptors_that_are_never_closed_are_seen() -> None:
    """A process that ends with many more open descriptors than it began with is not flat."""
    leaking = [look._replace(descriptors=40 + number) for number, look in enumerate(looks(0))]
    assert not course("desk", leaking, 0).flat


@pytest.mark.timeout(240)
def test_twenty_seconds_of_mixed_traffic_lose_nothing(tmp_path: Path) -> None:
    """Every attempt that the vendor received is in the book once with the vendor's own usage, all kinds of requests,
    clients that leave and reloads included; the report's sums are the vendor's; what ended becomes visible; and no
    process grows."""
    outcome = soak(tmp_path, 20, rate=60, seed=3)
    assert not outcome.problems, table(outcome)
    assert outcome.figures["attempts"] >= 1000
    assert outcome.figures["visible_seconds"]["samples"] >= 30
