"""What all requests of a worker share."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tollbook.core.clock import Clock
from tollbook.core.settings import Model, Settings, Tenant, Vendor, VendorKey
from tollbook.gateway import ratelimits, routing
from tollbook.gateway.attempt import UpstreamCall
from tollbook.gateway.counters import Counters
from tollbook.gateway.health import Health
from tollbook.gateway.leg import Leg
from tollbook.gateway.limits import Limiter, Ticket, asked_tokens
from tollbook.gateway.objects import Objects
from tollbook.gateway.outgoing import fixed_lines
from tollbook.gateway.quotas import Quotas
from tollbook.gateway.recorder import Recorder
from tollbook.gateway.refusal import Refusal, VendorBusy
from tollbook.gateway.repeats import Repeats
from tollbook.gateway.request import Admitted
from tollbook.gateway.routing import Candidates, Healthy, Plan
from tollbook.gateway.upstream import Pool, VendorAddress
from tollbook.pricing.rate import Rater
from tollbook.providers.contract import Adapter

if TYPE_CHECKING:
    from tollbook.gateway.exchange import Exchange

Digest = Callable[[str, str], str]
"""(tenant, text) to a keyed digest whose text is remembered nowhere."""
Durable = Callable[[int, Callable[[Exception | None], None]], None]
"""Calls back, on the loop, once everything up to a sequence is on disk."""


class _Traffic:
    """What goes on in a worker and what it has learned, whatever the configuration."""

    def __init__(self, clock: Clock) -> None:
        self.health: Final = Health()
        self.repeats: Final = Repeats(clock)  # which looks the clock up anew: a test may move it
        self.calls: Final[set[UpstreamCall]] = set()
        self.running: Final[set[Exchange]] = set()
        self.stopping = False


class Parts:
    """Handed to every exchange. `secrets` maps (vendor, key name) to the vendor's secret, in memory only.

    When the configuration is changed, new parts take the place of the `former` ones for what comes next: what goes on
    and what was learned is common to both, and so are the connections to vendors whose address has not changed.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: dict[tuple[str, str], str],
        recorder: Recorder,
        rater: Rater,
        clock: Clock,
        durable: Durable | None,
        objects: Objects,
        digest: Digest,
        former: "Parts | None" = None,
        counters: Counters | None = None,
    ) -> None:
        self.settings: Final = settings
        self.secrets: Final = secrets
        self.recorder: Final = recorder
        self.rater: Final = rater
        self.clock: Final = clock
        self.durable: Final = durable
        self.bearers: Final = settings.charging_rules.bearers()
        self.objects: Final = objects
        self.digest: Final = digest
        self._traffic: Final[_Traffic] = former._traffic if former is not None else _Traffic(lambda: self.clock())
        self.health: Final = self._traffic.health
        self.repeats: Final = self._traffic.repeats
        self.calls: Final = self._traffic.calls
        self.running: Final = self._traffic.running
        self.counters: Final[Counters] = counters or (former.counters if former is not None else Counters.alone())
        self.limiter: Final = Limiter(self.counters, clock)
        self.quotas: Final = Quotas(settings, self.counters, clock)
        self.pools: Final = {name: _pool(vendor, former) for name, vendor in settings.vendors.items()}
        self._fixed: Final[dict[tuple[str, str, str], bytes]] = {}
        self._serving: Final[dict[tuple[str, str], tuple[VendorKey, ...]]] = {}
        self._candidates: Final[dict[tuple[str, str], Candidates]] = {}

    @property
    def stopping(self) -> bool:
        """Whether the worker is about to end."""
        return self._traffic.stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._traffic.stopping = stopping

    def retire(self, successor: "Parts") -> None:
        """Keep no connection that the successor has not taken over."""
        kept = [pool for pool, _ in successor.pools.values()]
        for pool, _ in self.pools.values():
            if pool not in kept:
                pool.retire()

    def plan(self, model: Model, tenant: Tenant, request_id: str) -> Plan:
        """The plan for a request now. In good health it is the same for all of a tenant's requests for a model, unless
        one of its targets is to be drawn. Raises Refusal when none of them may serve the tenant."""
        found = self._candidates.get((model.name, tenant.name))
        if found is None:
            found = routing.candidates(self.settings, model, tenant)
            self._candidates[model.name, tenant.name] = found
        if not found.targets:
            raise Refusal(*routing.refusal(found))
        if self.health.untroubled and not found.weight:
            return found.usual
        return routing.plan(found, self._healthy(), routing.seed_of(request_id))

    def key(self, vendor: Vendor, admitted: Admitted, name: str | None) -> VendorKey | None:
        """The vendor key of that name, else the one of a tenant's request; None when no key serves it.

        Raises Refusal 429 when those that do have no room for it.
        """
        if name is not None:
            return next((key for key in vendor.keys if key.name == name), None)
        tenant, request_id = admitted.facts.tenant, admitted.facts.id
        serving = self._serving.get((vendor.name, tenant))
        if serving is None:
            serving = self._serving[vendor.name, tenant] = routing.serving_keys(vendor, tenant)
        if vendor.name in self.quotas.limited and serving:
            serving = self._with_room(vendor.name, serving, admitted)
        if len(serving) < 2:
            return serving[0] if serving else None
        healthy, seed = self._healthy(), routing.seed_of(request_id)
        return routing.choose_key(serving, seed, lambda key: healthy(routing.key_name(vendor.name, key)))

    def _with_room(self, vendor: str, keys: tuple[VendorKey, ...], admitted: Admitted) -> tuple[VendorKey, ...]:
        """The keys whose limit has room for a tenant's attempt. Raises Refusal when there is none."""
        tenant, tokens = admitted.facts.tenant, asked_tokens(admitted)
        found = tuple(key for key in keys if self.quotas.has_room(vendor, key.name, tenant, tokens))
        if not found:
            message = f"what vendor {vendor!r} allows in a minute is used up, or the rest is for other tenants"
            raise VendorBusy(429, "vendor_share", message)
        return found

    def take(self, vendor: str, key: str, admitted: Admitted) -> Ticket | None:
        """Count an attempt against the limit of its vendor key; None when it has none."""
        if vendor not in self.quotas.limited:
            return None
        facts = admitted.facts
        return self.quotas.take(vendor, key, facts.tenant, asked_tokens(admitted), stream=facts.stream)

    def _healthy(self) -> Healthy:
        health, now = self.health, self.clock()
        return lambda name: health.healthy(name, now)

    def fixed_lines(self, vendor: Vendor, key: VendorKey, adapter: Adapter) -> bytes:
        """What all requests of an operation to a vendor have in common, made once."""
        name = (vendor.name, key.name, adapter.name)
        lines = self._fixed.get(name)
        if lines is None:
            address, secret = self.pools[vendor.name][1], self.secrets[vendor.name, key.name]
            lines = self._fixed[name] = fixed_lines(address, adapter, secret)
        return lines

    def learn(self, leg: Leg, outcome: str, choice: bool) -> None:
        """Remember how an attempt's target and vendor key did. `choice`: whether another target could have served, so
        that a key of which nothing remains is worth resting."""
        health, call = self.health, leg.call
        used_up = None
        if outcome == "ok":
            if choice or len(leg.vendor.keys) > 1:
                used_up = ratelimits.rest_after_answer(call.headers, self.clock)
            if used_up is None and health.untroubled:
                return
        now = self.clock()
        target, key = routing.name_of(leg.target), routing.key_name(leg.vendor.name, leg.key)
        if outcome == "rate_limited":
            health.rest(key, now + ratelimits.rest_after_refusal(call.headers, self.clock))
        elif call.status in routing.KEY_REFUSED:
            health.failed(key, now, at_once=True)
        elif outcome in ("vendor_error", "timeout", "connect_failed", "truncated"):
            health.failed(target, now)
        elif outcome == "ok":
            health.succeeded(target, now)
            health.succeeded(key, now)
            if used_up:
                health.rest(key, now + used_up)

    def may_do_better(self, leg: Leg, tenant: Tenant) -> bool:
        """Whether the target of an attempt that failed is worth another: not when it refused the only key that is
        well."""
        if leg.call.status not in routing.KEY_REFUSED:
            return True
        healthy, vendor = self._healthy(), leg.vendor
        serving = routing.serving_keys(vendor, tenant.name)
        return any(key != leg.key and healthy(routing.key_name(vendor.name, key)) for key in serving)

    def later(self, seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, then)


def _pool(vendor: Vendor, former: Parts | None) -> tuple[Pool, VendorAddress]:
    """Connections to a vendor; those there are, unless its address or what it is trusted by may have changed."""
    known = former.settings.vendors.get(vendor.name) if former is not None else None
    if former is not None and known is not None and vendor.ca_file is None and _dialled(known) == _dialled(vendor):
        return former.pools[vendor.name]
    address = VendorAddress(vendor)
    return Pool(address), address


def _dialled(vendor: Vendor) -> tuple[object, ...]:
    """What decides where a connection leads."""
    return vendor.base_url, vendor.allow_private, vendor.ca_file, vendor.proxy
