"""`tollbook simulate`: vendors of your own that meter by themselves and misbehave on request."""

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    listen: Annotated[str, typer.Option(help="Host and port; port 0 takes a free one.")] = "127.0.0.1:8081",
    books: Annotated[Path | None, typer.Option(help="Directory for the vendor's own books; else in memory.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules of misbehaviour, YAML or JSON.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
) -> None:
    """Run simulated vendors until stopped. One JSON line says where they listen.

    Any key that begins with sk-sim- is accepted. More options: python -m tollbook.simulator --help.
    """
    from tollbook.simulator.__main__ import main

    arguments = ["--listen", listen, "--seed", str(seed)]
    for name, path in (("--books", books), ("--rules", rules)):
        if path is not None:
            arguments += [name, str(path)]
    raise typer.Exit(main(arguments))
