"""Where recorded usage belongs: by the structure of then, of now, or of a date. Pure.

Usage is given by its tenant and workload as captured, the instant it occurred and the position it was folded at. Both
are told by number: how many of `cuts` (instants from which something held) it is not before, and how many of `epochs`
(positions at which something became known). So a ledger can sum by them without knowing the registry.
"""

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from tollbook.journal.registration import Added, Ended, Moved, RegistryChanged
from tollbook.registry.registry import Place, Recorded, Registry

AS_WAS: Final = "as-was"
RESTATED: Final = "restated"
AS_OF: Final = "as-of"

_ACTS: Final[dict[str, type[Added] | type[Moved]]] = {"added": Added, "moved": Moved}


class Organisation:
    """One way to look at it. `as-was`: as it was known when the usage was recorded; `restated`: as it is known now to
    have been when it occurred; `as-of`: as it is known now for the instant `at`."""

    def __init__(self, registry: Registry, mode: str = AS_WAS, at: int = 0) -> None:
        self._registry: Final = registry
        self._mode: Final = mode
        self._at: Final = at
        told = [known for known in registry.entries if is_structural(known.entry)]
        self.cuts: Final = cuts(told) if mode != AS_OF else []
        self.epochs: Final = sorted({known.position for known in told}) if mode == AS_WAS else []
        self.place: Final = lru_cache(maxsize=65_536)(self._place)
        self.moves_tenants: Final = any(
            isinstance(change, Moved) and change.kind == "workload" and change.parent is not None
            for known in told
            for change in known.entry.changes
        )
        """Whether some usage belongs to another tenant than the one it was captured for."""

    def _place(self, tenant: str, workload: str | None, cut: int, epoch: int) -> Place:
        """Where usage belongs that is not before so many cuts and epochs."""
        if self._mode == AS_OF:
            return self._registry.place(tenant, workload, self._at)
        at = self.cuts[cut - 1] if cut else -1
        return self._registry.place(tenant, workload, at, self._known(epoch))

    def _known(self, epoch: int) -> int | None:
        if self._mode == RESTATED:
            return None
        position = self.epochs[epoch - 1] if epoch else -1
        return bisect_right(self._registry.entries, position, key=lambda known: known.position)


def cuts(entries: Iterable[Recorded]) -> list[int]:
    """The instants from which something belongs elsewhere. What was added holds for what was before, too."""
    return sorted({known.effective for known in entries if _moves(known)})


def _moves(known: Recorded) -> bool:
    return is_structural(known.entry) and any(isinstance(change, Moved) for change in known.entry.changes)


def is_structural(entry: RegistryChanged) -> bool:
    """Whether an entry says where something belongs or who bears it."""
    return any(
        isinstance(change, Added | Moved) and (change.parent is not None or change.cost_centre is not None)
        for change in entry.changes
    )


def needs_transfer(known: Recorded) -> bool:
    """Whether what is on record already may belong elsewhere after an entry: every move. What is added has used nothing
    yet."""
    return _moves(known)


def from_rows(rows: Iterable[dict[str, Any]]) -> Registry:
    """The structure from the ledger's table `registry`, its rows in order. Keys are left out."""
    registry = Registry()
    entry: list[Added | Moved | Ended] = []
    last: dict[str, Any] | None = None
    for row in rows:
        if last is not None and (row["lane"], row["sequence"]) != (last["lane"], last["sequence"]):
            _add(registry, last, entry)
            entry = []
        last = row
        if row["act"] in _ACTS:
            facts = {name: row[name] for name in ("name", "parent", "owner", "cost_centre", "mode")}
            entry.append(_ACTS[row["act"]](kind=row["subject"], **facts))
        elif row["act"] == "ended":
            entry.append(Ended(kind=row["subject"], name=row["name"]))
    if last is not None:
        _add(registry, last, entry)
    return registry


def _add(registry: Registry, row: dict[str, Any], changes: list[Any]) -> None:
    effective = None if row["effective"] == row["recorded"] else row["effective"]
    entry = RegistryChanged(changes=changes, actor=row["actor"], effective=effective, reason=row["reason"])
    registry.add(entry, row["recorded"], row["digest"], row["position"])
