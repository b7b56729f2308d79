"""`tollbook prices`: what a model costs, by which row of which book, and why by that one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import price_books, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption
from tollbook.cli.price_source import load_prices
from tollbook.cli.provenance import provenance
from tollbook.cli.story import show_provenance
from tollbook.core.clock import now, parse_instant
from tollbook.core.faults import BadInput, NotFound

if TYPE_CHECKING:
    from tollbook.pricing.book import PriceBook

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Price books: look into them, compare, check and import them.")
app.command("import")(price_books.import_)
app.command("list")(price_books.list_)
app.command("check")(price_books.check_)
app.command("diff")(price_books.diff)

ModelArgument = Annotated[str, typer.Argument(help="A model name as the vendor serves it.")]
PartyOption = Annotated[str | None, typer.Option("--vendor", help="The billing party; else every one that has it.")]
PricesOption = Annotated[
    str | None, typer.Option("--prices", help="Digest or file of a price book; else the one that ships.")
]
_DIMENSIONS = ("tier", "region", "speed", "processing")


@app.command()
def show(
    model: ModelArgument,
    vendor: PartyOption = None,
    prices: PricesOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Every price of a model: all tiers, context bands and dates."""
    chosen = load_prices(prices, config, book)
    rows = [_plain(row.__dict__) for party in _parties(chosen, model, vendor) for row in chosen.show(party, model)]
    parameters = {"model": model, "vendor": vendor, "prices": prices}
    document = {
        "model": model,
        "book": chosen.digest,
        "rows": rows,
        "provenance": provenance(parameters, books=[chosen.digest], rows=len(rows)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_rows(document))


@app.command()
def explain(
    model: ModelArgument,
    vendor: PartyOption = None,
    at: Annotated[str | None, typer.Option("--at", help="The instant, RFC 3339 with a zone; else now.")] = None,
    tier: Annotated[str | None, typer.Option(help="Service tier, in the vendor's word; else not reported.")] = None,
    region: Annotated[str | None, typer.Option(help="Region served from, in the vendor's word.")] = None,
    speed: Annotated[str | None, typer.Option(help="Speed, in the vendor's word.")] = None,
    processing: Annotated[str | None, typer.Option(help="Processing, such as batch.")] = None,
    tokens_input: Annotated[
        int | None, typer.Option("--input", min=0, help="Input tokens of the request, which choose the context band.")
    ] = None,
    prices: PricesOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Which row prices each class of a model at an instant, and why the others do not."""
    chosen = load_prices(prices, config, book)
    instant = _instant(at)
    reported = {"tier": tier, "region": region, "speed": speed, "processing": processing}
    found = [
        chosen.explain(party, model, instant, tokens_input=tokens_input, **reported).to_json()
        for party in _parties(chosen, model, vendor)
    ]
    parameters = {"model": model, "vendor": vendor, "at": found[0]["at"], "input": tokens_input, "prices": prices}
    document = {
        "model": model,
        "book": chosen.digest,
        "explanations": found,
        "provenance": provenance({**parameters, **reported}, books=[chosen.digest], rows=len(found)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_explanations(document))


def show_rows(document: Document) -> RenderableType:
    """The screen of `prices show`."""
    table = _table("class", "price of one", "conditions", "from", "until", "row", "source")
    for row in document["rows"]:
        conditions = ", ".join(_conditions(row)) or "standard"
        table.add_row(
            screen.words(row["class"]),
            screen.exact_money(row["unit_price"], row["currency"]),
            screen.words(f"{row['party']}: {conditions}"),
            screen.words(row["since"] or "always"),
            screen.words(row["until"] or "now"),
            screen.words(row["id"]),
            screen.words(row["source"], style="dim"),
        )
    return Group(table, Text(), show_provenance(document["provenance"]))


def show_explanations(document: Document) -> RenderableType:
    """The screen of `prices explain`."""
    parts: list[RenderableType] = []
    for explanation in document["explanations"]:
        entry = f", priced as {explanation['entry']} (by {explanation['matched']})" if explanation["entry"] else ""
        headline = f"{explanation['party']} {explanation['model']} at {explanation['at']}{entry}"
        parts.append(Text(screen.escape(headline), style="bold"))
        if explanation["unpriced"]:
            parts.append(Text(f"  unpriced: {screen.escape(explanation['unpriced'])}", style="yellow"))
        for assumed in explanation["assumed"]:
            parts.append(Text(f"  assumed: {screen.escape(assumed)}", style="yellow"))
        for choice in explanation["classes"]:
            parts += _choice_lines(choice)
        parts.append(Text())
    return Group(*parts, show_provenance(document["provenance"]))


def _choice_lines(choice: Document) -> Iterator[Text]:
    line = Text.assemble("  ", (screen.escape(choice["class"]), "bold"), "  ")
    row = choice["row"]
    if row is None:
        yield line.append(f"unpriced: {screen.escape(choice['unpriced'])}", style="yellow")
    else:
        line.append_text(screen.exact_money(row["unit_price"], row["currency"]))
        told = ", ".join(_conditions(row)) or "standard"
        yield line.append(
            f"  row {screen.escape(row['id'])} ({screen.escape(told)}) from {screen.escape(row['source'])}"
        )
    if choice["billed_as"]:
        yield Text(f"    billed as {screen.escape(choice['billed_as'])}: {screen.escape(choice['rule'])}")
    for assumed in choice["assumed"]:
        yield Text(f"    assumed: {screen.escape(assumed)}", style="yellow")
    for other in choice["runners_up"]:
        price = screen.exact_money(other["row"]["unit_price"], other["row"]["currency"])
        yield Text.assemble(
            "    not ", price, f" (row {other['row']['id']}): ", screen.words(other["why"]), style="dim"
        )


def _conditions(row: Document) -> Iterator[str]:
    for name in _DIMENSIONS:
        if row[name] is not None:
            yield f"{name} {row[name]}"
    for name in ("band", "window"):
        if row[name] is not None:
            yield str(row[name])


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title, justify="right" if title == "price of one" else "left", overflow="fold")
    return table


def _parties(chosen: "PriceBook", model: str, vendor: str | None) -> list[str]:
    """The parties asked about. Raises NotFound when none of them knows the model."""
    if vendor is not None:
        return [vendor]
    found = [party for party in chosen.parties if chosen.find(party, model).entry is not None]
    if not found:
        raise NotFound(f"no party of the book prices {model!r}; it would be recorded as unpriced, never as zero")
    return found


def _instant(text: str | None) -> int:
    if text is None:
        return now()
    try:
        return parse_instant(text)
    except ValueError as fault:
        raise BadInput(f"--at: {fault}") from None


def _plain(row: Document) -> Document:
    return {name.removesuffix("_"): value for name, value in row.items()}
