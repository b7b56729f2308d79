"""A vendor's document and its lines, as an importer read them. Nothing here is converted, priced or filled in."""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact
from typing import Final, Literal

from msgspec import Struct

DocumentType = Literal["usage_export", "cost_report", "invoice", "credit_note", "prepayment"]

_EXACT: Final = Context(prec=400, traps=[Inexact])


class Problem(Struct, frozen=True):
    """One thing in a statement that could not be read as it stands.

    `where` is the place in the source (a JSON path or `line N, column NAME`), `what` is what is wrong there, `do` is
    what the reader can do.
    """

    where: str
    what: str
    do: str


class Line(Struct, frozen=True, kw_only=True):
    """One quantity or amount that the vendor stated for one service period.

    `begins` and `ends` are microseconds since 1970 UTC, half-open. `item` is the vendor's own words. `usage_class` is
    None when the words are not known to us: such a line stays, it is never dropped or guessed. `quantity` and `amount`
    are exact; None means not stated, which is not zero.
    """

    where: str
    begins: int
    ends: int
    item: str
    usage_class: str | None = None
    model: str | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    project: str | None = None
    vendor_key: str | None = None
    user: str | None = None
    tier: str | None = None
    batch: bool | None = None


class Document(Struct, frozen=True, kw_only=True):
    """What an importer read from one source; `begins` and `ends` are the half-open service period in `zone`."""

    kind: str
    vendor: str
    type: DocumentType
    importer: str
    zone: str
    begins: int | None
    ends: int | None
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]


def amounts_by_currency(lines: Iterable[Line]) -> dict[str, Decimal]:
    """The exact sum of the stated amounts for each currency; lines without an amount add nothing."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line.amount is not None and line.currency is not None:
            sums[line.currency] = exact_sum(sums.get(line.currency, Decimal(0)), line.amount)
    return sums


def exact_sum(one: Decimal, other: Decimal) -> Decimal:
    """The sum with all its digits; the usual context keeps 28. Raises decimal.Inexact beyond 400 digits."""
    return _EXACT.add(one, other)
