"""The evidence bundle, format 1: one file of JSON Lines without slack.

Each line begins with three fields in this order, so that it is chained without a JSON parser::

    {"n":3,"p":"<64 hex>","k":"entry",<members>}

`n` the number of the line from 0; `p` SHA-256 of the line before, without its newline (of `SEED` for the first); `k`
what the line holds. The first line is the manifest, the last a signature over the digest of the line before it; after
its newline nothing follows. docs/evidence.md says how all of it is checked.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from msgspec import Struct

from tollbook.core.digest import sha256_hex
from tollbook.journal.entry import encode_payload

FORMAT: Final = 1
SEED: Final = sha256_hex(f"tollbook evidence {FORMAT}\n".encode())
FILE_LIMIT: Final = 128 * 1024 * 1024
LINE_LIMIT: Final = 16 * 1024 * 1024
REQUEST_LIMIT: Final = 1000
"""The most requests in one bundle."""


class Manifest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the bundle is about. `key` is the book's first verification key, `made` an instant in microseconds, `lines`
    how many lines of each kind stand between manifest and signature. `tenant` is the only one whose requests may be in
    it; absent in an auditor's bundle, which is complete. `withheld`: personal values are left out."""

    format: int
    book: str
    origin: str
    key: str
    release: str
    made: int
    requests: list[str]
    lines: dict[str, int]
    tenant: str | None = None
    case: str | None = None
    withheld: bool = False


class SignedCheckpoint(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A signed checkpoint of the book. The first proves the heads; one more may follow, later and larger, with the
    proof (hexadecimal hashes) that it extends the first."""

    note: str
    consistency: list[str] | None = None


class Raw(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of the journal as it stands there, without its newline: as text, or in base64 where it is no UTF-8."""

    lane: str
    sequence: int
    line: str | None = None
    base64: str | None = None

    def bytes(self) -> bytes:
        """The line's bytes. Raises ValueError when there are none."""
        if (self.line is None) == (self.base64 is None):
            raise ValueError("it has no line of the journal, or two")
        if self.line is not None:
            return self.line.encode()
        try:
            return b64decode(self.base64 or "", validate=True)
        except Base64Error as fault:
            raise ValueError("its base64 cannot be read") from fault


class HeadsLine(Raw, frozen=True, omit_defaults=True, kw_only=True):
    """Heads number `number`, and the proof that they are leaf `number - 1` of the first checkpoint's tree."""

    number: int
    proof: list[str]


class EntryLine(Raw, frozen=True, omit_defaults=True, kw_only=True):
    """An entry, and the proof that it is leaf `sequence` of its lane's tree as heads `heads` have it."""

    heads: int
    proof: list[str]


class Opening(Struct, frozen=True, kw_only=True):
    """A value behind a keyed digest: `digest` is base64url, without padding, of SHA-256(opening || value); `opening`
    is hexadecimal."""

    field: str
    digest: str
    opening: str
    value: str


class PriceRow(Struct, frozen=True, kw_only=True):
    """A row of a price book by which a charge was priced. `row`, the name that charges call it by, is the first twelve
    digits of SHA-256 over the canonical JSON of `content`, which holds party and model, too. `source` is where the
    price was read."""

    book: str
    row: str
    content: dict[str, Any]
    source: str | None


class Told(Struct, frozen=True, kw_only=True):
    """What the book's reader makes of the entries: a document by name (`trace`, `case`, `finding`, ...)."""

    name: str
    document: Any


class Report(Struct, frozen=True, kw_only=True):
    """The page for people."""

    html: str


class Signature(Struct, frozen=True, kw_only=True):
    """The book's signed note over `signed_text`."""

    note: str


Part = Manifest | SignedCheckpoint | HeadsLine | EntryLine | Opening | PriceRow | Told | Report | Signature

KINDS: Final[dict[str, type[Any]]] = {
    "manifest": Manifest,
    "checkpoint": SignedCheckpoint,
    "heads": HeadsLine,
    "entry": EntryLine,
    "opening": Opening,
    "price": PriceRow,
    "told": Told,
    "report": Report,
    "signature": Signature,
}
"""What a line can hold, by its `k`."""

_NAMES: Final = {kind: name for name, kind in KINDS.items()}


class Unsigned(NamedTuple):
    """A bundle that lacks its last line: how many lines, their bytes, the digest of the last."""

    lines: int
    data: bytes
    digest: str


def line_of(number: int, previous: str, part: Part) -> bytes:
    """A line without its newline."""
    return f'{{"n":{number},"p":"{previous}","k":"{_NAMES[type(part)]}",'.encode() + encode_payload(part) + b"}"


def chain(parts: Iterable[Part]) -> Unsigned:
    """The lines of a bundle but for the signature."""
    lines: list[bytes] = []
    digest = SEED
    for number, part in enumerate(parts):
        lines.append(line_of(number, digest, part))
        digest = sha256_hex(lines[-1])
    return Unsigned(len(lines), b"".join(line + b"\n" for line in lines), digest)


def signed_text(book: str, count: int, digest: str) -> str:
    """What the book's key signs: format, book, number of lines before the signature, digest of the last of them."""
    return f"tollbook evidence {FORMAT}\n{book}\n{count}\n{digest}\n"


def sealed(unsigned: Unsigned, note: str) -> bytes:
    """The whole file."""
    return unsigned.data + line_of(unsigned.lines, unsigned.digest, Signature(note=note)) + b"\n"
