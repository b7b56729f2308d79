"""A price sheet: a price book as people write one, in YAML; and any price book's bytes, in whichever form they are.

The sheet is read strictly: every scalar as text, so that no price is ever a float; no name twice; nothing unknown.
"""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact, localcontext
from typing import Any, Final, Literal

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from tollbook.core.faults import BadInput
from tollbook.core.money import format_decimal, parse_decimal
from tollbook.core.usage import COUNTERS, class_order
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.entry import FORMAT, BilledAs, Entry, Header, Party, Words
from tollbook.pricing.match import Match
from tollbook.pricing.row import PRICE_LIMIT, Band, Row, Window, edge

LARGEST: Final = 16 << 20
PER: Final = {"1": 1, "1K": 1000, "1M": 1_000_000, "hour": 3600}
"""The quantities a price may be for; which one must be said."""

_EXACT: Final = Context(prec=2 * PRICE_LIMIT, traps=[Inexact])


class Prices(Struct, forbid_unknown_fields=True, kw_only=True):
    """Prices of one tier, band, span of time and so on; each for `per` units."""

    per: Literal["1", "1K", "1M", "hour"]
    prices: dict[str, str]
    processing: str | None = None
    tier: str | None = None
    speed: str | None = None
    region: str | None = None
    over: int | None = None
    at_least: int | None = None
    since: str | None = None
    until: str | None = None
    windows: list[Window] = []
    source: str | None = None
    retrieved: str | None = None
    assumed: list[str] = []

    def rows(self, currency: str | None) -> Iterator[Row]:
        """A row per window and class. Raises BadInput for a price that is none."""
        band = None if self.over is None and self.at_least is None else Band(over=self.over, at_least=self.at_least)
        for window in self.windows or (None,):
            for name, price in self.prices.items():
                yield Row(
                    assumed=tuple(self.assumed),
                    band=band,
                    class_=name,
                    currency=currency,
                    price=_one(name, price, PER[self.per]),
                    processing=self.processing,
                    region=self.region,
                    retrieved=self.retrieved,
                    since=self.since,
                    source=self.source,
                    speed=self.speed,
                    tier=self.tier,
                    until=self.until,
                    window=window,
                )


class Alias(Struct, forbid_unknown_fields=True, kw_only=True):
    """A name that meant another model's prices for a while."""

    of: str
    since: str | None = None
    until: str | None = None


class Model(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model: its other names, and its prices or whose they are."""

    names: list[str] = []
    fine_tuned: bool = False
    currency: str | None = None
    prices: list[Prices] = []
    alias: list[Alias] = []


class Multiplier(Struct, forbid_unknown_fields=True, kw_only=True):
    """A surcharge or discount of a vendor on what has none in that dimension yet. They stack in the order they stand.

    `classes` empty: all token classes. `not_with` lists dimensions it does not go together with.
    """

    times: str
    processing: str | None = None
    tier: str | None = None
    speed: str | None = None
    region: str | None = None
    models: list[str] = []
    classes: list[str] = []
    not_with: list[Literal["processing", "tier", "speed", "region"]] = []


class Vendor(Struct, forbid_unknown_fields=True, kw_only=True):
    """A billing party with its words and its models."""

    name: str | None = None
    falls_back: list[str] = []
    reported: Words = {}
    silent: list[str] = []
    sources: list[str] = []
    multipliers: list[Multiplier] = []
    models: dict[str, Model] = {}


class Sheet(Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole sheet. With `extends: base` it is laid over the book that ships: its models replace that book's."""

    source: str
    retrieved: str
    currency: str = "USD"
    extends: Literal["base"] | None = None
    billed_as: list[BilledAs] = []
    vendors: dict[str, Vendor]


def read_book(data: bytes) -> PriceBook:
    """A price book from its canonical bytes, or from a sheet. Raises BadInput with what is wrong and where."""
    if len(data) > LARGEST:
        raise BadInput(f"longer than {LARGEST:,} bytes, which no price book is")
    if data.startswith(b"{") and FORMAT.encode() in data.partition(b"\n")[0]:
        return PriceBook.load(data)
    return _book(_parse(data))


def _parse(data: bytes) -> Sheet:
    try:
        return msgspec.convert(yaml.load(data.decode(), _Texts), Sheet, strict=False)  # noqa: S506  texts only
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError, RecursionError) as problem:
        raise BadInput(f"price sheet: {problem}") from None


def _book(sheet: Sheet) -> PriceBook:
    base = base_book() if sheet.extends == "base" else None
    parties = dict(base.header.parties) if base is not None else {}
    own: list[Entry] = []
    for name, vendor in sheet.vendors.items():
        parties[name] = _party(name, vendor, parties.get(name))
        own += _entries(name, vendor, sheet)
    billed_as = tuple(sheet.billed_as) or base_book().header.billed_as
    known = tuple(rule for rule in billed_as if all(party in parties for party in rule.parties))
    header = Header(
        billed_as=known,
        currency=sheet.currency,
        format=FORMAT,
        parties=parties,
        retrieved=sheet.retrieved,
        source=sheet.source,
    )
    return PriceBook.assemble(header, [*own, *_beneath(base, own, sheet.currency)])


def _party(name: str, vendor: Vendor, known: Party | None) -> Party:
    return Party(
        falls_back=tuple(vendor.falls_back) or (known.falls_back if known else ()),
        name=vendor.name or (known.name if known else name),
        reported=vendor.reported or (known.reported if known else {}),
        silent=tuple(vendor.silent) or (known.silent if known else ()),
        sources=tuple(vendor.sources) or (known.sources if known else ()),
    )


def _entries(party: str, vendor: Vendor, sheet: Sheet) -> Iterator[Entry]:
    listed = {name: _rows(party, name, model) for name, model in vendor.models.items()}
    for name, model in vendor.models.items():
        where = f"{party} {name}"
        if bool(model.prices) == bool(model.alias):
            raise BadInput(f"price sheet: {where}: give `prices`, or `alias` (whose prices it has), and not both")
        rows = [*listed[name], *(row for alias in model.alias for row in _aliased(where, alias, listed))]
        names = dict.fromkeys((name.lower(), *(other.lower() for other in model.names)))
        yield Entry(
            fine_tuned=model.fine_tuned,
            match=Match(equals=tuple(names)),
            model=name,
            party=party,
            rows=_ordered(_multiplied(rows, [m for m in vendor.multipliers if not m.models or name in m.models])),
        )


def _rows(party: str, name: str, model: Model) -> list[Row]:
    try:
        return [row for prices in model.prices for row in prices.rows(model.currency)]
    except BadInput as fault:
        raise BadInput(f"price sheet: {party} {name}: {fault}") from None


def _aliased(where: str, alias: Alias, listed: dict[str, list[Row]]) -> Iterator[Row]:
    """The rows of the model that an alias meant, for as long as it did."""
    if not listed.get(alias.of):
        raise BadInput(f"price sheet: {where}: alias of {alias.of!r}, which has no prices of its own in this sheet")
    try:
        yield from _within(listed[alias.of], alias)
    except ValueError as problem:
        raise BadInput(f"price sheet: {where}: alias of {alias.of!r}: {problem}") from None


def _within(rows: list[Row], alias: Alias) -> Iterator[Row]:
    """Rows for as long as an alias stood for their model. Raises ValueError for a date that is none."""
    for row in rows:
        since = max(filter(None, (row.since, alias.since)), key=edge, default=None)
        until = min(filter(None, (row.until, alias.until)), key=edge, default=None)
        if since is None or until is None or edge(since) < edge(until):
            yield replace(row, since=since, until=until)


def _multiplied(rows: list[Row], multipliers: Iterable[Multiplier]) -> list[Row]:
    """The rows, and beside them those of each multiplier on all that came before it."""
    found = list(rows)
    for multiplier in multipliers:
        said = {
            name: value for name in ("processing", "tier", "speed", "region") if (value := getattr(multiplier, name))
        }
        if not said:
            raise BadInput("price sheet: a multiplier names the processing, tier, speed or region that it is for")
        barred = {*said, *multiplier.not_with}
        for row in list(found):
            chosen = row.class_ in multiplier.classes if multiplier.classes else row.class_ not in COUNTERS
            if all(getattr(row, name) is None for name in barred):
                price = _times(row.price, multiplier.times) if chosen else row.price
                found.append(replace(row, price=price, **said))
    return found


def _beneath(base: PriceBook | None, own: list[Entry], currency: str) -> Iterator[Entry]:
    """The entries of the book beneath that a sheet leaves standing, without the names that it takes."""
    taken: dict[str, set[str]] = {}
    for entry in own:
        taken.setdefault(entry.party, set()).update(entry.match.equals)
    replaced = {(entry.party, entry.model) for entry in own}
    for entry in base.entries() if base is not None else ():
        if (entry.party, entry.model) in replaced:
            continue
        names = tuple(name for name in entry.match.equals if name not in taken.get(entry.party, ()))
        if names or entry.match.has_patterns:
            kept = tuple(_keeps_evidence(row, base, currency) for row in entry.rows) if base is not None else ()
            yield replace(entry, match=replace(entry.match, equals=names), rows=kept)


def _keeps_evidence(row: Row, base: PriceBook, currency: str) -> Row:
    """A row of the book beneath, with what that book's header said of it where the sheet's header says otherwise."""
    header = base.header
    own = row.currency or header.currency
    return replace(
        row,
        currency=None if own == currency else own,
        source=row.source or header.source,
        retrieved=row.retrieved or header.retrieved,
    )


def _ordered(rows: Iterable[Row]) -> tuple[Row, ...]:
    try:
        return tuple(
            sorted(
                rows,
                key=lambda row: (
                    row.processing or "",
                    row.tier or "",
                    row.speed or "",
                    row.region or "",
                    class_order(row.class_),
                    row.first_token,
                    row.since or "",
                ),
            )
        )
    except KeyError as problem:
        raise BadInput(f"price sheet: {problem} is not a class of usage") from None


def _one(name: str, text: str, per: int) -> str:
    """The price of one unit, from that of `per` units."""
    try:
        if len(text) > PRICE_LIMIT:
            raise ValueError(f"a price of {len(text)} digits; the most is {PRICE_LIMIT}")
        price = parse_decimal(text)
        if price < 0:
            raise ValueError(f"a price below zero: {text!r}")
        with localcontext(_EXACT):
            return format_decimal(price / per)
    except Inexact:
        raise BadInput(f"{name}: {text}/{per} has no end as a decimal; give the price of a unit that does") from None
    except ValueError as problem:
        raise BadInput(f"{name}: {problem}") from None


def _times(price: str, times: str) -> str:
    try:
        with localcontext(_EXACT):
            product = parse_decimal(price) * parse_decimal(times)
    except (ValueError, Inexact):
        raise BadInput(f"price sheet: a multiplier is times {times!r}, which is no factor") from None
    if product < Decimal(0):
        raise BadInput(f"price sheet: a multiplier below zero: {times!r}")
    return format_decimal(product)


class _Texts(yaml.BaseLoader):
    """YAML whose scalars are texts. A name twice in one place is an error, and so are anchors, which can multiply."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise yaml.YAMLError(f"line {mark.line + 1}: a reference (*name); write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {name!r} stands there twice")
            seen.add(name)
        return super().construct_mapping(node, deep=True)
