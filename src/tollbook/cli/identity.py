"""`tollbook identity`: who may log in, in which roles, and by what each is known."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant
from tollbook.cli.provenance import provenance

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Who may log in, and in which roles.")

NameArgument = Annotated[str, typer.Argument(help="Its name, as entries will name it: a staff id.")]
RoleArgument = Annotated[str, typer.Argument(help="admin, finance, engineer, auditor or tenant_viewer.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="For this tenant only.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal.")]


@app.command()
def add(
    name: NameArgument,
    service: Annotated[bool, typer.Option("--service", help="Automation: known by a token, approves nothing.")] = False,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Whom it belongs to: it approves nothing that concerns that tenant.")
    ] = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Add a person or a service. It has no role yet, and nothing it is known by."""
    wanted = {"name": name, "service": service, "tenant": tenant, "reason": reason}
    _change(config, book, "identity.add", wanted, json)


@app.command()
def password(
    name: NameArgument,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input, for scripts.")] = False,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Set the password that a person is known by. It is asked for, never an argument; sessions end."""
    secret = sys.stdin.readline().rstrip("\n") if stdin else typer.prompt("password", hide_input=True)
    if not stdin and typer.prompt("again", hide_input=True) != secret:
        raise typer.BadParameter("the two are not the same")
    _change(config, book, "identity.credential", {"name": name, "password": secret}, json)


@app.command()
def key(
    name: NameArgument,
    public: Annotated[Path, typer.Option("--public", help="The public key's file: ssh-ed25519 ..., or PEM.")],
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Have a person known by an Ed25519 key, which signs each act; `tollbook verify` checks every signature."""
    from tollbook.core.faults import BadInput
    from tollbook.journal.signature import read_public

    try:
        data = public.read_bytes()
    except OSError as fault:
        raise BadInput(f"--public {public}: {fault.strerror}") from None
    wanted = {"name": name, "key": read_public(data, str(public)), "reason": reason}
    _change(config, book, "identity.credential", wanted, json)


@app.command()
def token(
    name: NameArgument,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Make the token that a service is known by, in the place of the one before. It is printed once, kept nowhere."""
    _change(config, book, "identity.credential", {"name": name, "reason": reason}, json)


@app.command()
def grant(
    name: NameArgument,
    role: RoleArgument,
    tenant: TenantOption = None,
    until: Annotated[str | None, typer.Option("--until", help="The day (UTC) or instant it ends by itself.")] = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Give a role, for good or until a day: how somebody stands in for another. A second administrator approves it."""
    wanted = {"name": name, "role": role, "tenant": tenant, "until": read_instant("--until", until), "reason": reason}
    _change(config, book, "identity.grant", wanted, json)


@app.command()
def revoke(
    name: NameArgument,
    role: RoleArgument,
    tenant: TenantOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Take a role away, at once."""
    _change(config, book, "identity.revoke", {"name": name, "role": role, "tenant": tenant, "reason": reason}, json)


@app.command()
def end(
    name: NameArgument,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """End an identity: its sessions end at once, its name is never used again."""
    _change(config, book, "identity.end", {"name": name, "reason": reason}, json)


@app.command("list")
def show_all(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """Everybody who may log in, or ever might."""
    from tollbook.assembly import service

    rows = service.read_office(book_root(config, book))["identities"]
    document = {"identities": rows, "provenance": provenance({}, rows=len(rows))}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))


def _change(config: Path | None, book: Path | None, act: str, wanted: Document, json: bool) -> None:
    from tollbook.assembly import service

    done = service.change_registry(book_root(config, book), act, wanted)
    about = {name: value for name, value in wanted.items() if name not in ("password", "reason")}
    document = {"token": done.pop("token", None), **done, "provenance": provenance(about, rows=1)}
    document.pop("method", None)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_change(document))


def show_change(document: Document) -> RenderableType:
    """The screen of a change: what the identity is now."""
    one, entry = document["identity"], document["entry"]
    lines: list[RenderableType] = [Text(f"{one['kind']} {screen.escape(one['name'])}: {_roles(one)}; {_known(one)}")]
    if document["token"] is not None:
        lines += [
            Text.assemble("token  ", (screen.escape(document["token"]), "bold")),
            Text("This token is shown once and kept nowhere.", style="yellow"),
        ]
    by = f"entry {entry['sequence']} of {screen.escape(entry['lane'])}, by {screen.escape(document['actor'])}"
    return Group(*lines, Text(by, style="dim"))


def show_list(document: Document) -> RenderableType:
    """The screen of `identity list`."""
    if not document["identities"]:
        return Text("nobody may log in: acts are those of the owner of the book's files, whom nobody authenticated")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("name", "kind", "tenant", "roles", "known by", "since"):
        table.add_column(title)
    for one in document["identities"]:
        ended = one["ended"] is not None
        since = screen.instant(one["since"]) + (f", ended {screen.instant(one['ended'])}" if ended else "")
        tenant = screen.escape(one["tenant"] or "")
        known = Text(_known(one))
        table.add_row(
            screen.escape(one["name"]), one["kind"], tenant, _roles(one), known, since, style="dim" if ended else None
        )
    return table


def _roles(one: Document) -> str:
    told = []
    for grant_ in one["roles"]:
        whose = f" of {screen.escape(grant_['tenant'])}" if grant_["tenant"] else ""
        until = f" until {screen.instant(grant_['until'])}" if grant_["until"] else ""
        told.append(f"{grant_['role']}{whose}{until}")
    return ", ".join(told) or "no role"


def _known(one: Document) -> str:
    return one["method"] or "nothing yet"
