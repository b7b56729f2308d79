"""Options that commands share, and how they find the book."""

import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from tollbook.core.clock import parse_instant
from tollbook.core.faults import BadInput

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DURATION: Final = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration file; else $TOLLBOOK_CONFIG, else ./tollbook.yaml."),
]
BookOption: TypeAlias = Annotated[
    Path | None, typer.Option("--book", help="The book's directory; else the one the configuration names.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a screen.")]


def book_root(config_path: Path | None, book: Path | None) -> Path:
    """The book's directory: the one given, else the one that the configuration names.

    Raises BadConfiguration when it must be looked up and the configuration cannot be read.
    """
    if book is not None:
        return book
    from tollbook import config

    return Path(config.load(config.find_path(config_path)).book)


def read_instant(option: str, text: str | None, zone: str = "UTC") -> int | None:
    """A day (its midnight in the zone) or an instant in microseconds. Raises BadInput for anything else."""
    if text is None:
        return None
    try:
        if _DAY.fullmatch(text):
            from tollbook.ledger.zone import load_zone

            return parse_instant(datetime.fromisoformat(text).replace(tzinfo=load_zone(zone)).isoformat())
        return parse_instant(text)
    except ValueError:
        raise BadInput(f"{option}: found {text!r}; allowed: 2026-11-01, or 2026-11-01T08:00:00Z") from None


def read_duration(option: str, text: str) -> int:
    """A duration in seconds. Raises BadInput."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadInput(f"{option}: found {text!r}; allowed: a duration such as 30m, 24h, 7d")
    return int(found[1]) * _SECONDS[found[2]]


def read_names(text: str | None) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def read_secret(option: str, source: str | None) -> str | None:
    """A secret from the environment (`env:NAME`) or standard input (`-`), never from the command line, where others
    could read it. Raises BadInput."""
    if source is None:
        return None
    if source == "-":
        secret = sys.stdin.readline().rstrip("\n")
    elif source.startswith("env:"):
        from tollbook import config

        return config.secret_of(source, Path())
    else:
        raise BadInput(f"{option}: name where the secret is, env:NAME, or - for standard input; not the secret itself")
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise BadInput("standard input holds no secret, or one that no header can carry")
    return secret
