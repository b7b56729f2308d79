"""Two books side by side: ours and the vendor's, matched one to one by `x-tollbook-attempt-id`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from chaos_house import House

from tollbook.journal.entry import decode_request
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import read
from tollbook.ledger.tieout import check_totals
from tollbook.simulator import read_books

NOT_RECEIVED = {"unsettled", "not_sent", "connect_failed"}
"""How an attempt that the vendor never saw may stand in the book."""

_ATTEMPTS = """
SELECT request_id || '.' || number AS attempt_id, outcome, basis, usage_raw,
    CAST(amount_list AS VARCHAR), CAST(amount_expected AS VARCHAR), CAST(amount_recharge AS VARCHAR), attempts
FROM attempts
"""


class Attempt(NamedTuple):
    """A row of the ledger's `attempts`."""

    attempt_id: str
    outcome: str
    basis: str
    usage_raw: str | None
    amount_list: str | None
    amount_expected: str | None
    amount_recharge: str | None
    attempts: int

    @property
    def charged(self) -> bool:
        amounts = (self.amount_list, self.amount_expected, self.amount_recharge)
        return any(amount is not None and amount.strip("0.") for amount in amounts)


class Matched(NamedTuple):
    """What the comparison counted."""

    received: int
    attempts: int
    lost: int
    doubled: int
    outcomes: Counter[str]


def journaled(book: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each attempt was opened and how often it was settled, by the journal's own lines."""
    opened: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    for directory in lane_directories(book):
        for line in read_lane(directory):
            if line.kind in ("request.opened", "attempt.opened"):
                opened[_attempt_id(line.bytes)] += 1
            elif line.kind in ("request.settled", "attempt.settled", "attempt.unsettled"):
                settled[_attempt_id(line.bytes)] += 1
    return opened, settled


def match(house: House) -> Matched:
    """Hold the book against the vendor's books; everything promise 1 says must hold. The gateway has been stopped."""
    received, billed = read_books(house.vendor_books)
    seen = Counter(line.attempt_id for line in received)
    assert max(seen.values(), default=1) == 1, "an attempt was sent twice"
    opened, settled = journaled(house.book)
    rows = attempts(house.book)
    booked = Counter(row.attempt_id for row in rows)
    lost = [name for name in seen if not booked[str(name)] or not opened[str(name)]]
    doubled = [name for name, count in (booked | opened | settled).items() if count != 1]
    assert not lost, f"{len(lost)} attempts reached the vendor and are not in the book: {lost[:3]}"
    assert not doubled, f"{len(doubled)} attempts are in the book more than once: {doubled[:3]}"
    assert opened == settled == booked, "what was opened, settled and loaded are not the same attempts"
    assert all(row.attempts == 1 for row in rows)
    for row in rows:
        if row.attempt_id not in seen:
            assert row.outcome in NOT_RECEIVED, row
        if row.attempt_id not in seen or row.outcome == "unsettled":
            assert not row.charged, row
    _check_usage(rows, {str(line.attempt_id): line.usage for line in billed})
    return Matched(len(received), len(rows), len(lost), len(doubled), Counter(row.outcome for row in rows))


def check_sound(house: House) -> None:
    """The book verifies, its totals are its rows, and a ledger made anew from the journal is the same."""
    verified = house.document("verify")
    assert verified["verified"] and not verified["findings"]
    assert check_totals(house.book).different == []
    rebuilt = house.document("rebuild")
    assert rebuilt["compared"] == rebuilt["position"] == verified["position"]["number"]


def attempts(book: Path) -> list[Attempt]:
    """All attempts of the ledger."""
    return read(book, lambda lake: [Attempt(*row) for row in lake.rows(_ATTEMPTS)])


def rows(book: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives on the ledger as it is."""

    def query(lake: Lake) -> list[tuple[Any, ...]]:
        return list(lake.rows(statement))

    return read(book, query)


def request_counts(book: Path) -> Counter[str]:
    """How often each request is in the ledger."""
    return Counter(name for (name,) in rows(book, "SELECT request_id FROM requests"))


def _check_usage(rows: list[Attempt], billed: dict[str, dict[str, object]]) -> None:
    for row in rows:
        if row.basis == "provider_reported":
            assert row.usage_raw is not None
            assert json.loads(row.usage_raw) == billed[row.attempt_id], row


def _attempt_id(line: bytes) -> str:
    entry = decode_request(line)
    assert entry.attempt is not None
    return f"{entry.request.id}.{entry.attempt.number}"
