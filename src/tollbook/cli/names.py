"""Keyed digests as people see them: the value while it is kept, else `user-` or `erased-` and six letters."""

from collections.abc import Iterable
from pathlib import Path


def names_of(root: Path, digests: Iterable[str | None]) -> dict[str, str]:
    """What stands for each digest on a screen. The JSON form keeps digests: its bytes must not change by an erasure."""
    wanted = [digest for digest in digests if digest is not None]
    if not wanted:
        return {}
    from tollbook.journal.personal import PersonalDirectory

    directory = PersonalDirectory(root, read_only=True)
    try:
        return directory.names(wanted)
    finally:
        directory.close()


def digests_of(root: Path, text: str) -> list[str]:
    """The keyed digests of a text under every key of every tenant of the book."""
    tenants = {path.stem.rpartition("-")[0] for path in (root / "keys" / "personal").glob("*-*.key")}
    if not tenants or not text:
        return []
    from tollbook.journal.personal import PersonalDirectory

    directory = PersonalDirectory(root, read_only=True)
    try:
        return sorted(digest for tenant in tenants for digest in directory.find(tenant, text))
    finally:
        directory.close()
