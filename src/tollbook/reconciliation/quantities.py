"""Why one bucket's quantities differ: the smallest set of candidate causes whose effects can make up the difference.

A set explains when, class by class, the difference lies within the sum of its effects. Fewest causes win; among sets
of equal size the narrowest, when it is clearly so; else they cannot be told apart and the finding names them all.
What is certain of our own record (a row twice, a request never sent) is taken first, as far as it helps. What no set
explains stays unexplained: that is better than a wrong cause.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from tollbook.reconciliation.cell import Band, Candidate, Effect, apportion

MOST_CAUSES: Final = 3
MOST_CANDIDATES: Final = 14
CLEARLY: Final = 4
"""How many times narrower a set has to be than the next, to be the one."""

_NONE: Final = Effect(Band(0, 0))
Difference = Mapping[str, int]


class Explained(NamedTuple):
    """What one cause (or one of several, `among`) makes up, class by class."""

    candidate: Candidate
    quantities: dict[str, int]
    among: tuple[str, ...] = ()


def explain(difference: Difference, candidates: Sequence[Candidate], slack: Difference) -> list[Explained]:
    """What explains `difference` (theirs less ours by class, known classes only) within `slack` of each class."""
    found: list[Explained] = []
    left = dict(difference)
    for candidate in candidates:
        if candidate.certain and _helps(left, candidate):
            quantities = {name: candidate.effects[name].quantity.low for name in left if name in candidate.effects}
            left = {name: value - quantities.get(name, 0) for name, value in left.items()}
            found.append(Explained(candidate, quantities))
    if not _differs(left, slack):
        return found
    uncertain = [one for one in candidates if not one.certain and _touches(left, one)][:MOST_CANDIDATES]
    return found + _smallest(left, uncertain, slack)


def _smallest(left: Difference, candidates: Sequence[Candidate], slack: Difference) -> list[Explained]:
    for size in range(1, min(MOST_CAUSES, len(candidates)) + 1):
        fitting = [chosen for chosen in combinations(candidates, size) if _fits(left, chosen, slack)]
        if fitting:
            return _best(left, sorted(fitting, key=_width))
    return []


def _best(left: Difference, fitting: list[tuple[Candidate, ...]]) -> list[Explained]:
    """The narrowest set; where others are about as narrow, its causes stand for one of several each."""
    best = fitting[0]
    rivals = [one for one in fitting[1:] if _width(one) < CLEARLY * max(1, _width(best))]
    shared = [one for one in best if all(one in rival for rival in rivals)]
    among = tuple(sorted({one.cause for chosen in (best, *rivals) for one in chosen if one not in shared}))
    parts = _divide(left, best)
    return [
        Explained(candidate, quantities, () if candidate in shared or len(among) < 2 else among)
        for candidate, quantities in zip(best, parts, strict=True)
    ]


def _divide(left: Difference, chosen: Sequence[Candidate]) -> list[dict[str, int]]:
    """Each class's difference in parts: every candidate's least, and the rest as their room is."""
    parts: list[dict[str, int]] = [{} for _ in chosen]
    for name, value in left.items():
        bands = [candidate.effects.get(name, _NONE).quantity for candidate in chosen]
        least = sum(band.low for band in bands)
        value = max(least, min(value, sum(band.high for band in bands)))
        extra = apportion(value - least, [band.width for band in bands])
        for part, band, more in zip(parts, bands, extra, strict=True):
            part[name] = band.low + more
    return parts


def _fits(left: Difference, chosen: Sequence[Candidate], slack: Difference) -> bool:
    for name, value in left.items():
        bands = [candidate.effects.get(name, _NONE).quantity for candidate in chosen]
        room = slack.get(name, 0)
        if not sum(band.low for band in bands) - room <= value <= sum(band.high for band in bands) + room:
            return False
    return True


def _width(chosen: Sequence[Candidate]) -> int:
    return sum(effect.quantity.width for candidate in chosen for effect in candidate.effects.values())


def _differs(left: Difference, slack: Difference) -> bool:
    return any(abs(value) > slack.get(name, 0) for name, value in left.items())


def _touches(left: Difference, candidate: Candidate) -> bool:
    return any(left.get(name) and effect.quantity != (0, 0) for name, effect in candidate.effects.items())


def _helps(left: Difference, candidate: Candidate) -> bool:
    """Whether its effect lies between nothing and the difference in every class it touches, and somewhere is not 0."""
    pairs = [(left[name], effect.quantity.low) for name, effect in candidate.effects.items() if name in left]
    return any(least for _, least in pairs) and all(
        least == 0 or ((least < 0) == (value < 0) and abs(least) <= abs(value)) for value, least in pairs
    )
