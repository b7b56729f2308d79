"""Bedrock's own usage objects in disjoint classes: that of Converse, and the counts beside InvokeModel.

Source: the service model in botocore 1.44 (`TokenUsage`, `CacheDetail`) and the Bedrock user guide: `inputTokens` is
what
was neither read from nor written to the cache, and so are `inputTokenCount` of a stream's last chunk and
`x-amzn-bedrock-input-token-count` of an answer's head. Reasoning is inside `outputTokens` and not reported apart.
"""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from tollbook.core.usage import Usage
from tollbook.providers.answer import Count, Decomposition, decode_report, flag, split_headline
from tollbook.providers.contract import Headers

_TTLS: Final = {"5m": "input_cache_write_5m", "1h": "input_cache_write_1h"}
_COUNT_HEADER: Final = re.compile(rb"x-amzn-bedrock-((?:cache-(?:read|write)-)?(?:input|output))-token-count")
_COUNT: Final = re.compile(rb"\d{1,15}")
_MAX: Final = 1 << 53


class _CacheDetail(Struct, gc=False):
    ttl: Any = None
    inputTokens: Count = 0


class _TokenUsage(Struct, gc=False):
    """Converse's report. The two members with `Count` are how Amazon's own models name them in InvokeModel."""

    inputTokens: Count | None = None
    outputTokens: Count | None = None
    totalTokens: Count | None = None
    cacheReadInputTokens: Count | None = None
    cacheWriteInputTokens: Count | None = None
    cacheReadInputTokenCount: Count | None = None
    cacheWriteInputTokenCount: Count | None = None
    cacheDetails: list[_CacheDetail] | None = None


class Counts(Struct, gc=False):
    """What Bedrock counted beside a model's own answer."""

    input: Count | None = field(name="inputTokenCount", default=None)
    output: Count | None = field(name="outputTokenCount", default=None)
    cache_read: Count | None = field(name="cacheReadInputTokenCount", default=None)
    cache_write: Count | None = field(name="cacheWriteInputTokenCount", default=None)


_USAGE: Final = msgspec.json.Decoder(_TokenUsage)
_METRICS: Final = msgspec.json.Decoder(Counts)


def decompose(raw: bytes) -> Decomposition:
    """The classes of a Converse usage, checked against `totalTokens`, which some models give without the cache.

    A cache write whose time to live was not reported is `input_cache_write` under the flag `assumed_cache_ttl`.
    """
    flags: list[str] = []
    report = decode_report(_USAGE, raw, flags)
    read = report.cacheReadInputTokens or report.cacheReadInputTokenCount
    written = report.cacheWriteInputTokens or report.cacheWriteInputTokenCount
    usage: Usage = {}
    if report.inputTokens is not None:
        usage["input"] = report.inputTokens
    if read:
        usage["input_cache_read"] = read
    _put_written(usage, written, report.cacheDetails or [], flags)
    if report.outputTokens is not None:
        usage["output"] = report.outputTokens
    whole = report.inputTokens is not None and report.outputTokens is not None
    total = report.totalTokens
    if whole and total is not None and total != usage["input"] + usage["output"]:
        hidden = total - sum(usage.values())
        if hidden > 0:
            usage["output_reasoning"] = hidden
            flag(flags, "hidden_tokens")
        elif hidden < 0:
            flag(flags, "inconsistent_usage")
    return Decomposition(usage, whole, flags)


def _put_written(usage: Usage, written: int | None, details: list[_CacheDetail], flags: list[str]) -> None:
    parts: dict[str, int | None] = {}
    for detail in details:
        name = _TTLS.get(detail.ttl) if isinstance(detail.ttl, str) else None
        if name is not None:
            parts[name] = (parts.get(name) or 0) + detail.inputTokens
    if written is None:
        written = sum(quantity or 0 for quantity in parts.values())
    split_headline(usage, written, "input_cache_write", parts, flags)
    if usage["input_cache_write"]:
        flag(flags, "assumed_cache_ttl")
    else:
        del usage["input_cache_write"]


def read_metrics(raw: bytes) -> Counts:
    """The counts in `amazon-bedrock-invocationMetrics`; what is none of them is left out."""
    return decode_report(_METRICS, raw, [])


def read_headers(headers: Headers) -> Counts:
    """The counts in the head of an answer of InvokeModel."""
    counts = Counts()
    for name, value in headers:
        found = _COUNT_HEADER.fullmatch(name)
        if found is not None and _COUNT.fullmatch(value) and int(value) <= _MAX:
            attribute = found[1].decode().replace("-", "_").removesuffix("_input")
            setattr(counts, attribute, int(value))
    return counts


def counted(counts: Counts, output: bool = True) -> Decomposition:
    """Bedrock's own counts as a usage; whole with an input and, where there is output at all, an output."""
    flags: list[str] = []
    usage: Usage = {}
    if counts.input is not None:
        usage["input"] = counts.input
    if counts.cache_read:
        usage["input_cache_read"] = counts.cache_read
    if counts.cache_write:
        usage["input_cache_write"] = counts.cache_write
        flag(flags, "assumed_cache_ttl")
    if counts.output is not None:
        usage["output"] = counts.output
    return Decomposition(usage, counts.input is not None and (counts.output is not None or not output), flags)


def agree(usage: Usage, counts: Counts) -> bool:
    """Whether a model's own usage and Bedrock's counts say the same, as far as both say something.

    Models that count as OpenAI does may have what came from the cache in their input.
    """
    fresh = usage.get("input", 0)
    read = usage.get("input_cache_read", 0)
    written = sum(count for name, count in usage.items() if name.startswith("input_cache_write"))
    output = sum(count for name, count in usage.items() if name.startswith("output"))
    return (
        counts.input in (None, fresh, fresh + read + written)
        and counts.output in (None, output)
        and counts.cache_read in (None, read)
        and counts.cache_write in (None, written)
    )
