"""What a vendor allows a key of ours in a minute, and how tenants share it."""

from typing import Final

from tollbook.core.clock import SECOND, Clock
from tollbook.core.settings import Settings, Vendor, VendorKey
from tollbook.gateway.counters import Counters, Scope
from tollbook.gateway.limits import Ticket
from tollbook.gateway.shares import Demand, fits

LOOK_AGAIN: Final = SECOND // 4
"""How old the picture of what the other tenants use may be."""


class Quotas:
    """The limits of vendor keys that have one."""

    def __init__(self, settings: Settings, counters: Counters, clock: Clock) -> None:
        self._clock: Final = clock
        self._quotas: Final = {
            (vendor.name, key.name): _Quota(vendor, key, settings, counters)
            for vendor in settings.vendors.values()
            for key in vendor.keys
            if key.requests_per_minute is not None or key.tokens_per_minute is not None
        }
        self.limited: Final = frozenset(vendor for vendor, _ in self._quotas)
        """The vendors of which some key is limited."""

    def has_room(self, vendor: str, key: str, tenant: str, tokens: int) -> bool:
        """Whether a tenant may send an attempt with a key now."""
        quota = self._quotas.get((vendor, key))
        return quota is None or quota.has_room(tenant, tokens, self._clock())

    def take(self, vendor: str, key: str, tenant: str, tokens: int, *, stream: bool) -> Ticket | None:
        """Count an attempt in; None when its key has no limit."""
        quota = self._quotas.get((vendor, key))
        return None if quota is None else Ticket([quota.scope(tenant)], tokens, stream, self._clock)


class _Quota:
    """One vendor key's limits, and what each tenant uses of them."""

    def __init__(self, vendor: Vendor, key: VendorKey, settings: Settings, counters: Counters) -> None:
        self._requests: Final = key.requests_per_minute
        self._tokens: Final = key.tokens_per_minute
        self._name: Final = ("vendor key", vendor.name, key.name)
        self._counters: Final = counters
        self._weights: Final = {tenant.name: tenant.weight for tenant in settings.tenants.values()}
        self._alone: Final = len(key.tenants) == 1
        self._scopes: Final[dict[str, Scope]] = {}
        for tenant in key.tenants or settings.tenants:
            self.scope(tenant)
        self._looked = 0
        self._requests_used: dict[str, Demand] = {}
        self._tokens_used: dict[str, Demand] = {}

    def scope(self, tenant: str) -> Scope:
        """What is counted for a tenant; the registry may know more of them than the configuration."""
        found = self._scopes.get(tenant)
        if found is None:
            found = self._scopes[tenant] = self._counters.scope(*self._name, tenant)
        return found

    def has_room(self, tenant: str, tokens: int, instant: int) -> bool:
        if not self._looked <= instant < self._looked + LOOK_AGAIN:
            self._look(instant)
        self._count(tenant, instant)
        if self._requests is not None and not fits(self._requests, 1, tenant, self._requests_used, alone=self._alone):
            return False
        return self._tokens is None or fits(self._tokens, tokens, tenant, self._tokens_used, alone=self._alone)

    def _look(self, instant: int) -> None:
        """Look what all tenants use."""
        self._looked = instant
        self._requests_used, self._tokens_used = {}, {}
        for tenant, scope in self._scopes.items():
            used = scope.used(instant)
            if used.requests or used.held:
                self._note(tenant, used.requests, used.tokens + used.held)

    def _count(self, tenant: str, instant: int) -> None:
        """Look what the tenant itself uses, to the last request."""
        used = self.scope(tenant).used(instant)
        self._note(tenant, used.requests, used.tokens + used.held)

    def _note(self, tenant: str, requests: int, tokens: int) -> None:
        weight = self._weights.get(tenant, 1)
        self._requests_used[tenant] = Demand(requests, weight)
        self._tokens_used[tenant] = Demand(tokens, weight)
