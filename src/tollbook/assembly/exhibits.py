"""Evidence bundles: what goes into one, and the book's signature over it."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tollbook import __version__
from tollbook.core.clock import now
from tollbook.core.digest import opening_of
from tollbook.core.faults import BadInput, NotFound
from tollbook.evidence import bundle
from tollbook.evidence.bundle import Manifest, Opening, Part, PriceRow, Report, Told
from tollbook.evidence.page import page
from tollbook.evidence.proof import NotYet, Place, Proven, prove
from tollbook.journal.book import Book
from tollbook.journal.casework import CASE_KINDS, AdjustmentPosted, EvidenceExported
from tollbook.journal.line import Line
from tollbook.journal.objects import ObjectStore
from tollbook.journal.personal import PersonalDirectory, PersonalKeys
from tollbook.journal.recording import BookLane

Document = dict[str, Any]

PATIENCE_SECONDS: Final = 5.0
_EVIDENCE: Final = ("assumed", "retrieved", "source")
"""Members of a price row that say how it is known: they are no part of its name."""


class Export(Struct, frozen=True, kw_only=True):
    """A wish to have a bundle signed: its number of lines, the digest of the last, and what it is about."""

    digest: str
    lines: int
    requests: list[str]
    tenant: str | None = None
    case: str | None = None
    withheld: bool = False


class Exhibit(NamedTuple):
    """What is wanted: requests, whether those of several tenants may stand in one bundle, whether personal values are
    left out; further documents to enclose, by name, and entries of the journal that belong to them."""

    requests: list[str]
    complete: bool = False
    withhold: bool = False
    case: str | None = None
    told: tuple[tuple[str, Document], ...] = ()
    places: tuple[Place, ...] = ()


class Exported(NamedTuple):
    """A bundle: its bytes, manifest, and where the entry stands that says it was signed."""

    data: bytes
    manifest: Manifest
    entry: Document


def sign_bundle(lane: BookLane, wanted: Export, actor: str) -> Document:
    """Put on record that a bundle is handed out, and sign it. Raises BadInput when it is none that we would write."""
    if len(wanted.digest) != 64 or not set(wanted.digest) <= set("0123456789abcdef") or not wanted.lines > 0:
        raise BadInput("a bundle is named by the SHA-256 of its last line, and has lines")
    if len(wanted.requests) > bundle.REQUEST_LIMIT:
        raise BadInput(f"a bundle holds at most {bundle.REQUEST_LIMIT} requests")
    facts = msgspec.structs.asdict(wanted)
    sequence, digest = lane.append("evidence.exported", EvidenceExported(**facts, actor=actor))
    note = lane.sign(bundle.signed_text(lane.book, wanted.lines, wanted.digest))
    entry = {"lane": lane.name, "sequence": sequence, "kind": "evidence.exported", "digest": digest}
    return {"note": note, "entry": entry, "actor": actor}


def export(root: Path, wanted: Exhibit) -> Exported:
    """Make a bundle. Raises NotFound for a request that the book does not hold, BadInput when requests of several
    tenants are asked for without `complete`, or what is asked for is not signed yet."""
    from tollbook.assembly.service import ask_book
    from tollbook.ledger.reader import Reader
    from tollbook.ledger.trace import trace

    book = Book.open(root)
    if len(wanted.requests) > bundle.REQUEST_LIMIT:
        raise BadInput(f"a bundle holds at most {bundle.REQUEST_LIMIT} requests; make several")
    with Reader(root) as reader:
        stories = [trace(reader, one) for one in dict.fromkeys(wanted.requests)]
    tenants = sorted({story["request"]["tenant"] for story in stories})
    if len(tenants) > 1 and not wanted.complete:
        raise BadInput(
            f"these are requests of {len(tenants)} tenants ({', '.join(tenants[:5])}): make one bundle for each, "
            "or one for an auditor with --complete"
        )
    tenant = tenants[0] if len(tenants) == 1 and not wanted.complete else None
    parts = _covered_parts(book, wanted, stories, tenant)
    unsigned = bundle.chain(parts)
    manifest = parts[0]
    assert isinstance(manifest, Manifest)
    facts = {"digest": unsigned.digest, "lines": unsigned.lines, "requests": manifest.requests, "tenant": tenant}
    signed = ask_book(root, "evidence.export", {**facts, "case": wanted.case, "withheld": wanted.withhold})
    return Exported(bundle.sealed(unsigned, signed["note"]), manifest, signed["entry"])


def of_case(root: Path, case: str, *, withhold: bool) -> Exhibit:
    """What belongs to a case: its requests, itself, and its last diagnosis. Raises NotFound."""
    from tollbook.assembly.service import read_cases

    (known,) = read_cases(root, case)
    diagnosed = [move["object"] for move in known["moves"] if move["object"] is not None]
    told: list[tuple[str, Document]] = [("case", {**known, "adjustments": _of_tenant(known["adjustments"])})]
    if diagnosed:
        told.append(("diagnosis", msgspec.json.decode(ObjectStore(root).get(diagnosed[-1]))))
    return Exhibit(known["requests"], withhold=withhold, case=known["case"], told=tuple(told))


def _covered_parts(book: Book, wanted: Exhibit, stories: list[Document], tenant: str | None) -> list[Part]:
    """As `_parts`; what was written just now is waited for, until heads cover it and are signed."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _parts(book, wanted, stories, tenant)
        except NotYet:
            if time.monotonic() > until:
                raise
            time.sleep(PATIENCE_SECONDS / 20)


def _parts(book: Book, wanted: Exhibit, stories: list[Document], tenant: str | None) -> list[Part]:
    """Every line of the bundle but the signature."""
    ids = [story["request"]["id"] for story in stories]
    books = {attempt["price_book"] for story in stories for attempt in story["attempts"]} - {None}
    marks = [f'"k":"prices.activated","book":"{one}"'.encode() for one in books]
    own = [entry for story in stories for entry in story["entries"] if entry["kind"] != "adjustment.posted"]
    places = {(entry["lane"], entry["sequence"]) for entry in own}
    if wanted.case is not None:
        marks += [f'"k":"{kind}","case":"{wanted.case}"'.encode() for kind in sorted(CASE_KINDS)]
    named = [f'"{one}"'.encode() for one in ids]
    proven = prove(book, [*places, *wanted.places], lambda line: _is_shown(line, marks, named, tenant))
    openings = [] if wanted.withhold else [*_openings(book, stories), *_words(book, wanted, tenant)]
    stories = [_bounded(story, tenant, proven) for story in stories]
    rows = list(_price_rows(book, stories))
    told = [Told(name="trace", document=story) for story in stories]
    told += [Told(name=name, document=document) for name, document in wanted.told]
    lines: list[Part] = [*proven.checkpoints, *proven.heads, *proven.entries, *openings, *rows, *told]
    counts: dict[str, int] = {"report": 1}
    names = {kind: name for name, kind in bundle.KINDS.items()}
    for part in lines:
        counts[names[type(part)]] = counts.get(names[type(part)], 0) + 1
    manifest = Manifest(
        format=bundle.FORMAT,
        book=book.id,
        origin=book.origin,
        key=book.key,
        release=__version__,
        made=now(),
        requests=ids,
        lines=counts,
        tenant=tenant,
        case=wanted.case,
        withheld=wanted.withhold,
    )
    html = page(manifest, {part.name: part.document for part in told if part.name != "trace"}, stories, openings)
    return [manifest, *lines, Report(html=html)]


def _bounded(story: Document, tenant: str | None, proven: Proven) -> Document:
    """A story without what corrections say of another tenant."""
    if tenant is None:
        return story
    entries = [entry for entry in story["entries"] if (entry["lane"], entry["sequence"]) in proven.lines]
    return {**story, "entries": entries, "adjustments": _of_tenant(story["adjustments"])}


def _of_tenant(adjustments: list[Document]) -> list[Document]:
    """What was taken off or put on the tenant's own charges: what another one takes over is that one's."""
    return [one for one in adjustments if one["act"] != "reattribute_to"]


def _is_shown(line: Line, marks: list[bytes], requests: list[bytes], tenant: str | None) -> bool:
    """Whether a line of the book's own lane belongs to the bundle: it has a mark. Of adjustments, those of a request of
    the bundle that speak of its tenant."""
    if line.kind != "adjustment.posted":
        return any(mark in line.bytes[:400] for mark in marks)
    if not any(request in line.bytes for request in requests):
        return False
    return tenant is None or msgspec.json.decode(line.bytes, type=AdjustmentPosted).tenant == tenant


def _words(book: Book, wanted: Exhibit, tenant: str | None) -> Iterable[Opening]:
    """The words of a case behind their digests, as far as they are kept."""
    case = dict(wanted.told).get("case")
    if case is None or tenant is None:
        return
    fields = [("claim", case["claim"]), ("by", case["by"])]
    fields += [(name, move[name]) for move in case["moves"] for name in ("text", "by")]
    keys, directory = PersonalKeys(book.root), PersonalDirectory(book.root, read_only=True)
    try:
        values = directory.values([digest for _, digest in fields if digest])
    finally:
        directory.close()
    for field, digest in dict.fromkeys(fields):
        if digest in values:
            yield from _opening(keys, tenant, field, digest, values[digest])


def _openings(book: Book, stories: list[Document]) -> Iterable[Opening]:
    """The values behind the personal digests of the requests, as far as they are known."""
    keys, directory = PersonalKeys(book.root), PersonalDirectory(book.root, read_only=True)
    try:
        for story in stories:
            request = story["request"]
            fields = {"user": request["user"], "client_request_id": request["client_request_id"]}
            fields |= {f"tag {name}": value for name, value in (request["tags"] or {}).items()}
            values = directory.values([digest for digest in fields.values() if digest])
            for field, digest in fields.items():
                if digest in values:
                    yield from _opening(keys, request["tenant"], field, digest, values[digest])
    finally:
        directory.close()


def _opening(keys: PersonalKeys, tenant: str, field: str, digest: str, value: str) -> Iterable[Opening]:
    for year in keys.years(tenant):
        found, opening = opening_of(keys.of(tenant, year), value)
        if found == digest:
            yield Opening(field=field, digest=digest, opening=opening.hex(), value=value)
            return


def _price_rows(book: Book, stories: list[Document]) -> Iterable[PriceRow]:
    """The rows by which the charges were priced."""
    from tollbook.pricing.book import PriceBook
    from tollbook.pricing.row import row_id

    wanted: dict[str, set[str]] = {}
    for story in stories:
        for attempt in story["attempts"]:
            for charge in attempt["charges"]:
                if charge["price_row"] is not None and charge["price_book"] is not None:
                    wanted.setdefault(charge["price_book"], set()).add(charge["price_row"])
    store = ObjectStore(book.root)
    for digest, names in sorted(wanted.items()):
        try:
            prices = PriceBook.load(store.get(digest))
        except (NotFound, ValueError):
            continue  # a rating by a book that is not kept here: its line has the unit price all the same
        for entry in prices.entries():
            for row in entry.rows:
                name = row_id(entry.party, entry.model, row)
                if name in names:
                    content = {**msgspec.to_builtins(row), "party": entry.party, "model": entry.model}
                    told = {member: content.pop(member, None) for member in _EVIDENCE}
                    yield PriceRow(book=digest, row=name, content=content, source=told["source"])
