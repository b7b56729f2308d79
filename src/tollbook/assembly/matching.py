"""What vendors told later of work that had gone on: taken over into the journal, once. The scribe's."""

from typing import Final

from tollbook.gateway.awaited import AwaitedTable, Told
from tollbook.journal.recording import BookLane
from tollbook.ledger.lake import Lake


class Matching:
    """Writes `attempt.matched` for what was told of an attempt that the ledger holds as going on.

    An attempt is done with only once the ledger has the entry: whatever is interrupted is done again, and never twice.
    """

    def __init__(self, lane: BookLane, awaited: AwaitedTable) -> None:
        self._lane: Final = lane
        self._awaited: Final = awaited
        self._written: Final[set[tuple[str, int]]] = set()

    def match(self, lake: Lake) -> int:
        """How many entries were written. `lake` must hold what this process has written before.

        Raises JournalUnavailable, and sqlite3.Error while the table cannot be read.
        """
        return sum(self._match(lake, one) for one in self._awaited.told())

    def _match(self, lake: Lake, one: Told) -> bool:
        rows = lake.rows(
            "SELECT kind FROM attempts WHERE opened_lane = $1 AND opened_sequence = $2", [one.lane, one.sequence]
        )
        kinds = {kind for (kind,) in rows}
        if "attempt.matched" in kinds:
            self._awaited.done(one)
            self._written.discard((one.lane, one.sequence))
            return False
        name = (one.lane, one.sequence)
        if name in self._written or not kinds & {"attempt.settled", "request.settled"}:
            return False  # the ledger has not got so far
        self._written.add(name)
        self._lane.append("attempt.matched", one.entry)
        return True
