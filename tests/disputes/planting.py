"""Disputes planted by seed in a small book: what went wrong, what is claimed, and what must come out."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from bookmaking import ToldClock, begin_lane

from tollbook.assembly.prices import activate
from tollbook.core.clock import now
from tollbook.core.money import format_amount, parse_decimal
from tollbook.gateway.rating import Conditions, rated
from tollbook.journal.book import Book
from tollbook.journal.casework import Expected
from tollbook.journal.entry import Attempt, Close, Rating, Request, RequestEntry, Settlement, encode_payload
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane
from tollbook.journal.registration import TransferPosted
from tollbook.ledger.loader import Loader
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.rate import Rater

DEAR: Final = "gpt-4o"
CHEAP: Final = "gpt-4o-mini"
HOUR: Final = 3_600_000_000


class Planted(NamedTuple):
    """A dispute and its truth: requests, claim, verdict, and what should not have been charged (None: unknown)."""

    kind: str
    requests: list[str]
    expected: Expected | None
    verdict: str
    wrong: int | None


class Sown(NamedTuple):
    """One attempt as it is written: what it was charged, in picodollars."""

    charged: int


class Field:
    """Writes requests into a lane, priced by real price books. `cheaper` is in force from `changed` on."""

    def __init__(self, root: Path, seed: int, ago: int = 48 * HOUR) -> None:
        self.book: Final = Book.open(root)
        self.chance: Final = random.Random(seed)
        self.clock: Final = ToldClock(now() - ago)
        self.changed: Final = self.clock.instant + 24 * HOUR
        self.lane: Final[Lane] = begin_lane(self.book, "worker", self.clock)
        self.old: Final = base_book()
        self.new: Final = _halved(self.old)
        self._ids = 0

    def request(self, **facts: Any) -> Request:
        self._ids += 1
        name = f"01a20000-0000-7000-8000-{self._ids:012x}"
        asked = {"id": name, "tenant": "acme", "key": "prod", "endpoint": "openai.chat", "model_asked": "smart"}
        return Request(**(asked | {"policy": "smart@0123456789ab"} | facts))

    def raw(self, cached: int = 0) -> dict[str, Any]:
        """A usage as OpenAI reports it."""
        tokens_in, out = self.chance.randrange(600, 4000), self.chance.randrange(20, 400)
        return {
            "prompt_tokens": tokens_in,
            "completion_tokens": out,
            "total_tokens": tokens_in + out,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def attempt(
        self,
        request: Request,
        number: int = 1,
        model: str = CHEAP,
        *,
        raw: dict[str, Any] | None = None,
        usage: dict[str, int] | None = None,
        book: PriceBook | None = None,
        last: bool = True,
        reason: str = "first",
        tier_asked: str | None = None,
        priced: bool = True,
        client: str = "answered",
        key_id: str | None = None,
        **settled: Any,
    ) -> Sown:
        """An attempt from its opening to its settlement."""
        known = Attempt(
            number=number,
            vendor="openai",
            vendor_key="main",
            vendor_key_id=key_id,
            model_sent=model,
            reason=reason,
            tier_asked=tier_asked,
            body_bytes=4000,
            output_limit=1000,
        )
        kind = "request.opened" if number == 1 else "attempt.opened"
        sequence, opened = self.lane.append(kind, encode_payload(RequestEntry(request=request, attempt=known)))
        self.lane.sync()
        facts: dict[str, Any] = {"outcome": "ok", "basis": "provider_reported", "status": 200, "billable": True}
        facts |= {"model_served": model, "vendor_request_id": f"req_{request.id[-6:]}_{number}"} | settled
        told = usage if usage is not None else (classes(raw) if raw is not None else None)
        rating: Rating | None = None
        charged = 0
        if priced and told:
            bears = facts.get("borne_by", "tenant") == "tenant"
            conditions = Conditions(party="openai", at=opened, tenant="acme", tenant_bears=bears)
            done = rated(_rater(book or self.in_force(opened)), "openai.chat/1", model, told, conditions)
            rating, charged = done.rating, done.recharge or 0
        if raw is not None:
            facts["raw"] = msgspec.Raw(msgspec.json.encode(raw))
        settlement = Settlement(opened=opened, sequence=sequence, usage=told, **facts)
        route = f"openai/{model}"
        close = Close(outcome=settlement.outcome, attempts=number, route=route, basis=settlement.basis, client=client)
        entry = RequestEntry(
            request=request, attempt=known, settlement=settlement, rating=rating, close=close if last else None
        )
        self.lane.append("request.settled" if last else "attempt.settled", encode_payload(entry))
        return Sown(charged)

    def refused(self, request: Request) -> None:
        """A request of which nothing was sent."""
        close = Close(outcome="refused", attempts=0, error="limit_tokens")
        self.lane.append(
            "request.closed", encode_payload(RequestEntry(request=request, close=close, opened=self.clock()))
        )

    def price(self, model: str, usage: dict[str, int], book: PriceBook | None = None) -> int:
        """What a usage should be charged now."""
        found = _rater(book or self.in_force(self.clock.instant)).rate("openai", model, usage, self.clock.instant)
        assert found.expected is not None
        return found.expected

    def in_force(self, at: int) -> PriceBook:
        return self.new if at >= self.changed else self.old

    def finish(self) -> None:
        """Cover, sign and load all of it. Key `leaked` is on record as suspected since before."""
        self.lane.close("stopped")
        writer = BookLane.open(self.book, release="test")
        activate(self.book, writer, self.new.dump(), self.new.digest, self.changed, "test")
        posted = TransferPosted(
            legs=[], since=self.changed - 40 * HOUR, before=2, actor="a", tenant="acme", key="leaked"
        )
        writer.append("transfer.posted", posted)
        heads = writer.keeper()
        while writer.advance(heads) is not None:
            pass
        writer.close("test")
        with Loader(self.book.root) as loader:
            loader.catch_up()


def classes(raw: dict[str, Any]) -> dict[str, int]:
    """OpenAI's nested usage in disjoint classes."""
    cached = raw["prompt_tokens_details"]["cached_tokens"]
    found = {"input": raw["prompt_tokens"] - cached, "input_cache_read": cached, "output": raw["completion_tokens"]}
    return {name: quantity for name, quantity in found.items() if quantity}


@cache
def _rater(book: PriceBook) -> Rater:
    return Rater(book)


@cache
def _halved(book: PriceBook) -> PriceBook:
    """A book in which the two models cost half."""
    entries = []
    for entry in book.entries():
        if entry.party == "openai" and entry.model in (DEAR, CHEAP):
            rows = tuple(
                msgspec.structs.replace(row, price=format(parse_decimal(row.price) / 2, "f")) for row in entry.rows
            )
            entry = msgspec.structs.replace(entry, rows=rows)
        if entry.party == "openai":
            entries.append(entry)
    return PriceBook.assemble(book.header, entries)


Plant = Callable[[Field], Planted]
FAILED: Final = {"outcome": "vendor_error", "status": 503, "next": "retry", "last": False}
UNBILLED: Final = {**FAILED, "billable": False, "basis": "unreported", "borne_by": "platform", "priced": False}


def simply_wrong(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, raw=field.raw())
    return Planted("claim simply wrong", [one.id], Expected(amount="0"), "rejected", 0)


def fallback_claimed(field: Field) -> Planted:
    one, raw = field.request(), field.raw()
    field.attempt(one, **{**UNBILLED, "next": "fallback"})
    done = field.attempt(one, 2, DEAR, raw=raw, reason="fallback")
    wrong = done.charged - field.price(CHEAP, classes(raw))
    return Planted("fallback to a premium model", [one.id], Expected(model=CHEAP), "partly_upheld", wrong)


def fallback_unclaimed(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, **{**UNBILLED, "next": "fallback"})
    field.attempt(one, 2, DEAR, raw=field.raw(), reason="fallback")
    return Planted("fallback, model not disputed", [one.id], None, "rejected", 0)


def retry_billed(field: Field) -> Planted:
    one = field.request()
    first = field.attempt(one, raw=field.raw(), **FAILED)
    field.attempt(one, 2, raw=field.raw(), reason="retry")
    return Planted("retry billed twice", [one.id], None, "upheld", first.charged)


def retry_unbilled(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, **UNBILLED)
    field.attempt(one, 2, raw=field.raw(), reason="retry")
    return Planted("retry that cost nothing", [one.id], None, "rejected", 0)


def aborted_reported(field: Field) -> Planted:
    one = field.request(stream=True)
    field.attempt(one, raw=field.raw(), outcome="client_gone", client="gone", delivered=400)
    return Planted("aborted stream, usage reported", [one.id], None, "rejected", 0)


def aborted_estimated(field: Field) -> Planted:
    one = field.request(stream=True)
    guess = {
        "usage": {"input": 900, "output": 40},
        "basis": "estimated",
        "method": "bytes/4",
        "bound": {"output": 4096},
    }
    field.attempt(one, outcome="client_gone", client="gone", delivered=160, billable=None, **guess)
    return Planted("aborted stream, usage estimated", [one.id], None, "cannot_be_settled_locally", None)


def price_changed(field: Field) -> Planted:
    field.clock.instant = max(field.clock.instant, field.changed - 60_000_000)
    one = field.request()
    field.attempt(one, raw=field.raw())
    return Planted("price changed at midnight", [one.id], Expected(amount="0.0001"), "rejected", 0)


def stale_price(field: Field) -> Planted:
    field.clock.instant = max(field.clock.instant, field.changed + 60_000_000)
    one, raw = field.request(), field.raw()
    done = field.attempt(one, raw=raw, book=field.old)
    return Planted(
        "old price after the change", [one.id], None, "upheld", done.charged - field.price(CHEAP, classes(raw))
    )


def cache_granted(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, raw=field.raw(cached=512))
    return Planted("cached tokens denied, wrongly claimed", [one.id], None, "rejected", 0)


def cache_denied(field: Field) -> Planted:
    one, raw = field.request(), field.raw(cached=512)
    usage = {"input": raw["prompt_tokens"], "output": raw["completion_tokens"]}
    done = field.attempt(one, raw=raw, usage=usage)
    wrong = done.charged - field.price(CHEAP, classes(raw))
    return Planted("cached tokens denied", [one.id], None, "upheld", wrong)


def tier_downgraded(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, raw=field.raw(), tier_asked="priority", tier="default")
    return Planted("tier downgrade, served tier priced", [one.id], None, "rejected", 0)


def sent_twice(field: Field) -> Planted:
    first = field.request()
    field.attempt(first, raw=field.raw())
    second = field.request(repeat_of=first.id)
    field.attempt(second, raw=field.raw())
    return Planted("duplicate client call", [second.id], Expected(amount="0"), "rejected", 0)


def never_sent(field: Field) -> Planted:
    one = field.request()
    field.refused(one)
    return Planted("request never sent", [one.id], None, "rejected", 0)


def charged_unsent(field: Field) -> Planted:
    one = field.request()
    done = field.attempt(one, raw=field.raw(), outcome="connect_failed", status=None)
    return Planted("never sent, charged all the same", [one.id], Expected(amount="0"), "upheld", done.charged)


def shared_key(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, raw=field.raw())
    return Planted("wrong tenant by shared key", [one.id], Expected(tenant="beta"), "rejected", 0)


def leaked_key(field: Field) -> Planted:
    one = field.request(key="leaked")
    done = field.attempt(one, raw=field.raw())
    return Planted("key known to be in other hands", [one.id], None, "upheld", done.charged)


def unsettled(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, outcome="unsettled", basis="unreported", billable=None, status=None, priced=False)
    return Planted("evidence missing: unsettled", [one.id], None, "cannot_be_settled_locally", None)


def unreported(field: Field) -> Planted:
    one = field.request()
    field.attempt(one, basis="unreported", billable=True, priced=False)
    return Planted("evidence missing: no usage", [one.id], None, "cannot_be_settled_locally", None)


def one_of_two(field: Field) -> Planted:
    good, bad = field.request(), field.request()
    field.attempt(good, raw=field.raw())
    done = field.attempt(bad, raw=field.raw(), **FAILED)
    field.attempt(bad, 2, raw=field.raw(), reason="retry")
    return Planted("one of two requests is wrong", [good.id, bad.id], None, "partly_upheld", done.charged)


def asks_too_much(field: Field) -> Planted:
    one = field.request()
    first = field.attempt(one, raw=field.raw(), **FAILED)
    field.attempt(one, 2, raw=field.raw(), reason="retry")
    return Planted("part of the claim is right", [one.id], Expected(amount="0"), "partly_upheld", first.charged)


PLANTS: Final[tuple[Plant, ...]] = (
    simply_wrong,
    fallback_claimed,
    fallback_unclaimed,
    retry_billed,
    retry_unbilled,
    aborted_reported,
    aborted_estimated,
    cache_granted,
    cache_denied,
    tier_downgraded,
    sent_twice,
    never_sent,
    charged_unsent,
    shared_key,
    leaked_key,
    unsettled,
    unreported,
    one_of_two,
    asks_too_much,
)
"""Those that can be sown at any time; `price_changed` comes just before the change, `stale_price` after it."""


def sow(root: Path, seed: int, rounds: int) -> list[Planted]:
    """Plant every kind `rounds` times, in an order drawn from the seed."""
    field = Field(root, seed)
    plants = [plant for plant in PLANTS for _ in range(rounds)]
    field.chance.shuffle(plants)
    half = len(plants) // 2
    planted = [plant(field) for plant in plants[:half]]
    planted += [price_changed(field) for _ in range(rounds)] + [stale_price(field) for _ in range(rounds)]
    planted += [plant(field) for plant in plants[half:]]
    field.finish()
    return planted


def told(wrong: int | None) -> str | None:
    return None if wrong is None else format_amount(wrong)
