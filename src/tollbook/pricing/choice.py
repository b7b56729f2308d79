"""Which rows of an entry apply to an answer at an instant, and why the others do not.

Rating and explaining choose by the same functions, so an explanation cannot tell another story than the charge.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tollbook.core.clock import SECOND, format_instant
from tollbook.pricing.entry import Entry, Found, Header, Party
from tollbook.pricing.row import DAY, DIMENSIONS, FOREVER, Row, edge, is_date, key_of

STANDARD: Final = "standard"
MINUTE: Final = 60 * SECOND
ANY: Final = "*"
"""In a party's words: whatever it says beside them."""


class Conditions(NamedTuple):
    """What was served, in the book's words: None is the vendor's standard."""

    processing: str | None
    tier: str | None
    speed: str | None
    region: str | None


class Chosen(NamedTuple):
    """The rows that apply at an instant, per class, lowest context band first; and what was assumed to get there.

    `rows` is empty with `reason` set when nothing applies; `missing` gives the reason per class that has rows, but
    none now. The choice is the same from `since` up to `until`.
    """

    rows: dict[str, list[Row]]
    missing: dict[str, str]
    reason: str | None
    assumed: tuple[str, ...]
    since: int
    until: int


def conditions(party: Party | None, reported: Conditions) -> Conditions:
    """A vendor's own words in the book's: a word that means the standard, or another dimension, is translated."""
    found: dict[str, str | None] = dict.fromkeys(DIMENSIONS)
    for dimension, word in zip(DIMENSIONS, reported, strict=True):
        if word is None or word == STANDARD:
            continue
        words = party.reported.get(dimension, {}) if party is not None else {}
        meaning = words.get(word, words.get(ANY))
        found.update({dimension: word} if meaning is None else meaning)
    return Conditions(**found)


def choose(header: Header, found: Found, party: str, reported: Conditions, at: int) -> Chosen:
    """The rows that price an answer at an instant."""
    entry, rules = found.entry, header.parties.get(party)
    if entry is None:
        return Chosen({}, {}, found.reason, (), -FOREVER, FOREVER)
    asked = conditions(rules, reported)
    rows = [row for row in entry.rows if dimensions_of(row) == asked]
    if found.borrowed and asked != Conditions(None, None, None, None):
        rows = []  # another party's prices are shared for the standard service only
    if not rows:
        return Chosen({}, {}, _no_such(entry, asked, found), (), -FOREVER, FOREVER)
    active = _active(rows, at)
    missing = {row.class_: _not_now(rows, row.class_, at) for row in rows if row.class_ not in active}
    reason = None if active else next(iter(missing.values()))
    assumed = (("party",) if found.borrowed else ()) + _silent(entry, rules, reported)
    since, until = _validity(rows, edge(header.retrieved), at)
    return Chosen(active, missing, reason, assumed, since, until)


def dimensions_of(row: Row) -> Conditions:
    """The conditions a row is for."""
    return Conditions(row.processing, row.tier, row.speed, row.region)


def assumptions(header: Header, rows: Iterable[Row], row: Row, at: int) -> tuple[str, ...]:
    """What is taken for granted by pricing at an instant with a row.

    `effective_from`: the source does not say since when, and the instant lies before the day it was read. `instant`:
    within a day of it the price changes, and the vendor gave the day of the change but no hour.
    """
    found = list(row.assumed)
    if row.since is None and at < edge(row.retrieved or header.retrieved):
        found.append("effective_from")
    key = key_of(row)
    others = (other for other in rows if key_of(other) == key and other.price != row.price)
    if any(abs(at - day) < DAY for other in others for day in _vague_edges(other)):
        found.append("instant")
    return tuple(found)


def why_not(row: Row, asked: Conditions, at: int, tokens: int | None) -> str | None:
    """Why a row does not apply, for people; None when nothing speaks against it."""
    for dimension, own, wanted in zip(DIMENSIONS, dimensions_of(row), asked, strict=True):
        if own != wanted:
            return f"for {dimension} {own or STANDARD}; asked for {wanted or STANDARD}"
    if at < row.span[0]:
        return f"begins {row.since}"
    if at >= row.span[1]:
        return f"ended {row.until}"
    if row.window is not None and not row.window.holds(at):
        return f"applies {row.window.words()}; it was {format_instant(at)}"
    if row.band is not None and (tokens is None or tokens < row.band.first):
        had = "their number is not given" if tokens is None else f"the request has {tokens:,}"
        return f"applies {row.band.words()}; {had}"
    return None


def _active(rows: list[Row], at: int) -> dict[str, list[Row]]:
    best: dict[tuple[str, int], Row] = {}
    for row in rows:
        if row.span[0] <= at < row.span[1] and (row.window is None or row.window.holds(at)):
            key = (row.class_, row.first_token)
            if key not in best or row.window is not None:
                best[key] = row
    found: dict[str, list[Row]] = {}
    for (name, _), row in sorted(best.items(), key=lambda item: item[0]):
        found.setdefault(name, []).append(row)
    return found


def _no_such(entry: Entry, asked: Conditions, found: Found) -> str:
    """Which dimension no row of the entry speaks of."""
    if not entry.rows:
        return "no_price"
    for number, (dimension, wanted) in enumerate(zip(DIMENSIONS, asked, strict=True)):
        if wanted is not None and (found.borrowed or all(dimensions_of(row)[number] != wanted for row in entry.rows)):
            return f"unknown_{dimension}"
    return "unknown_combination"


def _not_now(rows: list[Row], name: str, at: int) -> str:
    if all(row.span[0] > at for row in rows if row.class_ == name):
        return "before_first_price"
    return "after_last_price"


def _silent(entry: Entry, rules: Party | None, reported: Conditions) -> tuple[str, ...]:
    """The dimensions of which the vendor said nothing though the model has more than one price there.

    Processing is never among them: whether a request was sent in a batch is our own knowledge.
    """
    asserted = ("processing", *(rules.silent if rules is not None else ()))
    return tuple(
        dimension
        for number, dimension in enumerate(DIMENSIONS)
        if reported[number] is None
        and dimension not in asserted
        and any(dimensions_of(row)[number] is not None for row in entry.rows)
    )


def _vague_edges(row: Row) -> Iterator[int]:
    for text in (row.since, row.until):
        if text is not None and is_date(text):
            yield edge(text)


def _validity(rows: list[Row], retrieved: int, at: int) -> tuple[int, int]:
    """The widest stretch around an instant in which the choice and its assumptions stay the same."""
    midnight = at - at % DAY
    cuts = {retrieved, *(edge(row.retrieved) for row in rows if row.retrieved is not None)}
    for row in rows:
        cuts.update(row.span)
        for day in _vague_edges(row):
            cuts.update((day - DAY + 1, day + DAY))
        if row.window is not None and row.window.zone is not None:
            cuts.update((at - at % MINUTE, at - at % MINUTE + MINUTE))  # clocks turn and windows begin on a minute
        elif row.window is not None:
            cuts.update(midnight + offset for offset in (0, DAY, *row.window.span))
    return max((cut for cut in cuts if cut <= at), default=-FOREVER), min(
        (cut for cut in cuts if cut > at), default=FOREVER
    )
