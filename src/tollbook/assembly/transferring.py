"""Carries over what is on record already when it turns out to belong elsewhere: by a move, or by a suspected key.

A transfer sums rows of the ledger, so it waits until the ledger has folded the change: what was folded before is
carried over, what comes later knows the change. Which changes still want their transfer is read from the journal, so
that one that was broken off by a kill is posted by the next scribe, once.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from tollbook.assembly.registering import RegistryKeeper, wish
from tollbook.core.faults import BadInput
from tollbook.core.money import format_amount
from tollbook.journal.registration import TransferLeg, TransferPosted, TransferSide
from tollbook.ledger import structure
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import position_of
from tollbook.ledger.structure import Suspected, Usage
from tollbook.registry import decisions
from tollbook.registry.organisation import RESTATED, Organisation, cuts, needs_transfer
from tollbook.registry.registry import Place, Recorded

Document = dict[str, Any]
Sides = Callable[[Usage], tuple[Place, Place]]
"""From where to where a sum goes."""


class Suspicion(Struct, frozen=True, kw_only=True):
    """A wish to carry what a key used since an instant to a cost centre."""

    name: str
    since: int
    cost_centre: str
    tenant: str | None = None
    reason: str | None = None


class Transferring:
    """Posts transfers. `lake` gives the ledger as far as it has got, if it is open."""

    def __init__(self, keeper: RegistryKeeper, lake: Callable[[], Lake | None]) -> None:
        self._keeper: Final = keeper
        self.lake: Final = lake
        self._wanting: list[Recorded] = []
        self._looked = 0

    @property
    def acts(self) -> dict[str, Callable[[Document, str], Any]]:
        """What people can ask beside the registry's own acts."""
        return {"key.transfer": lambda arguments, actor: self.suspect(wish(arguments, Suspicion), actor)}

    @property
    def waiting(self) -> list[Recorded]:
        """The changes whose transfers are not posted yet."""
        registry = self._keeper.registry
        self._wanting += [known for known in registry.entries[self._looked :] if needs_transfer(known)]
        self._looked = len(registry.entries)
        self._wanting = [known for known in self._wanting if known.digest not in registry.transferred]
        return list(self._wanting)

    def post(self) -> None:
        """Post what can be: each change whose entry the ledger has folded, in the order they were made."""
        waiting = self.waiting
        lake = self.lake() if waiting else None
        if lake is None:
            return
        for known in waiting:
            before = structure.position_of_change(lake, known.digest)
            if before is None:
                return
            self._keeper.post(self._of_change(lake, known, before))

    @property
    def measures(self) -> dict[str, Callable[[Document], dict[str, str] | None]]:
        """How much the acts would move, before they are done."""
        return {"key.transfer": lambda arguments: _moved(self._suspicion(wish(arguments, Suspicion), ""))}

    def suspect(self, wanted: Suspicion, actor: str) -> Document:
        """Carry what a key used since an instant to a cost centre, but for what was carried so before."""
        posted = self._suspicion(wanted, actor)
        return {"entry": self._keeper.post(posted), "legs": [shown(leg) for leg in posted.legs]}

    def _suspicion(self, wanted: Suspicion, actor: str) -> TransferPosted:
        """What would be posted now."""
        key = decisions.key_named(self._keeper.registry, wanted.name, wanted.tenant)
        lake = self.lake()
        if lake is None:
            raise BadInput("the ledger is catching up; ask again in a moment")
        if not wanted.cost_centre.strip():
            raise BadInput("name the cost centre it goes to, with --move-to")
        before = position_of(lake).number + 1
        organisation = Organisation(self._keeper.registry, RESTATED)
        found = structure.usage(
            lake, organisation.cuts, wanted.since, before, self._suspected(), (key.tenant, key.name)
        )
        target = Place(cost_centre=wanted.cost_centre, tenant=None)
        return TransferPosted(
            legs=_legs(found, lambda one: (organisation.place(one.tenant, one.workload, one.cut, 0), target)),
            since=wanted.since,
            before=before,
            actor=actor,
            reason=wanted.reason,
            tenant=key.tenant,
            key=key.name,
        )

    def _suspected(self) -> list[Suspected]:
        """What is elsewhere already, and moves no more."""
        return [
            Suspected(one.tenant or "", one.key or "", one.since, one.before)
            for one in self._keeper.registry.suspicions
        ]

    def _of_change(self, lake: Lake, known: Recorded, before: int) -> TransferPosted:
        registry = self._keeper.registry
        instants = cuts(registry.entries[: known.number + 1])

        def sides(one: Usage) -> tuple[Place, Place]:
            at = instants[one.cut - 1] if one.cut else -1
            former = registry.place(one.tenant, one.workload, at, known.number)
            return former, registry.place(one.tenant, one.workload, at, known.number + 1)

        found = structure.usage(lake, instants, known.effective, before, self._suspected())
        entry = known.entry
        return TransferPosted(
            legs=_legs(found, sides),
            since=known.effective,
            before=before,
            actor=entry.actor,
            reason=entry.reason,
            change=known.digest,
        )


def shown(leg: TransferLeg) -> Document:
    """A leg as it is told to people and machines."""
    return {
        "from": _told(leg.source),
        "to": _told(leg.target),
        "currency": leg.currency,
        "expected": leg.expected,
        "recharge": leg.recharge,
        "requests": leg.requests,
        "attempts": leg.attempts,
    }


def _moved(posted: TransferPosted) -> dict[str, str] | None:
    """The sum of what a transfer moves per currency; None when some of it has no price."""
    sums: dict[str, Decimal] = {}
    for leg in posted.legs:
        if leg.currency is None or leg.expected is None:
            return None
        sums[leg.currency] = sums.get(leg.currency, Decimal(0)) + Decimal(leg.expected)
    return {currency: format(total, "f") for currency, total in sums.items()}


def _told(side: TransferSide) -> Document:
    return {name: getattr(side, name) for name in side.__struct_fields__}


def _legs(found: Iterable[Usage], sides: Sides) -> list[TransferLeg]:
    """One leg for each pair of places and each currency; what stays where it is goes nowhere."""
    sums: dict[tuple[Place, Place, str | None], list[int | None]] = {}
    for one in found:
        source, target = sides(one)
        if source == target:
            continue
        total = sums.setdefault((source, target, one.currency), [None, None, 0, 0])
        for place, value in enumerate((one.expected, one.recharge, one.requests, one.attempts)):
            former = total[place]
            total[place] = former if value is None else value + (former or 0)
    return [
        TransferLeg(
            source=_side(source),
            target=_side(target),
            currency=currency,
            expected=None if expected is None else format_amount(expected),
            recharge=None if recharge is None else format_amount(recharge),
            requests=requests or 0,
            attempts=attempts or 0,
        )
        for (source, target, currency), (expected, recharge, requests, attempts) in sorted(sums.items(), key=_order)
    ]


def _order(item: tuple[tuple[Place, Place, str | None], Any]) -> list[str]:
    source, target, currency = item[0]
    return [str(part or "") for part in (*source, *target, currency)]


def _side(place: Place) -> TransferSide:
    return TransferSide(tenant=place.tenant, unit=place.unit, entity=place.entity, cost_centre=place.cost_centre)
