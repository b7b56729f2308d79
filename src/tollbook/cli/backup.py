"""`tollbook backup`: a copy of the book as it is now."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance
from tollbook.core.clock import format_instant

if TYPE_CHECKING:
    from tollbook.assembly.backup import BackedUp

Document = dict[str, Any]


def backup(
    to: Annotated[Path, typer.Option(help="A new directory; or a new file, whose name ends in .tar.")],
    signing_key: Annotated[
        bool, typer.Option("--signing-key", help="Put the signing key in: whoever has it can write history anew.")
    ] = False,
    personal_keys: Annotated[
        bool,
        typer.Option(
            "--personal-keys", help="Put personal keys and the registry's in: values can be tried against them."
        ),
    ] = False,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Copy journal, objects, checkpoints and personal directory, verify the copy, and print position and totals.

    The book may be served meanwhile. The ledger is not copied: a restore makes it anew. Exit code 3 when the copy does
    not verify, which then is so of the book, too.
    """
    from tollbook.assembly import service

    done = service.backup(book_root(config, book), to, signing_key=signing_key, personal_keys=personal_keys)
    document = document_of(done)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_backup(document))
    raise typer.Exit(exits.BROKEN if document["findings"] else exits.FINE)


def document_of(done: "BackedUp") -> Document:
    """A backup, in the shape of `docs/reference/schemas/backup.json`."""
    found = done.verified
    return {
        "backup": str(done.place),
        "book": done.copy.book,
        "made": format_instant(done.copy.made),
        "position": done.copy.position,
        "entries": found.entries,
        "bytes": found.bytes,
        "findings": [finding._asdict() for finding in found.findings],
        "signing_key": done.signing_key,
        "personal_keys": done.personal_keys,
        "ledger_position": done.copy.ledger,
        "totals": done.copy.totals,
        "provenance": provenance({"to": str(done.place)}, rows=found.entries),
    }


def show_backup(document: Document) -> RenderableType:
    """The screen of `backup`."""
    findings = document["findings"]
    verdict = Text("verified", style="green") if not findings else Text(f"{len(findings)} findings", style="red")
    keys = [name.replace("_", " ") for name in ("signing_key", "personal_keys") if document[name]]
    lines = [
        Text(f"backup {screen.escape(document['backup'])} of book {document['book']}, ").append(verdict),
        Text(f"position {document['position']:,}: {document['entries']:,} entries, {document['bytes']:,} bytes"),
        Text(f"keys in it: {', '.join(keys) or 'none; keep them elsewhere, a restore needs the signing key'}"),
        show_totals(document["totals"], document["ledger_position"]),
    ]
    lines += [Text(f"  {finding['code']}: {screen.escape(finding['message'], 1000)}") for finding in findings]
    return Group(*lines)


def show_totals(totals: Document | None, position: int | None) -> Text:
    """Control totals in one line."""
    if totals is None:
        return Text("no control totals: there is no ledger yet")
    amounts = ", ".join(str(screen.exact_money(amount, name)) for name, amount in sorted(totals["amounts"].items()))
    at = "" if position is None else f" at position {position:,}"
    return Text(
        f"totals{at}: {totals['requests']:,} requests, {totals['attempts']:,} attempts, {amounts or 'no money'}"
    )
