"""Reads the members of JSON objects as vendors write them: text, counts, amounts, instants. A wrong one is a problem,
with its place; what was not said is None."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tollbook.core.clock import parse_instant
from tollbook.statements.document import Item, Problem

_KEPT: Final = "the line is kept without it"
_DIGITS: Final = 60
_EXPONENT: Final = 30


class Members:
    """One object, its place, and what was wrong with it."""

    def __init__(self, where: str, members: Mapping[str, Any], found: list[Item]) -> None:
        self.where: Final = where
        self._members: Final = members
        self._found: Final = found

    def problem(self, name: str, what: str, do: str = _KEPT) -> None:
        self._found.append(Problem(f"{self.where}.{name}", what, do))

    def text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is None or isinstance(value, str):
            return value or None
        self.problem(name, "is no text")
        return None

    def number(self, name: str) -> Decimal | None:
        """A number, also one that is written as text."""
        value = self._members.get(name)
        if value is None or isinstance(value, Decimal):
            return value
        found = number_of(value) if isinstance(value, str) else None
        if found is None:
            self.problem(name, "is no plain number")
        return found

    def count(self, name: str) -> Decimal | None:
        """A whole number that is not below zero."""
        value = self.number(name)
        if value is not None and (value < 0 or value != value.to_integral_value()):
            self.problem(name, f"{value} is no count")
            return None
        return value

    def part(self, name: str) -> "Members":
        """An object inside; empty where it is not there."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, dict):
            self.problem(name, "is no object")
        return Members(f"{self.where}.{name}", value if isinstance(value, dict) else {}, self._found)

    def instant(self, name: str) -> int | None:
        """RFC 3339 text in microseconds; without a zone it is a problem, not a guess."""
        value = self._members.get(name)
        if value is None:
            return None
        try:
            return _bounded(parse_instant(value)) if isinstance(value, str) else _refuse()
        except ValueError:
            self.problem(name, "is no instant with a zone, like 2026-11-01T08:00:00Z", "the line was not read")
            return None


def number_of(text: str) -> Decimal | None:
    """A plain decimal number as software writes it (`-1204.11`, `1.2E-7`); None for anything else: separators of
    thousands, a decimal comma, signs of currencies."""
    if not text or len(text) > _DIGITS or not set(text) <= set("0123456789.-+eE"):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if number and abs(number.adjusted()) > _EXPONENT:
        return None
    return number if number else Decimal(0)


def _bounded(instant: int) -> int:
    if not 0 <= instant < 2**53:
        raise ValueError(instant)
    return instant


def _refuse() -> int:
    raise ValueError
