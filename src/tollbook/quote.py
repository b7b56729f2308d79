"""What one usage costs: a vendor's usage object in, an itemised exact charge out. Needs no gateway and no book.

    >>> from tollbook import rate
    >>> quote = rate({"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010,
    ...               "prompt_tokens_details": {"cached_tokens": 900}}, vendor="openai", model="gpt-4o")
    >>> quote.amount
    Decimal('0.001475')

The usage is read by the same adapters, and priced by the same rules, as in the gateway.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from tollbook.core.clock import now, parse_instant
from tollbook.core.faults import BadInput
from tollbook.core.money import format_amount
from tollbook.core.usage import CLASSES, Usage, class_order
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.choice import Conditions
from tollbook.pricing.rate import Line, Priced, Rater
from tollbook.providers.contract import FLAGS, Reading
from tollbook.providers.raw_usage import LARGEST, read_raw, read_usage

CLASSES_FORMAT: Final = "classes"
"""The format of a usage that is in our own disjoint classes already: `{"input": 100, "output": 10}`."""

_UNSURE: Final = frozenset({"inconsistent_usage", "partial_usage", "iterations", "unreported_tool", "unreadable_body"})
"""Flags of a usage that may not be what the vendor bills."""


class QuotedCharge(NamedTuple):
    """One priced line. Amounts are exact; None where there is no price."""

    class_: str
    quantity: int
    unit_price: Decimal | None
    amount: Decimal | None
    price_row: str | None
    model: str


class Quote(NamedTuple):
    """What a usage costs by one price book.

    `amount` is None as long as any line has no price or the usage is not whole: unknown is never zero. `unpriced` are
    the classes without a price; `notes` say why, and what was taken for granted. `sound` is False when something is
    unpriced or the usage contradicts itself.
    """

    amount: Decimal | None
    currency: str
    basis: str
    price_book: str
    charges: tuple[QuotedCharge, ...]
    unpriced: tuple[str, ...]
    notes: tuple[str, ...]
    sound: bool

    def __str__(self) -> str:
        """One line per charge, the sum, and what is to be known of it."""
        lines = [
            f"{charge.quantity:>14,} {charge.class_:<24} {_shown(charge.unit_price, self.currency):>20}"
            f" {_shown(charge.amount, self.currency):>20}"
            for charge in self.charges
        ]
        total = f"{_shown(self.amount, self.currency):>81}"
        return "\n".join([*lines, total, *(f"  {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """As plain values, amounts as decimal text; what ends in `_usd` is null in any other currency."""
        dollars = self.currency == "USD"
        return {
            "amount_usd": _text(self.amount) if dollars else None,
            "amount": _text(self.amount),
            "currency": self.currency,
            "basis": self.basis,
            "price_book": self.price_book,
            "charges": [_line(charge, self.currency) for charge in self.charges],
            "unpriced": list(self.unpriced),
            "notes": list(self.notes),
        }


def rate(
    usage: object,
    *,
    vendor: str,
    model: str | None = None,
    at: int | str | None = None,
    format: str | None = None,
    tier: str | None = None,
    region: str | None = None,
    speed: str | None = None,
    processing: str | None = None,
    book: PriceBook | None = None,
) -> Quote:
    """Price a vendor's usage object.

    `usage`: the object as the vendor gave it, or the whole answer it stands in: a mapping, JSON text or bytes, or what
    an official SDK returns. `vendor`: the billing party (`openai`, `aws`, ...); the price is the party's that bills,
    never that of whoever trained the model. `at`: when the work was done, RFC 3339 text or microseconds; None is now.
    `format`: the operation that gave the usage (`openai.responses`; `classes` for our own); None: the vendor's usual.
    `tier`, `region`, `speed` are the vendor's words and go before what the usage says; `processing` is how it was sent
    (`batch`). `book`: None is the one that ships.

    Raises BadInput for a usage that cannot be read in one way only (duplicate members, NaN, negative or endless
    numbers), and for a format that is not known.
    """
    chosen = book if book is not None else base_book()
    data = _json(usage)
    raw = read_raw(data)
    reading = _classes(raw) if format == CLASSES_FORMAT else read_usage(data, raw, vendor, format)
    served = model or reading.model_served
    if not served:
        raise BadInput("model: none was named, and the usage does not name one")
    told = Conditions(
        processing=processing,
        tier=tier if tier is not None else reading.tier,
        speed=speed if speed is not None else reading.speed,
        region=region if region is not None else reading.region,
    )
    return _quote(chosen, reading, _parts(_rater(chosen), reading, vendor, served, _instant(at), told))


def _parts(
    rater: Rater, reading: Reading, vendor: str, model: str, at: int, told: Conditions
) -> list[tuple[str, Priced]]:
    """A usage at its model's price, and what other models did in the answer at theirs."""
    own: Usage | None = reading.usage if reading.usage is not None else reading.partial
    whole = [(model, own or {})] if own or not reading.shares else []
    shares = [(share.model, share.usage) for share in reading.shares]

    def priced(name: str, usage: Usage) -> Priced:
        return rater.rate(
            vendor, name, usage, at, tier=told.tier, region=told.region, speed=told.speed, processing=told.processing
        )

    return [(name, priced(name, usage)) for name, usage in (*whole, *shares)]


def _quote(book: PriceBook, reading: Reading, parts: list[tuple[str, Priced]]) -> Quote:
    currencies = sorted({part.currency for _, part in parts})
    charges = [_charge(line, model) for model, part in parts for line in part.charges]
    whole = reading.usage is not None or bool(reading.shares)
    known = whole and len(currencies) == 1 and all(part.expected is not None for _, part in parts)
    unpriced = dict.fromkeys(charge.class_ for charge in charges if charge.amount is None)
    return Quote(
        amount=Decimal(format_amount(sum(part.expected or 0 for _, part in parts))) if known else None,
        currency=currencies[0] if len(currencies) == 1 else "XXX",
        basis=reading.basis,
        price_book=book.digest,
        charges=tuple(charges),
        unpriced=tuple(unpriced),
        notes=tuple(_notes(reading, parts, currencies)),
        sound=known and not _UNSURE & set(reading.flags),
    )


def _notes(reading: Reading, parts: list[tuple[str, Priced]], currencies: list[str]) -> list[str]:
    notes = [f"{flag}: {FLAGS[flag]}" for flag in reading.flags]
    for model, part in parts:
        if part.unpriced is not None:
            notes.append(f"unpriced: {part.unpriced} ({model})")
        notes += [f"assumed: {word}" for word in part.assumed]
    if len(currencies) > 1:
        notes.append(f"other_currency: the models are priced in {' and '.join(currencies)}, which have no sum")
    return list(dict.fromkeys(notes))


def _charge(line: Line, model: str) -> QuotedCharge:
    name, quantity, unit, _, expected, _, row = line
    return QuotedCharge(name, quantity, _decimal(unit), _decimal(expected), row, model)


def _line(charge: QuotedCharge, currency: str) -> dict[str, Any]:
    dollars = currency == "USD"
    unit, amount = _text(charge.unit_price), _text(charge.amount)
    return {
        "class": charge.class_,
        "quantity": charge.quantity,
        "unit_price_usd": unit if dollars else None,
        "unit_price": unit,
        "amount_usd": amount if dollars else None,
        "amount": amount,
        "currency": currency,
        "price_row": charge.price_row,
        "model": charge.model,
    }


def _classes(raw: Mapping[str, Any]) -> Reading:
    """A usage that is in our classes already."""
    for name, quantity in raw.items():
        if name not in CLASSES:
            raise BadInput(f"usage: {name!r} is not a class of usage; they are listed in docs/reference/vocabulary.md")
        if type(quantity) is not int or not 0 <= quantity <= LARGEST:
            raise BadInput(f"usage: {name}: found {quantity!r}; allowed: a whole number from 0 to {LARGEST:,}")
    usage = {name: raw[name] for name in sorted(raw, key=class_order)}
    return Reading(usage=usage, basis="provider_reported")


def _json(usage: object) -> bytes:
    """A usage as JSON text: what it is made of is judged there, the same for every kind of input."""
    if isinstance(usage, bytes | bytearray):
        return bytes(usage)
    if isinstance(usage, str):
        return usage.encode()
    dump = getattr(usage, "model_dump_json", None)  # how objects of the vendors' SDKs give their JSON
    if dump is not None:
        return str(dump(by_alias=True, exclude_none=True)).encode()
    try:
        return msgspec.json.encode(usage)
    except (TypeError, ValueError) as problem:
        raise BadInput(f"usage: cannot be written as JSON: {problem}") from None


def _instant(at: int | str | None) -> int:
    if at is None:
        return now()
    if isinstance(at, int):
        return at
    try:
        return parse_instant(at)
    except ValueError as problem:
        raise BadInput(f"at: {problem}") from None


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _shown(amount: Decimal | None, currency: str) -> str:
    return "unknown" if amount is None else f"{amount:f} {currency}"


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


@lru_cache(maxsize=8)
def _rater(book: PriceBook) -> Rater:
    return Rater(book)
