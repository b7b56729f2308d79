"""What `tollbook reconcile` shows to people: the sums, the causes by their money, the cells that are left."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.story import show_provenance
from tollbook.core.money import parse_amount

Document = dict[str, Any]

SHOWN_CELLS: Final = 15
_STYLES: Final = {"unexplained": "red", "cannot_settle": "red", "partly_explained": "yellow", "open": "dim"}
_SAID: Final = {
    "within_tolerance": "let pass by the tolerance",
    "ambiguous": "one of several that cannot be told apart",
}


def show_run(document: Document) -> RenderableType:
    """The screen of `reconcile`."""
    period = f"{document['period']['from'][:10]} up to {document['period']['to'][:10]}"
    head = Text(f"{screen.escape(document['vendor'])}, {period}", style="bold").append(f"   {document['run']}", "dim")
    parts: list[RenderableType] = [head, Text(), _sums(document), Text()]
    parts += _causes(document)
    parts += _left(document)
    parts += _remarks(document)
    return Group(*parts, Text(), show_provenance(document["provenance"]))


def _grid(*titles: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=bool(titles))
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    return table


def _sums(document: Document) -> Table:
    totals = document["totals"]
    theirs, ours = (parse_amount(totals[name]) for name in ("theirs_usd", "ours_usd"))
    table = _grid("", "amount", "known from", right=("amount",))
    named = ", ".join(
        f"{one['import_id']} ({one['type'].replace('_', ' ')}, {one['grade']})" for one in _with(document)
    )
    table.add_row("their statements", screen.exact_money(totals["theirs_usd"]), Text(named))
    table.add_row("our record", screen.exact_money(totals["ours_usd"]), f"position {_position(document)}")
    table.add_row("difference", screen.exact_money(_minus(theirs, ours)), "theirs less ours", style="bold")
    table.add_row("  explained", screen.exact_money(totals["explained_usd"]), "")
    table.add_row("  unexplained", screen.exact_money(totals["unexplained_usd"]), "")
    return table


def _with(document: Document) -> list[Document]:
    found: list[Document] = document["inputs"]["statements"]
    return found


def _position(document: Document) -> str:
    return f"{document['inputs']['position']['number']:,}"


def _minus(theirs: int, ours: int) -> str:
    from tollbook.core.money import format_amount

    return format_amount(theirs - ours)


def _causes(document: Document) -> list[RenderableType]:
    if not document["causes"]:
        return [Text("both books agree in every cell", style="green")] if not _open_cells(document) else []
    table = _grid("cause", "amount", "cells", "nature", "what it means", right=("amount", "cells"))
    for one in document["causes"]:
        table.add_row(
            one["cause"],
            screen.exact_money(one["amount_usd"]),
            screen.number(one["cells"]),
            one["nature"] or "",
            Text(_meaning(one["cause"])).append_text(_example(document, one["cause"])),
        )
    return [table, Text()]


def _meaning(cause: str) -> str:
    from tollbook.reconciliation.causes import causes

    known = causes()
    return known[cause].title if cause in known else _SAID[cause]


def _example(document: Document, cause: str) -> Text:
    """The evidence of the share with most money, and its first request."""
    shares = [share for cell in document["cells"] for share in cell["causes"] if share["cause"] == cause]
    best = max(shares, key=lambda share: abs(parse_amount(share["amount_usd"])))
    told = [best["evidence"], *best["among"], *best["requests"][:1]]
    return Text("\n" + "; ".join(screen.escape(part) for part in told), style="dim")


def _open_cells(document: Document) -> list[Document]:
    """Cells with something left over, and those that nothing here can settle."""
    return [
        cell
        for cell in document["cells"]
        if cell["unexplained"] != {"quantity": 0, "amount_usd": "0"} or cell["verdict"] == "cannot_settle"
    ]


def _left(document: Document) -> list[RenderableType]:
    """The cells that are not explained, those with most money first."""
    left = _open_cells(document)
    if not left:
        return []
    left.sort(key=lambda cell: -abs(parse_amount(cell["unexplained"]["amount_usd"])))
    titles = ("from", "model", "key", "class", "ours", "theirs", "left", "left over", "verdict")
    table = _grid(*titles, right=("ours", "theirs", "left", "left over"))
    for cell in left[:SHOWN_CELLS]:
        unexplained = cell["unexplained"]
        table.add_row(
            cell["bucket"]["from"][:16].replace("T", " "),
            screen.words(cell["model"] or ""),
            screen.words(cell["vendor_key"] or ""),
            screen.words(cell["class"]),
            screen.number(cell["ours"]["quantity"]),
            screen.number(cell["theirs"]["quantity"]),
            screen.number(unexplained["quantity"]),
            screen.exact_money(unexplained["amount_usd"]),
            Text(cell["verdict"].replace("_", " "), style=_STYLES.get(cell["verdict"], "")),
        )
    parts: list[RenderableType] = [Text(f"{len(left):,} cells are not explained wholly", style="bold"), table]
    if len(left) > SHOWN_CELLS:
        parts.append(Text(f"and {len(left) - SHOWN_CELLS:,} more: --json", style="dim"))
    for missing in sorted({cell["missing"] for cell in left if cell["missing"]}):
        parts.append(Text(f"to settle it: {missing}"))
    return [*parts, Text()]


def _remarks(document: Document) -> list[RenderableType]:
    """Drift, what was not compared, and by what the books could not be divided."""
    lines = []
    for one in document["within_tolerance"]:
        if one["drift"]:
            cells = f"{max(one['cells_above'], one['cells_below'])} of {one['cells_above'] + one['cells_below']} cells"
            side = "above" if one["cells_above"] > one["cells_below"] else "below"
            what = f"{screen.escape(one['model'] or 'no model')} {one['class']}"
            lines.append(f"drift: {what}: {cells} lie {side} ours inside the tolerance, {one['amount_usd']} USD in all")
    not_over = sum(cell["verdict"] == "open" for cell in document["cells"])
    if not_over:
        lines.append(f"not final: {not_over:,} cells are of a time that is not over")
    for one in document["left_out"]:
        amount = f"{one['amount']} {one['currency']}" if one["amount"] else "no amount"
        of = f" of {one['statement']}" if one["statement"] else ""
        lines.append(f"not compared: {one['lines']:,} lines{of}, {amount}: {one['why']}")
    if parse_amount(document["uncovered_usd"]):
        lines.append(f"not compared: {document['uncovered_usd']} USD of ours in times that no statement covers")
    lines += [screen.escape(note) for note in document["notes"]]
    return [Text(line) for line in lines]
