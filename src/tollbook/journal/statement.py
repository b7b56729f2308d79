"""The entry of a vendor's statement, and the lines that it names as an object.

The object of a statement is zstandard-compressed JSON Lines, one `StatementLine` each, in the order of the document. It
is written once, by the importer of that day: folding copies it and never reads the vendor's file again.
"""

from collections.abc import Iterator
from typing import IO, Final

import msgspec
import zstandard
from msgspec import Struct

from tollbook.core.faults import Tampered
from tollbook.journal.entry import ObjectNamed

STATEMENT_KINDS: Final = frozenset(("statement.imported",))
LINE_BYTES: Final = 256 * 1024
_CHUNK: Final = 1 << 16


class StatementProblem(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What could not be read as it stands: the place in the source, what is wrong there, what to do. `severity` is
    `problem`, or `note` for what was read but is worth knowing."""

    where: str
    what: str
    do: str
    severity: str = "problem"


class StatementLine(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One quantity or amount that the vendor stated, for the half-open time from `begins` to `ends` (microseconds).

    `place` is where it stands in the source, `item` the vendor's own words. `usage_class` is ours where `known`, else
    the vendor's word. `quantity` is whole units; `stated_quantity` and `unit` what the vendor wrote, where that is
    something else. `amount` has at most twelve places; `stated_amount` all digits, where the vendor gave more.
    """

    line: int
    place: str
    begins: int
    ends: int
    kind: str
    item: str = ""
    usage_class: str | None = None
    known: bool = False
    quantity: str | None = None
    stated_quantity: str | None = None
    unit: str | None = None
    amount: str | None = None
    stated_amount: str | None = None
    currency: str | None = None
    account: str | None = None
    project: str | None = None
    vendor_key: str | None = None
    model: str | None = None
    region: str | None = None
    tier: str | None = None
    processing: str | None = None
    context: str | None = None
    vendor_request_id: str | None = None
    maturity: str = "provisional"


class StatementImported(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A vendor's document was taken into the book, whole.

    `statement` is the book's name for it (`S-1`). `sha256` and `bytes` are those of the vendor's file; `source` is the
    file itself, absent where it may hold prompts or what names people and only its digest is kept. `object` holds the
    lines. `grade` says how it came: `pulled` from the vendor by us (`origin` is the endpoint), `delivered` by the
    vendor, `uploaded` by the actor. `totals` are the sums of the lines' amounts per currency, `rounding` what the
    vendor's exact figures come to beyond them. `net`, `tax` and `gross` are what the document says of itself. `begins`
    and `ends` are its service period in `zone`; `observed` is when the vendor gave it, absent when that is not known.
    `revises` are the statements that it replaces: the same document, or the same period, told anew.
    """

    statement: str
    vendor: str
    kind: str
    type: str
    importer: str
    grade: str
    actor: str
    sha256: str
    bytes: int
    object: ObjectNamed
    lines: int
    unknown: int = 0
    problem_count: int = 0
    problems: list[StatementProblem] = []
    totals: dict[str, str] = {}
    rounding: dict[str, str] = {}
    source: ObjectNamed | None = None
    mapping: str | None = None
    begins: int | None = None
    ends: int | None = None
    zone: str = "UTC"
    observed: int | None = None
    account: str | None = None
    number: str | None = None
    issued: str | None = None
    currency: str | None = None
    net: str | None = None
    tax: str | None = None
    gross: str | None = None
    reference: str | None = None
    origin: str | None = None
    revises: list[str] = []


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(StatementLine)


def encode_statement_line(line: StatementLine) -> bytes:
    """One line of the object, with its newline."""
    return _encoder.encode(line) + b"\n"


def read_statement_lines(stream: IO[bytes]) -> Iterator[StatementLine]:
    """The lines of an object, one after the other. Raises Tampered when it is not such an object."""
    rest = b""
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream) as reader:
            while chunk := reader.read(_CHUNK):
                whole = (rest + chunk).split(b"\n")
                rest = whole.pop()
                if len(rest) > LINE_BYTES:
                    raise Tampered("the object of a statement holds a line that is too long")
                for line in whole:
                    yield _decoder.decode(line)
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise Tampered(f"the object of a statement cannot be read ({fault}); restore it from a backup") from None
    if rest:
        raise Tampered("the object of a statement ends in the middle of a line; restore it from a backup")
