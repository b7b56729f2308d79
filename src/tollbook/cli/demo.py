"""`tollbook demo`: real HTTP traffic through a gateway to two simulated vendors, and what the book says of it."""

import contextlib
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from tollbook.cli import exits, screen
from tollbook.cli.options import JsonOption
from tollbook.cli.provenance import provenance
from tollbook.cli.sheet import show_report
from tollbook.cli.story import show_story
from tollbook.cli.trace import with_names
from tollbook.cli.verify import document_of, progress_bar, show_verification
from tollbook.core.faults import BadInput, NotFound

if TYPE_CHECKING:
    from tollbook.cli.sender import Tally
    from tollbook.cli.stage import Stage

Document = dict[str, Any]

PATIENCE_SECONDS: Final = 20.0
BY: Final = ["tenant", "model"]


def demo(
    count: Annotated[int, typer.Option("--requests", min=100, help="How many requests to send.")] = 2_500,
    directory: Annotated[Path | None, typer.Option(help="Where to put it; else a temporary directory.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running until ^C, and its directory in place.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed sends the same requests.")] = 2026,
    json: JsonOption = False,
) -> None:
    """Start vendors and a gateway, send thousands of requests of three tenants, and read the book. Needs no network."""
    from tollbook.cli import demo_traffic
    from tollbook.cli.stage import Stage

    console = screen.console(stderr=json)
    keys = {tenant: f"demo-{tenant}-{secrets.token_hex(12)}" for tenant in demo_traffic.TENANTS}
    own = {f"DEMO_{tenant.upper()}_KEY": key for tenant, key in keys.items()}
    own |= {name: f"sk-sim-{secrets.token_hex(12)}" for name in ("DEMO_OPENAI_KEY", "DEMO_ANTHROPIC_KEY")}
    text = demo_traffic.configuration(own)
    with _directory(directory, keep) as place, Stage(place, text, own, seed=seed) as stage:
        console.print(f"gateway {stage.gateway_url}, two vendors {stage.vendor_url}")
        console.print(f"book {screen.escape(stage.book)}")
        tally = _send(stage, count, keys, seed, quiet=json)
        document = _read(stage, tally)
        if json:
            screen.print_json(document)
        else:
            _show(console, document)
        if keep:
            _show_running(console, stage, keys)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    raise typer.Exit(exits.FINE if _holds(document) else exits.BROKEN)


def _holds(document: Document) -> bool:
    return bool(document["verify"]["verified"] and document["complete"] and document["dispute"]["verified"]["verified"])


@contextlib.contextmanager
def _directory(given: Path | None, keep: bool) -> Iterator[Path]:
    """A directory for the demo: the one given, which must be new or empty, or a temporary one."""
    if given is not None:
        if given.exists() and any(given.iterdir()):
            raise BadInput(f"--directory: {given} is not empty; name one that is new or empty")
        yield given.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix="tollbook-demo-"))
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


def _send(stage: "Stage", count: int, keys: dict[str, str], seed: int, *, quiet: bool) -> "Tally":
    import asyncio

    from tollbook.cli import demo_traffic
    from tollbook.cli.sender import send_all

    with progress_bar("sending", quiet=quiet) as advance:
        sent = iter(range(1, count + len(demo_traffic.KINDS) + 2))
        shots = demo_traffic.shots(count, keys, seed=seed)
        return asyncio.run(
            send_all(stage.gateway_url, shots, connections=32, progress=lambda: advance(next(sent), count))
        )


def _read(stage: "Stage", tally: "Tally") -> Document:
    """What the book says once it holds every request: the report, the story, the verification, the vendor's side."""
    from tollbook.cli.demo_vendors import vendors_side
    from tollbook.journal.verify import verify
    from tollbook.ledger.report import report
    from tollbook.ledger.trace import trace
    from tollbook.simulator import read_books

    sent = len(tally.results)
    totals = _wait(stage, sent)
    story = next(one.request_id for one in reversed(tally.results) if _is_story(one.shot.headers))
    received, billed = read_books(stage.vendor_books)
    from tollbook.cli.demo_dispute import settle
    from tollbook.cli.demo_reconciliation import compare

    return {
        "sent": sent,
        "complete": totals["requests"] == sent and totals["attempts"] == len(received),
        "report": report(stage.book, BY),
        "trace": with_names(stage.book, trace(stage.book, story or "")),
        "verify": document_of(verify(stage.book), {}),
        "vendor": vendors_side(stage.book, received, billed),
        "reconciliation": compare(stage),
        "dispute": settle(stage.book, story or "", stage.directory / "dispute.tollbook"),
        "provenance": provenance({"requests": sent}, rows=sent),
    }


def _is_story(headers: tuple[tuple[str, str], ...]) -> bool:
    from tollbook.cli import demo_traffic

    return ("x-tollbook-template", f"{demo_traffic.STORY}@v1") in headers


def _wait(stage: "Stage", sent: int) -> Document:
    """The book's totals, once it holds all requests and nothing is open, or our patience has ended."""
    from tollbook.ledger.report import report

    totals: Document = {"requests": 0, "attempts": 0}
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(NotFound):  # the scribe has not made the ledger yet
            totals = report(stage.book, [])["total"]
        if totals["requests"] >= sent and not totals["unsettled"]:
            break
        time.sleep(0.2)
    return totals


def _show(console: Console, document: Document) -> None:
    from tollbook.cli.demo_dispute import show_dispute
    from tollbook.cli.demo_reconciliation import show_reconciliation

    total = document["report"]["total"]
    console.print(Rule("tollbook report --by tenant,model", align="left", style="dim"))
    console.print(show_report(document["report"], BY))
    console.print()
    console.print(Rule(f"tollbook trace {document['trace']['request']['id']}", align="left", style="dim"))
    console.print(show_story(document["trace"]))
    console.print()
    console.print(Rule("tollbook verify", align="left", style="dim"))
    console.print(show_verification(document["verify"]))
    console.print()
    vendor = document["vendor"]
    console.print(
        f"{document['sent']:,} requests sent. In the book: {total['attempts']:,} attempts, "
        f"{screen.money(total['amount_usd'])}, {total['unsettled']:,} unsettled, {total['unpriced']:,} unpriced."
    )
    console.print(
        f"In the vendors' own books: {vendor['received']:,} attempts received, {vendor['billed']:,} billed, "
        f"{screen.money(vendor['amounts']['USD'])}. Attempt by attempt:"
    )
    console.print(_compared(vendor["compared"]))
    show_reconciliation(console, document["reconciliation"])
    show_dispute(console, document["dispute"])
    console.print("Try next: tollbook demo --keep, then trace, find, report and verify in another terminal.")


def _compared(rows: list[Document]) -> Table:
    """What explains the difference between the two books."""
    from tollbook.cli.demo_vendors import REASONS

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title, side in (("attempts", "right"), ("book", "right"), ("vendors", "right"), ("", "left")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for row in rows:
        amounts = (screen.money(row["book_usd"]), screen.money(row["vendor_usd"]))
        table.add_row(f"{row['attempts']:,}", *amounts, REASONS[row["reason"]])
    return table


def _show_running(console: Console, stage: "Stage", keys: dict[str, str]) -> None:
    console.print()
    console.print(f"it runs on until ^C: {stage.gateway_url} (OpenAI clients: {stage.gateway_url}/v1)")
    for tenant, key in keys.items():
        console.print(f"  key of {tenant}: {key}")
    console.print(f"  export TOLLBOOK_CONFIG={screen.escape(stage.config)}", soft_wrap=True)
    console.print("  tollbook report --by tenant,workload; tollbook find 0.01; tollbook doctor")
