"""Gathers what a diagnosis is made of, and rates disputed attempts again from the vendor's own usage."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from tollbook import __version__
from tollbook.assembly.prices import Activation, read_activations
from tollbook.core.clock import SECOND, format_instant, parse_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.money import format_amount
from tollbook.disputes.diagnosis import diagnose
from tollbook.disputes.inquiry import Inquiry, Rerated, Twin, WhatIf
from tollbook.journal.casework import Expected
from tollbook.journal.objects import ObjectStore
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Reader
from tollbook.ledger.trace import trace
from tollbook.pricing.book import PriceBook
from tollbook.pricing.row import row_id
from tollbook.quote import rate

DAY: Final = 86_400 * SECOND
TWIN_DAYS: Final = 7
"""A client that repeats a request does so within these days."""
OTHER_BOOKS: Final = 2
"""So many other price books are tried, those nearest in time."""

_TWINS: Final = (
    "SELECT request_id, repeat_of, client_request_id, idempotency_key FROM attempts WHERE tenant = $tenant "
    "AND request_id BETWEEN $low AND $high UNION SELECT request_id, repeat_of, client_request_id, idempotency_key "
    "FROM requests WHERE tenant = $tenant AND request_id BETWEEN $low AND $high"
)
"""Requests of a tenant, near in time by their ids, with what marks two as the same."""


class Inquest:
    """Looks into the requests of one case. Use it in a `with` block."""

    def __init__(self, root: Path) -> None:
        from tollbook.assembly.service import read_registry

        self._reader: Final = Reader(root)
        self._objects: Final = ObjectStore(root)
        self._activations: Final = sorted(read_activations(root), key=lambda one: one.since)
        self._registry: Final = read_registry(root)
        self._prices: Final = cache(self._load)
        self._owners: Final = cache(self._rows_of)

    def __enter__(self) -> "Inquest":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def inquire(self, request_id: str) -> Inquiry:
        """All that is known of one request. Raises NotFound."""
        story = trace(self._reader, request_id)
        request = story["request"]
        suspicions = [
            one.since
            for one in self._registry.suspicions
            if (one.tenant, one.key) == (request["tenant"], request["key"])
        ]
        return Inquiry(
            trace=story,
            again={one["number"]: self._again(request, one) for one in story["attempts"] if one["charges"]},
            first=self._first(request, story["attempts"]),
            others=list(self._others(request, story["attempts"])),
            twins=self._reader.read(lambda lake: _twins(lake, request)),
            suspected=min(suspicions, default=None),
            tiers=self._reader.read(lambda lake: _tiers(lake, request_id)),
        )

    def _again(self, request: Document, attempt: Document) -> Rerated:
        """An attempt rated again by the book in force when it occurred."""
        at = parse_instant(attempt["opened_at"])
        active = self._in_force(at)
        named = self._owner(attempt)
        if active is None or named is None:
            return Rerated(why="the price row it was charged by is in no price book that is kept here")
        return self._rated(request, attempt, active, named, at)

    def _rated(self, request: Document, attempt: Document, book: Activation, party: str, at: int) -> Rerated:
        if attempt["usage_raw"] is None:
            return Rerated(book=book.book, why="the vendor gave no usage object")
        try:
            quote = rate(
                attempt["usage_raw"],
                vendor=party,
                model=attempt["model_served"] or attempt["model_sent"],
                at=at,
                format=request["endpoint"],
                tier=attempt["tier"],
                region=attempt["region"],
                speed=attempt["speed"],
                processing=attempt["processing"],
                book=self._prices(book.object),
            )
        except (BadInput, NotFound) as fault:
            return Rerated(book=book.book, why=f"it cannot be rated again: {fault}")
        usage: dict[str, int] = {}
        for charge in quote.charges:
            usage[charge.class_] = usage.get(charge.class_, 0) + charge.quantity
        amount = None if quote.amount is None else _text(quote.amount)
        return Rerated(amount=amount, currency=quote.currency, usage=usage, book=book.book, why=None)

    def _first(self, request: Document, attempts: Sequence[Document]) -> WhatIf | None:
        """The answer at the price of the target that was tried first."""
        rated = [one for one in attempts if one["charges"]]
        if len(attempts) < 2 or not rated or rated[-1]["model_sent"] == attempts[0]["model_sent"]:
            return None
        first, last = attempts[0], rated[-1]
        at = parse_instant(last["opened_at"])
        party, book = self._party(first["vendor"], last), self._in_force(at)
        if party is None or book is None:
            return None
        other = {**last, "model_served": first["model_sent"]}
        found = self._rated(request, other, book, party, at)
        return WhatIf(
            what_if=f"without the fallback, by {first['vendor']}/{first['model_sent']}",
            amount=found.amount,
            currency=found.currency,
        )

    def _others(self, request: Document, attempts: Sequence[Document]) -> Iterator[WhatIf]:
        """The last rated attempt under other price books, and a day earlier and later."""
        rated = [one for one in attempts if one["charges"]]
        party = self._owner(rated[-1]) if rated else None
        if party is None:
            return
        last, at = rated[-1], parse_instant(rated[-1]["opened_at"])
        ours = self._in_force(at)
        if ours is None:
            return
        others = {one.book: one for one in self._activations if one.book != ours.book}
        for book in sorted(others.values(), key=lambda one: abs(one.since - at))[:OTHER_BOOKS]:
            found = self._rated(request, last, book, party, at)
            told = f"under the price book {book.book[:12]}, in force from {format_instant(book.since)[:10]}"
            yield WhatIf(what_if=told, amount=found.amount, currency=found.currency)
        now = self._rated(request, last, ours, party, at)
        for words, step in (("a day earlier", -DAY), ("a day later", DAY)):
            book = self._in_force(at + step) or ours
            found = self._rated(request, last, book, party, at + step)
            if found.amount != now.amount:
                yield WhatIf(what_if=f"had it been sent {words}", amount=found.amount, currency=found.currency)

    def _in_force(self, at: int) -> Activation | None:
        return next((one for one in reversed(self._activations) if one.since <= at), None)

    def _load(self, digest: str) -> PriceBook:
        return PriceBook.load(self._objects.get(digest))

    def _rows_of(self, digest: str) -> dict[str, str]:
        """The billing party of every price row of a book."""
        return {
            row_id(entry.party, entry.model, row): entry.party
            for entry in self._prices(digest).entries()
            for row in entry.rows
        }

    def _owner(self, attempt: Document) -> str | None:
        """The billing party of an attempt, by the price rows that it was charged by."""
        book = next((one.object for one in self._activations if one.book == attempt["price_book"]), None)
        if book is None:
            return None
        try:
            owners = self._owners(book)
        except NotFound:
            return None
        return next((owners[line["price_row"]] for line in attempt["charges"] if line["price_row"] in owners), None)

    def _party(self, vendor: str, priced: Document) -> str | None:
        """The billing party of a configured vendor: as that of any attempt of it that was priced."""
        if priced["vendor"] == vendor:
            return self._owner(priced)

        def query(lake: Lake) -> list[tuple[Any, ...]]:
            return lake.rows(
                "SELECT price_book, price_row FROM charges SEMI JOIN (SELECT request_id, number FROM attempts "
                "WHERE vendor = $vendor AND price_book IS NOT NULL LIMIT 1) USING (request_id, number) LIMIT 1",
                {"vendor": vendor},
            )

        found = self._reader.read(query)
        return self._owner({"price_book": found[0][0], "charges": [{"price_row": found[0][1]}]}) if found else None


def inquest(root: Path, case: Document) -> Document:
    """The diagnosis of a case, not on record yet. Raises NotFound when the ledger lacks a request of it."""
    expected = None
    if case["expected"] is not None:
        told = {name: value for name, value in case["expected"].items() if value is not None}
        expected = Expected(**told)
    with Inquest(root) as looking:
        found = [looking.inquire(one) for one in case["requests"]]
    return diagnose(case["case"], expected, found, __version__)


def _twins(lake: Lake, request: Document) -> list[Twin]:
    """Other requests that the client marked as the same."""
    every = {
        "tenant": request["tenant"],
        "low": _near(request["id"], -TWIN_DAYS),
        "high": _near(request["id"], TWIN_DAYS),
    }
    own = lake.rows(f"SELECT * FROM ({_TWINS}) WHERE request_id = $request", {**every, "request": request["id"]})  # noqa: S608
    repeated = {row[1] for row in own} - {None}
    marks = [{row[place] for row in own} - {None} for place in (2, 3)]
    rows = lake.rows(
        f"SELECT DISTINCT request_id, repeat_of, client_request_id, idempotency_key FROM ({_TWINS}) "  # noqa: S608
        "WHERE request_id <> $request AND (repeat_of = $request OR list_contains($repeated, request_id) "
        "OR list_contains($clients, client_request_id) OR list_contains($keys, idempotency_key)) "
        "ORDER BY request_id LIMIT 20",
        {
            **every,
            "request": request["id"],
            "repeated": sorted(repeated),
            "clients": sorted(marks[0]),
            "keys": sorted(marks[1]),
        },
    )
    found = []
    for name, repeat, client, _ in rows:
        same = repeat == request["id"] or name in repeated
        because = (
            "repeats it" if same else "has the same id of the caller" if client in marks[0] else "has the same key"
        )
        found.append(Twin(request=name, because=because, amount=_charged(lake, name)))
    return found


def _near(request_id: str, days: int) -> str:
    """The beginning of ids that were minted so many days later: a UUIDv7 begins with its milliseconds."""
    told = int(request_id[:8] + request_id[9:13], 16) + days * 86_400_000
    digits = f"{min(max(told, 0), (1 << 48) - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _charged(lake: Lake, request_id: str) -> str | None:
    from tollbook.ledger.charged import charged

    sums = charged(lake, [request_id])
    return format_amount(next(iter(sums.values()))) if len(sums) == 1 else None


def _tiers(lake: Lake, request_id: str) -> dict[int, str | None]:
    rows = lake.rows("SELECT number, tier_asked FROM attempts WHERE request_id = $1", [request_id])
    return {int(number): tier for number, tier in rows}


def _text(amount: Any) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
