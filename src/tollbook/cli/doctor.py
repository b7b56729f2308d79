"""`tollbook doctor`: does everything stand well, and what to do where it does not."""

from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.health import Check, check_clock, check_configuration, check_files
from tollbook.cli.options import BookOption, ConfigOption, JsonOption
from tollbook.cli.provenance import provenance

Document = dict[str, Any]

_STYLES: Final = {"ok": "green", "warning": "yellow", "broken": "red"}
_CODES: Final = {"ok": exits.FINE, "warning": exits.FINDINGS, "broken": exits.BROKEN}


def doctor(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """Look at configuration, book, disk, clock, signatures and ledger. Changes nothing."""
    checks = examine(config, book)
    state = max((check.state for check in checks), key=list(_CODES).index)
    document = {
        "state": state,
        "checks": [check._asdict() for check in checks],
        "provenance": provenance({"book": None if book is None else str(book)}, rows=len(checks)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_checks(document))
    raise typer.Exit(_CODES[state])


def examine(config_path: Path | None, book: Path | None) -> list[Check]:
    """All checks. The configuration is left out where --book is given and there is none."""
    from tollbook import config
    from tollbook.cli.ledger_health import check_ledger
    from tollbook.cli.registry_health import check_duties, check_registry

    path = config.find_path(config_path)
    checks = list(check_configuration(path)) if book is None or path.exists() else []
    settings = config.load(path) if checks and checks[0].state == "ok" else None
    root = book or (Path(settings.book) if settings else None)
    if root is None:
        return checks
    checks += check_files(root, settings)
    if checks[-1].name == "book":  # it does not open: there is nothing more to look at
        return checks
    if settings is not None:
        checks.append(check_registry(root, settings, path.parent))
        checks.append(check_duties(root))
    ledger, recorded = check_ledger(root)
    return [*checks, check_clock(recorded), *ledger]


def show_checks(document: Document) -> RenderableType:
    """The screen of `doctor`."""
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for check in document["checks"]:
        text = screen.words(check["message"]) if "\n" not in check["message"] else Text(_lines(check["message"]))
        if check["todo"]:
            text.append(f"\n{screen.escape(check['todo'])}", style="dim")
        table.add_row(Text(check["state"], style=_STYLES[check["state"]]), screen.words(check["name"]), text)
    count = sum(check["state"] != "ok" for check in document["checks"])
    verdict = "all is well" if not count else f"{count} of {len(document['checks'])} need attention"
    return Group(table, Text(), Text(verdict, style=_STYLES[document["state"]]))


def _lines(message: str) -> str:
    return "\n".join(screen.escape(line) for line in message.splitlines())
