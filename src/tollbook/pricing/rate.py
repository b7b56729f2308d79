"""Rating: a usage, priced line by line with one book.

Integer arithmetic throughout; the only rounding is of a charge, half-even, to one picodollar.
"""

from sys import intern
from typing import Final, NamedTuple

from msgspec import Struct

from tollbook.core.money import UnitPrice, format_amount
from tollbook.core.usage import CLASSES, Usage, class_order, tokens_input
from tollbook.pricing.book import PriceBook
from tollbook.pricing.card import RateCards, Recharge
from tollbook.pricing.choice import Chosen, Conditions, assumptions, choose
from tollbook.pricing.entry import BilledAs, Entry, Header
from tollbook.pricing.row import Row, row_id

VERSION: Final = 1
"""The version of these rules; it goes into every rating."""

CACHED_TABLES: Final = 4096

Line = tuple[str, int, str | None, str | None, str | None, str | None, str | None]
"""Class, quantity, unit price, `list`, `expected`, `recharge`, price row; amounts are decimal text, unknown is None."""


class _Ranks(dict[str, int]):
    """The place of each class in a rating; what is not a class of ours comes last."""

    def __missing__(self, name: str) -> int:
        return len(self)


_RANKS: Final = _Ranks({name: rank for rank, name in enumerate(sorted(CLASSES, key=class_order))})


class Priced(Struct, frozen=True, gc=False):
    """A usage with its prices.

    `unpriced` is a stable code that says why some line has no price; its amounts are then None, and so are `expected`
    and `recharge`, the sums in picodollars. `assumed` names what was taken for granted
    (decisions/0007-money-and-price-books.md).
    """

    charges: list[Line]
    unpriced: str | None
    assumed: list[str]
    currency: str
    expected: int | None
    recharge: int | None


class _Price(NamedTuple):
    """A row made ready to charge with; without a price it says why there is none."""

    unit: UnitPrice | None
    row: str | None = None
    assumed: tuple[str, ...] = ()
    reason: str | None = None


class _Table:
    """The prices of one (party, model, tier, ...) from `since` up to `until`, by context band, widest first."""

    __slots__ = ("assumed", "bands", "currency", "per_request", "reason", "since", "until")

    def __init__(self, chosen: Chosen, prices: list[tuple[int, dict[str, _Price]]], currency: str) -> None:
        self.since: Final = chosen.since
        self.until: Final = chosen.until
        self.assumed: Final = chosen.assumed
        self.reason: Final = chosen.reason or "unknown_class"
        self.currency: Final = intern(currency)  # the usual one is then left out of entries
        self.bands: Final = prices
        self.per_request: Final = "requests" in chosen.rows

    def prices(self, usage: Usage) -> dict[str, _Price]:
        if len(self.bands) == 1:
            return self.bands[0][1]
        tokens = tokens_input(usage)
        return next(prices for first, prices in self.bands if tokens >= first)


class Rater:
    """Prices usages with one book and the rate cards in force. Keeps what it has looked up."""

    def __init__(self, book: PriceBook, cards: RateCards | None = None) -> None:
        self.book: Final = book
        self._cards: Final = cards if cards is not None else RateCards()
        self._tables: Final[dict[tuple[str | None, ...], _Table]] = {}

    def rate(
        self,
        party: str,
        model: str,
        usage: Usage,
        at: int,
        *,
        tier: str | None = None,
        region: str | None = None,
        speed: str | None = None,
        processing: str | None = None,
        tenant: str | None = None,
        tenant_bears: bool = True,
    ) -> Priced:
        """Price a usage at the instant the vendor's work occurred (microseconds).

        `tier`, `region` and `speed` are what the vendor reported in its own words, None where it said nothing;
        `processing` is how the request was sent (`batch`). What the tenant does not bear is recharged at "0".
        """
        key = (party, model, tier, region, speed, processing)
        table = self._tables.get(key)
        if table is None or not table.since <= at < table.until:
            table = self._compile(key, party, model, Conditions(processing, tier, speed, region), at)
        return _charge(table, usage, self._cards.find(tenant, at), tenant_bears)

    def _compile(self, key: tuple[str | None, ...], party: str, model: str, reported: Conditions, at: int) -> _Table:
        found = self.book.find(party, model)
        chosen = choose(self.book.header, found, party, reported, at)
        bands: list[tuple[int, dict[str, _Price]]] = [(0, {})]
        currency = self.book.header.currency
        if found.entry is not None:
            compiler = _Compiler(self.book.header, found.entry, chosen, at)
            firsts = {0, *(row.first_token for rows in chosen.rows.values() for row in rows)}
            bands = [(first, compiler.prices(first)) for first in sorted(firsts, reverse=True)]
            currency = found.entry.currency or currency
        if len(self._tables) >= CACHED_TABLES:
            self._tables.clear()
        table = self._tables[key] = _Table(chosen, bands, currency)
        return table


class _Compiler:
    """Makes the prices of one entry's context bands."""

    def __init__(self, header: Header, entry: Entry, chosen: Chosen, at: int) -> None:
        self._header = header
        self._entry = entry
        self._chosen = chosen
        self._at = at

    def prices(self, first: int) -> dict[str, _Price]:
        """The price of every class in the band that begins at `first` input tokens."""
        found = {name: _Price(None, reason=reason) for name, reason in self._chosen.missing.items()}
        own: dict[str, _Price] = {}
        for name, rows in self._chosen.rows.items():
            fitting = [row for row in rows if row.first_token <= first]
            if fitting:
                own[name] = self._price(fitting[-1])
        for rule in self._header.rules(self._entry.party):
            if rule.class_ not in own and rule.as_ in own:
                found[rule.class_] = _billed_as(own[rule.as_], rule)
        return found | own

    def _price(self, row: Row) -> _Price:
        assumed = assumptions(self._header, self._entry.rows, row, self._at)
        return _Price(UnitPrice(row.price), row_id(self._entry.party, self._entry.model, row), assumed)


def _charge(table: _Table, usage: Usage, card: Recharge, tenant_bears: bool) -> Priced:
    """Each class of a usage at its price; what the tenant pays by its rate card."""
    prices = table.prices(usage)
    at_cost = tenant_bears and card.at_cost
    free = not tenant_bears or card.free
    charges: list[Line] = []
    reason: str | None = None if usage else "no_usage"
    assumed: tuple[str, ...] = table.assumed
    total = recharged = 0
    if table.per_request and "requests" not in usage:
        usage = {**usage, "requests": 1}
    for name in sorted(usage, key=_RANKS.__getitem__):
        quantity = usage[name]
        if not quantity:
            continue
        price = prices.get(name)
        if price is None or price.unit is None or quantity < 0:
            reason = reason or _reason(table, price, quantity)
            charges.append((name, quantity, None, None, None, "0" if free else None, None))
            continue
        amount = price.unit.of(quantity)
        total += amount
        text = format_amount(amount)
        if at_cost:
            recharged += amount
            recharge = text
        else:
            own = 0 if free else card.of(amount)
            recharged += own
            recharge = format_amount(own)
        charges.append((name, quantity, price.unit.text, text, text, recharge, price.row))
        if price.assumed:
            assumed += price.assumed
    known = reason is None
    return Priced(
        charges,
        reason,
        list(dict.fromkeys(assumed)) if assumed else [],
        table.currency,
        total if known else None,
        recharged if known or free else None,
    )


def _billed_as(price: _Price, rule: BilledAs) -> _Price:
    return price if rule.assumed is None else price._replace(assumed=(*price.assumed, rule.assumed))


def _reason(table: _Table, price: _Price | None, quantity: int) -> str:
    if quantity < 0:
        return "negative_quantity"
    return price.reason if price is not None and price.reason is not None else table.reason
