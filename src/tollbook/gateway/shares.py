"""How the limit of a vendor key is shared among tenants: each has its part for sure, and may borrow what others leave.

Pure. A tenth of the limit is for whoever comes next: without it, a tenant that was there first could have used up the
whole minute. The rest is in parts, by weight, among those who were active in the last minute. A tenant within its part
is let in as long as anything at all is left; beyond it, only by what the others' parts do not need.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

HEADROOM: Final = 10


class Demand(NamedTuple):
    """What one tenant has used of a limit in the last minute, and its weight."""

    used: int
    weight: int


def fits(limit: int, amount: int, tenant: str, demands: Mapping[str, Demand], *, alone: bool) -> bool:
    """Whether a tenant may use `amount` more of a limit.

    `demands` are all tenants that were active, this one among them; `alone`: nobody else can use the key at all.
    """
    total = sum(demand.used for demand in demands.values())
    if total + amount > limit:
        return False
    if alone:
        return True
    parted = limit - max(1, limit // HEADROOM)
    weights = sum(demand.weight for demand in demands.values())
    own = demands[tenant]
    if (own.used + amount) * weights <= parted * own.weight:
        return True
    owed = sum(
        max(0, parted * other.weight // weights - other.used) for name, other in demands.items() if name != tenant
    )
    return total + amount + owed <= parted
