"""Which row prices what, and why the others do not: for people, and as JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from tollbook.core.clock import format_instant
from tollbook.core.usage import class_order
from tollbook.pricing.choice import Conditions, assumptions, choose, conditions, why_not
from tollbook.pricing.entry import Entry, Found, Header
from tollbook.pricing.row import Row, row_id


@dataclass(frozen=True)
class ShownRow:
    """A row as it is shown: with its id, and with what the book says for all its rows filled in.

    `unit_price` is decimal text for one unit; `band` and `window` are words; None in a dimension is the standard.
    """

    id: str
    party: str
    model: str
    class_: str
    unit_price: str
    currency: str
    processing: str | None
    tier: str | None
    speed: str | None
    region: str | None
    band: str | None
    window: str | None
    since: str | None
    until: str | None
    source: str
    retrieved: str
    assumed: list[str]


@dataclass(frozen=True)
class RunnerUp:
    """A row that was not chosen, and why."""

    row: ShownRow
    why: str


@dataclass(frozen=True)
class ClassChoice:
    """How one class is priced: the row, or the reason why there is none.

    `billed_as` names the class whose price is used, by the vendor's rule quoted in `rule`.
    """

    class_: str
    row: ShownRow | None
    unpriced: str | None
    assumed: list[str]
    billed_as: str | None
    rule: str | None
    runners_up: list[RunnerUp]


@dataclass(frozen=True)
class Explanation:
    """The answer to "what does this model cost, at that instant, and why"."""

    book: str
    source: str
    party: str
    model: str
    entry: str | None
    matched: str | None
    at: str
    asked: dict[str, str | None]
    tokens_input: int | None
    unpriced: str | None
    assumed: list[str]
    classes: list[ClassChoice]

    def to_json(self) -> dict[str, Any]:
        """As plain values, `class_` spelt `class`."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def explain(
    header: Header,
    digest: str,
    found: Found,
    party: str,
    model: str,
    reported: Conditions,
    at: int,
    tokens_input: int | None,
) -> Explanation:
    """Tell how what was found for a model prices it; see `PriceBook.explain`."""
    chosen = choose(header, found, party, reported, at)
    asked = conditions(header.parties.get(party), reported)
    classes: list[ClassChoice] = []
    if found.entry is not None:
        teller = _Teller(header, found.entry, asked, at, tokens_input)
        classes = teller.tell(chosen.rows, chosen.missing, chosen.reason)
    return Explanation(
        book=digest,
        source=header.source,
        party=party,
        model=model,
        entry=f"{found.entry.party} {found.entry.model}" if found.entry is not None else None,
        matched=None if found.entry is None else "exact name" if found.exact else "pattern",
        at=format_instant(at),
        asked=asked._asdict(),
        tokens_input=tokens_input,
        unpriced=chosen.reason,
        assumed=list(chosen.assumed),
        classes=classes,
    )


def show(header: Header, entry: Entry | None) -> list[ShownRow]:
    """All rows of an entry, of every tier, band and date."""
    return [_shown(header, entry, row) for row in entry.rows] if entry is not None else []


class _Teller:
    """Tells how each class of one entry is priced."""

    def __init__(self, header: Header, entry: Entry, asked: Conditions, at: int, tokens: int | None) -> None:
        self._header = header
        self._entry = entry
        self._asked = asked
        self._at = at
        self._tokens = tokens

    def tell(self, rows: dict[str, list[Row]], missing: dict[str, str], reason: str | None) -> list[ClassChoice]:
        own = {name: self._own(name, rows.get(name, []), missing.get(name) or reason) for name in self._names()}
        for rule in self._header.rules(self._entry.party):
            row = own[rule.as_].row if rule.as_ in own else None
            if row is not None and (rule.class_ not in own or own[rule.class_].row is None):
                assumed = own[rule.as_].assumed + ([rule.assumed] if rule.assumed else [])
                runners_up = own[rule.class_].runners_up if rule.class_ in own else []
                own[rule.class_] = ClassChoice(rule.class_, row, None, assumed, rule.as_, rule.source, runners_up)
        return sorted(own.values(), key=lambda choice: class_order(choice.class_))

    def _names(self) -> list[str]:
        return list(dict.fromkeys(row.class_ for row in self._entry.rows))

    def _own(self, name: str, active: list[Row], reason: str | None) -> ClassChoice:
        fitting = [row for row in active if row.first_token <= (self._tokens or 0)]
        best = fitting[-1] if fitting else None
        others = [row for row in self._entry.rows if row.class_ == name and row is not best]
        return ClassChoice(
            class_=name,
            row=self._show(best) if best is not None else None,
            unpriced=None if best is not None else reason or "unknown_class",
            assumed=list(assumptions(self._header, self._entry.rows, best, self._at)) if best is not None else [],
            billed_as=None,
            rule=None,
            runners_up=[RunnerUp(self._show(row), self._why(row, best)) for row in others],
        )

    def _why(self, row: Row, best: Row | None) -> str:
        why = why_not(row, self._asked, self._at, self._tokens)
        if why is not None:
            return why
        if best is None:
            return "another party's prices are shared for the standard service only"
        if best.first_token > row.first_token and best.band is not None:
            return f"the price {best.band.words()} goes before it"
        return "the price of these hours goes before it"

    def _show(self, row: Row) -> ShownRow:
        return _shown(self._header, self._entry, row)


def _shown(header: Header, entry: Entry, row: Row) -> ShownRow:
    return ShownRow(
        id=row_id(entry.party, entry.model, row),
        party=entry.party,
        model=entry.model,
        class_=row.class_,
        unit_price=row.price,
        currency=row.currency or header.currency,
        processing=row.processing,
        tier=row.tier,
        speed=row.speed,
        region=row.region,
        band=row.band.words() if row.band is not None else None,
        window=row.window.words() if row.window is not None else None,
        since=row.since,
        until=row.until,
        source=row.source or header.source,
        retrieved=row.retrieved or header.retrieved,
        assumed=list(row.assumed),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {("class" if key == "class_" else key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
