"""Anthropic's usage object (`Usage`) in disjoint classes. Its convention is disjoint already, but for thinking.

Source: the API reference and the types of the official SDK, anthropic 2.12: `input_tokens` is what was neither read
from nor written to the cache; `cache_creation` splits `cache_creation_input_tokens` by time to live;
`output_tokens_details.thinking_tokens` is inside `output_tokens`. There is no total to recompose.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.usage import Usage
from tollbook.providers.answer import Count, Decomposition, decode_report, flag, split_headline


class _CacheCreation(Struct, gc=False):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _OutputDetails(Struct, gc=False):
    thinking_tokens: Count | None = None


class _ServerToolUse(Struct, gc=False):
    web_search_requests: Count | None = None


class _Usage(Struct, gc=False):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerToolUse | None = None
    fallback_credit: Any = None


_DECODER: Final = msgspec.json.Decoder(_Usage)


def decompose(raw: bytes) -> Decomposition:
    """The classes of a usage object. `input` and `output` are kept when they are 0; everything else of 0 is left out.

    A cache write whose time to live was not reported is `input_cache_write` under the flag `assumed_cache_ttl`.
    """
    flags: list[str] = []
    report = decode_report(_DECODER, raw, flags)
    usage: Usage = {}
    if report.input_tokens is not None:
        usage["input"] = report.input_tokens
    if report.cache_read_input_tokens:
        usage["input_cache_read"] = report.cache_read_input_tokens
    if report.cache_creation_input_tokens or report.cache_creation is not None:
        _split_cache_writes(usage, report.cache_creation_input_tokens, report.cache_creation, flags)
    if report.output_tokens is not None:
        details = report.output_tokens_details
        thinking = None if details is None else details.thinking_tokens
        split_headline(usage, report.output_tokens, "output", {"output_reasoning": thinking}, flags)
    if report.server_tool_use is not None and report.server_tool_use.web_search_requests:
        usage["web_searches"] = report.server_tool_use.web_search_requests
    if report.fallback_credit:
        flag(flags, "fallback_credit")
    return Decomposition(usage, report.input_tokens is not None and report.output_tokens is not None, flags)


def _split_cache_writes(usage: Usage, written: int | None, split: _CacheCreation | None, flags: list[str]) -> None:
    parts = (
        {}
        if split is None
        else {
            "input_cache_write_5m": split.ephemeral_5m_input_tokens,
            "input_cache_write_1h": split.ephemeral_1h_input_tokens,
        }
    )
    if written is None:
        written = sum(quantity or 0 for quantity in parts.values())
    split_headline(usage, written, "input_cache_write", parts, flags)
    if usage["input_cache_write"]:
        flag(flags, "assumed_cache_ttl")
    else:
        del usage["input_cache_write"]


def merge(older: dict[str, Any], newer: dict[str, Any], depth: int = 2) -> dict[str, Any]:
    """Two reports of one stream as one: counts by their maximum, so that the order does not matter.

    The counts of a stream are cumulative and repeated, never to be summed, and a later report may lack fields or
    reset them to 0. Of anything that is no count the newer value stands, unless it is null or empty. Objects are merged
    to a depth of 2, which is where Anthropic's counts lie.
    """
    merged = dict(older)
    for name, value in newer.items():
        known = merged.get(name)
        if depth > 1 and isinstance(known, dict) and isinstance(value, dict):
            merged[name] = merge(known, value, depth - 1)
        elif type(known) is int and type(value) is int:
            merged[name] = max(known, value)
        elif known is None or value:
            merged[name] = value
    return merged
