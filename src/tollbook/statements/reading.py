"""Reads a whole document: its lines in the form in which the book keeps them, and what they come to."""

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import BinaryIO, Final

from tollbook.core.faults import BadInput
from tollbook.core.money import format_decimal
from tollbook.journal.statement import StatementLine
from tollbook.statements.document import Head, Importer, Line, Problem, exact_difference, exact_product, exact_sum

MAX_LINES: Final = 20_000_000
KEPT_PROBLEMS: Final = 50
TEXT_LIMIT: Final = 1000
HEAD_LIMIT: Final = 200
CURRENCIES: Final = 50
AMOUNT_LIMIT: Final = Decimal(10) ** 26
QUANTITY_LIMIT: Final = Decimal(10) ** 38
DAY: Final = 86_400_000_000
_CURRENCY: Final = re.compile("[A-Z]{3}")
_PLACES: Final = Decimal("1e-12")
_ROUNDING: Final = Context(prec=400, rounding=ROUND_HALF_EVEN)


class Reading:
    """One pass over a document. After `lines()` is used up, the rest is known: how many lines, their period, what they
    come to, every problem."""

    def __init__(self, importer: Importer, observed: int | None = None) -> None:
        self.importer: Final = importer
        self._observed: Final = observed
        self.head = Head()
        self.count = 0
        self.unknown = 0
        self.begins: int | None = None
        self.ends: int | None = None
        self.totals: dict[str, Decimal] = {}
        self.rounding: dict[str, Decimal] = {}
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.note_count = 0

    def lines(self, source: BinaryIO) -> Iterator[StatementLine]:
        """The lines, each when it was read. Raises BadInput when the file is no such document, or holds no line."""
        for item in self.importer.read(source):
            if isinstance(item, Line):
                yield self._take(item)
            elif isinstance(item, Problem):
                self.tell(item)
            else:
                self.head = item
                refuse_long(item)
        if not self.count:
            told = "; ".join(f"{one.where}: {one.what}" for one in self.problems[:3])
            raise BadInput(f"the file holds no line of a statement ({self.importer.kind}){': ' * bool(told)}{told}")
        self._tell_rounding()

    def tell(self, problem: Problem) -> None:
        """Take note of a problem; of very many, the first are kept and all are counted."""
        if problem.severity == "note":
            self.note_count += 1
        else:
            self.problem_count += 1
        if len(self.problems) < KEPT_PROBLEMS:
            where, what, do = (_cut(text, HEAD_LIMIT) for text in (problem.where, problem.what, problem.do))
            self.problems.append(Problem(where, what, do, problem.severity))

    def _take(self, line: Line) -> StatementLine:
        self.count += 1
        if self.count > MAX_LINES:
            raise BadInput(f"the file has more than {MAX_LINES:,} lines: export a shorter period")
        if line.usage_class is None or not line.is_known:
            self.unknown += 1
        self.begins = line.begins if self.begins is None else min(self.begins, line.begins)
        self.ends = line.ends if self.ends is None else max(self.ends, line.ends)
        amount, stated_amount = self._amount(line)
        quantity, stated_quantity = self._quantity(line)
        return StatementLine(
            line=self.count,
            place=_cut(line.where),
            begins=line.begins,
            ends=line.ends,
            kind=line.kind,
            item=self._text(line.item) or "",
            usage_class=self._text(line.usage_class),
            known=line.is_known,
            quantity=quantity,
            stated_quantity=stated_quantity,
            unit=self._text(line.unit),
            amount=amount,
            stated_amount=stated_amount,
            currency=line.currency if amount is not None else None,
            account=self._text(line.account),
            project=self._text(line.project),
            vendor_key=self._text(line.vendor_key),
            model=self._text(line.model),
            region=self._text(line.region),
            tier=self._text(line.tier),
            processing=self._text(line.processing),
            context=self._text(line.context),
            vendor_request_id=self._text(line.vendor_request_id),
            maturity=self._maturity(line.ends),
        )

    def _amount(self, line: Line) -> tuple[str | None, str | None]:
        """The amount with at most twelve places, and all its digits where those are more."""
        if line.amount is None:
            return None, None
        if line.currency is None or not _CURRENCY.fullmatch(line.currency):
            told = f"an amount of {format_decimal(line.amount)[:40]} in {line.currency or 'no currency'}"
            self.tell(Problem(line.where, told, "the line is kept without it: it is in no total"))
            return None, format_decimal(line.amount)
        if line.amount.copy_abs() >= AMOUNT_LIMIT:
            self.tell(Problem(f"{line.where}", f"an amount of {line.amount:.3E}", "the line is kept without it"))
            return None, format_decimal(line.amount)
        rounded = line.amount.quantize(_PLACES, context=_ROUNDING)
        rest = exact_difference(line.amount, rounded)
        if len(self.totals) > CURRENCIES:
            raise BadInput(f"the file has amounts in more than {CURRENCIES} currencies: this is no statement")
        self.totals[line.currency] = exact_sum(self.totals.get(line.currency, Decimal(0)), rounded)
        if rest:
            self.rounding[line.currency] = exact_sum(self.rounding.get(line.currency, Decimal(0)), rest)
        return format_decimal(rounded), format_decimal(line.amount) if rest else None

    def _quantity(self, line: Line) -> tuple[str | None, str | None]:
        """The quantity in whole units, and what is stated where that is something else."""
        if line.quantity is None:
            return None, None
        stated = format_decimal(line.quantity)
        units = exact_product(line.quantity, line.units_each)
        if units != units.to_integral_value() or units.copy_abs() >= QUANTITY_LIMIT:
            told = f"a quantity of {stated} {line.unit or 'units'} is no whole number of units"
            self.tell(Problem(line.where, told, "the line is kept with the words of the vendor only", "note"))
            return None, stated
        whole = format_decimal(units.to_integral_value())
        return whole, stated if stated != whole else None

    def _text(self, text: str | None) -> str | None:
        """A word of the vendor as it is kept; nothing written is not said."""
        if not text:
            return None
        if len(text) > TEXT_LIMIT:
            told = f"a text of {len(text):,} letters, {text[:40]!r}..."
            self.tell(Problem("lines", told, f"its first {TEXT_LIMIT:,} letters are kept", "note"))
        return _cut(text)

    def _maturity(self, ends: int) -> str:
        """How final the vendor's figure is: without the instant at which it was given, nobody can say `final`."""
        if self.importer.type not in ("usage_export", "cost_report"):
            return "final"
        if self._observed is None:
            return "provisional"
        if self._observed < ends:
            return "open"
        days = self.importer.final_days
        return "final" if days is not None and self._observed >= ends + days * DAY else "provisional"

    def _tell_rounding(self) -> None:
        for currency, rest in sorted(self.rounding.items()):
            told = f"amounts in {currency} have more than 12 places; together they come to {format_decimal(rest)} more"
            self.tell(Problem("amounts", told, "nothing: every line keeps its exact figure", "note"))


def _cut(text: str, limit: int = TEXT_LIMIT) -> str:
    """A text of bounded length that can be written as UTF-8."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return shown if shown.isascii() else shown.encode("utf-8", "backslashreplace").decode()


def refuse_long(head: Head) -> None:
    """Raises BadInput when what a document says of itself is too long for an entry."""
    for name in ("vendor", "number", "issued", "reference", "account"):
        value = getattr(head, name)
        if value is not None and (len(value) > HEAD_LIMIT or _cut(value) != value):
            raise BadInput(f"the document's {name} has more than {HEAD_LIMIT} letters, or what is none: {value[:40]!r}")
