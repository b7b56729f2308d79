"""Options that commands share, and how they find the book."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

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
