"""OpenAI's reports: `GET /v1/organization/usage/completions` and `GET /v1/organization/costs`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from tollbook.core.clock import SECOND
from tollbook.core.money import format_amount
from tollbook.simulator.books import Billed
from tollbook.simulator.call import Call
from tollbook.simulator.report_pages import Asked, Limits, Results, asked_of, lines_of, number, paged
from tollbook.simulator.tariff import BATCH
from tollbook.simulator.tokens import Tokens

_USAGE_LIMITS: Final = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_COST_LIMITS: Final = {"1d": (7, 180)}
_CHATS: Final = ("chat", "responses", "completions")


def usage(call: Call, billed: Sequence[Billed]) -> dict[str, Any]:
    """A page of tokens and requests. Raises BadInput."""
    return _page(call, billed, _USAGE_LIMITS, _usage)


def costs(call: Call, billed: Sequence[Billed]) -> dict[str, Any]:
    """A page of amounts. Raises BadInput."""
    return _page(call, billed, _COST_LIMITS, _costs)


def _page(call: Call, billed: Sequence[Billed], limits: Limits, results: Results) -> dict[str, Any]:
    starts, ends = call.parameter("start_time"), call.parameter("end_time")
    since = number("start_time", starts) * SECOND
    until = number("end_time", ends) * SECOND if ends else None
    asked = asked_of(call, since, until, limits, call.parameters("group_by[]") or call.parameters("group_by"))
    buckets, following = paged(call, asked, billed, "openai")
    data = [
        {"object": "bucket", "start_time": since // SECOND, "end_time": until // SECOND}
        | {"results": list(results(lines, asked))}
        for (since, until), lines in buckets
    ]
    return {"object": "page", "data": data, "has_more": following is not None, "next_page": following}


def _usage(lines: Sequence[Billed], asked: Asked) -> Iterator[dict[str, Any]]:
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    for one in lines:
        if one.operation.split(".")[-1] in _CHATS or one.format.split(".")[-1] in _CHATS:
            place = (one.account, one.model_served, one.tier == BATCH, "default" if one.tier == BATCH else one.tier)
            kept = tuple(
                value if name in asked.groups else None
                for name, value in zip(("api_key_id", "model", "batch", "service_tier"), place, strict=True)
            )
            counts = sums.setdefault(kept, Counter())
            counts.update(one.counts)
            counts["lines"] += 1
    for (key, model, batch, tier), counts in sums.items():
        tokens = Tokens(**{name: count for name, count in counts.items() if name != "lines"})
        yield {
            "object": "organization.usage.completions.result",
            "input_tokens": tokens.all_input,
            "input_uncached_tokens": tokens.all_input - tokens.cache_read - tokens.cache_write,
            "input_cached_tokens": tokens.cache_read,
            "input_cache_write_tokens": tokens.cache_write,
            "input_audio_tokens": tokens.input_audio,
            "output_tokens": tokens.all_output,
            "output_audio_tokens": tokens.output_audio,
            "num_model_requests": counts["lines"],
            "project_id": None,
            "user_id": None,
            "api_key_id": key,
            "model": model,
            "batch": batch,
            "service_tier": tier,
        }


_WORDS: Final = {
    "input": "input",
    "tool_prompt": "input",
    "input_image": "image input",
    "input_audio": "audio input",
    "cache_read": "cached input",
    "cache_write_5m": "cache writes",
    "cache_write_1h": "cache writes",
    "output": "output",
    "reasoning": "output",
    "output_audio": "audio output",
    "output_image": "image output",
}
_TOOLS: Final = {"web_searches": "web search tool calls", "file_searches": "file search tool calls"}


def _costs(lines: Sequence[Billed], asked: Asked) -> Iterator[dict[str, Any]]:
    sums: dict[tuple[str | None, str | None], list[int]] = {}
    for one in lines:
        for (model, name), cost in lines_of(one).items():
            item = _TOOLS.get(name) or f"{model}, {_WORDS.get(name, name)}"
            prefix = "" if one.tier in ("default", BATCH) or name in _TOOLS else f"{one.tier} | "
            key = one.account if "api_key_id" in asked.groups else None
            total = sums.setdefault((key, prefix + item if "line_item" in asked.groups else None), [0, 0])
            total[0] += one.counts.get(name, 0)
            total[1] += cost
    for (key, line), (count, cost) in sums.items():
        yield {
            "object": "organization.costs.result",
            "amount": {"value": msgspec.Raw(format_amount(cost).encode()), "currency": "usd"},
            "line_item": line,
            "quantity": count if line else None,
            "quantity_unit": "tokens" if line else None,
            "project_id": None,
            "user_id": None,
            "api_key_id": key,
        }
