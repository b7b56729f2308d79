"""The screen of a report: a table as finance reads one, its total, and how it was made."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.story import show_provenance

Document = dict[str, Any]

_TokenColumn = tuple[str, str, tuple[str, ...]]

_GROUPED: Final[tuple[_TokenColumn, ...]] = (
    ("input", "input", ()),
    ("cache read", "input_cache_read", ()),
    ("cache write", "input_cache_write", ("_5m", "_30m", "_1h", "_12h")),
    ("output", "output", ()),
    ("reasoning", "output_reasoning", ()),
)
"""Columns of tokens: title, class, suffixes of further classes in the same column. Other classes are in the JSON."""


_MISSING: Final = ("unpriced", "unsettled", "unreported")
"""Counts of attempts whose money is not, or not wholly, in the amounts."""


def show_report(report: Document, by: list[str]) -> RenderableType:
    """The whole screen of a report, in the shape of `docs/reference/schemas/report.json`."""
    rows, total = report["rows"], report["total"]
    titles = [group for group in _GROUPED if any(_tokens(row, group) is not None for row in rows)]
    currencies = sorted({currency for row in [*rows, total] for currency in row["amounts"]}) or ["USD"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in by:
        table.add_column(screen.escape(name), overflow="fold")
    for title in ("requests", "attempts", *(title for title, _, _ in titles), *currencies, *_MISSING):
        table.add_column(screen.escape(title, 20), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(screen.words(row["dimensions"][name]) for name in by), *_figures(row, titles, currencies))
    table.add_section()
    label = [Text("total"), *(Text() for _ in by[1:])] if by else []
    table.add_row(*label, *_figures(total, titles, currencies), style="bold")
    notes = [show_provenance(report["provenance"])]
    if missing := [f"{total[name]:,} {name}" for name in _MISSING if total[name]]:
        told = f"amounts leave out attempts whose cost is not known: {', '.join(missing)}"
        notes.insert(0, Text(told, style="yellow"))
    return Group(table, Text(), *notes)


def _figures(row: Document, titles: list[_TokenColumn], currencies: list[str]) -> Iterator[Text]:
    yield screen.number(row["requests"])
    yield screen.number(row["attempts"])
    for group in titles:
        quantity = _tokens(row, group)
        yield Text("-", style="dim") if quantity is None else screen.number(quantity)
    for currency in currencies:
        yield _amount(row, currency)
    for name in _MISSING:
        count = row[name]
        yield Text(f"{count:,}", style="yellow" if count else "dim")


def _amount(row: Document, currency: str) -> Text:
    """What is known of an amount: nothing where nothing was bought, `unknown` where no attempt has a price."""
    if currency in row["amounts"]:
        return screen.money(row["amounts"][currency], currency)
    nothing_bought = row["amounts"] or not row["attempts"]
    return Text("-", style="dim") if nothing_bought else screen.money(None)


def _tokens(row: Document, group: _TokenColumn) -> int | None:
    """The tokens of a column, text and other modalities together; None when no class of it was reported."""
    _, base, suffixes = group
    names = {base, *(base + suffix for suffix in suffixes)}
    found = [quantity for name, quantity in row["usage"].items() if name.partition(".")[0] in names]
    return sum(found) if found else None
