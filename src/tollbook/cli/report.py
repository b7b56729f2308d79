"""`tollbook report`: requests, tokens and money by any dimension."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tollbook.cli import screen
from tollbook.cli.names import names_of
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant
from tollbook.cli.sheet import show_report
from tollbook.core.clock import format_instant, parse_instant
from tollbook.core.faults import BadInput

Document = dict[str, Any]


def report(
    by: Annotated[
        str, typer.Option(help="Dimensions, separated by commas: docs/reference/vocabulary.md, or tag:NAME.")
    ] = "tenant,model",
    since: Annotated[str | None, typer.Option("--from", help="From this day or instant on.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to, not with, this day or instant.")] = None,
    zone: Annotated[str, typer.Option("--tz", help="IANA time zone of days and of hour, day, month.")] = "UTC",
    on: Annotated[str, typer.Option(help="The time axis: occurred, or recorded.")] = "occurred",
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="What was known at an instant, or at a position's number.")
    ] = None,
    org: Annotated[
        str,
        typer.Option(
            help="By which structure: as-was, as it was known when usage was recorded; restated, as it is known now to "
            "have been then; as-of DATE, as it is known now for that date."
        ),
    ] = "as-was",
    date: Annotated[str | None, typer.Argument(help="The day or instant of `--org as-of`.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Sum requests, attempts, tokens and money. The same position gives the same bytes for ever."""
    from tollbook.ledger import report as reporting

    root = book_root(config, book)
    dimensions = [name.strip() for name in by.split(",") if name.strip()]
    document = reporting.report(
        root,
        dimensions,
        since=read_instant("--from", since, zone),
        until=read_instant("--to", until, zone),
        zone=zone,
        on=on,
        as_of=_position(root, as_of),
        **_organised(org, date, zone),
    )
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_report(_with_names(root, document, dimensions), dimensions))


def _with_names(root: Path, document: Document, by: list[str]) -> Document:
    """A report with people's names in place of their digests, for a screen."""
    personal = [name for name in by if name == "user" or name.startswith("tag:")]
    names = names_of(root, [row["dimensions"][name] for row in document["rows"] for name in personal])
    rows = [
        {**row, "dimensions": {name: names.get(value, value) for name, value in row["dimensions"].items()}}
        if personal
        else row
        for row in document["rows"]
    ]
    return {**document, "rows": rows}


def _organised(org: str, date: str | None, zone: str) -> Document:
    """By which structure usage belongs somewhere. Raises BadInput."""
    from tollbook.registry.organisation import AS_OF, AS_WAS, RESTATED, Organisation, from_rows

    if org not in (AS_WAS, RESTATED, AS_OF) or (date is None) is (org == AS_OF):
        told = org if date is None else f"{org} {date}"
        raise BadInput(f"--org: found {told!r}; allowed: {AS_WAS}, {RESTATED}, or {AS_OF} 2026-11-01")
    at = read_instant("--org as-of", date, zone) or 0
    shown = org if date is None else f"{org} {format_instant(at)}"
    return {"org": shown, "organise": lambda rows: Organisation(from_rows(rows), org, at)}


def _position(root: Path, text: str | None) -> int | None:
    """The number of a position, or of the last one recorded at or before an instant."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    from tollbook.ledger.reader import position_at

    try:
        return position_at(root, parse_instant(text))
    except ValueError:
        raise BadInput(f"--as-of: found {text!r}; allowed: 2026-11-01T08:00:00Z, or a position's number") from None
