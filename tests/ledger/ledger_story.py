"""Stories for tests: requests told in a line each, as the lines and batches that a journal would hold."""

from pathlib import Path
from typing import Any

import msgspec

from tollbook.core.digest import sha256_hex
from tollbook.journal.entry import (
    Attempt,
    Close,
    LaneClosed,
    LaneOpened,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    encode_payload,
)
from tollbook.journal.line import Line, encode_line
from tollbook.journal.replay import Batch
from tollbook.ledger import location
from tollbook.ledger.loader import Loader

START = 1_795_436_400_000_000
WORKER = "worker-20261123T164000Z-00000001"
SPARE = "worker-20261123T164000Z-00000002"
SUPERVISOR = "supervisor-20261123T164000Z-00000000"
BOOK = "b" * 64
RAW = msgspec.Raw(b'{"prompt_tokens":10,"completion_tokens":5}')


class Open:
    """An attempt as it was opened: what its settlement must repeat."""

    def __init__(self, request: Request, attempt: Attempt, lane: str, sequence: int, recorded: int) -> None:
        self.request, self.attempt = request, attempt
        self.lane, self.sequence, self.recorded = lane, sequence, recorded


class Story:
    """A journal being told: lines in lanes, and heads over them."""

    def __init__(self, start: int = START) -> None:
        self.now = start
        self.position = 0
        self.sequences: dict[str, int] = {}
        self.pending: list[Line] = []

    def request_id(self) -> str:
        """A request id that the same story has in every process."""
        digits = f"{self.now // 1000:012x}7000800000000000{self.now % 1000:04x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def put(self, kind: str, payload: Any, lane: str = WORKER) -> Line:
        """One entry; each is a millisecond after the one before."""
        self.now += 1000
        sequence = self.sequences.get(lane, -1) + 1
        self.sequences[lane] = sequence
        data = encode_line("0" * 64, sequence, self.now, kind, encode_payload(payload))
        line = Line(lane, sequence, self.now, kind, sha256_hex(data), data)
        self.pending.append(line)
        return line

    def open(self, lane: str = WORKER, attempt: dict[str, Any] | None = None, **request: Any) -> Open:
        """A request and its first attempt."""
        asked = {"id": self.request_id(), "tenant": "acme", "key": "k", "endpoint": "openai.chat"}
        asked |= {"model_asked": "fast", "policy": "fast@0123456789ab"}
        return self._open(Request(**(asked | request)), "request.opened", lane, attempt or {})

    def again(self, former: Open, reason: str = "retry", because: str = "rate_limited", **attempt: Any) -> Open:
        """The next attempt of a request."""
        facts = {"number": former.attempt.number + 1, "reason": reason, "because": because} | attempt
        return self._open(former.request, "attempt.opened", former.lane, facts)

    def settle(
        self, opened: Open, *, more: bool = False, lane: str | None = None, rated: bool = True, **settlement: Any
    ) -> Line:
        """The end of an attempt, and of its request unless `more` follow."""
        facts: dict[str, Any] = {"outcome": "ok", "basis": "provider_reported", "usage": {"input": 10, "output": 5}}
        facts |= {"status": 200, "model_served": "gpt-4o-mini-2024", "billable": True, "borne_by": "tenant"}
        rating = settlement.pop("rating", self.rating() if rated else None)
        settled = Settlement(opened=opened.recorded, sequence=opened.sequence, **(facts | settlement))
        close = Close(outcome=settled.outcome, attempts=opened.attempt.number, route="r", basis=settled.basis)
        entry = RequestEntry(
            request=opened.request,
            attempt=opened.attempt,
            settlement=settled,
            rating=rating,
            close=None if more else close,
            lane=opened.lane if lane else None,
        )
        return self.put("attempt.settled" if more else "request.settled", entry, lane or opened.lane)

    def fail(self, opened: Open, outcome: str = "rate_limited", *, more: bool = True) -> Line:
        """An attempt that the vendor refused and does not bill."""
        return self.settle(
            opened, more=more, rated=False, outcome=outcome, status=429, usage=None, basis="unreported", billable=False
        )

    def bury(self, opened: Open) -> Line:
        """An attempt whose worker died."""
        settled = Settlement(opened=opened.recorded, sequence=opened.sequence, outcome="unsettled")
        close = Close(outcome="unsettled", attempts=opened.attempt.number, client="gone")
        entry = RequestEntry(
            request=opened.request, attempt=opened.attempt, settlement=settled, close=close, lane=opened.lane
        )
        return self.put("attempt.unsettled", entry, SUPERVISOR)

    def close(self, lane: str = WORKER, attempts: int = 0, **facts: Any) -> Line:
        """A request that ended without an attempt in its last entry."""
        asked = {"id": self.request_id(), "tenant": "acme", "key": "k", "endpoint": "openai.chat"}
        close = Close(outcome=facts.pop("outcome", "refused"), attempts=attempts, error=facts.pop("error", "no_model"))
        entry = RequestEntry(request=Request(**(asked | facts)), close=close, opened=self.now)
        return self.put("request.closed", entry, lane)

    def lane_opened(self, lane: str) -> Line:
        return self.put("lane.opened", LaneOpened(lane=lane, role="worker"), SUPERVISOR)

    def lane_closed(self, lane: str) -> Line:
        closed = LaneClosed(lane=lane, role="worker", reason="died", last=self.sequences.get(lane, -1))
        return self.put("lane.closed", closed, SUPERVISOR)

    def rating(self, *amounts: str | None, currency: str = "USD", **facts: Any) -> Rating:
        """A rating with a line of input and one of output, or lines with the amounts given."""
        names = ("input", "output", "input_cache_read")
        lines = [
            (name, 10, None if amount is None else "0.1", amount, amount, amount, f"row/{name}")
            for name, amount in zip(names, amounts or ("0.0000015", "0.000003"), strict=False)
        ]
        return Rating(book=BOOK, adapter="openai.chat/1", charges=lines, currency=currency, **facts)

    def heads(self) -> Batch:
        """Heads over all that was told since the last."""
        self.now += 1000
        self.position += 1
        lines = sorted(self.pending, key=lambda line: (line.lane, line.sequence))
        self.pending = []
        return Batch(self.position, sha256_hex(str(self.position).encode()), self.now, lines)

    def _open(self, request: Request, kind: str, lane: str, facts: dict[str, Any]) -> Open:
        known = {"number": 1, "vendor": "openai", "vendor_key": "main", "model_sent": "gpt-4o-mini", "reason": "first"}
        attempt = Attempt(**(known | facts))
        line = self.put(kind, RequestEntry(request=request, attempt=attempt), lane)
        return Open(request, attempt, lane, line.sequence, line.recorded)


def book_root(directory: Path) -> Path:
    """A directory that is enough of a book for a ledger."""
    location.ledgers(directory).mkdir(parents=True, exist_ok=True)
    return directory


def load(directory: Path, *batches: Batch) -> Path:
    """A book's directory with a ledger that holds these batches."""
    root = book_root(directory)
    with Loader(root) as loader:
        loader.load(batches)
    return root
