"""How targets and vendor keys are doing, learned from what passes; what is learned decays with time."""

from typing import Final

from msgspec import Struct

from tollbook.core.clock import SECOND

FAILURES_TO_OPEN: Final = 5
REST: Final = 5 * SECOND
REST_LONGEST: Final = 60 * SECOND


class _State(Struct):
    failures: int = 0
    openings: int = 0
    resting_until: int = 0
    asked_until: int = 0


class Health:
    """Passive health per name (a target `vendor/model`, or a vendor key `vendor:key`).

    Five failures in a row make a name unhealthy for 5 s, twice as long each further time up to a minute; after that
    it is tried again, and one success makes it healthy at once. A key that its vendor refuses is unhealthy at once. A
    rest that the vendor asked for lasts just that long, whatever else its other answers say.
    """

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    @property
    def untroubled(self) -> bool:
        """Whether nothing is known against anyone: the usual case, and the cheap one."""
        return not self._states

    def healthy(self, name: str, now: int) -> bool:
        state = self._states.get(name)
        return state is None or (now >= state.resting_until and now >= state.asked_until)

    def succeeded(self, name: str, now: int) -> None:
        state = self._states.get(name)
        if state is None:
            return
        if now >= state.asked_until:
            del self._states[name]
        else:
            self._states[name] = _State(asked_until=state.asked_until)

    def failed(self, name: str, now: int, *, at_once: bool = False) -> None:
        """Count a failure; `at_once`: it is proof enough by itself."""
        state = self._states.setdefault(name, _State())
        state.failures = FAILURES_TO_OPEN if at_once else state.failures + 1
        if state.failures >= FAILURES_TO_OPEN:
            state.resting_until = now + min(REST << state.openings, REST_LONGEST)
            state.openings = min(state.openings + 1, 8)
            state.failures = FAILURES_TO_OPEN - 1  # one more failure after the rest is enough

    def rest(self, name: str, until: int) -> None:
        """Leave a name alone until an instant, as its vendor asked."""
        state = self._states.setdefault(name, _State())
        state.asked_until = max(state.asked_until, until)
