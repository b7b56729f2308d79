"""OpenAI's costs API (`GET /v1/organization/costs`): daily amounts by line item, project and key, in UTC days.

The words of `line_item` are free text and not stable, so only the forms seen in real exports are read; any other item
stays with its words and without a class of ours.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, Final, NamedTuple

from tollbook.statements.document import Importer, Item, Line, Problem
from tollbook.statements.openai_pages import Result, results, text, texts_are_texts

_CLASSES: Final = {
    "input": "input",
    "input_tokens": "input",
    "cached input": "input_cache_read",
    "cache writes": "input_cache_write",
    "output": "output",
    "output_tokens": "output",
}
_ALONE: Final = {"web search tool calls": "web_searches", "file search tool calls": "file_searches"}
_UNITS: Final = {"tokens": 1, "1000_tokens": 1000, "images": 1, "characters": 1, "duration_seconds": 1}
_ITEM: Final = re.compile(
    r"(?:(?P<tier>[a-z]+) \| )?(?P<model>[^, ]+)(?: (?P<of>text|audio|image))?, (?:(?P<kind>text|audio|image) )?"
    r"(?P<class>[a-z_ ]+?)(?:, (?P<context>long context))?"
)
_TEXTS: Final = ("line_item", "quantity_unit", "project_id", "api_key_id")


class ItemParts(NamedTuple):
    """What the words of a line item state; None for each that they do not."""

    model: str | None = None
    usage_class: str | None = None
    tier: str | None = None
    context: str | None = None


def item_parts(item: str | None) -> ItemParts:
    """Model, usage class, tier and context that the words of a line item state."""
    if item is None:
        return ItemParts()
    if item in _ALONE:
        return ItemParts(usage_class=_ALONE[item])
    found = _ITEM.fullmatch(item)
    base = _CLASSES.get(found["class"]) if found else None
    if found is None or base is None or (found["of"] and found["kind"]):
        return ItemParts()
    modality = found["of"] or found["kind"]
    usage_class = base if modality in (None, "text") else f"{base}.{modality}"
    return ItemParts(found["model"], usage_class, found["tier"], found["context"])


def _read(source: BinaryIO) -> Iterator[Item]:
    for result in results(source):
        if isinstance(result, Problem):
            yield result
            continue
        yield from texts_are_texts(result, _TEXTS)
        yield from _line(result)


def _line(result: Result) -> Iterator[Item]:
    money = result.members.get("amount")
    amount, currency = _money(money)
    if amount is None:
        told = "has no number `value` with a three-letter `currency`"
        yield Problem(f"{result.where}.amount", told, "the line is kept without it")
    quantity = result.members.get("quantity")
    if quantity is not None and not isinstance(quantity, Decimal):
        yield Problem(f"{result.where}.quantity", "is no number", "the line is kept without it")
        quantity = None
    item, unit = text(result, "line_item"), text(result, "quantity_unit")
    parts = item_parts(item)
    yield Line(
        where=result.where,
        begins=result.begins,
        ends=result.ends,
        kind="cost",
        item=item or "",
        usage_class=parts.usage_class or item,
        model=parts.model,
        tier=parts.tier,
        context=parts.context,
        quantity=quantity,
        unit=unit,
        units_each=_UNITS.get(unit or "", 1),
        amount=amount,
        currency=currency,
        project=text(result, "project_id"),
        vendor_key=text(result, "api_key_id"),
    )


def _money(value: Any) -> tuple[Decimal | None, str | None]:
    amount = value.get("value") if isinstance(value, dict) else None
    currency = value.get("currency") if isinstance(value, dict) else None
    if not isinstance(amount, Decimal) or not isinstance(currency, str):
        return None, None
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        return None, None
    return amount, currency.upper()


IMPORTER: Final = Importer(
    kind="openai_costs",
    vendor="openai",
    version=1,
    type="cost_report",
    read=_read,
    recognises=lambda head: b'"organization.costs.result"' in head,
    meaning="OpenAI's costs API, one page or a JSON list of pages",
)
