"""`tollbook charging`: who bears what an attempt cost."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import JsonOption
from tollbook.cli.provenance import provenance
from tollbook.core.charging import ENDINGS, Charging
from tollbook.core.vocabulary import CAUSES

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="The rules of who bears an attempt.")


@app.callback()
def root() -> None:
    """The rules of who bears an attempt."""


@app.command()
def show(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="The configuration whose rules to print; else $TOLLBOOK_CONFIG, else ./tollbook.yaml, else, when "
            "there is none, the rules that ship with tollbook.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Who bears an attempt, by how it ended and whose doing that was: the rules in force."""
    charging, source = _rules(config)
    document = charging_document(charging, source)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_charging(document))


def charging_document(charging: Charging, source: str) -> Document:
    """The rules, and every pair of outcome and cause that they decide."""
    decisions = [
        {"outcome": outcome, "cause": cause, "bears": bears, "rule": charging.deciding(outcome, cause)}
        for (outcome, cause), bears in charging.bearers().items()
    ]
    return {
        "name": charging.name,
        "version": charging.version,
        "digest": charging.digest,
        "source": source,
        "rules": [
            {"outcomes": list(rule.outcomes), "causes": list(rule.causes), "bears": rule.bears}
            for rule in charging.rules
        ],
        "decisions": decisions,
        "provenance": provenance({"source": source}, rows=len(decisions)),
    }


def show_charging(document: Document) -> RenderableType:
    """The screen of `charging show`: a row for each outcome, a column for each cause."""
    told = f"charging rules {document['name']}, version {document['version']}, from {document['source']}"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("outcome", *CAUSES):
        table.add_column(title)
    bears = {(one["outcome"], one["cause"]): one["bears"] for one in document["decisions"]}
    for outcome in ENDINGS:
        table.add_row(outcome, *(screen.words(bears[outcome, cause]) for cause in CAUSES))
    digest = Text(f"digest {document['digest']}", style="dim")
    return Group(Text(screen.escape(told), style="bold"), Text(), table, Text(), digest)


def _rules(path: Path | None) -> tuple[Charging, str]:
    """The rules in force and where they are from."""
    from tollbook import config
    from tollbook.config.charging import load_charging

    found = config.find_path(path)
    if path is None and not found.exists():
        return load_charging(None), "packaged"
    settings = config.load(found)
    return settings.charging_rules, settings.charging or "packaged"
