"""`tollbook price`: what one usage costs, line by line."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import ConfigOption, JsonOption
from tollbook.cli.price_source import load_prices
from tollbook.cli.provenance import provenance
from tollbook.cli.story import show_provenance
from tollbook.core.clock import format_instant, now, parse_instant
from tollbook.core.faults import BadInput

LARGEST_FILE = 1 << 20
Document = dict[str, Any]


def price(
    vendor: Annotated[str, typer.Option("--vendor", help="The billing party, such as openai, anthropic, aws.")],
    usage: Annotated[
        Path, typer.Option("--usage", help="The vendor's usage object, or the answer it is in; - is standard input.")
    ],
    model: Annotated[str | None, typer.Option("--model", help="The model served; else what the answer names.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="The instant, RFC 3339 with a zone; else now.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Region served from, in the vendor's word.")] = None,
    tier: Annotated[str | None, typer.Option("--tier", help="Service tier, in the vendor's word.")] = None,
    speed: Annotated[str | None, typer.Option("--speed", help="Speed, in the vendor's word.")] = None,
    processing: Annotated[str | None, typer.Option("--processing", help="How it was sent, such as batch.")] = None,
    operation: Annotated[
        str | None, typer.Option("--format", help="The operation that gave the usage; else the vendor's usual one.")
    ] = None,
    book: Annotated[
        str | None, typer.Option("--book", help="Digest or file of a price book; else the one that ships.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """What a usage costs, line by line, by one price book. Needs no gateway.

    Exit code 1 when something has no price, or the usage contradicts itself.
    """
    from tollbook.quote import rate

    chosen = load_prices(book, config)
    instant = _instant(at)
    said = {"region": region, "tier": tier, "speed": speed, "processing": processing}
    quote = rate(_read(usage), vendor=vendor, model=model, at=instant, format=operation, book=chosen, **said)
    parameters = {"vendor": vendor, "model": model, "at": format_instant(instant), "format": operation, **said}
    made = provenance(parameters, books=[chosen.digest], rows=len(quote.charges))
    document = {**quote.to_json(), "provenance": made}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_quote(document))
    if not quote.sound:
        sys.exit(exits.FINDINGS)


def show_quote(document: Document) -> RenderableType:
    """The screen of `price`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("model", "class", "quantity", "price of one", "amount", "price row"):
        table.add_column(title, justify="left" if title in ("model", "class", "price row") else "right")
    for charge in document["charges"]:
        table.add_row(
            screen.words(charge["model"]),
            screen.words(charge["class"]),
            screen.number(charge["quantity"]),
            screen.exact_money(charge["unit_price"], charge["currency"]),
            screen.exact_money(charge["amount"], charge["currency"]),
            screen.words(charge["price_row"] or "unpriced", style="" if charge["price_row"] else "yellow"),
        )
    table.add_row("", "total", "", "", screen.exact_money(document["amount"], document["currency"]), style="bold")
    notes = [Text(f"  {screen.escape(note)}", style="yellow") for note in document["notes"]]
    return Group(table, *notes, Text(), show_provenance(document["provenance"]))


def _read(path: Path) -> bytes:
    """The bytes of a usage. Raises BadInput when they cannot be had, or are too many to be one."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
    except OSError as fault:
        raise BadInput(f"--usage {path}: {fault.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise BadInput(f"--usage {path}: longer than {LARGEST_FILE:,} bytes, which no usage object is")
    return data


def _instant(text: str | None) -> int:
    if text is None:
        return now()
    try:
        return parse_instant(text)
    except ValueError as fault:
        raise BadInput(f"--at: {fault}") from None
