"""Makes the base price book from the pinned `genai-prices` package: `python -m tollbook.pricing.catalogue`.

A build step; nothing at run time needs the package. Only what the source asserts is kept: a tier, region, speed or
processing that it does not name has no row, and a model it lists without any price has none either (the package
itself prices all of these as standard, or as nothing). Known errors are put right by `books/corrections.yaml`.
"""

import sys
from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact, localcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import yaml
from genai_prices import data, types
from genai_prices.data_units import unit_data
from msgspec import Struct
from msgspec.structs import replace

from tollbook.core.money import format_decimal, parse_decimal
from tollbook.core.usage import class_order
from tollbook.pricing.book import PriceBook
from tollbook.pricing.entry import FORMAT, BilledAs, Entry, Header, Party, Words
from tollbook.pricing.match import Match, is_fine_tuned
from tollbook.pricing.row import Band, Row, Window

RETRIEVED: Final = "2026-11-09"
"""The latest day on which the pinned snapshot says that a price was seen; later dates in it are announcements."""

BOOKS: Final = Path(__file__).parent / "books"

CLASSES: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "input_cache_read",
    "cache_write_mtok": "input_cache_write",
    "cache_write_5m_mtok": "input_cache_write_5m",
    "cache_write_1h_mtok": "input_cache_write_1h",
    "output_mtok": "output",
    "output_reasoning_mtok": "output_reasoning",
    "input_audio_mtok": "input.audio",
    "input_image_mtok": "input.image",
    "input_video_mtok": "input.video",
    "cache_audio_read_mtok": "input_cache_read.audio",
    "cache_image_read_mtok": "input_cache_read.image",
    "output_audio_mtok": "output.audio",
    "output_image_mtok": "output.image",
    "output_video_mtok": "output.video",
    "requests_kcount": "requests",
    "web_searches_kcount": "web_searches",
    "storage_searches_kcount": "file_searches",
    "audio_hours": "seconds",
    "input_audio_hours": "seconds",
    "input_mchars": "characters",
    "input_document_kpages": "pages",
}
"""The source's price keys as our usage classes; a key that is not here has no class of ours."""

DIMENSIONS: Final = {"service_tier": "tier", "processing": "processing", "speed": "speed", "route": "region"}
"""The source's request context as our dimensions; a variant with another key is left out."""

_PER: Final[dict[str, int]] = {unit["price_key"]: unit["per"] for unit in unit_data.values()}
_T = TypeVar("_T")
_EXACT: Final = Context(prec=60, traps=[Inexact])


class Omission(NamedTuple):
    """Something of the source that the book does not hold, and why."""

    party: str
    model: str
    what: str
    why: str


class Catalogue(NamedTuple):
    """A converted snapshot."""

    book: PriceBook
    omitted: list[Omission]


class CorrectedRows(Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of one span, hours and context, `prices` being for `per` units each."""

    per: int
    prices: dict[str, str]
    assumed: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    windows: tuple[Window, ...] = ()

    def rows(self, correction: "Correction") -> Iterator[Row]:
        for window in self.windows or (None,):
            for name, price in self.prices.items():
                yield Row(
                    assumed=self.assumed,
                    class_=name,
                    price=_unit_price(parse_decimal(price), self.per),
                    retrieved=correction.recorded,
                    since=self.since,
                    source=correction.source,
                    until=self.until,
                    window=window,
                )


class Correction(Struct, frozen=True, forbid_unknown_fields=True):
    """A known error of the snapshot and the rows that take the place of all rows of that model."""

    party: str
    model: str
    found: str
    source: str
    recorded: str
    rows: tuple[CorrectedRows, ...]


class PartyRules(Struct, frozen=True, forbid_unknown_fields=True):
    reported: Words = {}
    silent: tuple[str, ...] = ()


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    billed_as: tuple[BilledAs, ...]
    parties: dict[str, PartyRules]


def convert() -> Catalogue:
    """The installed package's data as a price book."""
    rules = _read(BOOKS / "rules.yaml", Rules)
    omitted: list[Omission] = []
    entries = {
        (provider.id, model.id): _Converter(provider.id, model, omitted).entry(rank)
        for provider in data.providers
        for rank, model in enumerate(provider.models)
    }
    for correction in _read(BOOKS / "corrections.yaml", tuple[Correction, ...]):
        key = (correction.party, correction.model)
        rows = [row for group in correction.rows for row in group.rows(correction)]
        entries[key] = replace(entries[key], rows=_ordered(rows))
    return Catalogue(PriceBook.assemble(_header(rules), entries.values()), omitted)


def main() -> None:
    """Write the base book and say what it holds."""
    catalogue = convert()
    book = catalogue.book
    (BOOKS / "base.jsonl").write_bytes(book.dump())
    rows = sum(len(entry.rows) for entry in book.entries())
    models = sum(len(book.models(party)) for party in book.parties)
    sys.stdout.write("".join(f"left out: {o.party} {o.model}: {o.what}: {o.why}\n" for o in catalogue.omitted))
    sys.stdout.write(f"{book.digest}  {len(book.dump()):,} bytes, {models:,} models, {rows:,} rows\n")


def _header(rules: Rules) -> Header:
    parties = {
        provider.id: Party(
            name=provider.name,
            falls_back=tuple(provider.fallback_model_providers or ()),
            reported=rules.parties.get(provider.id, PartyRules()).reported,
            silent=rules.parties.get(provider.id, PartyRules()).silent,
            sources=tuple(provider.pricing_urls or ()),
        )
        for provider in data.providers
    }
    return Header(
        billed_as=rules.billed_as,
        currency="USD",
        format=FORMAT,
        parties=parties,
        retrieved=RETRIEVED,
        source=f"genai-prices {version('genai-prices')}",
    )


class _Converter:
    """One model of the source on its way into an entry."""

    def __init__(self, party: str, model: Any, omitted: list[Omission]) -> None:
        self._party = party
        self._model = model
        self._omitted = omitted

    def entry(self, rank: int) -> Entry:
        match = _match(self._model.match)
        names = (*match.equals, *match.starts_with)
        only_names = not (match.all or match.contains or match.ends_with or match.regex)
        return Entry(
            fine_tuned=only_names and all(is_fine_tuned(name) for name in names),
            match=match,
            model=self._model.id,
            party=self._party,
            rank=rank if match.has_patterns else None,
            rows=_ordered(self._rows()),
        )

    def _rows(self) -> list[Row]:
        if not _is_priced(self._model):
            self._omit("all prices", "the source lists none")
            return []
        periods = list(self._periods())
        rows = [row for base, prices in periods for row in self._priced(prices, base)]
        for variant in self._model.price_variants or ():
            where = {DIMENSIONS[key]: value for key, value in variant.when.items() if key in DIMENSIONS}
            if len(where) < len(variant.when):
                self._omit(f"prices for {variant.when}", "no dimension of ours")
            elif where != {"tier": "default"}:  # an alias of the standard: see rules.yaml
                rows += self._variant(periods, variant, where)
        return rows

    def _variant(self, periods: list[tuple[Row, Any]], variant: Any, where: dict[str, str]) -> Iterator[Row]:
        """The rows of a variant: its own prices over the standard ones of each period in which it holds.

        The source's rule: what a variant does not name keeps its standard price (a cached read in a batch).
        """
        since = _since(variant.constraint)
        later = [
            _since(other.constraint)
            for other in self._model.price_variants
            if other.when == variant.when and (_since(other.constraint) or "") > (since or "")
        ]
        until = min((date for date in later if date is not None), default=None)
        for base, prices in periods:
            begin = max(filter(None, (base.since, since)), default=None)
            end = min(filter(None, (base.until, until)), default=None)
            if begin is None or end is None or begin < end:
                own = {key: price for key, price in vars(variant.prices).items() if price is not None}
                template = replace(base, since=begin, until=end, **where)
                yield from self._priced({**prices, **own}, template)

    def _periods(self) -> Iterator[tuple[Row, dict[str, Any]]]:
        """The standard prices in time: a row that carries dates and hours only, and the prices that hold then."""
        prices = self._model.prices
        if isinstance(prices, types.ModelPrice):
            yield Row(), _stated(prices)
            return
        dated = [part for part in prices if not isinstance(part.constraint, types.TimeOfDateConstraint)]
        for number, part in enumerate(dated):
            until = _since(dated[number + 1].constraint) if number + 1 < len(dated) else None
            yield Row(since=_since(part.constraint), until=until), _stated(part.prices)
        for part in prices:
            if isinstance(part.constraint, types.TimeOfDateConstraint):
                yield Row(window=_window(part.constraint)), _stated(part.prices)

    def _priced(self, prices: dict[str, Any], template: Row) -> Iterator[Row]:
        names: set[str] = set()
        for key, price in prices.items():
            name = CLASSES.get(key)
            if name is None:
                self._omit(key, "no usage class of ours")
                continue
            if name == "input_cache_write" and "cache_write_1h_mtok" in prices:
                name = "input_cache_write_5m"  # beside an hour's price the plain one is the five-minute one
            if name in names:
                continue  # audio_hours and input_audio_hours say the same
            names.add(name)
            try:
                yield from _bands(name, price, _PER[key], template)
            except Inexact:
                self._omit(key, f"{price}/{_PER[key]} has no end as a decimal")

    def _omit(self, what: str, why: str) -> None:
        omission = Omission(self._party, self._model.id, what, why)
        if omission not in self._omitted:
            self._omitted.append(omission)


def _bands(name: str, price: Any, per: int, template: Row) -> Iterator[Row]:
    if not isinstance(price, types.TieredPrices):
        yield replace(template, class_=name, price=_unit_price(price, per))
        return
    yield replace(template, class_=name, price=_unit_price(price.base, per))
    for tier in price.tiers:
        # The source only knows "over"; 199,999 is its way to say "from 200,000".
        inclusive = tier.start % 1000 == 999
        band = Band(at_least=tier.start + 1) if inclusive else Band(over=tier.start)
        yield replace(template, class_=name, price=_unit_price(tier.price, per), band=band)


def _unit_price(price: Decimal, per: int) -> str:
    """A price for `per` units as decimal text for one. Raises Inexact when that has no end."""
    with localcontext(_EXACT):
        return format_decimal(price / per)


def _is_priced(model: Any) -> bool:
    parts = [model.prices] if isinstance(model.prices, types.ModelPrice) else [part.prices for part in model.prices]
    return any(_stated(part) for part in parts)


def _stated(prices: Any) -> dict[str, Any]:
    return {key: price for key, price in vars(prices).items() if price is not None}


def _since(constraint: Any) -> str | None:
    return None if constraint is None else str(constraint.start_date.isoformat())


def _window(constraint: Any) -> Window:
    return Window(from_=constraint.start_time.strftime("%H:%M"), to=constraint.end_time.strftime("%H:%M"))


def _match(clause: Any) -> Match:
    if isinstance(clause, types.ClauseOr):
        parts = [_match(part) for part in clause.or_]
        merged = {name: tuple(dict.fromkeys(text for part in parts for text in getattr(part, name))) for name in _TEXTS}
        groups = [part.all for part in parts if part.all]
        if len(groups) > 1:
            raise ValueError(f"a choice between several conjunctions cannot be said as a Match: {clause!r}")
        return Match(all=groups[0] if groups else (), **merged)
    if isinstance(clause, types.ClauseAnd):
        return Match(all=tuple(_match(part) for part in clause.and_))
    (name, text), *_ = vars(clause).items()
    return Match(**{name: (text if name == "regex" else text.lower(),)})


_TEXTS: Final = ("contains", "ends_with", "equals", "regex", "starts_with")


def _ordered(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(
        sorted(
            _joined(rows),
            key=lambda row: (
                row.processing or "",
                row.tier or "",
                row.speed or "",
                row.region or "",
                class_order(row.class_),
                row.first_token,
                row.since or "",
                row.window is not None,
                row.window.words() if row.window is not None else "",
            ),
        )
    )


def _joined(rows: Iterable[Row]) -> list[Row]:
    """Rows that follow one another at the same price made one: the day on which another class changed is not theirs."""
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: row.since or ""):
        before = next((one for one in found if one.until == row.since and _timeless(one) == _timeless(row)), None)
        if before is not None and row.since is not None:
            found.remove(before)
            row = replace(row, since=before.since)
        found.append(row)
    return found


def _timeless(row: Row) -> Row:
    return replace(row, since=None, until=None)


def _read(path: Path, kind: type[_T]) -> _T:
    return msgspec.convert(yaml.safe_load(path.read_text()), kind)


if __name__ == "__main__":
    main()
