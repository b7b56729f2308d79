"""Dictation: what a test tells the vendor from inside its own request.

A command is a list of `name=value`, separated by spaces or commas. It stands in a message text as
`[[sim input=374 output=44]]`, or in the headers `x-simulator-usage` and `x-simulator-fault` (several separated by
semicolons) when the caller speaks to the vendor directly.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.rule import Rule
from tollbook.simulator.tokens import Tokens

USAGE_NAMES: Final = Tokens.__struct_fields__
"""What can be dictated: token classes that do not overlap, and counts of what is no token."""

PACE_NAMES: Final = ("first_byte_ms", "chunk_ms", "chunk_tokens", "later_ms")
"""How fast the answer comes, how many tokens each chunk has, and how long background work takes."""

_WHEN_NAMES: Final = ("vendor", "model", "attempt", "stream")
_RULE_NAMES: Final = ("times", "probability", "after", "ms", "retry_after", "served", "tokens", "billed")
_COMMAND: Final = re.compile(r"\[\[sim\s([^\]]*)\]\]")
_SEPARATOR: Final = re.compile(r"[\s,]+")
_MOST: Final = 10_000_000


class Dictation(Struct):
    """What one request dictates: some token counts, its pace, and rules of its own."""

    numbers: dict[str, int]
    rules: list[Rule]


def read_dictation(texts: Iterable[str], headers: Iterable[str] = ()) -> Dictation:
    """Collect the commands in message texts and header values; a later number replaces an earlier one.

    Raises BadInput for a command that says something unknown: a misspelt fault that silently did not happen would
    make a test pass for nothing.
    """
    dictation = Dictation({}, [])
    for text in texts:
        for command in _COMMAND.findall(text):
            _read_command(command, dictation)
    for header in headers:
        for command in header.split(";"):
            _read_command(command, dictation)
    return dictation


def _read_command(command: str, dictation: Dictation) -> None:
    rule: dict[str, Any] = {}
    when: dict[str, Any] = {}
    for word in filter(None, _SEPARATOR.split(command)):
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise BadInput(f"simulator command {command!r}: {word!r} is not name=value")
        if name == "fault":
            rule["do"] = value
        elif name in USAGE_NAMES or name in PACE_NAMES:
            dictation.numbers[name] = _number(command, name, value)
        elif name in _WHEN_NAMES:
            when[name] = value
        elif name in _RULE_NAMES:
            rule[name] = value
        else:
            known = ", ".join((*USAGE_NAMES, *PACE_NAMES, "fault", *_RULE_NAMES, *_WHEN_NAMES))
            raise BadInput(f"simulator command {command!r}: unknown name {name!r}; known: {known}")
    if rule or when:
        dictation.rules.append(_rule(command, rule, when))


def _rule(command: str, rule: dict[str, Any], when: dict[str, Any]) -> Rule:
    if "do" not in rule:
        raise BadInput(f"simulator command {command!r}: options without fault=")
    if rule["do"] == "refuse":
        raise BadInput(f"simulator command {command!r}: 'refuse' acts before a request is read; install it as a rule")
    try:
        return msgspec.convert({**rule, "when": when}, Rule, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"simulator command {command!r}: {error}") from None


def _number(command: str, name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 9 or int(value) > _MOST:
        raise BadInput(f"simulator command {command!r}: {name}={value} is not a whole number from 0 to {_MOST}")
    return int(value)
