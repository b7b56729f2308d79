"""Writes `journal-v1/`: a small book of journal format 1, the same bytes at every run.

It was run once, when the format was released, and is kept to say what the book holds. The book itself is what must
rebuild to the digests in `journal-v1.json` for ever; it is never written anew.

    python tests/golden/make_v1.py DIRECTORY
"""

import json
import sys
from pathlib import Path
from typing import Any

import zstandard
from msgspec import Raw

from tollbook.journal.book import Book
from tollbook.journal.entry import (
    FORMAT,
    Attempt,
    BookCreated,
    Close,
    ConfigurationLoaded,
    GapRecorded,
    LaneBegin,
    LaneClosed,
    LaneOpened,
    ObjectNamed,
    PersonalErased,
    PricesActivated,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    encode_payload,
)
from tollbook.journal.heads import HeadsKeeper
from tollbook.journal.lane import Lane

START = 1_793_566_799_000_000  # 2026-11-01T20:59:59Z: days and hours turn in several zones
BOOK_ID = "00000000-0000-4000-8000-000000000001"
PRICES = "a" * 64
CONFIGURATION = "c" * 64


class Told:
    """A clock that moves when it is told to, and a microsecond at each look."""

    def __init__(self) -> None:
        self.instant = START

    def __call__(self) -> int:
        self.instant += 1
        return self.instant

    def forward(self, seconds: int) -> None:
        self.instant += seconds * 1_000_000


class Maker:
    """The book's lanes, and its heads after each chapter."""

    def __init__(self, root: Path) -> None:
        self.clock = Told()
        self.root = root
        (root / "lanes").mkdir(parents=True)
        identity = {
            "book": BOOK_ID,
            "created": "2026-11-01T20:59:59.000000Z",
            "format": FORMAT,
            "origin": f"tollbook/{BOOK_ID}",
            "key": f"tollbook/{BOOK_ID}+00000000+none",
            "release": "0.1.0",
            "actor": "local:golden@host, unauthenticated",
        }
        (root / "book.json").write_text(json.dumps(identity, indent=2) + "\n")
        self.supervisor = self.lane("supervisor-20261101T205959Z-00000001", "supervisor")
        self.book = self.lane("book-20261101T205959Z-00000002", "book")
        book = Book(
            root=root,
            id=BOOK_ID,
            created=START,
            origin=identity["origin"],  # type: ignore[arg-type]
            key=identity["key"],  # type: ignore[arg-type]
            release="0.1.0",
            actor=identity["actor"],  # type: ignore[arg-type]
        )
        self.keeper = HeadsKeeper(book)
        self.requests = 0

    def lane(self, name: str, role: str) -> Lane:
        begin = LaneBegin(
            book=BOOK_ID,
            lane=name,
            role=role,
            format=FORMAT,
            release="0.1.0",
            configuration=CONFIGURATION,
            host="host",
            process=1,
        )
        return Lane.create(self.root / "lanes" / name, begin, clock=self.clock, ballast=0, segment_bytes=4096)

    def worker(self, number: int) -> Lane:
        name = f"worker-20261101T210000Z-{number:08x}"
        self.supervisor.append("lane.opened", encode_payload(LaneOpened(lane=name, role="worker")))
        return self.lane(name, "worker")

    def reap(self, lane: Lane, reason: str) -> None:
        closed = LaneClosed(lane=lane.name, role="worker", reason=reason, last=lane.sequence, digest=lane.digest)
        self.supervisor.append("lane.closed", encode_payload(closed))

    def heads(self) -> None:
        """Heads over all that was written since the last."""
        self.keeper.poll()
        heads = self.keeper.next_heads()
        assert heads is not None
        self.book.append("heads", encode_payload(heads))
        self.keeper.written(heads, self.book.digest)

    def request(self, tenant: str = "acme", **facts: Any) -> Request:
        self.requests += 1
        self.clock.forward(1)
        known: dict[str, Any] = {
            "id": f"{self.clock.instant // 1000 >> 16:08x}-{self.clock.instant // 1000 & 0xFFFF:04x}-7000-8000-"
            f"{self.requests:012x}",
            "tenant": tenant,
            "key": f"{tenant}-prod",
            "endpoint": "openai.chat",
            "model_asked": "fast",
            "policy": "fast@0123456789ab",
        }
        return Request(**(known | facts))

    def open(self, lane: Lane, request: Request, **facts: Any) -> dict[str, Any]:
        """An attempt; gives what its settlement must repeat."""
        known: dict[str, Any] = {"number": 1, "vendor": "openai", "vendor_key": "main", "model_sent": "gpt-4o-mini"}
        attempt = Attempt(**(known | {"reason": "first"} | facts))
        kind = "request.opened" if attempt.number == 1 else "attempt.opened"
        sequence, opened = lane.append(kind, encode_payload(RequestEntry(request=request, attempt=attempt)))
        return {"request": request, "attempt": attempt, "sequence": sequence, "opened": opened}

    def settle(
        self, lane: Lane, opened: dict[str, Any], rating: Rating | None, *, last: bool = True, **facts: Any
    ) -> None:
        attempt: Attempt = opened["attempt"]
        settled = Settlement(opened=opened["opened"], sequence=opened["sequence"], **facts)
        close = Close(
            outcome=settled.outcome,
            attempts=attempt.number,
            route="openai/gpt-4o-mini" if attempt.number == 1 else "openai/gpt-4o-mini>openai/gpt-4o",
            reason="policy_order",
            basis=settled.basis,
        )
        entry = RequestEntry(
            request=opened["request"],
            attempt=attempt,
            settlement=settled,
            rating=rating,
            close=close if last else None,
        )
        lane.append("request.settled" if last else "attempt.settled", encode_payload(entry))


def rating(*lines: tuple[str, int, str | None, str | None], **facts: Any) -> Rating:
    charges = [(name, count, price, amount, amount, amount, f"row/{name}") for name, count, price, amount in lines]
    return Rating(book=PRICES, adapter="openai.chat/1", charges=charges, **facts)


def tell_births(book: Maker) -> None:
    """The book, its configuration and prices."""
    named = ObjectNamed(sha256="d" * 64, bytes=17)
    born = BookCreated(book=BOOK_ID, key="none", actor="local:golden@host, unauthenticated")
    book.book.append("book.created", encode_payload(born))
    book.supervisor.append(
        "configuration.loaded", encode_payload(ConfigurationLoaded(digest=CONFIGURATION, object=named))
    )
    prices = PricesActivated(book=PRICES, since=START, object=named, actor="local:golden@host, unauthenticated")
    book.book.append("prices.activated", encode_payload(prices))
    book.heads()


def tell_answers(book: Maker, lane: Lane) -> None:
    """A plain answer; a cached, streamed one with tags and a user; counters; another currency; an unpriced line."""
    ok: dict[str, Any] = {"outcome": "ok", "basis": "provider_reported", "status": 200, "billable": True}
    ok |= {"borne_by": "tenant", "next": "answer", "model_served": "gpt-4o-mini-2024-07-18"}
    plain = (("input", 12, "0.00000015", "0.0000018"), ("output", 3, "0.0000006", "0.0000018"))
    raw = Raw(b'{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}')
    opened = book.open(lane, book.request(workload="search"))
    book.settle(lane, opened, rating(*plain), usage={"input": 12, "output": 3}, raw=raw, response_id="chatcmpl-1", **ok)
    book.heads()
    request = book.request(
        "beta",
        stream=True,
        user="u" * 43,
        template="summary@2",
        tags={"team": "blue"},
        tags_digest={"case": "t" * 43},
        sources={"user": "header"},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        client_request_id="x" * 43,
    )
    opened = book.open(lane, request, vendor_key_id="key_1", project="proj_1", tier_asked="flex")
    book.heads()
    usage = {"input": 100, "input_cache_read": 900, "output": 50, "output_reasoning": 0}
    cached = (
        ("input", 100, "0.00000015", "0.000015"),
        ("input_cache_read", 900, "0.000000075", "0.0000675"),
        ("output", 50, "0.0000006", "0.00003"),
        ("output_reasoning", 0, "0.0000006", "0"),
    )
    facts = {"usage": usage, "first_byte": opened["opened"] + 350_000, "tier": "flex", "region": "eu", "delivered": 900}
    book.settle(lane, opened, rating(*cached, assumed=["instant"]), vendor_request_id="req_2", **facts, **ok)
    counters = (("input", 5, "0.1", "0.5"), ("images", 2, "0.0000000000005", "0.000000000001"))
    opened = book.open(lane, book.request())
    usage = {"input": 5, "images": 2, "input.audio": 7}
    book.settle(lane, opened, rating(*counters, currency="EUR"), usage=usage, flags=["inconsistent_usage"], **ok)
    opened = book.open(lane, book.request(), model_sent="gpt-new")
    lines = (("input", 5, "0.1", "0.5"), ("output", 6, None, None))
    book.settle(lane, opened, rating(*lines, unpriced="no_row"), usage={"input": 5, "output": 6}, **ok)


def tell_failures(book: Maker, lane: Lane) -> None:
    """Retried and fallen back; refused; a client that left, estimated; a timeout that may be billed; a replay."""
    request = book.request()
    opened = book.open(lane, request)
    facts: dict[str, Any] = {"outcome": "rate_limited", "status": 429, "billable": False, "borne_by": "platform"}
    book.settle(lane, opened, None, last=False, next="retry", error="rate_limit", **facts)
    book.heads()
    opened = book.open(lane, request, number=2, reason="retry", because="rate_limited")
    facts = {"outcome": "timeout", "borne_by": "platform", "next": "fallback"}
    book.settle(lane, opened, None, last=False, **facts)
    opened = book.open(lane, request, number=3, reason="fallback", because="timeout", model_sent="gpt-4o")
    ok = {"outcome": "ok", "basis": "provider_reported", "status": 200, "billable": True, "borne_by": "tenant"}
    lines = (("input", 9, "0.0000025", "0.0000225"), ("output", 1, "0.00001", "0.00001"))
    book.settle(lane, opened, rating(*lines), usage={"input": 9, "output": 1}, next="answer", **ok)
    refused = Close(outcome="refused", attempts=0, reason=None, error="unknown_model")
    entry = RequestEntry(request=book.request("beta", model_asked=None, policy=None), close=refused, opened=START)
    lane.append("request.closed", encode_payload(entry))
    opened = book.open(lane, book.request("beta", endpoint="anthropic.messages", stream=True), vendor="claude")
    facts = {"outcome": "client_gone", "basis": "estimated", "method": "characters/1", "status": 200, "billable": True}
    lines = (("input", 20, "0.000003", "0.00006"), ("output", 8, "0.000015", "0.00012"))
    usage = {"input": 20, "output": 8}
    book.settle(lane, opened, rating(*lines), usage=usage, bound={"input": 40, "output": 4096}, **facts)
    replayed = Close(outcome="ok", attempts=0, reason=None, basis="computed", replay_of=request.id)
    entry = RequestEntry(request=book.request(idempotency_key="i" * 43), close=replayed, opened=book.clock())
    lane.append("request.closed", encode_payload(entry))


def tell_deaths(book: Maker, lane: Lane) -> None:
    """A worker that dies with an attempt under way and a request between two attempts; a gap; an erasure."""
    under_way = book.open(lane, book.request("beta"))
    request = book.request()
    opened = book.open(lane, request)
    facts: dict[str, Any] = {"outcome": "vendor_error", "status": 503, "billable": False, "borne_by": "platform"}
    book.settle(lane, opened, None, last=False, next="retry", **facts)
    lane.sync()
    book.heads()
    book.clock.forward(9)
    dead = {"borne_by": "platform", "next": "give_up"}
    settled = Settlement(opened=under_way["opened"], sequence=under_way["sequence"], outcome="unsettled", **dead)
    close = Close(outcome="unsettled", route="openai/gpt-4o-mini", reason=None, client="gone")
    unsettled = RequestEntry(
        request=under_way["request"],
        attempt=under_way["attempt"],
        settlement=settled,
        close=close,
        lane=lane.name,
    )
    ended = Close(outcome="vendor_error", route="openai/gpt-4o-mini", reason=None, error="interrupted", client="gone")
    interrupted = RequestEntry(request=request, close=ended, opened=opened["opened"])
    for _ in range(2):  # the first supervisor died over it, the second says it again
        book.supervisor.append("attempt.unsettled", encode_payload(unsettled))
        book.supervisor.append("request.closed", encode_payload(interrupted))
    book.reap(lane, "died")
    gap = GapRecorded(since=START, until=START + 1_000_000, counts={"acme": 3, "beta": 1})
    book.supervisor.append("gap.recorded", encode_payload(gap))
    erased = PersonalErased(tenant="beta", digests={"u" * 43: "2026"}, values=1, basis="b" * 43, actor="local:golden")
    book.book.append("personal.erased", encode_payload(erased))
    book.heads()


def make(root: Path) -> None:
    book = Maker(root)
    tell_births(book)
    first = book.worker(3)
    tell_answers(book, first)
    book.heads()
    book.clock.forward(3600)
    tell_failures(book, first)
    first.close("drained")
    book.reap(first, "drained")
    book.heads()
    second = book.worker(4)
    tell_deaths(book, second)
    third = book.worker(5)
    book.clock.forward(4 * 3600)
    book.open(third, book.request())
    third.heartbeat()
    book.heads()
    sealed = first.directory / "000000.jsonl"
    sealed.with_suffix(".jsonl.zst").write_bytes(zstandard.compress(sealed.read_bytes(), 3))
    sealed.unlink()
    for leftover in [*root.rglob("lock"), *root.rglob("ballast")]:
        leftover.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
