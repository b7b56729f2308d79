"""The screen of a report: a table as finance reads one, its total, and how it was made."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.story import show_provenance

Document = dict[str, Any]

_TOKENS: Final = (
    ("input", ("input",)),
    ("of it cached", ("input_cache_read",)),
    ("output", ("output",)),
)
"""Columns of tokens: title, and how the classes begin that it sums. Every class by itself is in the JSON form."""

_MISSING: Final = ("unpriced", "unsettled", "unreported")
"""Counts of attempts whose money is not, or not wholly, in the amounts."""


def show_report(report: Document, by: list[str]) -> RenderableType:
    """The whole screen of a report, in the shape of `docs/reference/schemas/report.json`."""
    rows, total = report["rows"], report["total"]
    missing = [name for name in _MISSING if total[name]]
    currencies = sorted({currency for row in [*rows, total] for currency in row["amounts"]}) or ["USD"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in by:
        table.add_column(screen.escape(name), overflow="fold", min_width=6)
    for title in ("requests", "attempts", *(title for title, _ in _TOKENS), *currencies, *missing):
        table.add_column(screen.escape(title, 20), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_dimension(row["dimensions"][name]) for name in by), *_figures(row, currencies, missing))
    table.add_section()
    label = [Text("total"), *(Text() for _ in by[1:])] if by else []
    table.add_row(*label, *_figures(total, currencies, missing), style="bold")
    notes = [show_provenance(report["provenance"])]
    if missing:
        told = ", ".join(f"{total[name]:,} {name}" for name in missing)
        notes.insert(0, Text(f"amounts leave out attempts whose cost is not known: {told}", style="yellow"))
    corrected = [_adjustment(one) for one in report.get("adjustments", ())]
    return Group(table, *corrected, Text(), *notes)


def _adjustment(one: Document) -> Text:
    """What a case took off or added to a tenant's charges."""
    words = f"{screen.escape(one['tenant'] or '')}, case {screen.escape(one['case'])} ({one['act'].replace('_', ' ')})"
    return Text(f"corrected, not in the sums: {words} {screen.exact_money(one['amount'], one['currency'])}")


def _dimension(value: str | bool | None) -> Text:
    """A dimension's value; `-` where a request had none, or went nowhere."""
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text("-", style="dim") if value is None else screen.words(value)


def _figures(row: Document, currencies: list[str], missing: list[str]) -> Iterator[Text]:
    yield screen.number(row["requests"])
    yield screen.number(row["attempts"])
    for _, beginnings in _TOKENS:
        found = [quantity for name, quantity in row["usage"].items() if name.startswith(beginnings)]
        yield screen.number(sum(found)) if found else Text("-", style="dim")
    for currency in currencies:
        yield _amount(row, currency)
    for name in missing:
        yield Text(f"{row[name]:,}", style="yellow" if row[name] else "dim")


def _amount(row: Document, currency: str) -> Text:
    """What is known of an amount: nothing where nothing was bought, `unknown` where no attempt has a price."""
    if currency in row["amounts"]:
        return screen.money(row["amounts"][currency], currency)
    nothing_bought = row["amounts"] or not row["attempts"]
    return Text("-", style="dim") if nothing_bought else screen.money(None)
