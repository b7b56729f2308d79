"""OpenAI's costs API (`GET /v1/organization/costs`): daily amounts by line item, project and key, in UTC days.

The words of `line_item` are free text and not stable, so only the forms seen in real exports are read
(`MODEL, CLASS`, after an optional `priority | `); any other item stays with its words and without a class.
"""

from decimal import Decimal
from typing import Any

from tollbook.core.faults import BadInput
from tollbook.statements.document import Document, Line, Problem
from tollbook.statements.json_source import read_json

KIND = "openai_costs"
IMPORTER = "openai_costs/1"
SECOND = 1_000_000

_CLASSES = {
    "input": "input",
    "input_tokens": "input",
    "cached input": "input_cache_read",
    "output": "output",
    "output_tokens": "output",
}


def read_openai_costs(source: bytes) -> Document:
    """Reads one page, or several pages in a JSON list. Raises BadInput when the file is no such page at all."""
    value = read_json(source)
    pages = value if isinstance(value, list) else [value]
    lines: list[Line] = []
    problems: list[Problem] = []
    begins: list[int] = []
    ends: list[int] = []
    for number, page in enumerate(pages):
        where = f"[{number}]" if isinstance(value, list) else ""
        for place, bucket in _buckets(page, where):
            period = _period(bucket, place, problems)
            if period is None:
                continue
            begins.append(period[0])
            ends.append(period[1])
            _read_results(bucket, place, period, lines, problems)
    _check_last_page(pages, problems)
    return Document(
        kind=KIND,
        vendor="openai",
        type="cost_report",
        importer=IMPORTER,
        zone="UTC",
        begins=min(begins, default=None),
        ends=max(ends, default=None),
        lines=tuple(lines),
        problems=tuple(problems),
    )


def _buckets(page: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(page, dict) or page.get("object") != "page" or not isinstance(page.get("data"), list):
        raise BadInput(f"{where or 'the file'} is no page of OpenAI's costs API: expected object `page` with `data`")
    return [(f"{where}.data[{number}]".lstrip("."), bucket) for number, bucket in enumerate(page["data"])]


def _period(bucket: Any, where: str, problems: list[Problem]) -> tuple[int, int] | None:
    begins = _whole(bucket.get("start_time")) if isinstance(bucket, dict) else None
    ends = _whole(bucket.get("end_time")) if isinstance(bucket, dict) else None
    if begins is None or ends is None or not 0 <= begins < ends < 2**33:
        problems.append(
            Problem(
                where,
                "start_time and end_time are no period in seconds",
                "its results were not read: fetch the page again",
            )
        )
        return None
    return begins * SECOND, ends * SECOND


def _read_results(
    bucket: dict[str, Any], where: str, period: tuple[int, int], lines: list[Line], problems: list[Problem]
) -> None:
    results = bucket.get("results", bucket.get("result"))
    if not isinstance(results, list):
        problems.append(Problem(f"{where}.results", "is no list", "fetch the page again"))
        return
    for number, result in enumerate(results):
        line = _line(result, f"{where}.results[{number}]", period, problems)
        if line is not None:
            lines.append(line)


def _line(result: Any, where: str, period: tuple[int, int], problems: list[Problem]) -> Line | None:
    if not isinstance(result, dict):
        problems.append(Problem(where, "is no object", "fetch the page again"))
        return None
    amount, currency = _money(result.get("amount"), f"{where}.amount", problems)
    item = _text(result, "line_item", where, problems)
    model, usage_class, tier = item_parts(item)
    quantity = result.get("quantity")
    if quantity is not None and not isinstance(quantity, Decimal):
        problems.append(Problem(f"{where}.quantity", "is no number", "the line is kept without it"))
        quantity = None
    return Line(
        where=where,
        begins=period[0],
        ends=period[1],
        item=item or "",
        usage_class=usage_class,
        model=model,
        quantity=quantity,
        unit=_text(result, "quantity_unit", where, problems),
        amount=amount,
        currency=currency,
        project=_text(result, "project_id", where, problems),
        vendor_key=_text(result, "api_key_id", where, problems),
        user=_text(result, "user_id", where, problems),
        tier=tier,
    )


def item_parts(item: str | None) -> tuple[str | None, str | None, str | None]:
    """Model, usage class and tier that the words of a line item state; None for each that they do not."""
    if item is None:
        return None, None, None
    tier, bar, rest = item.partition(" | ")
    words = rest if bar else item
    model, comma, name = words.rpartition(", ")
    usage_class = _CLASSES.get(name)
    if not comma or "," in model or " " in model or usage_class is None:
        return None, None, None
    return model, usage_class, tier if bar else None


def _money(value: Any, where: str, problems: list[Problem]) -> tuple[Decimal | None, str | None]:
    amount = value.get("value") if isinstance(value, dict) else None
    currency = value.get("currency") if isinstance(value, dict) else None
    if not isinstance(amount, Decimal) or not isinstance(currency, str) or not _is_currency(currency):
        problems.append(
            Problem(where, "has no number `value` with a three-letter `currency`", "the line is kept without it")
        )
        return None, None
    return amount, currency.upper()


def _is_currency(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isalpha()


def _text(result: dict[str, Any], name: str, where: str, problems: list[Problem]) -> str | None:
    value = result.get(name)
    if value is None or isinstance(value, str):
        return value
    problems.append(Problem(f"{where}.{name}", "is no text", "the line is kept without it"))
    return None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else None


def _check_last_page(pages: list[Any], problems: list[Problem]) -> None:
    if pages and pages[-1].get("has_more"):
        problems.append(Problem("has_more", "the vendor has further pages", "fetch them and import them all together"))
