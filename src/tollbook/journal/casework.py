"""Entries of disputes and evidence: what was handed out, and later what became of a case.

They stand in the book's own lane only.
"""

from msgspec import Struct


class EvidenceExported(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A bundle of evidence was signed. `digest` is that of its last line before the signature, `lines` the number of
    lines before it; `requests` are those it is about, all of `tenant` (absent: of several, or of none). `withheld`:
    without the values behind personal digests."""

    digest: str
    lines: int
    requests: list[str]
    actor: str
    tenant: str | None = None
    case: str | None = None
    withheld: bool = False
