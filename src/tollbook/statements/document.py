"""A vendor's document and its lines, as an importer reads them. Nothing here is converted, priced or filled in."""

from collections.abc import Callable, Iterator
from decimal import Context, Decimal, Inexact
from typing import BinaryIO, Final, Literal, TypeAlias

from msgspec import Struct

from tollbook.core.usage import CLASSES

DocumentType = Literal["usage_export", "cost_report", "invoice", "credit_note", "prepayment"]
LineKind = Literal["usage", "cost", "tax", "credit", "fee", "other"]

DOCUMENT_TYPES: Final = ("usage_export", "cost_report", "invoice", "credit_note", "prepayment")

_EXACT: Final = Context(prec=400, traps=[Inexact])


class Problem(Struct, frozen=True):
    """One thing in a statement that could not be read as it stands, or (`note`) that was read and is worth knowing.

    `where` is the place in the source (a JSON path or `line N, column NAME`), `what` is what is wrong there, `do` is
    what the reader can do.
    """

    where: str
    what: str
    do: str
    severity: Literal["problem", "note"] = "problem"


class Line(Struct, frozen=True, kw_only=True):
    """One quantity or amount that the vendor stated for one service period.

    `begins` and `ends` are microseconds since 1970 UTC, half-open. `item` is the vendor's own words. `usage_class` is
    one of ours when the words say it, else the vendor's own word: such a line stays, it is never dropped or guessed.
    `quantity` counts `units_each` units (a vendor that bills by 1,000 tokens has 1000). Quantity and amount are exact;
    None means not stated, which is not zero.
    """

    where: str
    begins: int
    ends: int
    kind: LineKind
    item: str = ""
    usage_class: str | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    units_each: int = 1
    amount: Decimal | None = None
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

    @property
    def is_known(self) -> bool:
        """Whether its class is one of ours."""
        return self.usage_class in CLASSES


class Head(Struct, frozen=True, kw_only=True):
    """What a document says of itself. Amounts are exact; None is not said."""

    vendor: str | None = None
    number: str | None = None
    issued: str | None = None
    currency: str | None = None
    net: Decimal | None = None
    tax: Decimal | None = None
    gross: Decimal | None = None
    reference: str | None = None
    account: str | None = None


Item: TypeAlias = Line | Problem | Head
"""What an importer gives, in the order of the source."""

Read: TypeAlias = Callable[[BinaryIO], Iterator[Item]]
"""Reads a file in bounded memory. Raises BadInput when it is no such file at all."""


class Importer(Struct, frozen=True, kw_only=True):
    """How one source is read. `recognises` looks at the file's first bytes. A file that `may_hold_content` (prompts,
    end users) is not kept, only its digest. `final_days`: so many days after a bucket's end the vendor changes it no
    more; None where that is not promised."""

    kind: str
    vendor: str
    version: int
    type: DocumentType
    read: Read
    recognises: Callable[[bytes], bool]
    meaning: str
    zone: str = "UTC"
    may_hold_content: bool = False
    final_days: int | None = None

    @property
    def name(self) -> str:
        """Kind and version: what the entry says read the file."""
        return f"{self.kind}/{self.version}"


def exact_sum(one: Decimal, other: Decimal) -> Decimal:
    """The sum with all its digits; the usual context keeps 28. Raises decimal.Inexact beyond 400 digits."""
    return _EXACT.add(one, other)


def exact_difference(one: Decimal, other: Decimal) -> Decimal:
    """What is left of one without the other, with all its digits; a minus sign alone would round to 28."""
    return _EXACT.subtract(one, other)


def exact_cents(cents: Decimal) -> Decimal:
    """An amount in cents, in the currency's unit."""
    return _EXACT.multiply(cents, Decimal("0.01"))


def exact_product(one: Decimal, other: int) -> Decimal:
    """The product with all its digits."""
    return _EXACT.multiply(one, Decimal(other))
