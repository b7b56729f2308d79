"""Any CSV or Parquet table, by a mapping file that says what its columns mean. What it does not say is not guessed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, BinaryIO, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import yaml
from msgspec import Meta, Struct

from tollbook.core.clock import parse_instant
from tollbook.core.faults import BadInput
from tollbook.core.usage import CLASSES
from tollbook.statements.document import DocumentType, Importer, Item, Line, LineKind, Problem
from tollbook.statements.table_source import Row, rows
from tollbook.statements.tabular import NOT_READ

MAPPING_BYTES: Final = 256 * 1024
_TEXTS: Final = ("account", "project", "vendor_key", "model", "region", "tier", "processing", "context")
_STEPS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


class Columns(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Which column means what."""

    from_: str
    to: str | None = None
    item: str | None = None
    class_: str | None = msgspec.field(name="class", default=None)
    quantity: str | None = None
    unit: str | None = None
    amount: str | None = None
    currency: str | None = None
    account: str | None = None
    project: str | None = None
    vendor_key: str | None = None
    model: str | None = None
    region: str | None = None
    tier: str | None = None
    processing: str | None = None
    context: str | None = None
    request_id: str | None = None


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. `zone` is that of instants without one; `bucket` the length of a row's time where no column `to`
    says it; `classes` what the words in column `class` mean (a word that is not there stays the vendor's); `class` one
    for all rows; `quantity_of` how many units one of the column is; `currency` that of all amounts."""

    vendor: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_.-]{0,63}$")]
    columns: Columns
    type: DocumentType = "cost_report"
    kind: LineKind = "cost"
    zone: str = "UTC"
    bucket: str | None = None
    delimiter: str = ","
    class_: str | None = msgspec.field(name="class", default=None)
    classes: dict[str, str] = {}
    quantity_of: Annotated[int, Meta(ge=1, le=10**9)] = 1
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None


def read_mapping(text: bytes) -> Mapping:
    """A mapping from its YAML. Raises BadInput, with the place."""
    if len(text) > MAPPING_BYTES:
        raise BadInput(f"the mapping has more than {MAPPING_BYTES:,} bytes")
    try:
        told: Any = yaml.safe_load(text)
        mapping = msgspec.convert(told, Mapping)
        ZoneInfo(mapping.zone)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as fault:
        raise BadInput(f"the mapping cannot be used: {fault}") from None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput("the mapping's zone is none: write one such as UTC or Europe/Berlin") from None
    columns = mapping.columns
    if (columns.to is None) is (mapping.bucket is None) or mapping.bucket not in (None, *_STEPS):
        raise BadInput("the mapping must say when a row's time ends: columns.to, or bucket: day or hour")
    if columns.amount is None and columns.quantity is None:
        raise BadInput("the mapping names neither an amount nor a quantity: columns.amount, columns.quantity")
    if columns.amount is not None and (columns.currency is None) is (mapping.currency is None):
        raise BadInput("the mapping must say the currency once: columns.currency, or currency")
    unknown = sorted({*mapping.classes.values(), *filter(None, [mapping.class_])} - CLASSES)
    if unknown:
        raise BadInput(f"the mapping's class {unknown[0]!r} is none of ours; see docs/reference/vocabulary.md")
    if len(mapping.delimiter) != 1 or mapping.delimiter in '"\r\n':
        raise BadInput("the mapping's delimiter must be one letter")
    return mapping


def importer_by(mapping: Mapping) -> Importer:
    """The importer that a mapping makes."""

    def read(source: BinaryIO) -> Iterator[Item]:
        columns = {name: getattr(mapping.columns, name) for name in Columns.__struct_fields__}
        needed = frozenset(name for name in columns.values() if name is not None)
        for row in rows(source, needed, frozenset(), mapping.delimiter):
            if isinstance(row, Problem):
                yield row
            else:
                yield from _line(row, mapping)

    return Importer(
        kind="mapped",
        vendor=mapping.vendor,
        version=1,
        type=mapping.type,
        read=read,
        recognises=lambda head: False,
        meaning="any CSV or Parquet table, by a mapping file",
        zone=mapping.zone,
    )


def _line(row: Row, mapping: Mapping) -> Iterator[Item]:
    columns = mapping.columns

    def text(name: str | None) -> str | None:
        return None if name is None else row.values.get(name)

    begins = _instant(text(columns.from_), mapping.zone)
    ends = _end(text(columns.from_), mapping) if columns.to is None else _instant(text(columns.to), mapping.zone)
    if begins is None or ends is None or begins >= ends:
        told = f"{columns.from_}{' and ' + columns.to if columns.to else ''} say no time: {text(columns.from_)!r}"
        yield Problem(row.where, told[:300], NOT_READ)
        return
    numbers = []
    for name in (columns.amount, columns.quantity):
        number, wrong = (None, None) if name is None else row.number(name)
        numbers.append(number)
        if wrong is not None:
            yield wrong
    word = text(columns.class_)
    yield Line(
        where=row.where,
        begins=begins,
        ends=ends,
        kind=mapping.kind,
        item=text(columns.item) or word or "",
        usage_class=mapping.class_ or (None if word is None else mapping.classes.get(word, word)),
        amount=numbers[0],
        currency=mapping.currency or text(columns.currency),
        quantity=numbers[1],
        unit=text(columns.unit),
        units_each=mapping.quantity_of,
        vendor_request_id=text(columns.request_id),
        **{name: text(getattr(columns, name)) for name in _TEXTS},
    )


def _local(text: str | None, zone: str) -> datetime | None:
    """A day or an instant; without an offset of its own it is in the mapping's zone."""
    try:
        found = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=ZoneInfo(zone))


def _micros(at: datetime | None) -> int | None:
    if at is None:
        return None
    try:
        found = parse_instant(at.isoformat())
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < 2**53 else None


def _instant(text: str | None, zone: str) -> int | None:
    return _micros(_local(text, zone))


def _end(text: str | None, mapping: Mapping) -> int | None:
    """The end of a row's bucket: a day ends at the next midnight of the zone, though it may have 23 or 25 hours."""
    at = _local(text, mapping.zone)
    try:
        return _micros(None if at is None else at + _STEPS[mapping.bucket or "day"])
    except OverflowError:
        return None
