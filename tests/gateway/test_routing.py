"""Which target and key come next: pure functions of policy, health and what was tried."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import SECOND
from tollbook.core.identity import new_request_id
from tollbook.core.settings import (
    Gateway,
    Model,
    OwnTimeouts,
    Retry,
    Settings,
    Target,
    Tenant,
    Timeouts,
    Vendor,
    VendorKey,
)
from tollbook.gateway import routing
from tollbook.gateway.health import FAILURES_TO_OPEN, Health
from tollbook.gateway.routing import (
    Candidates,
    Healthy,
    Plan,
    candidates,
    choose_key,
    may_use,
    name_of,
    next_target,
    refusal,
    retryable,
    route_of,
    seed_of,
    serving_keys,
)

A, B, C = (Target(vendor="v", model=name) for name in "abc")


def model(*targets: Target, **retry: object) -> Model:
    return Model(name="m", targets=targets, retry=msgspec.convert(retry, Retry))


ACME = Tenant(name="acme", keys=())


def well(name: str) -> bool:
    return True


def found(model: Model, tenant: Tenant = ACME, **regions: str) -> Candidates:
    """The candidates of a model, whose vendors have one key each, and a region where `regions` tells it."""
    vendors = {
        name: Vendor(
            name=name, format="openai", base_url="https://v.example", keys=(VendorKey(name="main", secret="s"),),
            region=regions.get(name),
        )
        for name in {target.vendor for target in model.targets}
    }  # fmt: skip
    return candidates(Settings(book="b", vendors=vendors, models={model.name: model}), model, tenant)


def plan(model: Model, healthy: Healthy = well, seed: int = 0) -> Plan:
    return routing.plan(found(model), healthy, seed)


def walk(attempts: int, *targets: Target) -> list[tuple[str, str]]:
    """All attempts of a request whose every attempt fails."""
    planned = plan(model(*targets, attempts=attempts))
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
    assert plan(model(A, B), lambda name: False).targets == (A, B)
    assert plan(model(A, B), lambda name: False).reason == "policy_order"


def test_the_unhealthy_go_last_and_are_not_dropped() -> None:
    """The plan's reason names what was moved."""
    planned = plan(model(A, B, C), lambda name: name != "v/a")
    assert planned.targets == (B, C, A)
    assert planned.reason == "unhealthy_last:v/a"


def weighted(*weights: int | None) -> Model:
    """A model with a target per weight, named by its place."""
    return Model(
        name="m", targets=tuple(Target(vendor="v", model=str(place), weight=one) for place, one in enumerate(weights))
    )


def test_weights_share_out_requests() -> None:
    """Over many requests each target comes first as often as its weight says, within three standard deviations."""
    count, policy = 20_000, found(weighted(70, 20, 10))
    firsts = [routing.plan(policy, well, seed_of(new_request_id())).targets[0].model for _ in range(count)]
    for name, share in (("0", 70), ("1", 20), ("2", 10)):
        spread = (count * share * (100 - share)) ** 0.5 / 100
        assert abs(firsts.count(name) - count * share / 100) < 3 * spread + 1


def test_a_drawn_plan_explains_itself() -> None:
    """The drawn target is first, the others follow in the policy's order, those without weight last."""
    policy = weighted(1, None, 3, 1)
    last = plan(policy, seed=(1 << 64) - 1)
    assert [target.model for target in last.targets] == ["3", "0", "2", "1"]
    assert last.reason == "drawn:v/3"
    assert [target.model for target in plan(policy, seed=0).targets] == ["0", "2", "3", "1"]


@given(
    st.lists(st.none() | st.integers(1, 1_000_000), min_size=1, max_size=8),
    st.integers(0, (1 << 64) - 1),
    st.sets(st.integers(0, 7)),
)
def test_a_plan_holds_each_target_once_and_is_repeatable(weights: list[int | None], seed: int, ill: set[int]) -> None:
    """Whatever the weights, the health and the seed: the same facts give the same plan, and nothing is dropped."""

    def healthy(name: str) -> bool:
        return int(name.rpartition("/")[2]) not in ill if "/" in name else True

    policy = weighted(*weights)
    planned = plan(policy, healthy, seed)
    assert planned == plan(policy, healthy, seed)
    assert sorted(target.model for target in planned.targets) == [str(place) for place in range(len(weights))]
    is_well = [healthy(name_of(target)) for target in planned.targets]
    assert is_well == sorted(is_well, reverse=True)


def test_the_drawing_leaves_out_who_is_ill() -> None:
    """While a target rests, the others share its requests; with none of weight left, the rest stand in order."""
    policy = weighted(98, 1, 1, None)
    planned = plan(policy, lambda name: name != "v/0", seed=0)
    assert [target.model for target in planned.targets] == ["1", "2", "3", "0"]
    assert planned.reason == "drawn:v/1;unhealthy_last:v/0"
    assert plan(policy, lambda name: name in ("v/3", "v:main")).targets[0].model == "3"


def test_a_target_whose_keys_all_rest_goes_last() -> None:
    """A vendor that asked to leave its only key alone is tried after the others."""
    one, two = Target(vendor="v", model="a"), Target(vendor="w", model="a")
    assert plan(model(one, two), lambda name: name != "v:main").targets == (two, one)


def test_a_pinned_request_stays_in_its_regions() -> None:
    """A target outside, or whose region is not told, is never in a plan; pins of model and tenant hold together."""
    eu, us, nowhere = (Target(vendor=name, model="a") for name in ("eu", "us", "nowhere"))
    policy = Model(name="m", targets=(us, eu, nowhere), regions=("eu", "us"))
    where = {"eu": "eu", "us": "us"}
    assert found(policy, **where).targets == (us, eu)
    pinned = found(policy, Tenant(name="acme", keys=(), regions=("eu",)), **where)
    assert pinned.targets == (eu,)
    assert pinned.usual.reason == "left_out:us/a(region),nowhere/a(region)"
    lost = found(policy, Tenant(name="acme", keys=(), regions=("mars",)), **where)
    assert lost.targets == ()
    assert refusal(lost)[:2] == (403, "region_not_allowed")


def test_a_target_without_a_key_for_the_tenant_is_not_tried() -> None:
    """Another target serves; with none left the refusal says that it is for want of a key."""
    own = Vendor(
        name="own", format="openai", base_url="https://v.example",
        keys=(VendorKey(name="k", secret="s", tenants=("globex",)),),
    )  # fmt: skip
    policy = Model(name="m", targets=(Target(vendor="own", model="a"),))
    lost = candidates(Settings(book="b", vendors={"own": own}), policy, Tenant(name="acme", keys=()))
    assert (lost.targets, refusal(lost)[1]) == ((), "no_vendor_key")
    assert candidates(Settings(book="b", vendors={"own": own}), policy, Tenant(name="globex", keys=())).targets


@given(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")), st.sampled_from("abc"))
def test_what_is_denied_is_denied(allowed: set[str], denied: set[str], name: str) -> None:
    """A model on the tenant's list of denied ones is refused whether or not it is on the other list."""
    tenant = Tenant(name="t", keys=(), models=tuple(allowed), deny_models=tuple(denied))
    assert may_use(tenant, name) is ((name in allowed or not allowed) and name not in denied)


def test_a_model_has_time_limits_of_its_own() -> None:
    """What it names replaces the gateway's; the rest stays."""
    policy = Model(name="m", targets=(A,), timeouts=OwnTimeouts(first_byte=3.0))
    vendors = {"v": vendor(VendorKey(name="main", secret="s"))}
    settings = Settings(book="b", vendors=vendors, gateway=Gateway(timeouts=Timeouts(idle=7.0)))
    planned = candidates(settings, policy, Tenant(name="acme", keys=())).usual
    assert planned.timeouts == Timeouts(first_byte=3.0, idle=7.0)


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
    health.succeeded("v/a", 5 * SECOND)
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


def test_a_refused_key_rests_at_once() -> None:
    """One refusal is proof enough; each further one doubles the rest, and one success ends it."""
    health = Health()
    health.failed("v:key", 0, at_once=True)
    assert not health.healthy("v:key", 5 * SECOND - 1)
    health.failed("v:key", 5 * SECOND, at_once=True)
    assert not health.healthy("v:key", 15 * SECOND - 1)
    health.succeeded("v:key", 15 * SECOND)
    assert health.untroubled


def test_a_rest_that_was_asked_for_outlasts_other_answers() -> None:
    """An answer that was under way when the vendor asked for rest does not end it."""
    health = Health()
    health.rest("v:key", 10)
    health.succeeded("v:key", 5)
    assert not health.healthy("v:key", 9)
    health.succeeded("v:key", 10)
    assert health.untroubled


def test_after_a_refused_key_the_same_target_is_asked_only_with_another() -> None:
    """Without another key the next target is next."""
    planned = plan(model(A, B, attempts=3))
    assert next_target(planned, [A], again=False) == (B, "fallback")
    assert next_target(planned, [A], again=True) == (A, "retry")
    assert next_target(planned, [A, B], again=False) is None


def test_a_rest_is_never_shortened() -> None:
    """A vendor's later, shorter retry-after does not end an earlier, longer one."""
    health = Health()
    health.rest("v:key", 10)
    health.rest("v:key", 5)
    assert not health.healthy("v:key", 9)
    assert health.healthy("v:key", 10)
