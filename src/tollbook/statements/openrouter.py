"""OpenRouter: its record of single calls (`GET /api/v1/generation`) and of days (`GET /api/v1/activity`).

`native_tokens_*` are the model's own tokens, which are billed; `tokens_*` are normalised and are not read. Prompt
tokens of the activity include cached ones, which it does not tell apart: they stay under the vendor's name.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, Final

from tollbook.core.clock import parse_instant
from tollbook.core.faults import BadInput
from tollbook.statements.document import Importer, Item, Line, Problem
from tollbook.statements.json_source import read_json
from tollbook.statements.members import Members

_DAY: Final = 86_400_000_000


def _objects(source: BinaryIO, found: list[Item]) -> list[Members]:
    """The objects in `data`, of one answer or of several in a list."""
    value = read_json(source)
    answers = value if isinstance(value, list) else [value]
    objects: list[Members] = []
    for number, answer in enumerate(answers):
        where = f"[{number}].data" if isinstance(value, list) else "data"
        data: Any = answer.get("data") if isinstance(answer, dict) else None
        for place, one in enumerate(data if isinstance(data, list) else [data]):
            if not isinstance(one, dict):
                raise BadInput(f"{where} is no answer of OpenRouter's API: expected an object with `data`")
            objects.append(Members(f"{where}[{place}]" if isinstance(data, list) else where, one, found))
    return objects


def _read_generations(source: BinaryIO) -> Iterator[Item]:
    found: list[Item] = []
    for one in _objects(source, found):
        begins = one.instant("created_at")
        if begins is None:
            found.append(Problem(one.where, "has no instant `created_at`", "it was not read: fetch it again"))
        else:
            yield from _generation(one, begins)
        yield from found
        found.clear()


def _generation(one: Members, begins: int) -> Iterator[Item]:
    facts: dict[str, Any] = {
        "where": one.where,
        "begins": begins,
        "ends": begins + 1,
        "model": one.text("model"),
        "vendor_request_id": one.text("id"),
    }
    amount = one.number("total_cost")
    yield Line(kind="cost", item="total_cost", usage_class="total_cost", amount=amount, currency=_usd(amount), **facts)
    cached, reasoning = one.count("native_tokens_cached"), one.count("native_tokens_reasoning")
    prompt, completion = one.count("native_tokens_prompt"), one.count("native_tokens_completion")
    quantities = {
        "input": _without(one, "native_tokens_prompt", prompt, cached),
        "input_cache_read": cached,
        "output": _without(one, "native_tokens_completion", completion, reasoning),
        "output_reasoning": reasoning,
    }
    for usage_class, quantity in quantities.items():
        if quantity is not None:
            yield Line(kind="usage", item="native_tokens", usage_class=usage_class, quantity=quantity, **facts)


def _read_activity(source: BinaryIO) -> Iterator[Item]:
    found: list[Item] = []
    for one in _objects(source, found):
        begins = _day(one.text("date"))
        if begins is None:
            found.append(Problem(f"{one.where}.date", "is no day", "the row was not read: fetch it again"))
        else:
            yield from _activity(one, begins)
        yield from found
        found.clear()


def _activity(one: Members, begins: int) -> Iterator[Item]:
    facts: dict[str, Any] = {
        "where": one.where,
        "begins": begins,
        "ends": begins + _DAY,
        "model": one.text("model_permaslug") or one.text("model"),
        "project": one.text("endpoint_id"),
    }
    amount, elsewhere = one.number("usage"), one.number("byok_usage_inference")
    yield Line(kind="cost", item="usage", usage_class="usage", amount=amount, currency=_usd(amount), **facts)
    if elsewhere:
        told = f"{elsewhere} USD of inference was paid to the vendor behind (own key): it is no part of the amounts"
        yield Problem(f"{one.where}.byok_usage_inference", told, "look for it in that vendor's statement", "note")
    reasoning, completion = one.count("reasoning_tokens"), one.count("completion_tokens")
    quantities = {
        "requests": one.count("requests"),
        "prompt_tokens": one.count("prompt_tokens"),
        "output": _without(one, "completion_tokens", completion, reasoning),
        "output_reasoning": reasoning,
    }
    for usage_class, quantity in quantities.items():
        if quantity is not None:
            yield Line(kind="usage", item=usage_class, usage_class=usage_class, quantity=quantity, **facts)


def _without(one: Members, name: str, whole: Decimal | None, part: Decimal | None) -> Decimal | None:
    if whole is None:
        return None
    rest = whole - (part or 0)
    if rest < 0:
        one.problem(name, f"{whole} is less than its part {part}", "the part was taken, not the rest")
        return None
    return rest


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else "USD"


def _day(text: str | None) -> int | None:
    try:
        return parse_instant(f"{(text or '')[:10]}T00:00:00Z")
    except ValueError:
        return None


GENERATIONS: Final = Importer(
    kind="openrouter_generations",
    vendor="openrouter",
    version=1,
    type="usage_export",
    read=_read_generations,
    recognises=lambda head: b'"native_tokens_prompt"' in head,
    meaning="OpenRouter's record of single calls, one answer of `/generation` or a JSON list of them",
    may_hold_content=True,
)
ACTIVITY: Final = Importer(
    kind="openrouter_activity",
    vendor="openrouter",
    version=1,
    type="cost_report",
    read=_read_activity,
    recognises=lambda head: b'"model_permaslug"' in head and b'"byok_usage_inference"' in head,
    meaning="OpenRouter's activity by day, model and endpoint",
)
