"""Which target and key come next: pure functions of policy, health and what was tried."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import SECOND
from tollbook.core.settings import Model, Retry, Target, Vendor, VendorKey
from tollbook.gateway.health import FAILURES_TO_OPEN, Health
from tollbook.gateway.routing import choose_key, name_of, next_target, plan, retryable, route_of, serving_keys

A, B, C = (Target(vendor="v", model=name) for name in "abc")


def model(*targets: Target, **retry: object) -> Model:
    return Model(name="m", targets=targets, retry=msgspec.convert(retry, Retry))


def well(name: str) -> bool:
    return True


def walk(attempts: int, *targets: Target) -> list[tuple[str, str]]:
    """All attempts of a request whose every attempt fails."""
    planned = plan(model(*targets, attempts=attempts), well)
    tried: list[Target] = []
    reasons: list[str] = []
    while (following := next_target(planned, tried)) is not None:
        tried.append(following[0])
        reasons.append(following[1])
    return [(target.model, reason) for target, reason in zip(tried, reasons, strict=True)]


@pytest.mark.parametrize(
    ("attempts", "targets", "expected"),
    [
        (1, (A,), [("a", "first")]),
        (3, (A,), [("a", "first"), ("a", "retry")]),
        (2, (A, B), [("a", "first"), ("a", "retry")]),
        (3, (A, B), [("a", "first"), ("a", "retry"), ("b", "fallback")]),
        (10, (A, B), [("a", "first"), ("a", "retry"), ("b", "fallback"), ("b", "retry")]),
        (5, (A, B, C), [("a", "first"), ("a", "retry"), ("b", "fallback"), ("b", "retry"), ("c", "fallback")]),
    ],
)
def test_attempts_are_one_bounded_list(
    attempts: int, targets: tuple[Target, ...], expected: list[tuple[str, str]]
) -> None:
    """The same target first, at most twice, then the next; never more than the policy allows (L32)."""
    assert walk(attempts, *targets) == expected


@given(st.integers(1, 10), st.integers(1, 5))
def test_a_fallback_never_starts_the_list_again(attempts: int, count: int) -> None:
    """Targets are gone through once, in order, each at most twice, within the bound (L32)."""
    walked = walk(attempts, *(Target(vendor="v", model=str(number)) for number in range(count)))
    numbers = [int(name) for name, _ in walked]
    assert len(walked) <= attempts
    assert numbers == sorted(numbers)
    assert all(numbers.count(number) <= 2 for number in numbers)
    assert [reason for _, reason in walked][1:] == ["retry" if a == b else "fallback" for a, b in pairwise(numbers)]


def test_the_plan_keeps_the_order_of_the_policy() -> None:
    """While all are well, or none is, targets stand in the policy's order, and the plan says so."""
    assert plan(model(A, B), well).targets == (A, B)
    assert plan(model(A, B), lambda name: False).reason == "policy_order"


def test_the_unhealthy_go_last_and_are_not_dropped() -> None:
    """The plan's reason names what was moved."""
    planned = plan(model(A, B, C), lambda name: name != "v/a")
    assert planned.targets == (B, C, A)
    assert planned.reason == "unhealthy_last:v/a"


def test_a_route_tells_each_target_once_in_a_row() -> None:
    """Retries of a target are no new station of the route."""
    assert route_of([A, A, B]) == "v/a>v/b"
    assert route_of([]) == ""
    assert name_of(B) == "v/b"


RETRYABLE = [
    # outcome, status, fully sent, after send allowed, expected
    ("connect_failed", None, False, False, True),
    ("timeout", None, False, False, True),
    ("timeout", None, True, False, False),
    ("timeout", None, True, True, True),
    ("truncated", 200, True, False, False),
    ("truncated", 200, True, True, True),
    ("vendor_error", None, True, False, False),
    ("vendor_error", None, True, True, True),
    ("vendor_error", 500, True, False, True),
    ("vendor_error", 529, True, False, True),
    ("vendor_error", 302, True, False, False),
    ("vendor_error", 200, True, True, False),
    ("rate_limited", 429, True, False, True),
    ("client_error", 400, True, False, False),
    ("client_error", 408, True, True, False),
    ("ok", 200, True, True, False),
    ("not_sent", None, False, True, False),
    ("cancelled", None, True, True, False),
]


@pytest.mark.parametrize(("outcome", "status", "sent", "after_send", "expected"), RETRYABLE)
def test_what_may_be_bought_twice_is_not_repeated_unasked(
    outcome: str, status: int | None, sent: bool, after_send: bool, expected: bool
) -> None:
    """Once the request was fully written, silence and lost connections are repeated by explicit policy only."""
    assert retryable(Retry(retry_after_send=after_send), outcome, status, sent) is expected


def test_only_the_failures_named_are_repeated() -> None:
    """The policy's list is all there is: nothing is retried that it does not name."""
    none = Retry(on=())
    assert not any(retryable(none, outcome, status, sent) for outcome, status, sent, _, _ in RETRYABLE)
    exact = Retry(on=("503",))
    assert retryable(exact, "vendor_error", 503, True)
    assert not retryable(exact, "vendor_error", 500, True)


def vendor(*keys: VendorKey) -> Vendor:
    return Vendor(name="v", format="openai", base_url="https://v.example", keys=keys)


def test_keys_take_turns_among_those_that_serve_the_tenant() -> None:
    """A key that names tenants serves these alone, and they get no other: a vendor's cell stays one tenant's."""
    shared, other, own = (
        VendorKey(name="shared", secret="s"),
        VendorKey(name="other", secret="o"),
        VendorKey(name="own", secret="w", tenants=("acme",)),
    )
    chosen = [
        choose_key(serving_keys(vendor(shared, other, own), "globex"), seed, lambda key: True) for seed in range(4)
    ]
    assert [key.name for key in chosen] == ["shared", "other", "shared", "other"]
    assert all(
        choose_key(serving_keys(vendor(shared, other, own), "acme"), seed, lambda key: True) == own for seed in range(4)
    )
    assert serving_keys(vendor(own), "globex") == ()


def test_a_resting_key_is_passed_over_unless_it_is_the_only_one() -> None:
    """Rotation leaves out keys that the vendor asked to leave alone."""
    one, two = VendorKey(name="one", secret="1"), VendorKey(name="two", secret="2")

    def resting(key: VendorKey) -> bool:
        return key is not one

    assert {choose_key((one, two), seed, resting) for seed in range(4)} == {two}
    assert choose_key((one,), 0, resting) == one


def test_health_opens_decays_and_comes_back() -> None:
    """Five failures in a row rest a target; time alone brings it back to trial, one success to full health."""
    health = Health()
    assert health.untroubled
    for _ in range(FAILURES_TO_OPEN - 1):
        health.failed("v/a", 0)
    assert health.healthy("v/a", 0)
    health.failed("v/a", 0)
    assert not health.healthy("v/a", 5 * SECOND - 1)
    assert health.healthy("v/a", 5 * SECOND)
    health.succeeded("v/a")
    assert health.untroubled
    health.failed("v/a", 6 * SECOND)
    assert health.healthy("v/a", 6 * SECOND)


def test_health_rests_longer_each_time_up_to_a_minute() -> None:
    """After a rest one more failure is enough, and the rest doubles."""
    health, rests, now = Health(), [], 0
    for _ in range(FAILURES_TO_OPEN - 1):
        health.failed("x", now)
    for _ in range(7):
        health.failed("x", now)
        until = next(second for second in range(200) if health.healthy("x", now + second * SECOND))
        rests.append(until)
        now += until * SECOND
    assert rests == [5, 10, 20, 40, 60, 60, 60]


def test_a_rest_is_never_shortened() -> None:
    """A vendor's later, shorter retry-after does not end an earlier, longer one."""
    health = Health()
    health.rest("v:key", 10)
    health.rest("v:key", 5)
    assert not health.healthy("v:key", 9)
    assert health.healthy("v:key", 10)
