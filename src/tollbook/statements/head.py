"""What a document says of itself, held against its lines: they come to its total, or it is said by how much not."""

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from tollbook.core.faults import BadInput
from tollbook.core.money import format_decimal
from tollbook.statements.document import Head, Problem, exact_difference, exact_sum
from tollbook.statements.reading import Reading, refuse_long

_NAMES: Final = ("vendor", "number", "issued", "currency", "net", "tax", "gross", "reference", "account")


def check_head(reading: Reading, told: Head) -> Head:
    """The head of a document: what the file says, completed by what is told of it. What does not tie is a problem.

    Raises BadInput when the file says one thing and who uploads it another.
    """
    given = {name: _one(name, getattr(reading.head, name), getattr(told, name)) for name in _NAMES}
    merged = replace(told, **given)
    refuse_long(merged)
    currency = merged.currency or (next(iter(reading.totals)) if len(reading.totals) == 1 else None)
    if (merged.net, merged.tax, merged.gross) == (None, None, None):
        return merged
    if currency is None:
        reading.tell(Problem("head", "net, tax or gross without a currency", "name it: --currency"))
        return merged
    _check_sums(reading, merged, currency)
    return replace(merged, currency=currency)


def _check_sums(reading: Reading, head: Head, currency: str) -> None:
    whole = head.gross if head.gross is not None else head.net
    assert whole is not None or head.tax is not None
    if head.net is not None and head.tax is not None and head.gross is not None:
        rest = exact_difference(exact_sum(head.net, head.tax), head.gross)
        if rest:
            told = f"net and tax come to {format_decimal(rest)} {currency} {'more' if rest > 0 else 'less'} than gross"
            reading.tell(Problem("head", told.replace("-", "", 1), "ask the vendor, or correct what was typed"))
    if whole is None:
        return
    lines = reading.totals.get(currency, Decimal(0))
    for ties in (whole, head.net):
        if ties is not None and lines == ties:
            return
    rest = exact_difference(lines, whole)
    told = f"the lines come to {format_decimal(lines)} {currency}, the document to {format_decimal(whole)}: "
    told += f"{format_decimal(rest.copy_abs())} {'too much' if rest > 0 else 'is missing'}"
    reading.tell(Problem("total", told, "look for lines that are missing or doubled; ask the vendor"))


def _one(name: str, found: object, told: object) -> object:
    if found is not None and told is not None and found != told:
        raise BadInput(f"--{name}: {told} was given, the document itself says {found}")
    return told if found is None else found
