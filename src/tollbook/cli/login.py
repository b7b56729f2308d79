"""`tollbook login`, `logout`, `whoami`: whose acts these are."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance

Document = dict[str, Any]


def login(
    name: Annotated[str | None, typer.Argument(help="Who: an identity of the book. Absent with --token.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="A personal Ed25519 key (OpenSSH or PEM), which then signs each act.")
    ] = None,
    token: Annotated[bool, typer.Option("--token", help="A service: its token comes from standard input.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the password from standard input.")] = False,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Log in for 8 hours: acts are then recorded as yours. The session is kept in your own configuration directory."""
    from tollbook.assembly import service
    from tollbook.core.faults import BadInput

    if token == (name is not None):
        raise BadInput("name who logs in, or give --token for a service")
    secret = ""
    if token or stdin:
        secret = sys.stdin.readline().rstrip("\n")
    elif key is None:
        secret = typer.prompt("password", hide_input=True)
    done = service.log_in(book_root(config, book), name or "", secret, key)
    document = {**done, "provenance": provenance({"name": done["identity"]["name"]}, rows=1)}
    if json:
        screen.print_json(document)
    else:
        who = screen.escape(done["identity"]["name"])
        screen.console().print(Text(f"logged in as {who}, by {done['identity']['method']}, until {done['until']}"))


def logout(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """End the session. Acts are then those of the owner of the book's files, whom nobody authenticated."""
    from tollbook.assembly import service

    closed = service.log_out(book_root(config, book))
    if json:
        screen.print_json({"closed": closed, "provenance": provenance({}, rows=int(closed))})
    else:
        screen.console().print("logged out" if closed else "nobody was logged in")


def whoami(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """Whose acts these would be, and whether the duties hold in this book."""
    from tollbook.assembly import service

    done = service.ask_book(book_root(config, book), "session.whoami", {})
    document = {**done, "provenance": provenance({}, rows=1)}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(Text(screen.escape(done["actor"])))
        held = "hold" if done["duties_enforced"] else "do not hold yet: no administrator can log in"
        screen.console().print(Text(f"the duties {held}", style="dim"))
