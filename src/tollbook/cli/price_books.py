"""`tollbook prices import`, `list`, `check`, `diff`: whole price books."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.price_source import load_prices
from tollbook.cli.provenance import provenance
from tollbook.cli.story import show_provenance
from tollbook.core.clock import SECOND, format_instant, now, parse_instant
from tollbook.core.faults import BadConfiguration, BadInput, NotFound
from tollbook.core.money import format_amount, parse_amount

if TYPE_CHECKING:
    from tollbook.ledger.quantities import ChargedByRow
    from tollbook.ledger.reader import Position
    from tollbook.pricing.book import PriceBook
    from tollbook.pricing.difference import Change

PACKAGE = "genai-prices"
SHOWN = 60
DAYS = 30
DAY = 86_400 * SECOND
Document = dict[str, Any]


@dataclass(frozen=True)
class Listed:
    """A price book as it is listed: `state` is `in_force`, `was_in_force`, `announced`, `draft` or `ships`."""

    digest: str
    state: str
    since: str | None
    source: str
    retrieved: str
    currency: str
    vendors: int
    models: int
    rows: int


def import_(
    source: Annotated[str, typer.Argument(help="genai-prices (the installed package's data), or a file.")],
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Keep a price book as a draft: it prices nothing until it is put in force."""
    from tollbook.assembly.drafts import Drafts
    from tollbook.pricing.checks import check

    root = book_root(config, book)
    if not root.is_dir():
        raise BadInput(f"{root} is no book; make one with: tollbook init")
    made, omitted = _from_package() if source == PACKAGE else (load_prices(source, config, book), [])
    Drafts(root).keep(made)
    remarks = check(made, now())
    kept = listed(made, "draft", None)
    document = {
        "book": asdict(kept),
        "omitted": omitted,
        "remarks": len(remarks),
        "provenance": provenance(
            {"source": source}, books=[made.digest], rows=sum(len(e.rows) for e in made.entries())
        ),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_import(document))


def list_(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """The price books there are: the one that ships, drafts, and those that price or priced."""
    from tollbook.assembly.drafts import Drafts
    from tollbook.assembly.prices import read_activations
    from tollbook.pricing.book import base_book

    root = book_root(config, book)
    found: list[Listed] = []
    activations = sorted(read_activations(root), key=lambda one: one.since)
    for number, one in enumerate(activations):
        later = activations[number + 1 :]
        state = (
            "announced" if one.since > now() else "was_in_force" if any(x.since <= now() for x in later) else "in_force"
        )
        found.append(listed(load_prices(one.book, config, root), state, format_instant(one.since)))
    known = {one.digest for one in found}
    for digest in Drafts(root).digests():
        if digest not in known:
            found.append(listed(load_prices(digest, config, root), "draft", None))
    if base_book().digest not in {one.digest for one in found}:
        found.append(listed(base_book(), "ships", None))
    document = {
        "books": [asdict(one) for one in found],
        "provenance": provenance({}, books=[one.digest for one in found], rows=len(found)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))


def check_(
    prices: Annotated[
        str | None, typer.Argument(help="Digest or file of a price book; else the one that ships.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="The instant to judge age by, RFC 3339; else now.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Gaps in time, prices that look like a slip of unit, prices nobody has looked at for long."""
    from tollbook.pricing.checks import check

    chosen = load_prices(prices, config, book)
    try:
        instant = now() if at is None else parse_instant(at)
    except ValueError as fault:
        raise BadInput(f"--at: {fault}") from None
    remarks = [{name.rstrip("_"): value for name, value in one._asdict().items()} for one in check(chosen, instant)]
    document = {
        "book": chosen.digest,
        "at": format_instant(instant),
        "remarks": [{**one, "rows": list(one["rows"])} for one in remarks],
        "provenance": provenance({"prices": prices, "at": at}, books=[chosen.digest], rows=len(remarks)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_check(document))
    if remarks:
        sys.exit(exits.FINDINGS)


def diff(
    before: Annotated[str, typer.Argument(help="Digest or file of a price book, or base: the one that ships.")],
    after: Annotated[str, typer.Argument(help="Digest or file of the price book to set against it, or base.")],
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """What changed between two price books, in words, and in money for what the ledger says of the last 30 days."""
    from tollbook.pricing.difference import compare

    one, other = (load_prices(None if named == "base" else named, config, book) for named in (before, after))
    changes = compare(one, other)
    weighed, more, position = _weigh(one, changes, config, book)
    plain = [{name.rstrip("_"): value for name, value in change._asdict().items()} for change in changes]
    document = {
        "before": one.digest,
        "after": other.digest,
        "changes": [
            {**told, "words": change.words(), "more": more.get(change, "0") if weighed is not None else None}
            for told, change in zip(plain, changes, strict=True)
        ],
        "impact": weighed,
        "provenance": provenance(
            {"before": before, "after": after},
            position=position,
            books=[one.digest, other.digest],
            rows=len(changes),
        ),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_diff(document))


def listed(book: "PriceBook", state: str, since: str | None) -> Listed:
    """A price book in one line."""
    entries = list(book.entries())
    header = book.header
    return Listed(
        digest=book.digest,
        state=state,
        since=since,
        source=header.source,
        retrieved=header.retrieved,
        currency=header.currency,
        vendors=len(book.parties),
        models=len(entries),
        rows=sum(len(entry.rows) for entry in entries),
    )


def show_import(document: Document) -> RenderableType:
    """The screen of `prices import`."""
    one = document["book"]
    lines = [
        Text(f"draft {one['digest']}", style="bold"),
        Text(
            f"{one['rows']:,} rows of {one['models']:,} models of {one['vendors']:,} vendors, "
            f"from {screen.escape(one['source'])}, read {one['retrieved']}"
        ),
    ]
    if document["omitted"]:
        lines.append(Text(f"{len(document['omitted']):,} prices of the source were left out; --json lists them"))
    if document["remarks"]:
        told = f"{document['remarks']:,} remarks; see: tollbook prices check {one['digest'][:12]}..."
        lines.append(Text(told, style="yellow"))
    lines.append(Text("It prices nothing until it is put in force."))
    return Group(*lines, Text(), show_provenance(document["provenance"]))


def show_list(document: Document) -> RenderableType:
    """The screen of `prices list`."""
    table = _table("price book", "state", "since", "vendors", "models", "rows", "read", "source")
    for one in document["books"]:
        table.add_row(
            one["digest"],
            screen.words(one["state"].replace("_", " ")),
            "" if one["since"] is None else screen.instant(one["since"]),
            screen.number(one["vendors"]),
            screen.number(one["models"]),
            screen.number(one["rows"]),
            screen.words(one["retrieved"]),
            screen.words(one["source"]),
        )
    return Group(table, Text(), show_provenance(document["provenance"]))


def show_check(document: Document) -> RenderableType:
    """The screen of `prices check`."""
    remarks = document["remarks"]
    table = _table("kind", "vendor", "model", "what")
    for one in remarks[:SHOWN]:
        table.add_row(one["kind"], screen.words(one["party"]), screen.words(one["model"]), screen.words(one["words"]))
    more = [Text(f"... and {len(remarks) - SHOWN:,} more; --json has them all")] if len(remarks) > SHOWN else []
    head = f"{len(remarks):,} to look at" if remarks else "nothing to look at"
    return Group(Text(head, style="bold"), table, *more, Text(), show_provenance(document["provenance"]))


def show_diff(document: Document) -> RenderableType:
    """The screen of `prices diff`: what moves most money first, where that is known."""
    changes = sorted(document["changes"], key=lambda one: -abs(parse_amount(one["more"] or "0")))
    lines = [Text(screen.escape(one["words"]) + _more(one["more"], one["currency"])) for one in changes[:SHOWN]]
    if len(changes) > SHOWN:
        lines.append(Text(f"... and {len(changes) - SHOWN:,} more; --json has them all"))
    head = f"{len(changes):,} prices differ" if changes else "the same prices"
    return Group(
        Text(head, style="bold"), *lines, *_impact(document["impact"]), Text(), show_provenance(document["provenance"])
    )


def _impact(found: Document | None) -> list[Text]:
    """What it would have meant for what was used."""
    if found is None:
        return [Text("what it would have cost is unknown: there is no ledger here (--book, --config)", style="dim")]
    lines = [Text(f"the last {DAYS} days{_more(more, currency)}") for currency, more in found["more"].items()]
    if not lines:
        lines.append(Text(f"nothing of it was used in the last {DAYS} days"))
    if found["unpriced_lines"]:
        lines.append(Text(f"{found['unpriced_lines']:,} lines would have no price any more", style="yellow"))
    if found["other_lines"]:
        told = (
            f"{found['other_lines']:,} lines were charged by rows that the first book does not hold; they are not in it"
        )
        lines.append(Text(told, style="yellow"))
    return lines


def _more(more: str | None, currency: str) -> str:
    if more is None:
        return ""
    lower = more.startswith("-")
    return f": would have cost {screen.money(more.removeprefix('-'), currency)} {'less' if lower else 'more'}"


def _weigh(
    before: "PriceBook", changes: "list[Change]", config: Path | None, book: Path | None
) -> "tuple[Document | None, dict[Change, str], Document | None]":
    """What changes would have meant lately, in all and each, and at which position; None without a ledger."""
    from tollbook.pricing.impact import impact

    until = now()
    since = until - DAYS * DAY
    used = _used(config, book, since, until)
    if used is None:
        return None, {}, None
    position, rows = used
    found = impact(before, changes, rows)
    document = {
        "from": format_instant(since),
        "to": format_instant(until),
        "more": {currency: format_amount(amount) for currency, amount in sorted(found.by_currency.items())},
        "unpriced_lines": found.unpriced_lines,
        "other_lines": found.other_lines,
    }
    more = {change: format_amount(amount) for change, amount in found.by_change.items()}
    where = {"number": position.number, "digest": position.digest, "recorded": format_instant(position.recorded)}
    return document, more, where


def _used(
    config: Path | None, book: Path | None, since: int, until: int
) -> "tuple[Position, list[ChargedByRow]] | None":
    """What was charged by each price row; None where there is no book or no ledger, and none was asked for."""
    try:
        root = book_root(config, book)
    except BadConfiguration:
        if config is not None:
            raise
        return None
    if not root.is_dir():
        return None
    from tollbook.ledger.quantities import charged_by_row

    try:
        return charged_by_row(root, since, until)
    except NotFound:
        return None


def _from_package() -> tuple["PriceBook", list[Document]]:
    """The installed package's data as a price book, and what of it was left out. Raises BadInput without it."""
    try:
        from tollbook.pricing.catalogue import convert
    except ModuleNotFoundError as missing:
        raise BadInput(f"{PACKAGE}: {missing.name} is not installed; install it with: pip install {PACKAGE}") from None
    catalogue = convert()
    return catalogue.book, [one._asdict() for one in catalogue.omitted]


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title, justify="right" if title in ("vendors", "models", "rows") else "left", overflow="fold")
    return table
