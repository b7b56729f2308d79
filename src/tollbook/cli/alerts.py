"""`tollbook alerts`: what somebody should look at now, for whom, and the one command that shows more."""

import sys
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.story import show_provenance
from tollbook.core.clock import format_instant, now
from tollbook.core.faults import BadInput
from tollbook.core.money import format_amount, parse_amount

Document = dict[str, Any]


def alerts(
    days: Annotated[
        int, typer.Option("--days", min=1, max=400, help="Look at so many days (UTC), today the last.")
    ] = 7,
    audience: Annotated[
        str | None, typer.Option("--audience", help="Only those for platform, finance or tenant.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """List what somebody should look at: money and tokens that differ from the vendors' statements, traffic past the
    gateway, small differences on one side, missing usage, attempts unsettled or unpriced, ids that stand twice,
    statements that stay out.

    An alert is there as long as what it tells is so. Leaves with 1 when there is one.
    """
    from tollbook.reconciliation.alert import AUDIENCES
    from tollbook.reconciliation.watching import watch

    if audience is not None and audience not in AUDIENCES:
        raise BadInput(f"--audience: found {audience!r}; allowed: {', '.join(AUDIENCES)}")
    watched = watch(book_root(config, book), now(), days)
    document = alerts_document(watched, audience)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_alerts(document))
    if document["alerts"]:
        sys.exit(exits.FINDINGS)


def alerts_document(watched: Any, audience: str | None) -> Document:
    """What `alerts` prints for machines."""
    from tollbook.ledger.reader import provenance
    from tollbook.reconciliation.alert import KINDS

    told = [
        {
            "id": one.id,
            "kind": one.kind,
            "audience": one.audience,
            "says": KINDS[one.kind][1],
            "vendor": one.vendor,
            "tenant": one.tenant,
            "about": one.about,
            "since": None if one.since is None else format_instant(one.since),
            "count": one.count,
            "amount_usd": None if one.amount is None else format_amount(one.amount),
            "evidence": list(one.evidence),
            "command": one.command,
        }
        for one in watched.alerts
        if audience is None or one.audience == audience
    ]
    period = {"from": format_instant(watched.since), "to": format_instant(watched.until)}
    controls = {"amount_usd": format_amount(sum(parse_amount(one["amount_usd"] or "0") for one in told))}
    asked = {"audience": audience, **period}
    return {
        "currency": "USD",
        "period": period,
        "alerts": told,
        "provenance": provenance(asked, watched.position, books=[], rows=len(told), control_totals=controls),
    }


def show_alerts(document: Document) -> RenderableType:
    """The screen of `alerts`."""
    period = f"{document['period']['from'][:10]} up to {document['period']['to'][:10]}"
    if not document["alerts"]:
        told = Text(f"nothing to look at, {period}", style="green")
        return Group(told, Text(), show_provenance(document["provenance"]))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("for", "alert", "about", "count", "amount", "what it says"):
        table.add_column(title, justify="right" if title in ("count", "amount") else "left", overflow="fold")
    for one in document["alerts"]:
        about = " ".join(screen.escape(part) for part in (one["vendor"], one["tenant"], one["about"]) if part)
        evidence = "; ".join(screen.escape(part) for part in one["evidence"][:2])
        table.add_row(
            one["audience"],
            one["kind"],
            about,
            screen.number(one["count"]),
            screen.exact_money(one["amount_usd"]) if one["amount_usd"] is not None else "",
            Text(one["says"]).append(f"\n{evidence}\n", "dim").append(one["command"], "cyan"),
        )
    return Group(
        Text(f"{len(document['alerts'])} to look at, {period}", style="bold"),
        table,
        Text(),
        show_provenance(document["provenance"]),
    )
