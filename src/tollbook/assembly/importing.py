"""Taking a vendor's document into the book: read whole by who asks, then put on record by the book's writer, once.

What is bulky goes into objects first; the one entry that names them is the act. Broken off before it, nothing was taken
in; what was written to objects by then says nothing and is found again by its digest the next time.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import zstandard
from msgspec import Struct

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import BadInput
from tollbook.core.money import format_decimal
from tollbook.journal.book import Book
from tollbook.journal.entry import ObjectNamed
from tollbook.journal.objects import ObjectStore
from tollbook.journal.statement import StatementImported, StatementProblem, encode_statement_line
from tollbook.statements.document import DocumentType, Head, Importer
from tollbook.statements.head import check_head
from tollbook.statements.mapped import MAPPING_BYTES, importer_by, read_mapping
from tollbook.statements.reading import Reading
from tollbook.statements.sources import HEAD_BYTES, guess, importer_of
from tollbook.statements.table_source import head_of

SOURCE_BYTES: Final = 4 * 1024**3
_CHUNK: Final = 1 << 20


class Wanted(Struct, frozen=True, kw_only=True):
    """A file to take in. `kind` None: it is guessed. `head` is what who uploads it says of the document, where the file
    does not; `observed` is when the vendor gave it."""

    path: Path
    kind: str | None = None
    mapping: Path | None = None
    type: DocumentType | None = None
    head: Head = Head()
    observed: int | None = None
    grade: str = "uploaded"
    origin: str | None = None


class Prepared(Struct, frozen=True, kw_only=True):
    """A file that was read: how, and what it holds. `lines` is a draft of the object."""

    importer: Importer
    guessed: bool
    reading: Reading
    head: Head
    mapping: bytes | None
    sha256: str
    bytes: int
    lines: BinaryIO
    source: BinaryIO


class Imported(Struct, frozen=True, kw_only=True):
    """What became of it: the entry, whether it had been taken in before, and where it stands in the journal."""

    entry: StatementImported
    duplicate: bool
    lane: str | None = None
    sequence: int | None = None
    digest: str | None = None


@contextlib.contextmanager
def prepared(wanted: Wanted) -> Iterator[Prepared]:
    """Read a file. Raises BadInput when it cannot be read as what it is said to be."""
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(wanted.path.open("rb"))
        except OSError as fault:
            raise BadInput(f"{wanted.path}: {fault.strerror}") from None
        first = _digest(source, wanted.path)
        mapping = None if wanted.mapping is None else _mapping(wanted)
        importer = _importer(wanted, source, mapping)
        if wanted.type is not None:
            importer = msgspec.structs.replace(importer, type=wanted.type)
        reading = Reading(importer, wanted.observed)
        draft = stack.enter_context(tempfile.TemporaryFile())
        with zstandard.ZstdCompressor(level=6).stream_writer(draft, closefd=False) as writer:
            for line in reading.lines(source):
                writer.write(encode_statement_line(line))
        if _digest(source, wanted.path) != first:
            raise BadInput(f"{wanted.path} was changed while it was read: import it when it is whole")
        head = check_head(reading, wanted.head)
        draft.seek(0)
        yield Prepared(
            importer=importer,
            guessed=wanted.kind is None and mapping is None,
            reading=reading,
            head=head,
            sha256=first[0],
            bytes=first[1],
            mapping=mapping,
            lines=draft,
            source=source,
        )


def entry_of(wanted: Wanted, one: Prepared, lines: ObjectNamed, source: ObjectNamed | None) -> StatementImported:
    """The entry as far as who asks can say; the book's writer gives name, actor and what it revises."""
    reading, head = one.reading, one.head
    return StatementImported(
        statement="",
        actor="",
        vendor=head.vendor or one.importer.vendor,
        kind=one.importer.kind,
        type=one.importer.type,
        importer=one.importer.name,
        grade=wanted.grade,
        origin=wanted.origin,
        sha256=one.sha256,
        bytes=one.bytes,
        mapping=None if one.mapping is None else sha256_hex(one.mapping),
        object=lines,
        source=source,
        lines=reading.count,
        unknown=reading.unknown,
        problem_count=reading.problem_count,
        problems=[StatementProblem(**msgspec.structs.asdict(problem)) for problem in reading.problems],
        totals={currency: format_decimal(total) for currency, total in sorted(reading.totals.items())},
        rounding={currency: format_decimal(rest) for currency, rest in sorted(reading.rounding.items())},
        begins=reading.begins,
        ends=reading.ends,
        zone=one.importer.zone,
        observed=wanted.observed,
        account=head.account,
        number=head.number,
        issued=head.issued,
        currency=head.currency,
        reference=head.reference,
        net=_text(head.net),
        tax=_text(head.tax),
        gross=_text(head.gross),
    )


def import_statement(root: Path, wanted: Wanted, one: Prepared) -> Imported:
    """Put a document on record, through the running scribe or as the book's writer. Raises as the act does."""
    from tollbook.assembly.service import ask_book

    objects = ObjectStore(Book.open(root).root)
    source = None
    if not one.importer.may_hold_content:
        one.source.seek(0)
        source = objects.put_stream(one.source)
        if source.sha256 != one.sha256:
            raise BadInput(f"{wanted.path} was changed while it was read: import it when it is whole")
    if one.mapping is not None:
        objects.put(one.mapping)
    entry = entry_of(wanted, one, objects.put_stream(one.lines), source)
    done = ask_book(root, "statement.import", {"entry": msgspec.json.encode(entry).decode()})
    return msgspec.convert(done, Imported)


def _mapping(wanted: Wanted) -> bytes:
    assert wanted.mapping is not None
    if wanted.kind not in (None, "mapped"):
        raise BadInput(f"--mapping says what the file is, and --as {wanted.kind} something else: give one of them")
    try:
        with wanted.mapping.open("rb") as file:
            return file.read(MAPPING_BYTES + 1)
    except OSError as fault:
        raise BadInput(f"{wanted.mapping}: {fault.strerror}") from None


def _importer(wanted: Wanted, source: BinaryIO, mapping: bytes | None) -> Importer:
    """What reads the file. Raises BadInput."""
    if mapping is not None:
        return importer_by(read_mapping(mapping))
    if wanted.kind is not None:
        return importer_of(wanted.kind)
    return guess(head_of(source, HEAD_BYTES))


def _digest(source: BinaryIO, path: Path) -> tuple[str, int]:
    """Digest and size of a file, which is at its beginning again."""
    source.seek(0)
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
    size = source.tell()
    if not size or size > SOURCE_BYTES:
        raise BadInput(f"{path} is empty" if not size else f"{path} has {size:,} bytes: export a shorter period")
    source.seek(0)
    return digest.hexdigest(), size


def _text(number: Decimal | None) -> str | None:
    return None if number is None else format_decimal(number)
