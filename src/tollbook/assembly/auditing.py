"""A sample for an auditor: drawn so that nobody chooses it, with a working paper and one bundle of evidence."""

import csv
import io
from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook.core.clock import format_instant, parse_instant
from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.money import format_amount
from tollbook.disputes import draw
from tollbook.ledger.lake import Lake
from tollbook.ledger.population import Frame, Item
from tollbook.ledger.reader import Position, Reader, position_of
from tollbook.ledger.trace import trace
from tollbook.registry.registry import Registry

Document = dict[str, Any]

COLUMNS: Final = (
    "item",
    "place",
    "request",
    "occurred_at",
    "tenant",
    "unit",
    "entity",
    "cost_centre",
    "key",
    "route",
    "model",
    "amount",
    "currency",
    "price_book",
    "price_rows",
    "price_book_activated_by",
    "entry",
    "entry_sha256",
    "corrected",
    "vendor_statement",
    "result",
)
_RISKY: Final = ("=", "+", "-", "@", "\t", "\r")


class Wanted(NamedTuple):
    """A period (microseconds, half-open), how many, how drawn, by which seed, at which position (None: the last)."""

    since: int
    until: int
    n: int
    method: str
    seed: str
    currency: str = "USD"
    position: int | None = None


class Sample(NamedTuple):
    """What was drawn: the document of it, and the working paper as CSV."""

    document: Document
    requests: list[str]
    paper: str


def sample(root: Path, wanted: Wanted) -> Sample:
    """Draw a sample and write its working paper. Raises BadInput when nothing can be drawn."""
    if wanted.method not in draw.METHODS:
        raise BadInput(f"--method: found {wanted.method!r}; allowed: {', '.join(draw.METHODS)}")
    if not wanted.seed.strip():
        raise BadInput("--seed: the auditor names it, in any words; without one the draw could be chosen")
    if wanted.since >= wanted.until:
        raise BadInput("the period is empty: it begins at or after its end, which is not part of it")
    from tollbook.assembly.service import read_registry

    with Reader(root) as reader:
        document, items = reader.read(lambda lake: _drawn(lake, wanted))
        registry = read_registry(root)
        rows = [_row(registry, reader, number, item) for number, item in enumerate(items, 1)]
    return Sample({**document, "items": rows}, [item.request for item in items], to_csv(rows))


def _drawn(lake: Lake, wanted: Wanted) -> tuple[Document, list[Item]]:
    position = position_of(lake, wanted.position)
    frame = Frame(lake, position.number, wanted.since, wanted.until, wanted.currency)
    population = frame.population()
    if not population.size:
        raise BadInput(f"no request of the period has a charge in {wanted.currency}")
    told = _population(wanted, position, population.size, population.total)
    seal = sha256_hex(canonical_json(told))
    if wanted.method == "money_unit":
        items = frame.holding(draw.units(seal, wanted.seed, wanted.n, population.total))
    elif wanted.method == "stratified":
        parts = draw.portions(frame.strata(), wanted.n)
        places = {
            model: draw.ordinals(seal, wanted.seed, count, frame.strata()[model], model)
            for model, count in parts.items()
        }
        items = [item for model, among in places.items() if among for item in frame.at(among, model)]
    else:
        items = frame.at(draw.ordinals(seal, wanted.seed, wanted.n, population.size))
    document = {
        "population": {**told, "left_out": population.left_out},
        "seal": seal,
        "method": wanted.method,
        "seed": wanted.seed,
        "n": wanted.n,
    }
    return document, items


def _population(wanted: Wanted, position: Position, count: int, total: int) -> Document:
    """What the seal is taken over: the population frozen by position, with its count and sum."""
    return {
        "from": format_instant(wanted.since),
        "to": format_instant(wanted.until),
        "currency": wanted.currency,
        "position": position.number,
        "digest": position.digest,
        "count": count,
        "sum": format_amount(total),
    }


def _row(registry: Registry, reader: Reader, number: int, item: Item) -> Document:
    """One line of the working paper."""
    story = trace(reader, item.request)
    request, attempts = story["request"], story["attempts"]
    at = parse_instant(request["occurred_at"] or request["opened_at"])
    place = registry.place(request["tenant"], request["workload"], at)
    priced = [one for one in attempts if one["price_book"] is not None]
    lines = [line for one in priced for line in one["charges"]]
    entry = story["entries"][-1]
    return {
        "item": number,
        "place": item.place,
        "request": item.request,
        "occurred_at": request["occurred_at"],
        "tenant": request["tenant"],
        "unit": place.unit,
        "entity": place.entity,
        "cost_centre": place.cost_centre,
        "key": request["key"],
        "route": request["route"],
        "model": item.model,
        "amount": format_amount(item.amount),
        "currency": request["currency"],
        "price_book": priced[-1]["price_book"] if priced else None,
        "price_rows": " ".join(sorted({str(line["price_row"]) for line in lines})),
        "price_book_activated_by": _activated_by(reader, priced[-1]["price_book"]) if priced else None,
        "entry": f"{entry['lane']}/{entry['sequence']}",
        "entry_sha256": entry["digest"],
        "corrected": " ".join(sorted({one["case"] for one in story["adjustments"]})),
        "vendor_statement": None,
        "result": None,
    }


def _activated_by(reader: Reader, book: str) -> str | None:
    rows = reader.read(lambda lake: lake.rows("SELECT actor FROM price_books WHERE book = $1 ORDER BY since", [book]))
    return str(rows[0][0]) if rows else None


def outside(root: Path, path: Path) -> list[Document]:
    """The other direction: each row of an outside list, and the charge that answers to it."""
    from tollbook.assembly.claims import named, rows_of

    found = []
    with Reader(root) as reader:
        for number, ids in rows_of(path):
            one: Document = {"row": number, "id": ids[0] if ids else None, "found": False, "request": None}
            one |= {"tenant": None, "amount": None, "currency": None}
            for text in ids:
                try:
                    _, requests = named(reader, text, None)
                except (NotFound, BadInput):
                    continue
                request = trace(reader, requests[0])["request"]
                amount = request["amounts"]["recharge"]
                one |= {"id": text, "found": True, "request": requests[0], "tenant": request["tenant"]}
                one |= {"amount": amount, "currency": request["currency"]}
                break
            found.append(one)
    return found


def to_csv(rows: list[Document]) -> str:
    """Rows as CSV. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO(newline="")
    names = list(rows[0]) if rows else list(COLUMNS)
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
    return text.getvalue()


def _cell(value: object) -> object:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_RISKY) else text
