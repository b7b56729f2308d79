"""`tollbook statement`: vendors' documents: take one in, list them, look at one and at the lines."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant, read_names
from tollbook.cli.provenance import provenance
from tollbook.cli.statement_screen import show_import, show_lines, show_list, show_one, show_pulled
from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput
from tollbook.core.money import parse_decimal

if TYPE_CHECKING:
    from tollbook.assembly.importing import Wanted
    from tollbook.journal.statement import StatementImported

Document = dict[str, Any]
AsOf = Annotated[int | None, typer.Option("--as-of", help="The number of a position; else the last one.")]

app = typer.Typer(no_args_is_help=True, help="Vendors' documents: usage exports, cost reports, invoices.")


@app.callback()
def root() -> None:
    """Vendors' documents: usage exports, cost reports, invoices."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The vendor's file, as it came.")],
    kind: Annotated[str | None, typer.Option("--as", metavar="KIND", help="What it is; else it is guessed.")] = None,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="A file that says what the columns of any table mean.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read it and say what it holds; change nothing.")] = False,
    vendor: Annotated[
        str | None, typer.Option("--vendor", help="Whose it is, as the configuration names the vendor.")
    ] = None,
    observed: Annotated[
        str | None, typer.Option("--observed", help="When the vendor gave it; without it nothing counts as final.")
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option(
            "--type", help="The sort of document: usage_export, cost_report, invoice, credit_note, prepayment."
        ),
    ] = None,
    number: Annotated[str | None, typer.Option("--number", help="The document's number.")] = None,
    issued: Annotated[str | None, typer.Option("--issued", help="The document's date.")] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="Currency of net, tax and gross.")] = None,
    net: Annotated[str | None, typer.Option("--net", help="What it comes to before tax.")] = None,
    tax: Annotated[str | None, typer.Option("--tax", help="Its tax.")] = None,
    gross: Annotated[str | None, typer.Option("--gross", help="What it comes to with tax.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="The order or document it refers to.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="The account at the vendor that it is for.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Take a vendor's document into the book: whole, once, with every problem that it has.

    Leaves with 1 when it was taken in and has problems, with 2 when it was refused and nothing changed.
    """
    from tollbook.assembly.importing import Wanted, entry_of, import_statement, prepared
    from tollbook.journal.entry import ObjectNamed
    from tollbook.statements.document import DOCUMENT_TYPES, Head

    if type_ is not None and type_ not in DOCUMENT_TYPES:
        raise BadInput(f"--type: found {type_!r}; allowed: {', '.join(DOCUMENT_TYPES)}")
    head = Head(
        vendor=vendor,
        number=number,
        issued=issued,
        currency=currency,
        net=_decimal("--net", net),
        tax=_decimal("--tax", tax),
        gross=_decimal("--gross", gross),
        reference=reference,
        account=account,
    )
    at = read_instant("--observed", observed)
    wanted = Wanted(path=file, kind=kind, mapping=mapping, type=type_, head=head, observed=at)  # type: ignore[arg-type]  # checked above
    with prepared(wanted) as one:
        if dry_run:
            entry = entry_of(wanted, one, ObjectNamed(sha256="", bytes=0), None)
            document = document_of(wanted, entry, guessed=one.guessed, duplicate=False, dry_run=True)
        else:
            done = import_statement(book_root(config, book), wanted, one)
            document = document_of(wanted, done.entry, guessed=one.guessed, duplicate=done.duplicate, dry_run=False)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_import(document))
    if document["problem_count"]:
        sys.exit(exits.FINDINGS)


@app.command("list")
def show_all(
    as_of: AsOf = None, config: ConfigOption = None, book: BookOption = None, json: JsonOption = False
) -> None:
    """All statements: whose, for which time, what they come to, and which replaces which."""
    from tollbook.ledger.statements import statements

    document = statements(book_root(config, book), as_of)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))


@app.command()
def show(
    statement: Annotated[str, typer.Argument(help="The statement's name, such as S-1.")],
    as_of: AsOf = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """One statement: what it says of itself, how it came, every problem that it has."""
    from tollbook.ledger.statements import statements

    document = statements(book_root(config, book), as_of, statement)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_one(document))


@app.command("pull")
def pull_(
    vendor: Annotated[str, typer.Argument(help="A vendor of the configuration that has `statements`.")],
    since: Annotated[str, typer.Option("--from", help="From this UTC day on.")],
    until: Annotated[str, typer.Option("--to", help="Before this UTC day.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Pull a vendor's own reports of usage and cost, day by day, each as a statement.

    What was pulled before and is the same changes nothing; what is told otherwise now replaces it. Leaves with 1 when
    some statement has problems, or the vendor did not answer; what was taken in by then stays.
    """
    from tollbook.assembly.pulling import days_of, pull
    from tollbook.cli.pulled import account_of, pulled_document

    begins, ends = read_instant("--from", since), read_instant("--to", until)
    if begins is None or ends is None:
        raise BadInput("--from and --to: say which days to pull")
    days = days_of(begins, ends)
    root, account, reports = account_of(config, vendor)
    document = pulled_document(account, (since, until), pull(root, account, reports, days))
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_pulled(document))
    if any(one["problem_count"] for one in document["statements"]):
        sys.exit(exits.FINDINGS)


@app.command("lines")
def lines_(
    statement: Annotated[str | None, typer.Argument(help="A statement; else all that no later one replaces.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Sum by these, such as day,model; else single lines.")] = None,
    vendor: Annotated[str | None, typer.Option("--vendor", help="Of this vendor only.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this day or instant on.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this day or instant.")] = None,
    as_of: AsOf = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """The lines of statements, or sums of them, with totals equal to the documents'."""
    from tollbook.ledger.statements import lines

    document = lines(
        book_root(config, book),
        read_names(by),
        name=statement,
        vendor=vendor,
        since=read_instant("--from", since),
        until=read_instant("--to", until),
        as_of=as_of,
    )
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_lines(document))


def document_of(
    wanted: "Wanted", entry: "StatementImported", *, guessed: bool, duplicate: bool, dry_run: bool
) -> Document:
    """What `statement import` prints for machines."""
    instants = {
        name: None if at is None else format_instant(at) for name, at in (("from", entry.begins), ("to", entry.ends))
    }
    return {
        "import_id": entry.statement or None,
        "kind": entry.kind,
        "guessed": guessed,
        "vendor": entry.vendor,
        "type": entry.type,
        "document": entry.number,
        "lines": entry.lines,
        "unknown": entry.unknown,
        "period": instants,
        "zone": entry.zone,
        "totals": entry.totals,
        "rounding": entry.rounding,
        "duplicate": duplicate,
        "dry_run": dry_run,
        "revises": entry.revises,
        "grade": entry.grade,
        "sha256": entry.sha256,
        "problem_count": entry.problem_count,
        "problems": [
            {"where": one.where, "what": one.what, "do": one.do, "severity": one.severity} for one in entry.problems
        ],
        "provenance": provenance(
            {"file": wanted.path.name, "as": wanted.kind, "importer": entry.importer},
            rows=entry.lines,
            control_totals={"lines": entry.lines, "amounts": entry.totals},
        ),
    }


def _decimal(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return parse_decimal(text)
    except ValueError:
        raise BadInput(f"{option}: found {text!r}; allowed: a plain number such as 1204.11") from None
