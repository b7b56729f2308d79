"""`tollbook restore`: a copy becomes a book again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.backup import show_totals
from tollbook.cli.options import JsonOption
from tollbook.cli.provenance import provenance
from tollbook.core.clock import format_instant

if TYPE_CHECKING:
    from tollbook.assembly.restore import Restored

Document = dict[str, Any]


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A backup, or the directory of `journal.ship`.")],
    book: Annotated[Path, typer.Option(help="The directory of the new book.")],
    verify: Annotated[
        bool, typer.Option(help="Verify every chain, make the ledger and compare its totals with the backup's.")
    ] = True,
    signing_key: Annotated[
        Path | None, typer.Option(help="The book's signing key, when the copy does not hold it.")
    ] = None,
    registry_key: Annotated[
        Path | None,
        typer.Option("--registry-key", help="The key that tenants' secrets are hashed with, where the copy lacks it."),
    ] = None,
    erasures: Annotated[
        Path | None, typer.Option(help="A later copy of the book: what was erased since is erased here, too.")
    ] = None,
    drill: Annotated[
        Path | None, typer.Option(help="Only try it, and put that on record in the book of this directory.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a new book of a copy. All erasures on record are applied again before anything can be read.

    Exit code 3, and no book, when the copy does not verify or its totals differ. Without the signing key the result
    stays a copy: it can be read and verified, and not be served.
    """
    from tollbook.assembly import service
    from tollbook.assembly.restore import Wanted

    if drill is not None and not verify:
        raise typer.BadParameter("a drill verifies; leave --no-verify out", param_hint="--drill")
    wanted = Wanted(
        source, book, signing_key=signing_key, registry_key=registry_key, erasures=erasures, verified=verify
    )
    document = document_of(service.restore_book(wanted, drill), {"from": str(source), "drill": drill is not None})
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_restored(document))


def document_of(done: "Restored", parameters: dict[str, Any]) -> Document:
    """A restored book, in the shape of `docs/reference/schemas/restore.json`."""
    found = done.verification
    return {
        "book": str(done.book),
        "made": format_instant(done.copy.made),
        "position": done.copy.position,
        "verified": found is not None,
        "entries": None if found is None else found.entries,
        "bytes": None if found is None else found.bytes,
        "erased_again": done.erased,
        "totals": done.totals,
        "totals_compared": done.compared,
        "servable": done.servable,
        "seconds": done.seconds,
        "provenance": provenance(parameters, rows=0 if found is None else found.entries),
    }


def show_restored(document: Document) -> RenderableType:
    """The screen of `restore`."""
    verdict = "verified" if document["verified"] else "not verified"
    lines = [
        Text(f"{screen.escape(document['book'])}: {verdict}, position {document['position']:,}"),
        Text.assemble("what was recorded after ", screen.instant(document["made"]), " is not in this copy"),
        Text(f"values erased again: {document['erased_again']:,}"),
    ]
    if document["totals"] is not None:
        compared = "the same as the backup's" if document["totals_compared"] else "the copy has none to compare with"
        lines.append(show_totals(document["totals"], None).append(f"; {compared}"))
    if not document["servable"]:
        lines.append(Text("it is a copy still and cannot be served", style="yellow"))
    return Group(*lines)
