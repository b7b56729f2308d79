"""A book of any size, made without any traffic: the entries that a worker writes for a standard mix of requests.

The mix: 70 of 100 requests are buffered and end well, 25 are streamed, 3 are tried twice, 1 is left by its client and
estimated, 1 is refused. Four tenants, three models, 28 days up to now.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Raw

from tollbook import __version__
from tollbook.assembly import service
from tollbook.core.clock import SECOND, now
from tollbook.core.identity import new_request_id
from tollbook.core.usage import Usage
from tollbook.journal.book import Book
from tollbook.journal.entry import (
    FORMAT,
    Attempt,
    Close,
    LaneBegin,
    LaneClosed,
    LaneOpened,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    encode_payload,
)
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater

DAYS: Final = 28
PER_HEADS: Final = 5_000
"""Requests that one heads entry covers: what a busy worker brings in half a second."""
TENANTS: Final = ("acme", "globex", "initech", "umbrella")
MODELS: Final = (("openai", "gpt-4o-mini"), ("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"))
_RAW: Final = Raw(
    b'{"prompt_tokens":231,"completion_tokens":100,"total_tokens":331,'
    b'"prompt_tokens_details":{"cached_tokens":128,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}'
)


class Sample(NamedTuple):
    """A book that was made, and the ids of some of its requests, spread over all of it."""

    root: Path
    ids: list[str]


class _Clock:
    """A clock that is told what time it is, and never stands still."""

    def __init__(self, instant: int) -> None:
        self.instant = instant

    def __call__(self) -> int:
        self.instant += 1
        return self.instant


class Mix:
    """Writes requests of the standard mix into a lane, one after the other."""

    def __init__(self, append: Callable[[str, bytes], tuple[int, int]]) -> None:
        self._append: Final = append
        self._rater: Final = Rater(base_book())
        self._done = 0

    def write(self, instant: int) -> str:
        """Write the next request, which arrived at `instant`; its id."""
        number, self._done = self._done, self._done + 1
        request_id = new_request_id(instant)
        party, model = MODELS[number % len(MODELS)]
        share = number % 100
        request = Request(
            id=request_id,
            tenant=TENANTS[number * 7 % len(TENANTS)],
            key="prod",
            endpoint=f"{party}.chat",
            model_asked=model,
            policy=f"{model}@7c9e225f2033",
            workload="search",
            stream=70 <= share < 95,
        )
        if share == 99:
            close = Close(outcome="refused", attempts=0, error="model_not_allowed")
            self._put("request.closed", RequestEntry(request=request, close=close, opened=instant))
            return request_id
        attempt = _attempt(1, party, model)
        if 95 <= share < 98:
            sequence, recorded = self._put("request.opened", RequestEntry(request=request, attempt=attempt))
            failed = Settlement(
                opened=recorded, sequence=sequence, outcome="rate_limited", status=429, billable=False, next="retry"
            )
            rating = Rating(book=self._rater.book.digest, adapter=f"{party}.chat/1", charges=[])
            settled = RequestEntry(request=request, attempt=attempt, settlement=failed, rating=rating)
            self._put("attempt.settled", settled)
            attempt = _attempt(2, party, model)
        kind = "request.opened" if attempt.number == 1 else "attempt.opened"
        sequence, recorded = self._put(kind, RequestEntry(request=request, attempt=attempt))
        self._settle(request, attempt, party, share == 98, sequence, recorded)
        return request_id

    def _settle(self, request: Request, attempt: Attempt, party: str, left: bool, sequence: int, recorded: int) -> None:
        usage: Usage = {"input": 103, "input_cache_read": 128, "output": 100}
        outcome, basis = ("client_gone", "estimated") if left else ("ok", "provider_reported")
        priced = self._rater.rate(party, attempt.model_sent, usage, recorded, tenant=request.tenant)
        settlement = Settlement(
            opened=recorded,
            sequence=sequence,
            outcome=outcome,
            basis=basis,
            first_byte=recorded + 250_000,
            status=200,
            vendor_request_id="req_0123456789abcdef",
            response_id="chatcmpl-BkQ0tQ7sPqFvV8nXy2LwT1uE",
            model_served=attempt.model_sent,
            tier="default",
            usage=usage,
            raw=None if left else _RAW,  # type: ignore[arg-type]
            billable=True,
            borne_by="tenant",
        )
        rating = Rating(
            book=self._rater.book.digest,
            adapter=f"{party}.chat/1",
            charges=list(priced.charges),
            currency=priced.currency,
            unpriced=priced.unpriced,
            assumed=priced.assumed or None,
        )
        close = Close(outcome=outcome, attempts=attempt.number, route=f"{party}/{attempt.model_sent}", basis=basis)
        entry = RequestEntry(request=request, attempt=attempt, settlement=settlement, rating=rating, close=close)
        self._put("request.settled", entry)

    def _put(self, kind: str, entry: RequestEntry) -> tuple[int, int]:
        return self._append(kind, encode_payload(entry))


def make(directory: Path, requests: int) -> Sample:
    """Make a book of so many requests, all of it covered by heads."""
    root = directory / "book"
    book = service.init(root)
    supervisor = open_lane(book, "supervisor", now)
    clock = _Clock(now() - DAYS * 86_400 * SECOND)
    worker = open_lane(book, "worker", clock)
    for name, role in ((supervisor.name, "supervisor"), (worker.name, "worker")):
        supervisor.append("lane.opened", encode_payload(LaneOpened(lane=name, role=role)))
    writer = BookLane.open(book, release=__version__)
    keeper = writer.keeper()
    mix = Mix(worker.append)
    ids: list[str] = []
    step = DAYS * 86_400 * SECOND // max(requests, 1)
    for first in range(0, requests, PER_HEADS):
        for number in range(first, min(first + PER_HEADS, requests)):
            clock.instant = max(clock.instant, now() - (requests - number) * step)
            request_id = mix.write(clock.instant)
            if number % max(1, requests // 100) == 0:
                ids.append(request_id)
        writer.advance(keeper, 1 << 30)
    worker.close("stopped")
    closed = LaneClosed(lane=worker.name, role="worker", reason="ended", last=worker.sequence, digest=worker.digest)
    supervisor.append("lane.closed", encode_payload(closed))
    supervisor.close("stopped")
    while writer.advance(keeper, 1 << 30) is not None:
        pass
    writer.close("stopped")
    return Sample(root, ids)


def open_lane(book: Book, role: str, clock: Callable[[], int]) -> Lane:
    """A new lane of a book, whose segments end by size alone."""
    name = book.new_lane_name(role)
    begin = LaneBegin(
        book=book.id,
        lane=name,
        role=role,
        format=FORMAT,
        release=__version__,
        configuration="0" * 64,
        host="benchmark",
        process=os.getpid(),
    )
    return Lane.create(book.lane_directory(name), begin, clock=clock, ballast=0, segment_age_s=10**9)


def entries(requests: int) -> list[tuple[str, bytes]]:
    """The entries of so many requests as kind and payload, for those who time what is done with them."""
    kept: list[tuple[str, bytes]] = []

    def keep(kind: str, payload: bytes) -> tuple[int, int]:
        kept.append((kind, payload))
        return len(kept), now()

    mix = Mix(keep)
    for _ in range(requests):
        mix.write(now())
    return kept


def _attempt(number: int, party: str, model: str) -> Attempt:
    return Attempt(
        number=number,
        vendor=party,
        vendor_key="main",
        model_sent=model,
        reason="first" if number == 1 else "retry",
        because=None if number == 1 else "rate_limited",
    )
