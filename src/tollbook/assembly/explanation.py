"""Why a request would go where it goes: the routing plan, told without sending anything."""

from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from tollbook.assembly.service import read_registry
from tollbook.core.faults import BadInput, Fault, NotFound
from tollbook.core.identity import is_request_id
from tollbook.core.settings import Model, Settings, Target, Tenant
from tollbook.gateway import routing
from tollbook.gateway.routing import Candidates, Plan

HEALTH: Final = "assumed well: what vendors answered lately is known to running workers only"

_LEFT_OUT: Final = {
    routing.OUTSIDE: "its vendor's region ({region}) is not among those allowed ({allowed})",
    routing.KEYLESS: "no key of its vendor serves the tenant",
}


def with_registered(settings: Settings, tenant: str, at: int) -> Settings:
    """The settings with a tenant that only the registry knows: it has the policy of one of whom nothing is said, as it
    has for workers. The settings as they are when they know it, or nobody does."""
    if tenant in settings.tenants:
        return settings
    try:
        known = read_registry(Path(settings.book)).find("tenant", tenant, at)
    except Fault:  # there is no book, or it cannot be read: the configuration alone is told
        return settings
    if known is None or (known.until is not None and known.until <= at):
        return settings
    return replace(settings, tenants=settings.tenants | {tenant: Tenant(name=tenant)})


def explain_route(settings: Settings, tenant: str, model: str, request_id: str | None) -> dict[str, Any]:
    """The plan of a tenant's request for a model, each target with its key and the reasons for its place.

    Without a request id nothing is drawn: the document then says with which share each target would come first. Raises
    NotFound when the configuration has no such tenant or model, BadInput when the id is none.
    """
    if request_id is not None and not is_request_id(request_id):
        raise BadInput(f"{request_id[:64]!r} is not a request id")
    for what, name, known in (("tenant", tenant, settings.tenants), ("model", model, settings.models)):
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise NotFound(f"the configuration has no {what} {name!r}; it has: {there}")
    asking, policy = settings.tenants[tenant], settings.models[model]
    found = routing.candidates(settings, policy, asking)
    planned = found.usual if request_id is None else routing.plan(found, _well, routing.seed_of(request_id))
    refused = _refusal(found, asking, policy)
    return {
        "tenant": tenant,
        "model": model,
        "policy": f"{policy.name}@{policy.version}",
        "configuration": settings.digest,
        "request_id": request_id,
        "refusal": refused,
        "reason": planned.reason if request_id is not None or not found.weight else None,
        "targets": [] if refused else [_target(found, planned, target, request_id) for target in planned.targets],
        "left_out": [_left_out(settings, policy, asking, *one) for one in found.left_out],
        "attempts": planned.retry.attempts,
        "retry_on": list(planned.retry.on),
        "hedge_after_ms": None if planned.hedge is None else round(planned.hedge * 1000),
        "timeouts_ms": {
            name: round(getattr(planned.timeouts, name) * 1000) for name in ("connect", "first_byte", "idle", "total")
        },
        "health": HEALTH,
    }


def _well(name: str) -> bool:
    return True


def _refusal(found: Candidates, tenant: Tenant, model: Model) -> dict[str, Any] | None:
    """What a request would be refused for before anything is sent."""
    if not routing.may_use(tenant, model.name):
        listed = "is denied to it" if model.name in tenant.deny_models else "is not on its list"
        return {
            "status": 403,
            "code": "model_not_allowed",
            "message": f"the tenant may not use the model, which {listed}",
        }
    if found.targets:
        return None
    status, code, message = routing.refusal(found)
    return {"status": status, "code": code, "message": message}


def _target(found: Candidates, planned: Plan, target: Target, request_id: str | None) -> dict[str, Any]:
    keys = found.keys[target.vendor]
    chosen = None
    if len(keys) == 1 or request_id is not None:
        chosen = routing.choose_key(keys, routing.seed_of(request_id or ""), lambda key: True).name
    return {
        "order": planned.targets.index(target) + 1,
        "vendor": target.vendor,
        "model": target.model,
        "weight": target.weight,
        "share": f"{target.weight or 0}/{found.weight}" if found.weight else None,
        "vendor_key": chosen,
        "vendor_keys": [key.name for key in keys],
        "reasons": list(_reasons(found, planned, target, request_id)),
    }


def _reasons(found: Candidates, planned: Plan, target: Target, request_id: str | None) -> list[str]:
    keys = len(found.keys[target.vendor])
    reasons = []
    if not found.weight:
        reasons.append(f"number {found.targets.index(target) + 1} in the policy's order")
    elif target.weight is None:
        reasons.append("has no weight: tried after those that have one")
    elif request_id is None:
        reasons.append(f"comes first for {target.weight} of {found.weight} requests; the id of each decides")
    elif planned.targets[0] == target:
        reasons.append(f"drawn by the request's id, with weight {target.weight} of {found.weight}")
    else:
        reasons.append("not drawn: follows in the policy's order")
    reasons.append("the only key that serves the tenant" if keys == 1 else f"one of {keys} keys, by the request's id")
    return reasons


def _left_out(settings: Settings, model: Model, tenant: Tenant, target: Target, why: str) -> dict[str, Any]:
    pins = [set(pinned) for pinned in (model.regions, tenant.regions) if pinned]
    allowed = ", ".join(sorted(set.intersection(*pins))) if pins else ""
    region = settings.vendors[target.vendor].region or "not told"
    reason = _LEFT_OUT[why].format(region=region, allowed=allowed or "none")
    return {"vendor": target.vendor, "model": target.model, "reason": reason}
