"""`tollbook claims`: what a vendor should correct, with a letter that says so."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant
from tollbook.cli.story import show_provenance
from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput
from tollbook.core.money import format_amount

Document = dict[str, Any]


def claims(
    vendor: Annotated[str, typer.Option("--vendor", help="Whose statements.")],
    since: Annotated[str, typer.Option("--from", help="From this day or instant on (UTC).")],
    until: Annotated[str, typer.Option("--to", help="Before this day or instant.")],
    letter: Annotated[
        Path | None, typer.Option("--letter", help="Write a letter to the vendor to this new file.")
    ] = None,
    as_of: Annotated[int | None, typer.Option("--as-of", help="The number of a position; else the last one.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """List what a vendor should correct: attempts billed that gave nothing, other tiers and prices than were served,
    what only the vendor can explain; with the vendor's ids of the attempts.

    Leaves with 1 when there is something to claim.
    """
    from tollbook.reconciliation import claim
    from tollbook.reconciliation.diagnosis import Tolerance
    from tollbook.reconciliation.run import Asked, reconcile

    begins, ends = read_instant("--from", since), read_instant("--to", until)
    if begins is None or ends is None or begins >= ends:
        raise BadInput(f"--from {since} --to {until}: the period is empty; --to is the first instant after it")
    root = book_root(config, book)
    run = reconcile(root, Asked(vendor, begins, ends, as_of, Tolerance()))
    found = claim.claims_of(root, run)
    if letter is not None and found:
        _write(letter, claim.letter(run, found, lambda amount: f"{format_amount(amount)} USD"))
    document = claims_document(run, found, letter if found else None)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_claims(document))
    if found:
        sys.exit(exits.FINDINGS)


def _write(path: Path, text: str) -> None:
    """Raises BadInput when the file is there: a letter that was sent is not overwritten."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as fault:
        raise BadInput(f"--letter {path}: {fault.strerror}; name a new file") from None


def claims_document(run: Any, found: Any, letter: Path | None) -> Document:
    """What `claims` prints for machines."""
    from tollbook.ledger.reader import provenance

    asked = run.asked
    period = {"from": format_instant(asked.since), "to": format_instant(asked.until)}
    total = format_amount(sum(one.amount for one in found))
    return {
        "run": run.name,
        "vendor": asked.vendor,
        "currency": "USD",
        "period": period,
        "claims": [
            {
                "cause": one.cause,
                "asks": one.asks,
                "model": one.model,
                "vendor_key": one.vendor_key,
                "bucket": {"from": format_instant(one.bucket.since), "to": format_instant(one.bucket.until)},
                "quantity": one.quantity,
                "amount_usd": format_amount(one.amount),
                "evidence": list(one.evidence),
                "attempts": [
                    {name: getattr(attempt, name) for name in attempt.__struct_fields__} for attempt in one.attempts
                ],
            }
            for one in found
        ],
        "total_usd": total,
        "letter": None if letter is None else str(letter),
        "provenance": provenance(
            {"vendor": asked.vendor, **period},
            run.position,
            books=[],
            rows=len(found),
            control_totals={"amount_usd": total},
        ),
    }


def show_claims(document: Document) -> RenderableType:
    """The screen of `claims`."""
    if not document["claims"]:
        told = Text(f"nothing to claim from {screen.escape(document['vendor'])}", style="green")
        return Group(told, Text(), show_provenance(document["provenance"]))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("amount", "model", "key", "attempts", "what is asked"):
        table.add_column(title, justify="right" if title in ("amount", "attempts") else "left", overflow="fold")
    for one in document["claims"]:
        table.add_row(
            screen.exact_money(one["amount_usd"]),
            screen.words(one["model"]),
            screen.words(one["vendor_key"]),
            screen.number(len(one["attempts"])),
            Text(f"it {one['asks']}").append("\n" + "; ".join(map(screen.escape, one["evidence"])), "dim"),
        )
    head = Text(f"{screen.escape(document['vendor'])} should correct ").append_text(
        screen.exact_money(document["total_usd"])
    )
    parts: list[RenderableType] = [head, Text(), table]
    if document["letter"]:
        parts.append(Text(f"letter: {screen.escape(document['letter'])}"))
    return Group(*parts, Text(), show_provenance(document["provenance"]))
