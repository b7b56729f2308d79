"""The finest grain that both books share: which dimensions, which classes, which buckets."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from tollbook.core.usage import MODALITIES, TOKEN_CLASSES
from tollbook.reconciliation.cell import Bucket, Scope
from tollbook.reconciliation.ours import GRAINS, Place, Used
from tollbook.reconciliation.theirs import Line

_UNTIMED: Final = "input_cache_write"


class Grain(NamedTuple):
    """By what both books are divided. `classes`: those that the vendor tells. `notes`: what is not divided, and why."""

    by_key: bool
    by_project: bool
    by_region: bool
    by_tier: bool
    classes: frozenset[str]
    notes: tuple[str, ...]

    @property
    def dimensions(self) -> tuple[bool, ...]:
        """By which of key, project, region and tier it divides."""
        return self.by_key, self.by_project, self.by_region, self.by_tier

    def coarser(self, scope: Scope) -> Scope:
        """A scope of a finer grain without what this one does not divide by."""
        key = scope.vendor_key if self.by_key or self.by_project else None
        return Scope(scope.model, key, scope.tier if self.by_tier else None, scope.region if self.by_region else None)

    def scope(self, place: Place | Line) -> Scope:
        """The scope that usage or a line belongs to."""
        key = place.key if self.by_key else place.project if self.by_project else None
        region = place.region if self.by_region else None
        return Scope(place.model, key, place.tier if self.by_tier else None, region)

    def class_of(self, name: str) -> str:
        """The class of the vendor that holds a class of ours: itself, else what the vendor counts it in."""
        return next((one for one in _wider(name) if one in self.classes), name)


def _wider(name: str) -> list[str]:
    """A class and those that count it in, the nearest first."""
    base, _, modality = name.partition(".")
    found = [name]
    if base.startswith(_UNTIMED) and base != _UNTIMED:
        found += [f"{_UNTIMED}.{modality}"] if modality else []
        found += [base, _UNTIMED]
    elif base == "output_reasoning":
        found += [f"output.{modality}"] if modality else []
        found += [base, "output"]
    else:
        found.append(base)
    return found


def shared(lines: Sequence[Line], places: Collection[Place]) -> Grain:
    """The dimensions that the vendor's lines and our record both tell."""
    notes: list[str] = []
    about = [line for line in lines if line.model is not None or line.class_ in _TOKENS]

    def both(name: str, mine: Callable[[Place], str | None], what: str, do: str) -> bool:
        told = any(getattr(line, name) is not None for line in about)
        if told and not any(mine(place) is not None for place in places):
            notes.append(f"not divided by {what}: our record does not tell it; {do}")
            return False
        if told and any(mine(place) is None for place in places):
            notes.append(f"some attempts of ours have no {what}, and stand in cells of their own; {do}")
        return told

    key = both("key", lambda place: place.key, "key", "give each vendor key its `id:` in the configuration")
    project = not key and both("project", lambda place: place.project, "project", "give each vendor key its `project:`")
    region = both("region", lambda place: place.region, "region", "its answers name none")
    tier = any(line.tier != "standard" for line in about)
    told = frozenset(line.class_ for line in lines)
    return Grain(key, project, region, tier, told, tuple(notes))


_TOKENS: Final = frozenset((*TOKEN_CLASSES, *(f"{name}.{kind}" for name in TOKEN_CLASSES for kind in MODALITIES)))


def slot_of(buckets: Iterable[Bucket]) -> int:
    """The widest slot of ours of which all edges of the vendor's buckets are multiples, in microseconds."""
    edges = {edge for bucket in buckets for edge in bucket}
    return next((grain for grain in GRAINS if all(edge % grain == 0 for edge in edges)), GRAINS[-1])


def used_in(grain: Grain, used: Iterable[Used]) -> dict[tuple[Scope, str, int], list[int]]:
    """Quantity, amount and unpriced quantity by scope, class and slot."""
    sums: dict[tuple[Scope, str, int], list[int]] = {}
    for one in used:
        place = (grain.scope(one.place), grain.class_of(one.class_), one.begun)
        found = sums.setdefault(place, [0, 0, 0])
        found[0] += one.quantity
        found[1] += one.amount
        found[2] += one.unpriced
    return sums
