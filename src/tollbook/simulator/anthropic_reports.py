"""Anthropic's reports: `GET /v1/organizations/usage_report/messages` and `GET /v1/organizations/cost_report`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tollbook.core.clock import format_instant, parse_instant
from tollbook.core.faults import BadInput
from tollbook.core.money import format_amount, format_decimal, parse_decimal
from tollbook.simulator.books import Billed
from tollbook.simulator.call import Call
from tollbook.simulator.report_pages import Asked, Limits, Results, asked_of, lines_of, paged

_USAGE_LIMITS: Final = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_COST_LIMITS: Final = {"1d": (7, 31)}


def usage(call: Call, billed: Sequence[Billed]) -> dict[str, Any]:
    """A page of tokens; it has no count of requests. Raises BadInput."""
    return _page(call, billed, _USAGE_LIMITS, _usage)


def costs(call: Call, billed: Sequence[Billed]) -> dict[str, Any]:
    """A page of amounts, in cents; what was served with priority is not in it. Raises BadInput."""
    return _page(call, billed, _COST_LIMITS, _costs)


def _page(call: Call, billed: Sequence[Billed], limits: Limits, results: Results) -> dict[str, Any]:
    since = _instant("starting_at", call.parameter("starting_at"))
    ends = call.parameter("ending_at")
    asked = asked_of(call, since, _instant("ending_at", ends) if ends else None, limits, call.parameters("group_by[]"))
    buckets, following = paged(call, asked, billed, "anthropic")
    data = [
        {"starting_at": _second(since), "ending_at": _second(until), "results": list(results(lines, asked))}
        for (since, until), lines in buckets
    ]
    return {"data": data, "has_more": following is not None, "next_page": following}


_GROUPS: Final = ("api_key_id", "workspace_id", "model", "service_tier", "inference_geo", "speed")


def _usage(lines: Sequence[Billed], asked: Asked) -> Iterator[dict[str, Any]]:
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    for one in lines:
        place = (one.account, None, one.model_served, one.tier, one.geo or "global", one.speed or "standard")
        kept = tuple(value if name in asked.groups else None for name, value in zip(_GROUPS, place, strict=True))
        sums.setdefault(kept, Counter()).update(one.counts)
    for place, counts in sums.items():
        yield {
            "uncached_input_tokens": counts["input"] + counts["tool_prompt"] + counts["input_image"],
            "cache_creation": {
                "ephemeral_5m_input_tokens": counts["cache_write_5m"],
                "ephemeral_1h_input_tokens": counts["cache_write_1h"],
            },
            "cache_read_input_tokens": counts["cache_read"],
            "output_tokens": counts["output"] + counts["reasoning"],
            "server_tool_use": {"web_search_requests": counts["web_searches"]},
            "context_window": None,
            **dict(zip(_GROUPS, place, strict=True)),
        }


_WORDS: Final = {
    **dict.fromkeys(("input", "tool_prompt", "input_image"), "uncached_input_tokens"),
    "cache_read": "cache_read_input_tokens",
    "output": "output_tokens",
    "reasoning": "output_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
}
_TOOLS: Final = {"web_searches": "web_search", "code_sessions": "code_execution"}


def _costs(lines: Sequence[Billed], asked: Asked) -> Iterator[dict[str, Any]]:
    sums: Counter[tuple[str, str | None, str | None, str]] = Counter()
    for one in lines:
        if one.tier != "priority":  # the vendor's report has no line for it
            for (model, name), cost in lines_of(one).items():
                kind, token = _TOOLS.get(name, "tokens"), _WORDS.get(name)
                sums[kind, token, model if kind == "tokens" else None, one.tier] += cost
    by_item = "description" in asked.groups
    if not by_item:
        total = sum(sums.values())
        yield {"amount": _cents(total), "currency": "USD", "cost_type": None, "description": None}
        return
    for (kind, token, served, tier), cost in sums.items():
        yield {
            "amount": _cents(cost),
            "currency": "USD",
            "cost_type": kind,
            "token_type": token,
            "model": served,
            "service_tier": tier if kind == "tokens" else None,
            "context_window": None,
            "inference_geo": None,
            "description": f"{served} Usage - {token}" if kind == "tokens" else kind,
            "workspace_id": None,
        }


def _cents(pico: int) -> str:
    return format_decimal(parse_decimal(format_amount(pico)) * 100)


def _instant(name: str, text: str | None) -> int:
    try:
        return parse_instant(text or "")
    except ValueError:
        raise BadInput(f"{name}: found {text!r}; needed: an instant such as 2026-10-01T00:00:00Z") from None


def _second(instant: int) -> str:
    return format_instant(instant)[:19] + "Z"
