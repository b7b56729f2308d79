"""`tollbook limit`: how much of the gateway tenants, and their workloads, keys and models, may take."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance

if TYPE_CHECKING:
    from tollbook.registry.registry import Registry

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="How much of the gateway tenants may take.")

_WORDS = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "streams": "streams at once",
}


@app.callback()
def root() -> None:
    """How much of the gateway tenants may take."""


@app.command("set")
def change(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose limits.")],
    workload: Annotated[str | None, typer.Option("--workload", help="Only those of this workload.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Only those of this key.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only those of this model that clients ask for.")] = None,
    requests: Annotated[
        int | None, typer.Option("--requests-per-minute", help="Most requests in 60 s. Absent: no limit.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens-per-minute", help="Most tokens in 60 s. Absent: no limit.")
    ] = None,
    streams: Annotated[int | None, typer.Option("--streams", help="Most streams at once. Absent: no limit.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Set limits: within 5 seconds every worker keeps them, in the place of the ones before and of the configuration's.

    What is not named has no limit. What is above one is refused with 429, is on record as not sent, and costs nothing.
    """
    from tollbook.assembly import service

    wanted = {
        "tenant": tenant, "workload": workload, "key": key, "model": model, "requests_per_minute": requests,
        "tokens_per_minute": tokens, "streams": streams, "reason": reason,
    }  # fmt: skip
    done = service.change_registry(book_root(config, book), "limit.set", wanted)
    done.pop("transfers")
    about = {"tenant": tenant, "workload": workload, "key": key, "model": model}
    document = {**done, "provenance": provenance(about, rows=1)}
    if json:
        screen.print_json(document)
    else:
        entry, actor = document["entry"], screen.escape(document["actor"])
        screen.console().print(Text(f"{_whose(document)}: {_told(document)}; every worker keeps to it after 5 seconds"))
        screen.console().print(Text(f"entry {entry['sequence']} of {screen.escape(entry['lane'])}, by {actor}", "dim"))


@app.command("list")
def show_all(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those of this tenant.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """The limits that were set here; those of the configuration hold where none was."""
    from tollbook.assembly import service

    document = list_document(service.read_registry(book_root(config, book)), tenant)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))


def list_document(registry: "Registry", tenant: str | None) -> Document:
    """Limits in the shape of `docs/reference/schemas/limit-list.json`."""
    from tollbook.assembly.registering import shown_limit

    known = sorted(registry.limits.items(), key=lambda one: tuple(part or "" for part in one[0]))
    rows = [shown_limit(limit) for (owner, _, _), limit in known if tenant in (None, owner)]
    return {"limits": rows, "provenance": provenance({"tenant": tenant}, rows=len(rows))}


def show_list(document: Document) -> RenderableType:
    """The screen of `limit list`."""
    if not document["limits"]:
        return Text("no limit was set here; those of the configuration hold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("whose")
    for word in _WORDS.values():
        table.add_column(word, justify="right")
    for row in document["limits"]:
        table.add_row(Text(_whose(row)), *("none" if row[name] is None else f"{row[name]:,}" for name in _WORDS))
    return table


def _whose(row: Document) -> str:
    narrower = next((f"{kind} {row[kind]} of " for kind in ("workload", "key", "model") if row[kind] is not None), "")
    return screen.escape(f"{narrower}tenant {row['tenant']}")


def _told(row: Document) -> str:
    told = [f"{row[name]:,} {word}" for name, word in _WORDS.items() if row[name] is not None]
    return ", ".join(told) or "no limit"
