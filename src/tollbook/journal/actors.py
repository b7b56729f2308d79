"""Whether every act that a personal key is said to have signed was signed by it."""

from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import Tampered
from tollbook.journal.authority import AUTHORITY_KINDS, Authority, CredentialSet, IdentityChanged
from tollbook.journal.finding import Finding
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.signature import check, statement


class _Acted(Struct):
    """What the kinds with an authority have in common."""

    authority: Authority


_changed: Final = msgspec.json.Decoder(IdentityChanged)
_acted: Final = msgspec.json.Decoder(_Acted)


class Actors:
    """The personal keys as the lines set them, and what does not agree with them."""

    def __init__(self, book: str) -> None:
        self._book: Final = book
        self._keys: Final[dict[str, str | None]] = {}
        self.findings: Final[list[Finding]] = []

    def take(self, line: Line) -> None:
        """Look at one line of the book's lane."""
        if line.kind not in AUTHORITY_KINDS or line.kind == "proposal.carried":
            return
        try:
            if line.kind == "identity.changed":
                for change in _changed.decode(line.bytes).changes:
                    if isinstance(change, CredentialSet):
                        self._keys[change.name] = change.key
                return
            self._check(_acted.decode(line.bytes).authority)
        except (Tampered, *UNREADABLE) as fault:
            where = f"lane {line.lane}, entry {line.sequence} ({line.kind})"
            message = f"{where}: {fault}; ask who it names whether it was so"
            self.findings.append(Finding("actor_not_proven", line.lane, line.sequence, message))

    def _check(self, told: Authority) -> None:
        if told.name is None:
            return
        key = self._keys.get(told.name)
        if key is None:
            return
        if told.signature is None or told.at is None or told.key != key:
            raise Tampered(f"{told.name} signs each act with a personal key, and this one is not signed by it")
        check(key, told.signature, statement(self._book, told.act, told.content, told.at))
