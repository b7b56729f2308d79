"""`tollbook find`: what any id, prefix, number or amount names."""

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.names import digests_of
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.story import show_provenance

Document = dict[str, Any]


def find(
    anything: Annotated[str, typer.Argument(help="Any id or its beginning, a user, a digest, an amount, a number.")],
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a text names: requests, attempts, charges, positions. Exit code 1 when it names nothing."""
    from tollbook.ledger import find as finding

    root = book_root(config, book)
    document = finding.find(root, anything, digests=digests_of(root, anything.strip()))
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_hits(document))
    raise typer.Exit(exits.FINE if document["hits"] else exits.FINDINGS)


def show_hits(document: Document) -> RenderableType:
    """The screen of `find`."""
    hits = document["hits"]
    text = screen.escape(document["provenance"]["parameters"]["text"])
    if not hits:
        return Group(Text(f"nothing is named {text}"), Text(), show_provenance(document["provenance"]))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("what", "by", "request", "number", "tenant", "occurred"):
        table.add_column(title, justify="right" if title == "number" else "left")
    for hit in hits:
        table.add_row(
            screen.words(hit["what"]),
            screen.words(hit["by"]),
            screen.words(hit["request_id"] or ""),
            Text("" if hit["number"] is None else str(hit["number"])),
            screen.words(hit["tenant"] or ""),
            screen.instant(hit["occurred_at"]),
        )
    hint = Text("tollbook trace ID tells a request's story", style="dim")
    return Group(table, Text(), hint, show_provenance(document["provenance"]))
