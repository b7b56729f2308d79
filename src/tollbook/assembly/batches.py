"""Batches in the journal: that one was made, its lines, and that it is closed. The scribe's."""

from typing import Final

import msgspec

from tollbook.core.digest import keyed_digest
from tollbook.gateway.batches import BatchTable, FollowedBatch, WaitingLine
from tollbook.journal.entry import BatchOpened, RequestEntry, encode_payload
from tollbook.journal.personal import PersonalKeys, year_of
from tollbook.journal.recording import BookLane
from tollbook.ledger.lake import Lake
from tollbook.ledger.lines import settled_lines

AT_ONCE: Final = 500
"""Lines that are taken over in one turn of the scribe."""


class TakingBatches:
    """Takes over what workers and the desk put into the tables of batches.

    A writer that died may have written lines that the table still holds: until nothing is left of what it found at its
    start, a scribe asks the ledger which of them are there. What slips through is dropped when it is folded.
    """

    def __init__(self, lane: BookLane, table: BatchTable, keys: PersonalKeys) -> None:
        self._lane: Final = lane
        self._table: Final = table
        self._keys: Final = keys
        self._doubtful = True

    def take(self, lake: Lake) -> int:
        """How many entries were written. `lake` must hold what this process has written before.

        Raises JournalUnavailable, and sqlite3.Error while the tables cannot be read.
        """
        written = 0
        for batch in self._table.unknown():
            self._lane.append_all("batch.opened", [encode_payload(self._opened(batch))])
            self._table.put_known(batch)
            written += 1
        lines = self._table.waiting_lines(AT_ONCE)
        written += self._take_lines(lake, lines)
        for batch, closing in self._table.closings():
            self._lane.append_all("batch.closed", [closing])
            self._table.put_closed(batch)
            written += 1
        return written

    def _take_lines(self, lake: Lake, lines: list[WaitingLine]) -> int:
        if not lines:
            self._doubtful = False
            return 0
        known = settled_lines(lake, [_request_of(line) for line in lines]) if self._doubtful else set()
        fresh = [line for line in lines if not known or _request_of(line) not in known]
        self._lane.append_all("line.settled", [line.payload for line in fresh])
        self._table.put_taken(lines)
        return len(fresh)

    def _opened(self, batch: FollowedBatch) -> BatchOpened:
        opening = batch.opening
        entry = msgspec.json.decode(b"{" + opening.members + b"}", type=RequestEntry)
        assert entry.attempt is not None
        key = self._keys.of(batch.tenant, year_of(opening.recorded))
        return BatchOpened(
            request_id=entry.request.id,
            tenant=batch.tenant,
            vendor=entry.attempt.vendor,
            vendor_key=entry.attempt.vendor_key,
            endpoint=entry.request.endpoint,
            batch=keyed_digest(key, f"batch\n{batch.id}"),
            lane=opening.lane,
            sequence=opening.sequence,
            opened=opening.recorded,
        )


def _request_of(line: WaitingLine) -> str:
    """The request id in a line's payload."""
    return msgspec.json.decode(b"{" + line.payload + b"}", type=RequestEntry).request.id
