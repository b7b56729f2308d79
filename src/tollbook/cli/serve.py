"""`tollbook serve`: the gateway and its book, until stopped."""

from functools import partial
from pathlib import Path

from tollbook.cli import screen
from tollbook.cli.options import ConfigOption
from tollbook.core.settings import Secrets, Settings


def serve(config: ConfigOption = None) -> None:
    """Serve until SIGTERM or ^C; then let requests in flight end, close every lane, and leave.

    SIGHUP reads the configuration anew; a wrong one is refused, and everything stays as it is.
    """
    from tollbook import config as configuration
    from tollbook.assembly import service

    path = configuration.find_path(config)

    def read() -> tuple[Settings, Secrets]:
        settings = configuration.load(path)
        return settings, configuration.resolve(settings, path.parent)

    settings, secrets = read()
    service.serve(settings, secrets, partial(_say_where, settings, path), read)


def _say_where(settings: Settings, path: Path, address: str) -> None:
    console = screen.console(stderr=True)
    scheme = "http" if settings.gateway.tls is None else "https"
    console.print(
        f"serving on {scheme}://{screen.escape(address)} by {screen.escape(path)}; book {screen.escape(settings.book)}"
    )
    if settings.journal.sync == "off":
        console.print("journal.sync is off: entries are lost when power fails", style="yellow")
