"""The signing keys of a book, one after the other: each names the next in an entry, and signs it while it can.

The first is the one `book.json` and `book.created` name. A key signs the checkpoints of as many heads as the book had
when it was replaced; those of more heads are the next key's. A key that was stolen signs nothing that counts beyond the
position up to which it is trusted.
"""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tollbook.core.faults import BadInput, Tampered
from tollbook.journal.checkpoint import verify_note
from tollbook.journal.entry import KeyRotated
from tollbook.journal.heads import book_lines
from tollbook.journal.line import UNREADABLE, Line

REASONS: Final = {
    "routine": "the key was in use for long enough",
    "compromised": "somebody else has the key, or may have",
    "lost": "nobody has the key any more: it cannot sign the next one",
}
"""Why a signing key is replaced."""

_decoder: Final = msgspec.json.Decoder(KeyRotated)


class Link(NamedTuple):
    """A key and how it came: the number of heads after which it signs, why the one before was replaced and up to which
    position that is trusted (None: as far as it was in use), and whether that one signed this."""

    key: str
    since: int
    reason: str | None
    trusted: int | None
    signed: bool


def statement(book: str, since: int, key: str, reason: str, trusted: int | None) -> str:
    """What a key signs when it names the next."""
    return f"tollbook signing key\n{book}\n{since}\n{key}\n{reason}\n{'' if trusted is None else trusted}\n"


class KeyChain:
    """The keys in order; `links` has at least the birth key."""

    def __init__(self, book: str, birth: str) -> None:
        self._book: Final = book
        self.links: Final = [Link(birth, 0, None, None, True)]

    @property
    def current(self) -> str:
        """The key that signs now."""
        return self.links[-1].key

    def take(self, line: Line, position: int) -> None:
        """One more key; `position` is how many heads stand before the line.

        Raises Tampered when it does not follow the keys before.
        """
        try:
            told = _decoder.decode(line.bytes)
        except UNREADABLE as fault:
            raise _broken(line, f"cannot be read ({fault})") from fault
        if told.previous != self.current or told.since != position or told.reason not in REASONS:
            raise _broken(line, "does not follow the keys before it")
        if told.signature is not None:
            self._check(line, told)
        elif told.reason != "lost":
            raise _broken(line, "is not signed by the key before it")
        self.links.append(Link(told.key, position, told.reason, told.trusted, told.signature is not None))

    def at(self, size: int) -> str:
        """The key that signs a checkpoint of so many heads. Raises Tampered when it is not to be trusted that far."""
        index = max(number for number, link in enumerate(self.links) if number == 0 or link.since < size)
        following = self.links[index + 1] if index + 1 < len(self.links) else None
        if following is not None and following.trusted is not None and size > following.trusted:
            raise Tampered(
                f"a checkpoint of {size} heads by a key that is trusted up to position {following.trusted} only "
                f"({following.reason})"
            )
        return self.links[index].key

    def _check(self, line: Line, told: KeyRotated) -> None:
        assert told.signature is not None
        try:
            text = verify_note(told.signature.encode(), told.previous)
        except (Tampered, BadInput) as fault:
            raise _broken(line, f"is not signed by the key before it ({fault})") from fault
        if text != statement(self._book, told.since, told.key, told.reason, told.trusted):
            raise _broken(line, "says something else than the key before it signed")


def _broken(line: Line, why: str) -> Tampered:
    return Tampered(f"lane {line.lane}, entry {line.sequence}: the signing key it names {why}")


def read_keys(book_root: Path, book: str, birth: str) -> KeyChain:
    """The keys of a book by its own lanes. Raises Tampered where one does not follow."""
    chain, position = KeyChain(book, birth), 0
    for line in book_lines(book_root):
        position += line.kind == "heads"
        if line.kind == "key.rotated":
            chain.take(line, position)
    return chain
