"""Which target and vendor key the next attempt goes to. Pure: the same facts give the same choice and its reason."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from tollbook.core.settings import Model, Retry, Target, Timeouts, Vendor, VendorKey

SAME_TARGET_LIMIT: Final = 2
"""A target is tried at most twice in one request (reviewed wording: the same target first, then the next)."""

KEY_REFUSED: Final = frozenset((401, 402, 403))
"""What a vendor says of a key rather than of a request: unknown, without credit, without permission."""

Healthy = Callable[[str], bool]


class Choice(Struct, frozen=True):
    """One planned attempt."""

    target: Target
    vendor: Vendor
    key: VendorKey
    reason: str


class Plan(Struct, frozen=True):
    """The targets of one request in the order they will be tried, and why in that order."""

    targets: tuple[Target, ...]
    retry: Retry
    reason: str
    timeouts: Timeouts | None = None
    hedge: float | None = None


def plan(model: Model, healthy: Healthy) -> Plan:
    """Targets in the order of the policy; the unhealthy ones go last, they are not dropped."""
    targets, hedge = model.targets, model.hedge.after if model.hedge is not None else None
    well = tuple(target for target in targets if healthy(name_of(target)))
    if len(well) == len(targets) or not well:
        return Plan(targets, model.retry, "policy_order", hedge=hedge)
    ill = tuple(target for target in targets if target not in well)
    moved = ",".join(name_of(target) for target in ill)
    return Plan(well + ill, model.retry, f"unhealthy_last:{moved}", hedge=hedge)


def name_of(target: Target) -> str:
    """A target as it is written in routes: `vendor/model`."""
    return f"{target.vendor}/{target.model}"


def route_of(targets: Sequence[Target]) -> str:
    """The targets tried in order, repetitions next to one another told once: `openai/gpt-4o-mini>openai/gpt-4o`."""
    if len(targets) == 1:
        return name_of(targets[0])
    names: list[str] = []
    for target in targets:
        name = name_of(target)
        if not names or names[-1] != name:
            names.append(name)
    return ">".join(names)


def serving_keys(vendor: Vendor, tenant: str) -> tuple[VendorKey, ...]:
    """The vendor keys that serve a tenant.

    A key that names tenants is preferred to one that serves all, so that a vendor's cell stays one tenant's.
    """
    own = tuple(key for key in vendor.keys if tenant in key.tenants)
    return own or tuple(key for key in vendor.keys if not key.tenants)


def choose_key(serving: Sequence[VendorKey], seed: int, healthy: Callable[[VendorKey], bool]) -> VendorKey:
    """One of the keys that serve a tenant: the healthy ones take turns by seed."""
    well = [key for key in serving if healthy(key)] or serving
    return well[seed % len(well)]


def retryable(retry: Retry, outcome: str, status: int | None, fully_sent: bool) -> bool:
    """Whether the policy lets another attempt follow this outcome.

    After the request was fully written, a timeout or a lost connection may already have been answered and billed: it
    is repeated only where the policy says `retry_after_send`.
    """
    if outcome == "connect_failed":
        return "connect" in retry.on
    if outcome in ("timeout", "truncated") or (outcome == "vendor_error" and status is None):
        return "timeout" in retry.on and (not fully_sent or retry.retry_after_send)
    if status is None:
        return False
    return str(status) in retry.on or f"{status // 100}xx" in retry.on


def is_answer(outcome: str, status: int | None) -> bool:
    """Whether an attempt that is over answers its request, although another one beside it may still do so: it came
    whole, or the vendor says that the request itself is wrong."""
    return outcome in ("ok", "client_gone") or (outcome == "client_error" and status not in KEY_REFUSED)


def hedge_target(plan: Plan, tried: Sequence[Target]) -> Target | None:
    """The target of an attempt beside a slow first one: the next in the plan; None when the policy allows no more."""
    if len(tried) >= plan.retry.attempts:
        return None
    return next((target for target in plan.targets if target not in tried), None)


def next_target(plan: Plan, tried: Sequence[Target]) -> tuple[Target, str] | None:
    """The target of the next attempt and the attempt's reason; None when the policy allows no more."""
    if len(tried) >= plan.retry.attempts:
        return None
    if not tried:
        return plan.targets[0], "first"
    last = tried[-1]
    if tried.count(last) < SAME_TARGET_LIMIT:
        return last, "retry"
    following = plan.targets.index(last) + 1
    return (plan.targets[following], "fallback") if following < len(plan.targets) else None
