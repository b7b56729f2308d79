"""A configuration that takes the place of the one in force: what it may change, and what is said of it."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Secrets, Settings

Source = Callable[[], tuple[Settings, Secrets]]
"""Reads the configuration and its secrets anew. Raises BadConfiguration."""

FIXED: Final = ("book", "gateway.listen", "gateway.tls", "gateway.workers", "journal", "estimates", "ingest")
"""What only a restart changes: sockets, processes, what they load, and lanes are made by it."""


class Reloaded(Struct, frozen=True, omit_defaults=False):
    """What came of a reload: the digest in force, whether anything changed, how many workers go by it, how many of
    them have not said so yet; or the fault that left everything as it was."""

    digest: str
    changed: bool = False
    workers: int = 0
    waiting: int = 0
    fault: str | None = None
    message: str | None = None


def check_change(old: Settings, new: Settings) -> None:
    """Raise BadConfiguration, naming each setting that only a restart can change."""
    changed = [name for name in FIXED if _value(old, name) != _value(new, name)]
    if changed:
        raise BadConfiguration(
            f"cannot be changed while serving: {', '.join(changed)}; put them back, or stop and start `tollbook serve`"
        )


def _value(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value
