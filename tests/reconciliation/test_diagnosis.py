"""Planted faults are named with their money; clean months raise nothing; every run adds up."""

import os
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import FAULTS, cents, inflated, month, question

from tollbook.reconciliation.causes import AMBIGUOUS, WITHIN_TOLERANCE, causes
from tollbook.reconciliation.cell import Band, Bucket, Candidate, Effect, Pair, Scope, Side
from tollbook.reconciliation.diagnosis import Known, Question, diagnose
from tollbook.reconciliation.finding import Finding, tie

CHOSEN = 10
DRAWN = [random.Random(os.environ.get("TOLLBOOK_SEED", "of the day")).randrange(1 << 30) for _ in range(10)]
"""Seeds that whoever runs the test may choose."""
SEEDS = [*range(CHOSEN), *DRAWN]
NOT_FAULTS = {"rounding", WITHIN_TOLERANCE}


def money(findings: list[Finding]) -> Counter[str]:
    """What each cause explains, in picodollars."""
    found: Counter[str] = Counter()
    for one in findings:
        for share in one.shares:
            found[share.cause] += share.amount
    return found


@pytest.mark.parametrize("cause", FAULTS)
def test_a_planted_fault_is_named(cause: str) -> None:
    """Alone, over twenty seeds: the cause by its name and no other, and the money within 1 %, in at least 19."""
    right, confused = 0, Counter[str]()
    for seed in SEEDS:
        of = month(seed)
        planted = FAULTS[cause](of)
        findings = diagnose(question(of))
        tie(findings)
        found = money(findings)
        named = {name for one in findings for share in one.shares for name in [share.cause]} - NOT_FAULTS
        if named == {cause} and abs(found[cause] - planted) <= abs(planted) // 100:
            right += 1
        confused.update(named or {"unexplained"})
    assert right >= 19, dict(confused)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clean_month_raises_nothing(seed: int) -> None:
    """No cause but rounding, and nothing left, whether the vendor prints exact amounts or cents."""
    for rounded in (False, True):
        of = month(seed)
        if rounded:
            cents(of)
        findings = diagnose(question(of))
        assert {share.cause for one in findings for share in one.shares} <= {"rounding"}
        assert all(one.amount == one.quantity == 0 for one in findings)


def test_mixtures_are_told_apart() -> None:
    """Sixty mixtures of two to four faults: in at least 80 % of them every fault is named, or stands among those that
    cannot be told apart, and nothing else is named."""
    right, wrong = 0, Counter[str]()
    for seed in range(60):
        chance = random.Random(f"mixture {seed}")
        chosen = chance.sample(sorted(set(FAULTS) - {"time_zone_shift", "bucket_edge"}), chance.randrange(2, 5))
        of = month(seed)
        for cause in chosen:
            FAULTS[cause](of)
        findings = diagnose(question(of))
        tie(findings)
        named = {share.cause for one in findings for share in one.shares} - NOT_FAULTS - {AMBIGUOUS}
        possible = {name for one in findings for share in one.shares for name in share.among}
        if named <= set(chosen) and set(chosen) <= named | possible:
            right += 1
        else:
            wrong["+".join(sorted(chosen)) + " -> " + "+".join(sorted(named))] += 1
    assert right >= 48, wrong


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_what_only_the_vendor_can_settle_is_said(seed: int) -> None:
    """Three percent more output of one model in every cell: no cause is alleged, and the missing evidence is named."""
    of = month(seed)
    inflated(of)
    findings = [one for one in diagnose(question(of)) if one.quantity]
    assert findings
    assert {one.verdict for one in findings} == {"cannot_settle"}
    assert not [share for one in findings for share in one.shares]
    assert all("ticket" in (one.missing or "") for one in findings)


def test_what_cannot_be_told_apart_is_named_together() -> None:
    """Two causes that explain the same as well as each other: neither is alleged alone."""
    scope, bucket = Scope("m", "key_a", None, None), Bucket(0, 1)
    pair = Pair(scope, bucket, "output", Side(100, 1_000), Side(150, 1_500), "final")
    both = [
        Candidate(name, {"output": Effect(Band(0, bound))}, (), name)
        for name, bound in (("aborted_stream_billed", 90), ("usage_missing", 80))
    ]
    (found,) = diagnose(Question([pair], {}, {(scope, bucket): both}, Known(frozenset({"key_a"}))))
    assert [(share.cause, share.among) for share in found.shares] == [
        (AMBIGUOUS, ("aborted_stream_billed", "usage_missing"))
    ]
    assert (found.quantity, found.amount, found.verdict) == (0, 0, "explained")


sides = st.builds(
    Side, st.none() | st.integers(0, 10**9), st.none() | st.integers(-(10**15), 10**18), st.integers(0, 3), st.just(0)
)
pairs = st.builds(
    Pair,
    st.builds(Scope, st.sampled_from(("a", "b")), st.sampled_from(("key_a", "other")), st.none(), st.none()),
    st.builds(Bucket, st.sampled_from((0, 5)), st.just(10)),
    st.sampled_from(("input", "output", "requests", "web_searches")),
    sides,
    sides,
    st.sampled_from(("open", "provisional", "final")),
)
bands = st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**9)).map(lambda two: Band(two[0], two[0] + two[1]))
reasons = st.lists(
    st.builds(
        Candidate,
        st.sampled_from(sorted(causes())),
        st.dictionaries(st.sampled_from(("input", "output", "requests")), st.builds(Effect, bands)),
        st.just(()),
        st.just("e"),
        st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(st.lists(pairs, max_size=8, unique_by=lambda pair: pair[:3]), reasons)
def test_every_run_ties(cells: list[Pair], candidates: list[Candidate]) -> None:
    """Ours and explained and unexplained are theirs, whatever the books and the reasons; the same question gives the
    same findings."""
    certain = [one for one in candidates if not one.certain or all(not e.quantity.width for e in one.effects.values())]
    asked = Question(cells, {}, {(pair.scope, pair.bucket): certain for pair in cells}, Known(frozenset({"key_a"})))
    findings = diagnose(asked)
    tie(findings)
    for one in findings:
        assert one.pair.quantity == one.quantity + sum(share.quantity for share in one.shares)
        assert one.pair.amount == one.amount + sum(share.amount for share in one.shares)
    assert diagnose(asked) == findings


def test_the_list_of_causes_is_closed() -> None:
    """Forty-eight causes, each with what settles it."""
    assert len(causes()) == 48
    assert all(cause.settles and cause.signature and cause.title for cause in causes().values())
