"""Reads JSON from outside: bounded, exact, each key once. What it returns holds Decimals, never floats."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, NoReturn

from tollbook.core.faults import BadInput

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 40
MAX_EXPONENT = 24

_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def read_json(file: BinaryIO) -> Any:
    """The value in a file.

    Raises BadInput for a source that is too large, too deep, not UTF-8, not JSON, that repeats a key in one object, or
    that holds a number which is not finite or has more digits than an amount or a count can have.
    """
    source = file.read(MAX_BYTES + 1)
    if len(source) > MAX_BYTES:
        raise BadInput(f"the file has more than {MAX_BYTES} bytes: export a shorter period")
    _refuse_depth(source)
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise BadInput(f"byte {fault.start}: not UTF-8; save the file as UTF-8") from fault
    try:
        return json.loads(
            text,
            parse_float=_number,
            parse_int=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as fault:
        raise BadInput(f"line {fault.lineno}, column {fault.colno}: {fault.msg}; fetch the file again") from fault


def _refuse_depth(source: bytes) -> None:
    depth = 0
    for found in _STRUCTURE.finditer(source):
        mark = found[0][:1]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise BadInput(f"byte {found.start()}: nested deeper than {MAX_DEPTH} levels; this is no vendor's export")


def _number(text: str) -> Decimal:
    if len(text) > MAX_DIGITS + 8:
        raise BadInput(f"the number {text[:20]}... has more digits than a statement can hold")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise BadInput(f"the number {text[:40]} is not one that a statement can hold") from None
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise BadInput(f"the number {text} is outside 1e-{MAX_EXPONENT}..1e{MAX_EXPONENT}")
    return number if number else Decimal(0)


def _refuse_constant(text: str) -> NoReturn:
    raise BadInput(f"{text} is not a number that a statement can hold")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadInput(f"the key {key[:60]!r} stands twice in one object; which one holds cannot be known")
        found[key] = value
    return found
