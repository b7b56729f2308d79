"""`tollbook signing-key`: which keys have signed the book, and another one from now on."""

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="The keys that sign the book.")


@app.command()
def show(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """Show every key that has signed this book: from which position on, and why the one before was replaced."""
    from tollbook.journal.book import Book
    from tollbook.journal.keychain import read_keys

    opened = Book.open(book_root(config, book))
    links = [link._asdict() for link in read_keys(opened.root, opened.id, opened.key).links]
    document = {"keys": links, "provenance": provenance({}, rows=len(links))}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_keys(document))


@app.command()
def rotate(
    reason: Annotated[str, typer.Option(help="routine, compromised, or lost.")] = "routine",
    trusted: Annotated[
        int | None, typer.Option(min=0, help="The last position up to which the old key's checkpoints count.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Sign by a new key from now on. The old one signs it, an entry says so, and the old one is gone after that.

    Works while the book is served, but for a key that was lost: then stop it first.
    """
    from tollbook.assembly import service

    done = service.replace_signing_key(book_root(config, book), reason, trusted)
    document = {
        "key": done.key,
        "previous": done.previous,
        "since": done.since,
        "reason": done.reason,
        "trusted": done.trusted,
        "signed": done.signature is not None,
        "actor": done.actor,
        "provenance": provenance({"reason": reason, "trusted": trusted}, rows=1),
    }
    if json:
        screen.print_json(document)
    else:
        console = screen.console()
        console.print(f"another key signs after position {done.since:,}")
        console.print(f"its verification key, to be kept elsewhere: {done.key}", soft_wrap=True)


def show_keys(document: Document) -> RenderableType:
    """The screen of `signing-key show`."""
    lines = []
    for link in document["keys"]:
        why = "the book was born with it" if link["reason"] is None else link["reason"]
        if link["trusted"] is not None:
            why += f"; the one before counts up to position {link['trusted']:,}"
        if not link["signed"]:
            why += "; not signed by the one before"
        lines.append(Text(f"after position {link['since']:,}: {screen.escape(link['key'])} ({why})"))
    return Group(*lines)
