"""The sides of a replay: what was to be sent, what the book says of it, what the vendor billed for it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.cli.sender import Tally, send_all
from tollbook.cli.traffic import Recorded, shots_of
from tollbook.core.faults import NotFound
from tollbook.core.usage import tokens_input, tokens_output
from tollbook.ledger.report import report
from tollbook.simulator import read_books

PATIENCE_SECONDS: Final = 30.0
"""How long the book may stand still before we stop waiting for it."""


class Place(NamedTuple):
    """Where a replay is sent, and where its traces are looked for; None: cannot be looked into."""

    url: str
    key: str
    book: Path | None
    vendor_books: Path | None


class Sums(NamedTuple):
    """What a side adds up to."""

    requests: int
    tokens_input: int
    tokens_output: int


def send(
    traffic: list[Recorded],
    place: Place,
    model: str,
    template: str,
    speed: float,
    connections: int,
    progress: Callable[[int, int], None],
) -> Tally:
    """Send a trace to a gateway under a template of its own; `progress` is told how many of how many are answered."""
    shots = shots_of(traffic, model=model, key=place.key, template=template, speed=speed)
    count = iter(range(1, len(traffic) + 1))
    sending = send_all(place.url, shots, connections=connections, progress=lambda: progress(next(count), len(traffic)))
    return asyncio.run(sending)


def sum_of(traffic: list[Recorded]) -> Sums:
    """Requests and tokens of a trace."""
    return Sums(len(traffic), sum(row.tokens_input for row in traffic), sum(row.tokens_output for row in traffic))


def recorded(place: Place, template: str, tally: Tally) -> dict[str, Sums]:
    """What the book and the vendor's own books say of this replay."""
    found: dict[str, Sums] = {}
    if place.book is not None:
        found["book"] = _wait_for_book(place.book, template, len(tally.results))
    if place.vendor_books is not None:
        found["vendor"] = _sum_of_vendor(place.vendor_books, {result.request_id for result in tally.results})
    return found


def _wait_for_book(root: Path, template: str, expected: int) -> Sums:
    """The book's sums for one template, once it holds all requests or has stood still for long."""
    seen, since = Sums(0, 0, 0), time.monotonic()
    while seen.requests < expected and time.monotonic() - since < PATIENCE_SECONDS:
        time.sleep(0.2)
        now_seen = _sum_of_book(root, template)
        if now_seen != seen:
            seen, since = now_seen, time.monotonic()
    return seen


def _sum_of_book(root: Path, template: str) -> Sums:
    try:
        rows = report(root, ["template"])["rows"]
    except NotFound:  # no ledger yet: the scribe has only just begun
        return Sums(0, 0, 0)
    row = next((row for row in rows if row["dimensions"]["template"] == template), None)
    return (
        Sums(0, 0, 0) if row is None else Sums(row["requests"], tokens_input(row["usage"]), tokens_output(row["usage"]))
    )


def _sum_of_vendor(directory: Path, request_ids: set[str | None]) -> Sums:
    """The vendor's own sums for these requests, in its own field names."""
    usages = [line.usage for line in read_books(directory)[1] if line.request_id in request_ids]
    tokens_in = sum(int(str(usage["prompt_tokens"])) for usage in usages)
    tokens_out = sum(int(str(usage["completion_tokens"])) for usage in usages)
    return Sums(len(usages), tokens_in, tokens_out)
