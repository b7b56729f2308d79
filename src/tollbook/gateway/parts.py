"""What all requests of a worker share."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final

from tollbook.core.clock import Clock
from tollbook.core.settings import Model, Settings, Vendor, VendorKey
from tollbook.gateway import answer, routing
from tollbook.gateway.attempt import UpstreamCall
from tollbook.gateway.health import Health
from tollbook.gateway.leg import Leg
from tollbook.gateway.outgoing import fixed_lines
from tollbook.gateway.recorder import Recorder
from tollbook.gateway.repeats import Repeats
from tollbook.gateway.routing import Plan
from tollbook.gateway.upstream import Pool, VendorAddress
from tollbook.pricing.rate import Rater
from tollbook.providers.contract import Adapter

if TYPE_CHECKING:
    from tollbook.gateway.exchange import Exchange

Durable = Callable[[int, Callable[[Exception | None], None]], None]
"""Calls back, on the loop, once everything up to a sequence is on disk."""


class Parts:
    """Handed to every exchange. `secrets` maps (vendor, key name) to the vendor's secret, in memory only."""

    def __init__(
        self,
        settings: Settings,
        secrets: dict[tuple[str, str], str],
        recorder: Recorder,
        rater: Rater,
        clock: Clock,
        durable: Durable | None,
    ) -> None:
        self.settings: Final = settings
        self.secrets: Final = secrets
        self.recorder: Final = recorder
        self.rater: Final = rater
        self.clock: Final = clock
        self.durable: Final = durable
        self.bearers: Final = settings.charging_rules.bearers()
        self.health: Final = Health()
        self.repeats: Final = Repeats(lambda: self.clock())  # looked up anew: a test may move the clock
        self.pools: Final = {name: _pool(VendorAddress(vendor)) for name, vendor in settings.vendors.items()}
        self.calls: Final[set[UpstreamCall]] = set()
        self.running: Final[set[Exchange]] = set()
        self.stopping = False
        self._turns = count()
        self._fixed: Final[dict[tuple[str, str, str], bytes]] = {}
        self._serving: Final[dict[tuple[str, str], tuple[VendorKey, ...]]] = {}
        self._plans: Final = {name: routing.plan(model, lambda name: True) for name, model in settings.models.items()}

    def plan(self, model: Model) -> Plan:
        """The plan for a request now; in good health it is the same for all of a model's requests."""
        if self.health.untroubled:
            return self._plans[model.name]
        now = self.clock()
        return routing.plan(model, lambda name: self.health.healthy(name, now))

    def key(self, vendor: Vendor, tenant: str) -> VendorKey | None:
        """The vendor key that is next in turn for a tenant; None when no key serves it."""
        serving = self._serving.get((vendor.name, tenant))
        if serving is None:
            serving = self._serving[vendor.name, tenant] = routing.serving_keys(vendor, tenant)
        if len(serving) < 2:
            return serving[0] if serving else None
        now = 0 if self.health.untroubled else self.clock()
        return routing.choose_key(
            serving, next(self._turns), lambda key: self.health.healthy(f"{vendor.name}:{key.name}", now)
        )

    def fixed_lines(self, vendor: Vendor, key: VendorKey, adapter: Adapter) -> bytes:
        """What all requests of an operation to a vendor have in common, made once."""
        name = (vendor.name, key.name, adapter.name)
        lines = self._fixed.get(name)
        if lines is None:
            address, secret = self.pools[vendor.name][1], self.secrets[vendor.name, key.name]
            lines = self._fixed[name] = fixed_lines(address, adapter, secret)
        return lines

    def learn(self, leg: Leg, outcome: str) -> None:
        """Remember how an attempt's target and vendor key did."""
        health = self.health
        if outcome == "ok" and health.untroubled:
            return
        now = self.clock()
        name, key_name = routing.name_of(leg.target), f"{leg.vendor.name}:{leg.key.name}"
        if outcome == "rate_limited":
            health.rest(key_name, now + answer.retry_after(leg.call.headers))
        elif outcome in ("vendor_error", "timeout", "connect_failed", "truncated"):
            health.failed(name, now)
        elif outcome == "ok":
            health.succeeded(name)

    def later(self, seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, then)


def _pool(address: VendorAddress) -> tuple[Pool, VendorAddress]:
    return Pool(address), address
