"""What `tollbook statement` shows to people."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.story import show_provenance

Document = dict[str, Any]

SHOWN_PROBLEMS: Final = 20
SHOWN_LINES: Final = 60
NOT_STATED: Final = Text("not stated", style="dim")


def show_import(document: Document) -> RenderableType:
    """The screen of `statement import`."""
    name, kind = document["import_id"], document["kind"]
    what = f"{document['type'].replace('_', ' ')} of {document['vendor']}"
    if document["duplicate"]:
        head = Text(f"already imported as {name}; nothing changed", style="bold")
    elif document["dry_run"]:
        head = Text("read, not imported (--dry-run)", style="bold")
    else:
        head = Text(f"imported as {name}", style="bold")
    looks = f"looks like {kind}" if document["guessed"] else f"read as {kind}"
    facts = Text(f"{screen.escape(what)}, {looks}; {document['lines']:,} lines, {_period(document)}")
    parts: list[RenderableType] = [head, facts, *_totals(document)]
    if document["revises"]:
        parts.append(Text(f"replaces {', '.join(document['revises'])}"))
    if not document["duplicate"]:
        parts += _problems(document)
    return Group(*parts, Text(), show_provenance(document["provenance"]))


def show_pulled(document: Document) -> RenderableType:
    """The screen of `statement pull`."""
    counted = f"{document['new']} new, {document['replaced']} of them replace what was told before"
    head = Text(f"{screen.escape(document['vendor'])} from {screen.escape(document['origin'])}: {counted}")
    if document["empty"]:
        head.append(f"; {document['empty']} reports were empty")
    table = _table("day", "report", "statement", "lines", "total", "problems", "")
    for one in document["statements"]:
        said = "as before" if one["duplicate"] else f"replaces {', '.join(one['revises'])}" if one["revises"] else ""
        table.add_row(
            one["day"],
            one["kind"],
            one["import_id"] or Text("nothing", style="dim"),
            screen.number(one["lines"]),
            _sums(one["totals"]),
            screen.number(one["problem_count"]),
            Text(said, style="dim"),
        )
    return Group(head, Text(), table, Text(), show_provenance(document["provenance"]))


def show_list(document: Document) -> RenderableType:
    """The screen of `statement list`."""
    if not document["statements"]:
        told = "no statement was imported yet: tollbook statement import FILE"
        return Group(Text(told), Text(), show_provenance(document["provenance"]))
    table = _table("statement", "vendor", "type", "number", "period", "lines", "total", "problems", "came", "")
    for one in document["statements"]:
        table.add_row(
            one["import_id"],
            screen.words(one["vendor"]),
            one["type"].replace("_", " "),
            screen.words(one["document"]) if one["document"] else Text("none", style="dim"),
            _period(one),
            screen.number(one["lines"]),
            _sums(one["totals"]),
            screen.number(one["problem_count"]),
            one["grade"],
            Text(f"replaced by {one['revised_by']}", style="dim") if one["revised_by"] else "",
        )
    return Group(table, Text(), show_provenance(document["provenance"]))


def show_one(document: Document) -> RenderableType:
    """The screen of `statement show`."""
    (one,) = document["statements"]
    head = f"{one['import_id']}: {one['type'].replace('_', ' ')} of {screen.escape(one['vendor'])}"
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in (
        ("number", one["document"]),
        ("issued", one["issued"]),
        ("account", one["account"]),
        ("period", f"{_period(one)}, days in {one['zone']}"),
        ("net", _told(one["net"], one["currency"])),
        ("tax", _told(one["tax"], one["currency"])),
        ("gross", _told(one["gross"], one["currency"])),
        ("refers to", one["reference"]),
        ("lines", f"{one['lines']:,}, of which {one['unknown']:,} of no class that is known"),
        ("came", f"{one['grade']} by {one['actor']}, {one['imported_at'][:19]}Z"),
        ("given by vendor", one["observed_at"] or "unknown when, so nothing in it counts as final"),
        ("pulled from", one["origin"]),
        ("read as", one["importer"]),
        ("file", f"sha256 {one['sha256']}, {one['bytes']:,} bytes, {'kept' if one['kept'] else 'not kept'}"),
        ("replaces", ", ".join(one["revises"]) or None),
        ("replaced by", one["revised_by"]),
    ):
        if value is not None:
            table.add_row(Text(name, style="dim"), Text(screen.escape(value)))
    return Group(
        Text(head, style="bold"), table, *_totals(one), *_problems(one), Text(), show_provenance(document["provenance"])
    )


def show_lines(document: Document) -> RenderableType:
    """The screen of `statement lines`."""
    total = document["total"]
    head = Text(f"{total['lines']:,} lines, {_sums(total['amounts']).plain}", style="bold")
    shown = _show_sums(document) if document["by"] else _show_lines(document)
    return Group(head, Text(), *shown, Text(), show_provenance(document["provenance"]))


def _show_sums(document: Document) -> list[RenderableType]:
    by = document["by"]
    table = _table(*by, "lines", "quantity", "amount")
    for row in document["rows"]:
        quantity = row["quantity"]
        table.add_row(
            *(screen.words(row["dimensions"][name]) for name in by),
            screen.number(row["lines"]),
            Text("several classes", style="dim") if row["classes"] > 1 else _count(quantity),
            screen.money(row["amount"], row["currency"]) if row["amount"] is not None else NOT_STATED,
        )
    return [table]


def _show_lines(document: Document) -> list[RenderableType]:
    table = _table("line", "from", "model", "class", "project", "key", "tier", "quantity", "amount")
    rows = document["lines"][:SHOWN_LINES]
    for row in rows:
        known = row["class_kind"] == "ours"
        table.add_row(
            f"{row['import_id']}:{row['line']}",
            row["bucket_from"][:16].replace("T", " "),
            screen.words(row["model"]),
            screen.words(row["class"], "" if known else "yellow"),
            screen.words(row["project"]),
            screen.words(row["api_key_id"]),
            screen.words(row["tier"]),
            _count(row["quantity"]),
            screen.exact_money(row["amount"], row["currency"]) if row["amount"] is not None else NOT_STATED,
        )
    more = len(document["lines"]) - len(rows) + document["left_out"]
    told = f"... and {more:,} more; sum them with --by day,model"
    return [table, *([Text(told)] if more else [])]


def _count(quantity: str | None) -> Text:
    return NOT_STATED if quantity is None else screen.number(int(quantity))


def _totals(one: Document) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text.assemble("total ", screen.money(total, currency), f" ({currency} {total})")
        for currency, total in one["totals"].items()
    ]
    if not lines:
        lines.append(Text("no amounts: quantities only"))
    if one["unknown"]:
        lines.append(
            Text(f"{one['unknown']:,} of the lines, of no class that is known, kept in the vendor's own words")
        )
    return lines


def _problems(one: Document) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for problem in one["problems"][:SHOWN_PROBLEMS]:
        style = "yellow" if problem["severity"] == "problem" else "dim"
        told = f"{problem['severity']}: {problem['where']}: {problem['what']}; {problem['do']}"
        lines.append(Text(screen.escape(told, 400), style=style))
    if len(one["problems"]) > SHOWN_PROBLEMS:
        lines.append(Text(f"... and {len(one['problems']) - SHOWN_PROBLEMS:,} more; --json has them"))
    return lines


def _period(one: Document) -> str:
    since, until = one["period"]["from"], one["period"]["to"]
    if since is None or until is None:
        return "of no stated time"
    short = since[11:19] == until[11:19] == "00:00:00"
    return f"{since[:10]} up to {until[:10]}" if short else f"{since[:16]}Z up to {until[:16]}Z"


def _sums(totals: dict[str, str]) -> Text:
    if not totals:
        return Text("no amounts", style="dim")
    return Text(", ".join(screen.money(total, currency).plain for currency, total in totals.items()))


def _told(amount: str | None, currency: str | None) -> str | None:
    return None if amount is None else screen.exact_money(amount, currency).plain


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        right = title in ("lines", "quantity", "amount", "total", "problems")
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    return table
