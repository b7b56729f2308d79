"""`tollbook top`: the last minute of a gateway, for the person on call. It reads the ledger and files; no process that
serves is asked for anything."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_duration
from tollbook.cli.provenance import provenance
from tollbook.core.clock import SECOND, format_instant, now
from tollbook.core.faults import BadConfiguration, Fault

if TYPE_CHECKING:
    from tollbook.core.settings import Settings
    from tollbook.ledger.reader import Reader

Document = dict[str, Any]

LAG_LIMIT_SECONDS: Final = 10
"""So far the ledger may be behind what is written: a busy book merges its files now and then."""


def top(
    every: Annotated[str, typer.Option(help="How often it looks: 2s, 1m.")] = "2s",
    once: Annotated[
        bool, typer.Option("--once", help="Look once and leave; exit 1 when something needs attention.")
    ] = False,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Show what goes on: requests, money, tenants, vendor keys, limits, and whether all processes live. Until ^C."""
    from tollbook import config as configuration
    from tollbook.ledger.reader import Reader

    pause = read_duration("--every", every)
    root = book_root(config, book)
    settings = _settings(configuration.find_path(config), book)
    with Reader(root) as reader:
        if once or json:
            document = look(root, settings, reader)
            _print(document, json=json)
            raise typer.Exit(exits.FINDINGS if document["problems"] else exits.FINE)
        _watch(root, settings, reader, max(pause, 1))


def _settings(path: Path, book: Path | None) -> "Settings | None":
    """The configuration, where there is one; beside --book it is not needed."""
    from tollbook import config

    try:
        return config.load(path)
    except BadConfiguration:
        if book is None:
            raise
        return None


def _print(document: Document, *, json: bool) -> None:
    from tollbook.cli.top_screen import show_top

    if json:
        screen.print_json(document)
    else:
        console = screen.console()
        console.print(show_top(document, console.width))


def _watch(root: Path, settings: "Settings | None", reader: "Reader", pause: int) -> None:
    """Look again and again, on a screen of its own where there is a terminal, else one look after the other."""
    from rich.live import Live

    from tollbook.cli.top_screen import show_top

    console, left = screen.console(), threading.Event()
    # An exception out of the blue would end a query in the middle; so ^C is looked for between two looks.
    former = signal.signal(signal.SIGINT, lambda number, frame: left.set())
    try:
        if not console.is_terminal:
            while not left.is_set():
                console.print(show_top(look(root, settings, reader), console.width))
                left.wait(pause)
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not left.is_set():
                live.update(show_top(look(root, settings, reader), console.width), refresh=True)
                left.wait(pause)
    finally:
        signal.signal(signal.SIGINT, former)


def look(root: Path, settings: "Settings | None", reader: "Reader") -> Document:
    """One look, in the shape of `docs/reference/schemas/top.json`. What cannot be had is null, and said in `problems`.

    Raises BadInput when there is no book.
    """
    from tollbook.assembly import gauges
    from tollbook.cli.health import check_ship
    from tollbook.journal.book import Book

    opened, at = Book.open(root), now()
    alive = gauges.processes(root, at)
    ship = check_ship(settings, opened)
    found, ledger = _ledger(root, reader, serving=alive["workers"] > 0)
    document = {
        "at": format_instant(at),
        "processes": alive,
        "ledger": ledger,
        "ship": None if settings is None or settings.journal.ship is None else ship._asdict(),
        "traffic": found and found["traffic"],
        "open": found and found["open"],
        "tenants": found["tenants"] if found else [],
        "vendor_keys": found["vendor_keys"] if found else [],
        "limits": gauges.limits(root, settings, at),
    }
    rows = len(document["tenants"])
    made = provenance({"book": str(root)}, position=found and found["position"], rows=rows)
    return {**document, "problems": _problems(document), "provenance": made}


def _ledger(root: Path, reader: "Reader", *, serving: bool) -> tuple[Document | None, Document]:
    """The pulse, when the ledger can be read, and how far it is behind what is being written."""
    import duckdb

    from tollbook.assembly.gauges import last_written
    from tollbook.ledger.pulse import WINDOW_SECONDS, pulse

    state: Document = {"window_seconds": WINDOW_SECONDS, "lag_ms": None, "age_ms": None, "problem": None}
    try:
        found = pulse(reader)
    except (Fault, duckdb.Error) as fault:
        return None, {**state, "problem": str(fault)}
    written = last_written(root) if serving else None
    behind = None if written is None else max(0, written - found["recorded"]) // 1000
    return found, {**state, "lag_ms": behind, "age_ms": max(0, now() - found["recorded"]) // 1000}


def _problems(document: Document) -> list[str]:
    """What needs somebody's attention, the worst first."""
    alive, ledger, ship = document["processes"], document["ledger"], document["ship"]
    told = []
    if not alive["workers"]:
        told.append("no worker runs: nothing is served")
    if not alive["scribe"]:
        told.append("the scribe is down or stuck: the ledger stands still, and requests are refused after 30 s")
    if not alive["desk"]:
        told.append("the desk is down: /tollbook/v1 answers 503; traffic is not touched")
    if ledger["problem"] is not None:
        told.append(f"the ledger cannot be read: {ledger['problem']}")
    if (ledger["lag_ms"] or 0) * 1000 > LAG_LIMIT_SECONDS * SECOND:
        told.append(f"the ledger is {ledger['lag_ms'] // 1000:,} s behind what is written")
    elif (ledger["age_ms"] or 0) * 1000 > LAG_LIMIT_SECONDS * SECOND:
        told.append(f"the figures end {ledger['age_ms'] // 1000:,} s ago, where the ledger stands")
    if ship is not None and ship["state"] != "ok":
        told.append(f"the copy elsewhere: {ship['message']}")
    for key in document["vendor_keys"]:
        if key["state"] in ("refused", "failing"):
            told.append(f"vendor key {key['vendor']}/{key['vendor_key']} is {key['state']}: {_failed(key)}")
    return told + _near(document["limits"])


def _failed(key: Document) -> str:
    return f"{key['failed']:,} of {key['attempts']:,} attempts failed"


def _near(limits: list[Document]) -> list[str]:
    from tollbook.assembly.gauges import NEAR_PERCENT

    return [
        f"{_whose(line)} is at {line['percent']}% of its {line['limit'].replace('_', ' ')}"
        for line in limits
        if line["percent"] >= NEAR_PERCENT
    ]


def _whose(line: Document) -> str:
    own = f"tenant {line['tenant']}"
    return own if line["kind"] == "tenant" else f"{line['kind']} {line['name']} of {own}"
