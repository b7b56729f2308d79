"""`tollbook ingest`: the door for spans of others."""

import json as jsons
from pathlib import Path
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.story import show_provenance

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Spans of others: what came in, and what became of it.")


@app.callback()
def root() -> None:
    """Spans of others: what came in, and what became of it."""


@app.command("status")
def status(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """What came in by tenant and dialect, what of it counts, and what was odd about it."""
    from tollbook.ledger.spans import ingest_status

    place = book_root(config, book)
    document = {**ingest_status(place), "door": _door(place)}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_status(document))


def _door(place: Path) -> dict[str, int]:
    """What the ingest process has seen since its start; empty when it has taken nothing."""
    try:
        found: dict[str, int] = jsons.loads((place / "run" / "ingest.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def show_status(document: Document) -> RenderableType:
    """The screen of `ingest status`."""
    parts: list[RenderableType] = []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("tenant", "dialect"):
        table.add_column(title)
    for title in ("received", "spans", "no usage", "attributes dropped", "vendor unknown", "ambiguous"):
        table.add_column(title, justify="right")
    for row in document["dialects"]:
        names = ("received", "spans", "without_usage", "dropped_attributes", "unknown_vendor", "ambiguous")
        table.add_row(
            screen.words(row["tenant"]), screen.words(row["dialect"]), *(screen.number(row[name]) for name in names)
        )
    parts += [table if document["dialects"] else Text("no span of an inference has come in"), Text()]
    for tenant, count in document["counted"].items():
        noun = "request rests" if count == 1 else "requests rest"
        told = f"{screen.escape(tenant)}: {count:,} {noun} on spans; of the others there is better evidence"
        parts.append(Text(told))
    for one in document["shared_answers"]:
        told = f"one answer, several tenants: {screen.escape(one['response_id'])}: {', '.join(one['tenants'])}"
        parts.append(Text(told, style="yellow"))
    if document["door"]:
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(document["door"].items()))
        parts.append(Text(f"since the door was opened: {told}", style="dim"))
    return Group(*parts, Text(), show_provenance(document["provenance"]))
