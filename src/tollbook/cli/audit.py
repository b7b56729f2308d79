"""`tollbook audit`: samples that nobody chose, with a working paper and evidence."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant
from tollbook.cli.provenance import provenance
from tollbook.core.faults import BadInput

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Samples for auditors.")


@app.callback()
def root() -> None:
    """Samples for auditors."""


@app.command()
def sample(
    since: Annotated[str, typer.Option("--from", help="The first day or instant of the period.")],
    until: Annotated[str, typer.Option("--to", help="The end of the period, which is not part of it.")],
    seed: Annotated[
        str, typer.Option("--seed", help="The auditor's own words: with the population they decide the draw.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIRECTORY", help="Where to put it; a new directory.")],
    n: Annotated[int, typer.Option("--n", min=1, max=1000, help="How many items.")] = 25,
    method: Annotated[str, typer.Option("--method", help="random, money_unit or stratified (by model).")] = "random",
    outside: Annotated[
        Path | None,
        typer.Option("--outside", metavar="CSV", help="A list of ids from elsewhere, to be found in the book."),
    ] = None,
    zone: Annotated[str, typer.Option("--tz", help="The zone of days.")] = "UTC",
    currency: Annotated[str, typer.Option("--currency", help="The currency of the charges.")] = "USD",
    position: Annotated[
        int | None, typer.Option("--as-of", help="The number of a position; else the last one.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Draw requests by the seal of the population and the auditor's seed; write a working paper and one bundle.

    The paper goes from charges to raw entries (`paper.csv`, `sample.tollbook`); with --outside also from a list of ids
    to charges (`outside.csv`).
    """
    from tollbook.assembly import auditing
    from tollbook.assembly.exhibits import Exhibit, export
    from tollbook.cli.evidence import document_of, write

    home = book_root(config, book)
    if out.exists():
        raise BadInput(f"{out} is there already; name a new directory")
    since_at, until_at = read_instant("--from", since, zone) or 0, read_instant("--to", until, zone) or 0
    drawn = auditing.sample(home, auditing.Wanted(since_at, until_at, n, method, seed, currency, position))
    found = [] if outside is None else auditing.outside(home, outside)
    done = export(home, Exhibit(drawn.requests, complete=True, withhold=True, told=(("sample", drawn.document),)))
    out.mkdir(0o700, parents=True)
    write(out / "sample.tollbook", done, out / "sample.html")
    (out / "paper.csv").write_text(drawn.paper)
    if outside is not None:
        (out / "outside.csv").write_text(auditing.to_csv(found))
    document = {
        **drawn.document,
        "directory": str(out),
        "outside": found,
        "evidence": document_of(out / "sample.tollbook", done),
        "provenance": provenance(
            {"from": since, "to": until, "tz": zone, "n": n, "method": method, "seed": seed},
            position={
                name: drawn.document["population"]["position" if name == "number" else name]
                for name in ("number", "digest")
            },
            rows=len(drawn.requests),
            control_totals={name: drawn.document["population"][name] for name in ("count", "sum")},
        ),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_sample(document))
    raise typer.Exit(exits.FINDINGS if any(not one["found"] for one in found) else exits.FINE)


def show_sample(document: Document) -> RenderableType:
    """The screen of `audit sample`."""
    population = document["population"]
    money = screen.exact_money(population["sum"], population["currency"])
    parts: list[RenderableType] = [
        Text(
            f"population: {population['count']:,} requests with a charge, {money}, at position "
            f"{population['position']:,}; {population['left_out']:,} without one are not in it"
        ),
        Text(f"seal {document['seal'][:16]}, seed {screen.escape(document['seed'], 60)}, {document['method']}"),
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("item", "request", "tenant", "model", "amount", "entry"):
        table.add_column(title, justify="right" if title in ("item", "amount") else "left")
    for row in document["items"]:
        table.add_row(
            str(row["item"]),
            row["request"],
            Text(screen.escape(row["tenant"])),
            Text(screen.escape(row["model"] or "unknown")),
            screen.exact_money(row["amount"], row["currency"]),
            Text(screen.escape(row["entry"])),
        )
    parts.append(table)
    missed = [one for one in document["outside"] if not one["found"]]
    if document["outside"]:
        words = f"of {len(document['outside']):,} ids from outside, {len(missed):,} are not in the book"
        parts.append(Text(words, style="yellow" if missed else ""))
    where = screen.escape(document["directory"])
    parts.append(Text(f"in {where}: paper.csv, sample.tollbook (tollbook verify checks it), sample.html"))
    return Group(*parts)
