"""`tollbook serve`: the gateway and its book, until stopped."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tollbook.cli import screen
from tollbook.cli.options import ConfigOption
from tollbook.core.settings import Secrets, Settings


def serve(
    config: ConfigOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take over from the gateway that serves this book now; nobody is refused.")
    ] = False,
) -> None:
    """Serve until SIGTERM or ^C; then let requests in flight end, close every lane, and leave.

    SIGHUP reads the configuration anew; a wrong one is refused, and everything stays as it is. SIGUSR2 starts the
    release that is installed now with --replace: the way to upgrade, and to go back.
    """
    from tollbook import config as configuration
    from tollbook.assembly import service

    path = configuration.find_path(config)

    def read() -> tuple[Settings, Secrets]:
        settings = configuration.load(path)
        return settings, configuration.resolve(settings, path.parent)

    settings, secrets = read()
    successor = [sys.executable, "-m", "tollbook", "serve", "--config", str(path.absolute()), "--replace"]
    where = partial(_say_where, settings, path)
    service.serve(settings, secrets, where, read, successor=successor, replace=replace)


def _say_where(settings: Settings, path: Path, address: str) -> None:
    console = screen.console(stderr=True)
    scheme = "http" if settings.gateway.tls is None else "https"
    console.print(
        f"serving on {scheme}://{screen.escape(address)} by {screen.escape(path)}; book {screen.escape(settings.book)}"
    )
    if settings.journal.sync == "off":
        console.print("journal.sync is off: entries are lost when power fails", style="yellow")
