"""Reading a span: `read` gives the inference it tells of, or None."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from tollbook.dialects import names
from tollbook.dialects.counts import Counts, read_counts, split
from tollbook.dialects.reading import DISJOINT, NESTED, UNKNOWN, Cost, Reading
from tollbook.dialects.recognise import dialect_of, operation_of
from tollbook.dialects.span import Span, Value

TEXT_LIMIT: Final = 256
_DISJOINT: Final = frozenset({"langfuse"})
_UNCERTAIN: Final = frozenset({"otel-1.26", "otel-1.27", "openlit", "openllmetry", "unknown", "kong", "cloudflare",
                               "portkey"})  # fmt: skip
"""Dialects of which emitters have told the input of Claude models with and without what was cached."""


def read(span: Span) -> Reading | None:
    """The inference that a span tells of, in our classes; None for a span that is not one inference."""
    operation = operation_of(span)
    if operation is None:
        return None
    dialect = dialect_of(span)
    attributes = span.attributes
    counts = _counts(dialect, attributes)
    vendor, unknown = _vendor(attributes)
    parts = split(counts.told, _convention(dialect, counts.told))
    response = _text(attributes, names.RESPONSES)
    flags = [*counts.flags, *parts.flags]
    flags += ["unknown_vendor"] if unknown else []
    flags += ["dropped_attributes"] if span.dropped else []
    error = _text(attributes, ("error.type", "exception.type")) or ("error" if span.failed else None)
    return Reading(
        dialect=dialect,
        operation=operation,
        grade=_grade(parts.usage is not None, response, flags),
        vendor=vendor,
        model_asked=_text(attributes, names.MODELS_ASKED),
        model_served=_text(attributes, names.MODELS_SERVED),
        response_id=response,
        tier=_text(attributes, names.TIERS),
        stream=attributes.get("gen_ai.request.stream") is True or attributes.get("llm.is_streaming") is True,
        usage=parts.usage,
        convention=parts.convention,
        reported=counts.told,
        costs=_costs(attributes),
        user=_text(attributes, names.USERS),
        conversation=_text(attributes, names.CONVERSATIONS),
        error=error,
        flags=tuple(dict.fromkeys(flags)),
    )


def _grade(counted: bool, response: str | None, flags: list[str]) -> str:
    if not counted:
        return "bare"
    return "partial" if response is None or flags else "complete"


def _convention(dialect: str, told: dict[str, int]) -> str:
    if dialect in _DISJOINT:
        return DISJOINT
    if dialect not in _UNCERTAIN:
        return NESTED
    cached = sum(told.get(name, 0) for name in ("cache_read", "cache_write"))
    total = told.get("total")
    if total is not None and cached:
        plain = told.get("input", 0) + told.get("output", 0)
        if total == plain:
            return NESTED
        return DISJOINT if total == plain + cached else UNKNOWN
    return UNKNOWN


def _counts(dialect: str, attributes: dict[str, Value]) -> Counts:
    if dialect == "langfuse" and (details := attributes.get("langfuse.observation.usage_details")):
        return read_counts(_json_object(details), names.LANGFUSE)
    if "llm.token_count.prompt" in attributes or "llm.token_count.completion" in attributes:
        return read_counts(attributes, names.OPENINFERENCE)
    return read_counts(attributes, names.VERCEL if dialect == "vercel" else names.GEN_AI)


def _json_object(value: Value) -> dict[str, Value]:
    if isinstance(value, str):
        try:
            found: Any = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}
    return value if isinstance(value, dict) else {}


def _vendor(attributes: dict[str, Value]) -> tuple[str | None, bool]:
    """Whose prices apply, and whether the emitter named a vendor that we do not know."""
    told = _text(attributes, names.VENDORS)
    if told is None:
        return None, False
    word = told.strip().lower()
    found = names.PARTIES.get(word) or names.PARTIES.get(word.partition(".")[0])
    return found or word, found is None


def _costs(attributes: dict[str, Value]) -> tuple[Cost, ...]:
    """Whole costs that stand on the span, and those that Langfuse tells as JSON."""
    found: dict[str, Value] = {name: attributes[name] for name in names.COSTS if name in attributes}
    if details := attributes.get("langfuse.observation.cost_details"):
        found["langfuse.observation.cost_details"] = _json_object(details).get("total")
    currency = attributes.get("gen_ai.usage.cost.currency")
    costs = []
    for name, value in found.items():
        amount = _amount(value)
        if amount is not None:
            told = str(currency)[:3].upper() if currency and name == "gen_ai.usage.cost.amount" else "USD"
            costs.append(Cost(name, amount, told))
    return tuple(costs)


def _amount(value: Value) -> str | None:
    """An amount as plain decimal text; a binary fraction by its shortest form."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0 or number.adjusted() > 12 or number.adjusted() < -30:
        return "0" if number == 0 else None
    return f"{number:f}"[:64]


def _text(attributes: dict[str, Value], candidates: Sequence[str]) -> str | None:
    for name in candidates:
        value = attributes.get(name)
        if isinstance(value, str) and value.strip() and value.isprintable():
            return value.strip()[:TEXT_LIMIT]
    return None
