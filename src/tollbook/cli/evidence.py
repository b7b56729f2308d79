"""`tollbook evidence`: what the book says of a request, in a file that anybody can verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.assembly.exhibits import Exported
    from tollbook.evidence.check import Checked

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="What the book says of a request, in a file that anybody can verify.")


@app.callback()
def root() -> None:
    """What the book says of a request, in a file that anybody can verify."""


@app.command()
def export(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The file to make; it must be new.")],
    case: Annotated[str | None, typer.Argument(metavar="[CASE]", help="A case, with its requests and verdict.")] = None,
    request: Annotated[
        list[str] | None, typer.Option("--request", metavar="ID", help="A request; may be repeated.")
    ] = None,
    withhold: Annotated[
        bool, typer.Option("--withhold-personal", help="Leave out the values behind personal digests.")
    ] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="For an auditor: requests of several tenants in one file.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write the page for people to this new file.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Write entries, proofs, signatures and price rows of requests to one file; that it was done is put on record."""
    from tollbook.assembly.exhibits import Exhibit, of_case
    from tollbook.assembly.exhibits import export as export_bundle

    if (case is None) == (not request):
        raise BadInput("name what it is about: a case, or requests with --request ID")

    for path in (out, html):
        if path is not None and path.exists():
            raise BadInput(f"{path} is there already; name a new file")
    home = book_root(config, book)
    wanted = Exhibit(request or [], complete, withhold) if case is None else of_case(home, case, withhold=withhold)
    done = export_bundle(home, wanted)
    write(out, done, html)
    document = document_of(out, done)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_export(document))


def write(out: Path, done: "Exported", html: Path | None) -> None:
    """Put the bundle, and its page, in their places. Raises BadInput when a file cannot be written."""
    from tollbook.evidence.check import check
    from tollbook.journal.files import write_whole

    checked = check(done.data)
    try:
        write_whole(out, done.data)
        if html is not None:
            write_whole(html, (checked.report or "").encode())
    except OSError as fault:
        raise BadInput(f"{fault.filename or out} cannot be written: {fault.strerror}") from None


def document_of(out: Path, done: "Exported") -> Document:
    """What `evidence export --json` prints."""
    from tollbook.core.digest import sha256_hex

    manifest = done.manifest
    return {
        "file": str(out),
        "bytes": len(done.data),
        "sha256": sha256_hex(done.data),
        "book": manifest.book,
        "key": manifest.key,
        "tenant": manifest.tenant,
        "case": manifest.case,
        "requests": manifest.requests,
        "withheld": manifest.withheld,
        "lines": manifest.lines,
        "entry": done.entry,
        "provenance": provenance({"requests": manifest.requests}, rows=len(manifest.requests)),
    }


def show_export(document: Document) -> RenderableType:
    """The screen of `evidence export`."""
    lines = document["lines"]
    name = screen.escape(document["file"])
    personal = (
        "personal values withheld" if document["withheld"] else f"{lines.get('opening', 0)} personal values shown"
    )
    entry = document["entry"]
    return Group(
        Text.assemble(
            "wrote ", (name, "bold"), f": {document['bytes']:,} bytes, {_count(len(document['requests']), 'request')}"
        ),
        Text(
            f"  {lines.get('entry', 0)} entries with proofs, {lines.get('heads', 0)} heads, "
            f"{_count(lines.get('checkpoint', 0), 'signed checkpoint')}, {lines.get('price', 0)} price rows, {personal}"
        ),
        Text(f"  entry {entry['sequence']} of {screen.escape(entry['lane'])} says that it was handed out", style="dim"),
        Text(f"check it anywhere: tollbook verify {name} --key {document['key']}", overflow="fold"),
    )


def checked_document(path: Path, checked: "Checked") -> Document:
    """What `verify FILE --json` prints."""
    manifest = checked.manifest
    return {
        "verified": not checked.findings,
        "findings": [finding._asdict() for finding in checked.findings],
        "file": str(path),
        "book": manifest.book if manifest else None,
        "tenant": manifest.tenant if manifest else None,
        "case": manifest.case if manifest else None,
        "requests": manifest.requests if manifest else [],
        "withheld": manifest.withheld if manifest else None,
        "key": checked.key,
        "key_given": checked.given,
        "checkpoints": [one.size for one in checked.checkpoints],
        "checkpoint_compared": checked.compared,
        "entries": checked.entries,
        "openings": checked.openings,
        "amounts": checked.amounts,
        "provenance": provenance({"file": str(path)}, rows=checked.entries),
    }


def show_checked(document: Document) -> RenderableType:
    """The screen of `verify FILE`."""
    findings = document["findings"]
    if findings:
        parts: list[RenderableType] = [Text("does not verify", style="bold red")]
        for one in findings:
            where = "" if one["line"] is None else f" line {one['line']}"
            text = Text.assemble("  ", (one["code"], "red"), f"{where}: ")
            parts.append(text.append(screen.escape(one["message"], 1000)))
        return Group(*parts)
    sizes = " and ".join(f"{size:,}" for size in document["checkpoints"])
    parts = [
        Text.assemble(
            ("verified", "bold green"), f": {document['entries']:,} entries of the journal, each in the tree"
        ),
        Text(f"that the book's key signed at position {sizes}; {document['openings']:,} values fit their digests"),
        Text(f"book {screen.escape(document['book'])}, tenant {screen.escape(document['tenant'] or 'several')}"),
    ]
    for request, amounts in document["amounts"].items():
        told = ", ".join(str(screen.exact_money(amount, currency)) for currency, amount in amounts.items())
        parts.append(Text(f"  request {screen.escape(request)}: by its own entries {told or 'nothing rated'}"))
    if not document["key_given"]:
        warning = "by the key that the bundle itself names; compare it with the one you were given, or use --key:"
        parts += [Text(warning, style="yellow"), Text(f"  {screen.escape(document['key'])}")]
    return Group(*parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
