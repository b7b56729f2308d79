"""What is shown to people and machines, and how: the one place where words from outside are made harmless.

Identifiers, tags, model names and the like are other people's text: they are shown as Rich `Text`, never as markup,
with control characters escaped and their length bounded. Unknown is the word `unknown`, never a zero.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from tollbook.core.money import display, parse_amount

UNKNOWN: Final = "unknown"
LONGEST: Final = 256
WIDTH: Final = 160


def console(*, stderr: bool = False) -> Console:
    """A console without markup, emoji or guessed highlights; as wide as the terminal or `$COLUMNS`, else 160."""
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = WIDTH
    return made


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on standard output; letters beyond ASCII are escaped, so that no terminal obeys them."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")


def escape(value: object, limit: int = LONGEST) -> str:
    """A text from outside as it may be shown: bounded, what would steer a terminal written as `\\x1b` or `\\u202e`."""
    text = str(value)
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(character if _is_harmless(character) else _escaped(character) for character in cut)


def words(value: object, style: str = "") -> Text:
    """A text from outside as Rich text; None is `unknown`."""
    return Text(UNKNOWN, style="dim") if value is None else Text(escape(value), style=style)


def number(value: int | None) -> Text:
    """A quantity with separators; None is `unknown`."""
    return Text(UNKNOWN, style="dim") if value is None else Text(f"{value:,}")


def money(value: str | None, currency: str | None = "USD") -> Text:
    """An amount in cents for people: `$1,204.11`, `< $0.01`, `unknown`."""
    if value is None:
        return Text(UNKNOWN, style="dim")
    return Text(display(parse_amount(value), escape(currency or "?", 8)))


def exact_money(value: str | None, currency: str | None = "USD") -> Text:
    """An amount with every digit it has: `$0.0000561`; None is `unknown`."""
    if value is None:
        return Text(UNKNOWN, style="dim")
    sign, digits = ("-", value[1:]) if value.startswith("-") else ("", value)
    symbol = "$" if currency in ("USD", None) else f"{escape(currency, 8)} "
    return Text(f"{sign}{symbol}{escape(digits, 64)}")


def instant(value: str | None) -> Text:
    """An instant with date, time to the millisecond and zone; None is `unknown`."""
    if value is None:
        return Text(UNKNOWN, style="dim")
    return Text(escape(value).replace("T", " ").replace("Z", "")[:23] + " UTC")


def _is_harmless(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def _escaped(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
