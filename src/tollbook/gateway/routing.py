"""Which target and vendor key the next attempt goes to. Pure: the same facts give the same choice and its reason."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.settings import Model, Retry, Settings, Target, Tenant, Timeouts, Vendor, VendorKey

SAME_TARGET_LIMIT: Final = 2
"""A target is tried at most twice in one request (reviewed wording: the same target first, then the next)."""

KEY_REFUSED: Final = frozenset((401, 402, 403))
"""What a vendor says of a key rather than of a request: unknown, without credit, without permission."""

POLICY_ORDER: Final = "policy_order"
OUTSIDE: Final = "region"
KEYLESS: Final = "no_key"
"""Why a target is left out: its vendor is in no region that is allowed; it has no key for the tenant."""

_SEED_BITS: Final = 64

Healthy = Callable[[str], bool]
"""Whether a target (`vendor/model`) or a vendor key (`vendor:key`) is well."""


class Candidates(Struct, frozen=True):
    """What of a model's policy serves a tenant: the same for all of its requests.

    `keys` are the keys that take part, by vendor; `left_out` the targets that are never tried, and why; `usual` is the
    plan of a request while all are well and nothing is drawn.
    """

    targets: tuple[Target, ...]
    keys: dict[str, tuple[VendorKey, ...]]
    left_out: tuple[tuple[Target, str], ...]
    weight: int
    usual: "Plan"


class Plan(Struct, frozen=True):
    """The targets of one request in the order they will be tried, and why in that order."""

    targets: tuple[Target, ...]
    retry: Retry
    reason: str
    timeouts: Timeouts | None = None
    hedge: float | None = None
    key: str | None = None
    """The vendor key that all attempts take, by name; None where the keys take turns."""


def may_use(tenant: Tenant, model: str) -> bool:
    """Whether a tenant may ask for a model: it is on the list of what it may, and not on that of what it may not."""
    return (not tenant.models or model in tenant.models) and model not in tenant.deny_models


def is_inside(vendor: Vendor, *pins: Sequence[str]) -> bool:
    """Whether a vendor is in a region that every pin allows; one that tells no region is in none."""
    return all(not pin or vendor.region in pin for pin in pins)


def candidates(settings: Settings, model: Model, tenant: Tenant) -> Candidates:
    """The targets of a model that are in the regions allowed and have a key for the tenant, in the policy's order."""
    keys: dict[str, tuple[VendorKey, ...]] = {}
    left_out: list[tuple[Target, str]] = []
    for target in model.targets:
        vendor = settings.vendors[target.vendor]
        serving = serving_keys(vendor, tenant.name)
        if not is_inside(vendor, model.regions, tenant.regions):
            left_out.append((target, OUTSIDE))
        elif not serving:
            left_out.append((target, KEYLESS))
        else:
            keys[vendor.name] = serving
    out = {target for target, _ in left_out}
    targets = tuple(target for target in model.targets if target not in out)
    told = ",".join(f"{name_of(target)}({why})" for target, why in left_out)
    usual = Plan(
        targets,
        model.retry,
        f"left_out:{told}" if told else POLICY_ORDER,
        _timeouts(settings, model),
        model.hedge.after if model.hedge is not None else None,
    )
    return Candidates(targets, keys, tuple(left_out), sum(target.weight or 0 for target in targets), usual)


def _timeouts(settings: Settings, model: Model) -> Timeouts:
    own = model.timeouts
    if own is None:
        return settings.gateway.timeouts
    changed = {name: value for name, value in msgspec.structs.asdict(own).items() if value is not None}
    return msgspec.structs.replace(settings.gateway.timeouts, **changed)


def plan(found: Candidates, healthy: Healthy, seed: int) -> Plan:
    """The plan of one request.

    Where targets have weights, one of those that are well is drawn by the seed and comes first; the others follow in
    the policy's order, those without weight after those with one. The unhealthy ones go last, they are not dropped.
    """
    usual = found.usual
    well = [target for target in found.targets if _is_well(found, target, healthy)]
    ill = [target for target in found.targets if target not in well] if well else []
    reasons = [] if usual.reason == POLICY_ORDER else [usual.reason]
    order = well or list(found.targets)
    drawn = _draw(order, seed)
    if drawn is not None:
        order = [drawn, *(t for t in order if t.weight and t != drawn), *(t for t in order if not t.weight)]
    if ill:
        reasons.insert(0, f"unhealthy_last:{','.join(map(name_of, ill))}")
    if drawn is not None:
        reasons.insert(0, f"drawn:{name_of(drawn)}")
    return msgspec.structs.replace(usual, targets=(*order, *ill), reason=";".join(reasons) or POLICY_ORDER)


def _is_well(found: Candidates, target: Target, healthy: Healthy) -> bool:
    """Whether neither the target nor all of its keys are resting."""
    return healthy(name_of(target)) and any(healthy(key_name(target.vendor, key)) for key in found.keys[target.vendor])


def _draw(targets: Sequence[Target], seed: int) -> Target | None:
    """One of the targets that have a weight, each as likely as its weight says; None when none has one."""
    place = seed * sum(target.weight or 0 for target in targets) >> _SEED_BITS
    for target in targets:
        place -= target.weight or 0
        if place < 0:
            return target
    return None


def seed_of(request_id: str) -> int:
    """A number of 64 bits that follows from a request's id, evenly spread over all ids: what a plan is drawn by."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=_SEED_BITS // 8).digest())


def refusal(found: Candidates) -> tuple[int, str, str]:
    """Why a request goes nowhere when no target is left: status, code and words."""
    if any(why == OUTSIDE for _, why in found.left_out):
        return 403, "region_not_allowed", "no vendor of this model that serves you is in a region that is allowed"
    vendors = ", ".join(sorted({repr(target.vendor) for target, _ in found.left_out}))
    return 503, "no_vendor_key", f"no key of vendor {vendors} serves this tenant"


def name_of(target: Target) -> str:
    """A target as it is written in routes: `vendor/model`."""
    return f"{target.vendor}/{target.model}"


def key_name(vendor: str, key: VendorKey) -> str:
    """A vendor key as health knows it: `vendor:key`."""
    return f"{vendor}:{key.name}"


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
    """One of the keys that serve a tenant: one of the healthy ones by seed; while all rest, one of all."""
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


def next_target(plan: Plan, tried: Sequence[Target], again: bool = True) -> tuple[Target, str] | None:
    """The target of the next attempt and the attempt's reason; None when the policy allows no more.

    `again`: whether the same target may do better the next time.
    """
    if len(tried) >= plan.retry.attempts:
        return None
    if not tried:
        return plan.targets[0], "first"
    last = tried[-1]
    if again and tried.count(last) < SAME_TARGET_LIMIT:
        return last, "retry"
    following = plan.targets.index(last) + 1
    return (plan.targets[following], "fallback") if following < len(plan.targets) else None
