"""`tollbook explain`: why a tenant's charges changed from one period to the other."""

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant
from tollbook.cli.story import show_provenance
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.assembly.bridging import Span

Document = dict[str, Any]

_MONTH: Final = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def explain(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose charges.")],
    first: Annotated[str, typer.Option("--from", help="The former period: 2026-10, 2026-10-31, or A..B, without B.")],
    second: Annotated[str, typer.Option("--to", help="The later period, in the same forms.")],
    zone: Annotated[str, typer.Option("--tz", help="The zone of months and days.")] = "UTC",
    currency: Annotated[str, typer.Option("--currency", help="The currency of the charges.")] = "USD",
    as_of: Annotated[int | None, typer.Option("--as-of", help="The number of a position; else the last one.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Explain a change: volume, mix of models, tokens, cache, price, retries, aborted answers, corrections.

    The effects add up exactly to the change; each names the first requests that show it.
    """
    from tollbook.assembly import bridging

    spans = _span("--from", first, zone), _span("--to", second, zone)
    document = bridging.explain(book_root(config, book), tenant, *spans, currency, as_of)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_bridge(document))


def _span(option: str, text: str, zone: str) -> "Span":
    """A month, a day, or two instants with `..` between. Raises BadInput."""
    from tollbook.assembly.bridging import Span

    since, two, until = text.partition("..")
    try:
        if found := _MONTH.fullmatch(text):
            begin = date(int(found[1]), int(found[2]), 1)
            since, until = begin.isoformat(), (begin + timedelta(days=32)).replace(day=1).isoformat()
        elif _DAY.fullmatch(text):
            until = (date.fromisoformat(text) + timedelta(days=1)).isoformat()
        elif not two:
            raise ValueError
    except (ValueError, OverflowError):
        raise BadInput(f"{option}: found {text!r}; allowed: 2026-10, 2026-10-31, 2026-10-01..2026-10-08") from None
    begins, ends = read_instant(option, since, zone), read_instant(option, until, zone)
    if begins is None or ends is None or begins >= ends:
        raise BadInput(f"{option}: the period {text!r} is empty: it begins at or after its end")
    return Span(text, begins, ends)


def show_bridge(document: Document) -> RenderableType:
    """The screen of `explain`."""
    currency = document["currency"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "amount", "what it is", "first requests"):
        table.add_column(title, justify="right" if title == "amount" else "left", overflow="fold")
    former, later = document["from"], document["to"]
    _line(table, former["period"], former["amount"], currency, f"{former['requests']:,} requests answered")
    for one in document["effects"]:
        if one["amount"] == "0":
            continue
        model = f" ({screen.escape(one['model'])})" if one["model"] else ""
        shown = Text(" ".join([*one["requests"], *one["cases"]]), style="dim")
        table.add_row(one["effect"], _signed(one["amount"], currency), Text(one["text"] + model), shown)
    _line(table, later["period"], later["amount"], currency, f"{later['requests']:,} requests answered")
    head = Text.assemble("tenant ", (screen.escape(document["tenant"]), "bold"), ": ")
    head.append_text(_signed(document["change"], currency))
    parts: list[RenderableType] = [head, table]
    unknown = former["unknown"] + later["unknown"]
    if unknown:
        parts.append(Text(f"{unknown:,} attempts whose charge is not known are in no figure", style="yellow"))
    return Group(*parts, Text(), show_provenance(document["provenance"]))


def _line(table: Table, period: str, amount: str, currency: str, words: str) -> None:
    table.add_row(Text(screen.escape(period), style="bold"), screen.exact_money(amount, currency), words, "")


def _signed(amount: str, currency: str) -> Text:
    money = screen.exact_money(amount, currency)
    return money if amount.startswith("-") or amount == "0" else Text.assemble("+", money)
