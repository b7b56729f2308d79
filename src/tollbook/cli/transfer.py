"""`tollbook transfer`: usage that was carried from one place to another after it was on record."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.story import show_provenance

if TYPE_CHECKING:
    from tollbook.journal.registration import TransferLeg

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Usage that was carried over after it was on record.")


@app.callback()
def root() -> None:
    """Usage that was carried over after it was on record."""


@app.command("list")
def show_all(
    as_of: Annotated[int | None, typer.Option("--as-of", help="The number of a position; else the last one.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """All transfers: from where, to where, how much, and why. Each adds up to nothing."""
    from tollbook.ledger.transfers import transfers

    document = transfers(book_root(config, book), as_of)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))


def show_list(document: Document) -> RenderableType:
    """The screen of `transfer list`."""
    if not document["transfers"]:
        return Group(Text("nothing was carried over"), Text(), show_provenance(document["provenance"]))
    parts: list[RenderableType] = []
    for one in document["transfers"]:
        head = Text(f"{screen.instant(one['recorded'])}  what occurred from {screen.instant(one['since'])} on", "bold")
        about = f"key {one['tenant']}/{one['key']} under suspicion" if one["key"] else f"change {one['change'][:12]}"
        told = f"{about}, by {one['actor']}" + (f": {one['reason']}" if one["reason"] else "")
        parts += [head, Text(screen.escape(told), style="dim"), show_legs(one["legs"]), Text()]
    return Group(*parts, show_provenance(document["provenance"]))


def show_legs(legs: list[Document]) -> RenderableType:
    """What goes from where to where."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("from", "to", "requests", "attempts", "expected", "recharge"):
        table.add_column(title, justify="left" if title in ("from", "to") else "right")
    for leg in legs:
        table.add_row(
            _place(leg["from"]),
            _place(leg["to"]),
            screen.number(leg["requests"]),
            screen.number(leg["attempts"]),
            screen.money(leg["expected"], leg["currency"]),
            screen.money(leg["recharge"], leg["currency"]),
        )
    return table


def shown(leg: "TransferLeg") -> Document:
    """A leg as it is told to machines."""
    sides = (("from", leg.source), ("to", leg.target))
    return {
        **{name: {part: getattr(side, part) for part in side.__struct_fields__} for name, side in sides},
        "currency": leg.currency,
        "requests": leg.requests,
        "attempts": leg.attempts,
        "expected": leg.expected,
        "recharge": leg.recharge,
    }


def _place(side: Document) -> Text:
    """Entity, unit and tenant from the outside in, and the cost centre that bears it."""
    chain = " > ".join(side[name] for name in ("entity", "unit", "tenant") if side[name] is not None)
    centre = side["cost_centre"]
    if not chain:
        return Text(screen.escape(f"cost centre {centre}"))
    return Text(screen.escape(chain if centre is None else f"{chain} ({centre})"))
