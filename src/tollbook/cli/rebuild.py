"""`tollbook rebuild`: the ledger made anew from the journal alone."""

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance
from tollbook.cli.verify import progress_bar

if TYPE_CHECKING:
    from tollbook.ledger.rebuild import Rebuilt

Document = dict[str, Any]


def rebuild(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """Fold the journal into a new ledger, compare it with the one in use, and put it in its place.

    The old one stays beside it. A rebuild that was broken off goes on where it was. Exit code 3 when the two differ:
    then the old one stays in use.
    """
    from tollbook.journal.book import Book
    from tollbook.journal.heads import recover
    from tollbook.ledger import rebuild as rebuilding

    root = Book.open(book_root(config, book)).root
    last = recover(root).number
    with progress_bar("folding", quiet=json) as advance:
        rebuilt = rebuilding.rebuild(root, lambda position: advance(position, max(position, last)))
    document = document_of(rebuilt)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_rebuilt(document))


def document_of(rebuilt: "Rebuilt") -> Document:
    """A rebuilt ledger, in the shape of `docs/reference/schemas/rebuild.json`."""
    tables = {name: digest._asdict() for name, digest in rebuilt.digests.items()}
    rows = sum(digest.rows for digest in rebuilt.digests.values())
    return {
        "directory": str(rebuilt.directory),
        "position": rebuilt.position,
        "compared": rebuilt.compared,
        "tables": tables,
        "provenance": provenance({}, rows=rows, control_totals={name: part["rows"] for name, part in tables.items()}),
    }


def show_rebuilt(document: Document) -> RenderableType:
    """The screen of `rebuild`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("digest")
    for name, digest in document["tables"].items():
        table.add_row(screen.words(name), screen.number(digest["rows"]), screen.words(digest["sha256"][:16]))
    compared = document["compared"]
    told = (
        "there was none to compare it with"
        if compared is None
        else f"the same as the one before, up to position {compared}"
    )
    line = Text(f"ledger {screen.escape(document['directory'])} at position {document['position']}; {told}")
    return Group(line, Text(), table)
