"""`tollbook replay`: a recorded trace through a gateway, and its totals held beside the book's and the vendor's."""

import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance
from tollbook.cli.verify import progress_bar
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.cli.comparison import Place, Sums
    from tollbook.cli.sender import Tally

Document = dict[str, Any]

CONFIG: Final = """\
book: ./book
gateway: {listen: "{gateway}", shutdown_grace: 5s}
vendors:
  simulated: {format: openai, base_url: "{openai}", keys: [{name: main, secret: "env:REPLAY_VENDOR_KEY"}]}
models:
  gpt-4o-mini: {targets: [{vendor: simulated, model: gpt-4o-mini}]}
tenants:
  replay: {keys: [{name: replay, secret: "env:REPLAY_KEY"}]}
"""
"""What a replay without a gateway of its own is run against."""


_FIGURES: Final = ("requests", "tokens_input", "tokens_output")


def replay(
    file: Annotated[Path, typer.Argument(help="CSV with TIMESTAMP, ContextTokens, GeneratedTokens.")],
    speed: Annotated[float, typer.Option(min=0, help="Times as fast as recorded; 0: as fast as can be.")] = 0,
    gateway: Annotated[
        str | None, typer.Option(help="Address of a running gateway; else one is started with a simulated vendor.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="TOLLBOOK_KEY", help="A tenant's key for --gateway.", show_envvar=True)
    ] = None,
    model: Annotated[str, typer.Option(help="The model to ask for; its vendor must be a simulator.")] = "gpt-4o-mini",
    connections: Annotated[int, typer.Option(min=1, max=1024, help="Connections to send over.")] = 32,
    vendor_books: Annotated[
        Path | None, typer.Option(help="The books of the simulator behind --gateway, as a third side.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Send a trace's requests with its token counts, then compare the file, the book and the vendor's own books.

    With --gateway the book is the one of --book or the configuration. Exit code 3 when the sides differ.
    """
    from tollbook.cli import comparison
    from tollbook.cli.traffic import read_traffic

    traffic = read_traffic(file)
    template = f"replay@{secrets.token_hex(4)}"
    with _place(gateway, key, vendor_books, config, book) as place:
        begun = time.monotonic()
        with progress_bar("sending", quiet=json) as advance:
            tally = comparison.send(traffic, place, model, template, speed, connections, advance)
        seconds = time.monotonic() - begun
        sides = {"file": comparison.sum_of(traffic), **comparison.recorded(place, template, tally)}
    document = _document(file, tally, seconds, sides, {"speed": speed, "model": model, "template": template})
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_comparison(document))
    raise typer.Exit(exits.FINE if document["equal"] else exits.BROKEN)


def show_comparison(document: Document) -> RenderableType:
    """The screen of `replay`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("side")
    for title in ("requests", "input tokens", "output tokens"):
        table.add_column(title, justify="right")
    for side in document["sides"]:
        figures = [screen.number(side[name]) for name in _FIGURES]
        table.add_row(screen.words(side["side"]), *figures)
    statuses = ", ".join(f"{count:,} x {status}" for status, count in document["statuses"].items())
    rate = document["requests"] * 1000 // max(1, document["milliseconds"])
    sent = Text(
        f"sent {document['requests']:,} requests in {document['milliseconds'] / 1000:.1f} s ({rate:,}/s): {statuses}"
    )
    names = " = ".join(side["side"] for side in document["sides"])
    verdict = (
        Text(f"equal: {names}", style="green") if document["equal"] else Text("the sides differ", style="bold red")
    )
    return Group(sent, Text(), table, Text(), verdict)


@contextmanager
def _place(
    gateway: str | None, key: str | None, vendor_books: Path | None, config: Path | None, book: Path | None
) -> "Iterator[Place]":
    """The gateway that was named, or a stage of our own that is gone afterwards."""
    from tollbook.cli.comparison import Place

    if gateway is not None:
        if key is None:
            raise BadInput("--gateway needs a tenant's key: give --key, or set TOLLBOOK_KEY")
        yield Place(gateway, key, book_root(config, book), vendor_books)
        return
    from tollbook.cli.stage import Stage

    key = secrets.token_urlsafe(24)
    own = {"REPLAY_KEY": key, "REPLAY_VENDOR_KEY": f"sk-sim-{secrets.token_urlsafe(24)}"}
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-replay-") as directory,
        Stage(Path(directory), CONFIG, own) as stage,
    ):
        yield Place(stage.gateway_url, key, stage.book, stage.vendor_books)


def _document(
    file: Path, tally: "Tally", seconds: float, sides: "dict[str, Sums]", parameters: dict[str, Any]
) -> Document:
    return {
        "file": str(file),
        "requests": len(tally.results),
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "milliseconds": round(seconds * 1000),
        "sides": [{"side": name, **sums._asdict()} for name, sums in sides.items()],
        "equal": len(set(sides.values())) == 1,
        "provenance": provenance({"file": str(file), **parameters}, rows=len(tally.results)),
    }
