"""`tollbook verify`: does history still say what it said?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance
from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.journal.verify import Verification

Document = dict[str, Any]


def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A bundle of evidence; else the book itself is verified.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A signed checkpoint of this book that was kept elsewhere.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="VKEY", help="With FILE: the book's public key, or a file with it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check every entry, lane and signature of a book; name the first bad entry, the missing lane, the cut tail.

    With FILE, check a bundle of evidence: it needs neither the book nor a network.
    """
    if file is not None:
        _verify_bundle(file, key, _read(checkpoint), json=json)
    if key is not None:
        raise BadInput("--key goes with a bundle: tollbook verify FILE --key VKEY")
    from tollbook.journal import verify as verifying

    root = book_root(config, book)
    with progress_bar("verifying", quiet=json) as advance:
        found = verifying.verify(root, checkpoint=_read(checkpoint), progress=advance)
    document = document_of(found, {"checkpoint": None if checkpoint is None else str(checkpoint)})
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_verification(document))
    raise typer.Exit(exits.BROKEN if found.findings else exits.FINE)


def _verify_bundle(file: Path, key: str | None, checkpoint: bytes | None, *, json: bool) -> NoReturn:
    """Check a bundle and leave with the exit code."""
    from tollbook.cli.evidence import checked_document, show_checked
    from tollbook.evidence.bundle import FILE_LIMIT
    from tollbook.evidence.check import check

    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_LIMIT + 1)
        if key is not None and "+" not in key:
            key = Path(key).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise BadInput(f"{getattr(fault, 'filename', None) or key} cannot be read: {fault}") from None
    try:
        checked = check(data, key, checkpoint)
    except BadInput as fault:
        raise BadInput(f"{file}: {fault}") from None
    document = checked_document(file, checked)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_checked(document))
    raise typer.Exit(exits.BROKEN if checked.findings else exits.FINE)


def document_of(found: "Verification", parameters: dict[str, Any]) -> Document:
    """What verifying found, in the shape of `docs/reference/schemas/verify.json`."""
    position = {"number": found.position, "digest": found.digest} if found.digest else None
    return {
        "verified": not found.findings,
        "findings": [finding._asdict() for finding in found.findings],
        "lanes": found.lanes,
        "entries": found.entries,
        "bytes": found.bytes,
        "position": position,
        "checkpoint": found.checkpoint,
        "after_checkpoint": found.after_checkpoint._asdict(),
        "anchor": found.anchor,
        "after_anchor": found.after_anchor._asdict(),
        "copied": None if found.copied is None else format_instant(found.copied),
        "keys": [link._asdict() for link in found.keys],
        "provenance": provenance(
            parameters, position=position, rows=found.entries, control_totals={"entries": found.entries}
        ),
    }


def show_verification(document: Document) -> RenderableType:
    """The screen of `verify`."""
    findings = document["findings"]
    verdict = Text("verified", style="bold green") if not findings else Text("does not verify", style="bold red")
    figures = f": {document['entries']:,} entries in {document['lanes']:,} lanes, {document['bytes']:,} bytes"
    parts: list[RenderableType] = [verdict.append(figures, style="default not bold")]
    if document["copied"] is not None:
        parts.append(Text.assemble("a copy, made at ", screen.instant(document["copied"])))
    for finding in findings:
        where = "" if finding["lane"] is None else f" {screen.escape(finding['lane'])}"
        entry = "" if finding["sequence"] is None else f", entry {finding['sequence']}"
        line = Text.assemble("  ", (finding["code"], "red"), f"{where}{entry}: ")
        parts.append(line.append(screen.escape(finding["message"], 1000)))
    position = document["position"]
    if position is not None:
        parts.append(
            Text(f"position {position['number']} ({position['digest'][:12]}), signed up to {document['checkpoint']}")
        )
    parts += [_link(link) for link in document["keys"][1:]]
    parts.append(Text(f"after the last signature: {_beyond(document['after_checkpoint'])}"))
    if document["anchor"]:
        parts.append(Text(f"after the checkpoint from outside: {_beyond(document['after_anchor'])}"))
    else:
        hint = "no checkpoint from outside was given (--checkpoint FILE): whoever holds the key could rewrite it all"
        parts.append(Text(hint, style="dim"))
    return Group(*parts)


def _link(link: Document) -> Text:
    text = Text(f"signed by another key after position {link['since']:,} ({link['reason']})")
    if link["trusted"] is not None:
        text.append(f"; the one before counts up to position {link['trusted']:,}")
    if not link["signed"]:
        text.append("; the one before did not sign it: compare it with a key that you were given", style="yellow")
    return text


def _beyond(beyond: Document) -> str:
    if not beyond["entries"]:
        return "nothing"
    amounts = ", ".join(
        str(screen.exact_money(amount, currency)) for currency, amount in sorted(beyond["expected"].items())
    )
    return (
        f"{beyond['entries']:,} entries, {beyond['seconds']:,} s, {amounts or 'no money'}; this much cannot be proven"
    )


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while a terminal looks on; gives a function that is told done and total."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = screen.console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True,
        disable=quiet or not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as fault:
        raise BadInput(f"--checkpoint: {path} cannot be read: {fault}") from None
