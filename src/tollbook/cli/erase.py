"""`tollbook erase`: forget a person, keep the money."""

from typing import Annotated, Any

import typer
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance

Document = dict[str, Any]


def erase(
    tenant: Annotated[str, typer.Option(help="Whose user it is.")],
    user: Annotated[str, typer.Option(help="The user, as requests named them.")],
    basis: Annotated[str, typer.Option(help="Why: the request or duty this follows from.")],
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Remove every value that names a user from the book. Digests, sums and proofs stay as they are.

    Copies elsewhere are not reached: let backups expire.
    """
    from tollbook.assembly import service

    done = service.erase_person(book_root(config, book), tenant, user, basis)
    document = {**done, "provenance": provenance({"tenant": tenant}, rows=done["values"])}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_erasure(document))


def show_erasure(document: Document) -> Text:
    """The screen of `erase`."""
    entry = document["entry"]
    count = document["values"]
    years = ", ".join(sorted(set(document["digests"].values()))) or "no year"
    return Text(
        f"removed {count:,} value{'' if count == 1 else 's'} of tenant {screen.escape(document['tenant'])} ({years}); "
        f"entry {entry['sequence']} of {screen.escape(entry['lane'])} says so, by {screen.escape(document['actor'])}"
    )
