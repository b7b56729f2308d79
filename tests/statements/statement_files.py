"""Files as vendors write them, and what an importer reads in them."""

import io
import pathlib
from decimal import Decimal

from tollbook.journal.statement import StatementLine
from tollbook.statements.reading import Reading
from tollbook.statements.sources import IMPORTERS

HERE = pathlib.Path(__file__).parent


def sample(name: str) -> bytes:
    return (HERE / name).read_bytes()


def read(kind: str, source: bytes, observed: int | None = None) -> tuple[list[StatementLine], Reading]:
    """Lines and the rest of a document. Raises BadInput."""
    reading = Reading(IMPORTERS[kind], observed)
    return list(reading.lines(io.BytesIO(source))), reading


def short(lines: list[StatementLine]) -> list[tuple[str | None, str | None, str | None]]:
    """Class, quantity and amount of each line."""
    return [(line.usage_class, line.quantity, line.amount) for line in lines]


def total(lines: list[StatementLine]) -> Decimal:
    return sum((Decimal(line.amount) for line in lines if line.amount), Decimal(0))
