"""`tollbook open-items`: what the book cannot say the last word about."""

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.story import show_provenance

Document = dict[str, Any]


def open_items(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most items listed of a kind.")] = 1_000,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """List attempts that nobody settled, with their age, attempts without a price, and work still open at a vendor;
    batches whose vendor tells another total than their lines."""
    from tollbook.ledger import items

    document = items.open_items(book_root(config, book), limit=limit)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_items(document))


def show_items(document: Document) -> RenderableType:
    """The screen of `open-items`."""
    parts: list[RenderableType] = []
    if not document["tenants"]:
        parts.append(Text("nothing is open", style="green"))
    else:
        parts += [_tenants(document["tenants"]), Text(), _items(document)]
    if document["batches"]:
        parts += [Text(), _batches(document["batches"])]
    return Group(*parts, Text(), show_provenance(document["provenance"]))


def _tenants(tenants: list[Document]) -> Table:
    table = _table(
        "tenant", "unsettled", "aged", "unpriced", "background", "batches", "batches off", "known amounts", "oldest"
    )
    for tenant in tenants:
        amounts = [screen.exact_money(amount, currency) for currency, amount in tenant["amounts"].items()]
        table.add_row(
            screen.words(tenant["tenant"]),
            *map(screen.number, tenant["counts"].values()),
            Text(", ").join(amounts) if amounts else screen.words(None),
            Text(_age(tenant["oldest_age_seconds"])),
        )
    return table


def _items(document: Document) -> Table:
    table = _table("state", "age", "request", "attempt", "tenant", "vendor", "model", "amount", "why")
    for item in (*document["unsettled"], *document["unpriced"], *document["background"]):
        table.add_row(
            item["state"],
            Text(_age(item["age_seconds"])),
            screen.words(item["request_id"]),
            screen.number(item["number"]),
            screen.words(item["tenant"]),
            screen.words(item["vendor"]),
            screen.words(item["model_sent"]),
            screen.exact_money(item["amount"], item["currency"]),
            screen.words(item["unpriced"] or item["method"] or item["response_id"] or ""),
        )
    return table


def _batches(batches: list[Document]) -> Table:
    table = _table("state", "age", "batch of request", "tenant", "vendor", "status", "lines", "what differs")
    for batch in batches:
        table.add_row(
            batch["state"],
            Text(_age(batch["age_seconds"])),
            screen.words(batch["request_id"]),
            screen.words(batch["tenant"]),
            screen.words(batch["vendor"]),
            screen.words(batch["status"]),
            screen.number(batch["settled"].get("lines")),
            Text(_why(batch)),
        )
    return table


def _why(batch: Document) -> str:
    told, settled = batch["told"], batch["settled"]
    words = [f"{name} {told[name]:,}, its lines {settled.get(name, 0):,}" for name in batch["differs"]]
    return "; ".join([*([batch["problem"]] if batch["problem"] else []), *words])


def _age(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {rest // 60} min"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title)
    return table
