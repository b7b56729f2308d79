"""`tollbook proposal`: acts that somebody else must approve."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Acts that somebody else must approve.")

NameArgument = Annotated[str, typer.Argument(help="Which: P-1, P-2, ...")]
WAITING = ("open", "approved", "emergency", "overdue")
"""States in which somebody is waited for."""


@app.command("list")
def show_all(
    everything: Annotated[bool, typer.Option("--all", help="Those that are decided, too.")] = False,
    emergency: Annotated[
        bool, typer.Option("--emergency", help="Only what was carried out as an emergency and nobody approved yet.")
    ] = False,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """What waits to be approved; exit code 1 when an emergency is overdue."""
    from tollbook.assembly import service

    told = service.read_office(book_root(config, book))["proposals"]
    wanted = ("emergency", "overdue") if emergency else WAITING
    rows = [one for one in told if everything or one["state"] in wanted]
    document = {
        "proposals": rows,
        "provenance": provenance({"all": everything, "emergency": emergency}, rows=len(rows)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))
    if any(one["state"] == "overdue" for one in rows):
        raise typer.Exit(exits.FINDINGS)


@app.command()
def show(name: NameArgument, config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """What exactly is proposed, by whom, and what became of it."""
    from tollbook.assembly import service

    done = service.ask_book(book_root(config, book), "proposal.show", {"proposal": name})
    document = {**done, "provenance": provenance({"proposal": name}, rows=1)}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_one(document))


@app.command()
def approve(
    name: NameArgument,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Approve what another one proposed: it is done at once, exactly as it was proposed."""
    _decide(config, book, "proposal.approve", name, reason, json)


@app.command()
def reject(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")],
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Reject it: it is not done. What was an emergency stays done, and is on record as rejected."""
    _decide(config, book, "proposal.reject", name, reason, json)


@app.command()
def withdraw(
    name: NameArgument, config: ConfigOption = None, book: BookOption = None, json: JsonOption = False
) -> None:
    """Take back what you proposed."""
    _decide(config, book, "proposal.withdraw", name, None, json)


@app.command()
def emergency(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why it cannot wait; kept in the journal.")],
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Carry out what you proposed without waiting. It is marked, and listed until somebody approves it."""
    _decide(config, book, "proposal.emergency", name, reason, json)


def _decide(config: Path | None, book: Path | None, act: str, name: str, reason: str | None, json: bool) -> None:
    from tollbook.assembly import service

    done = service.ask_book(book_root(config, book), act, {"proposal": name, "reason": reason})
    decision = act.rpartition(".")[2]
    document = {**done, "decision": decision, "provenance": provenance({"proposal": name}, rows=1)}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_decision(document))


_SAID = {
    "approve": "is approved",
    "reject": "is rejected",
    "withdraw": "is withdrawn",
    "emergency": "is carried out as an emergency, and waits to be approved",
}


def show_decision(document: Document) -> RenderableType:
    """The screen of a decision, with what the act gave: a secret is told here, once."""
    lines = [Text(f"proposal {screen.escape(document['proposal'])} {_SAID[document['decision']]}")]
    result = document["result"]
    if isinstance(result, dict):
        lines += [Text(f"{name}: {screen.escape(str(value))}") for name, value in _flat(result)]
    return Group(*lines)


def show_list(document: Document) -> RenderableType:
    """The screen of `proposal list`."""
    if not document["proposals"]:
        return Text("nothing waits to be approved")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "what", "tenant", "amount", "state", "by", "until"):
        table.add_column(title, justify="right" if title == "amount" else "left")
    for one in document["proposals"]:
        amount = "" if one["amount"] is None else f"{one['amount']} {one['currency']}"
        state = Text(one["state"], style="red" if one["state"] == "overdue" else "")
        row = (one["proposal"], one["title"], screen.escape(one["tenant"] or ""), amount)
        table.add_row(*row, state, screen.escape(one["proposed_by"]), screen.instant(one["expires_at"]))
    return table


def show_one(document: Document) -> RenderableType:
    """The screen of `proposal show`."""
    left_out = ("provenance", "arguments", "proposal", "title", "act")
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in document.items():
        if name not in left_out and value is not None:
            table.add_row(Text(name.replace("_", " "), style="dim"), screen.escape(str(value)))
    for name, value in _flat(document["arguments"] or {}):
        table.add_row(Text(name, style="dim"), screen.escape(str(value)))
    return Group(Text(f"{document['proposal']}: {document['title']}", style="bold"), table)


def _flat(found: Document, before: str = "") -> list[tuple[str, Any]]:
    """Members of nested objects, by dotted names; what is null or empty is left out."""
    told: list[tuple[str, Any]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            told += _flat(value, f"{before}{name}.")
        elif value not in (None, [], ""):
            told.append((f"{before}{name}", value))
    return told
