"""Google's usage object (`usageMetadata`) in disjoint classes. Its convention is mixed.

Source: the types of the official SDK, google-genai 3.4 (`GenerateContentResponseUsageMetadata`, `UsageMetadata`): the
prompt holds what was read from a cache; thoughts stand beside the candidates, and the results of tools beside the
prompt; the total is the sum of prompt, tool results, candidates and thoughts. Each count has a breakdown by modality,
which may be absent or leave a modality out. Google writes proto3 JSON: a count of 0 is left out.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.usage import MODALITIES, Usage
from tollbook.providers.answer import Count, Decomposition, decode_report, flag, split_headline


class _Modality(Struct, gc=False):
    modality: Any = None
    tokenCount: Count = 0


_Details = list[_Modality]


class _Metadata(Struct, gc=False):
    promptTokenCount: Count | None = None
    cachedContentTokenCount: Count = 0
    candidatesTokenCount: Count | None = None
    responseTokenCount: Count | None = None
    thoughtsTokenCount: Count = 0
    toolUsePromptTokenCount: Count = 0
    totalTokenCount: Count | None = None
    promptTokensDetails: _Details | None = None
    cacheTokensDetails: _Details | None = None
    candidatesTokensDetails: _Details | None = None
    responseTokensDetails: _Details | None = None
    toolUsePromptTokensDetails: _Details | None = None


_DECODER: Final = msgspec.json.Decoder(_Metadata)
_SUFFIXES: Final = {modality.upper(): f".{modality}" for modality in MODALITIES}


def decompose(raw: bytes) -> Decomposition:
    """The classes of a usage object, checked against `totalTokenCount`.

    Input is the prompt without what was read from a cache, and the results of tools. A total that exceeds its parts
    leaves the difference in `output_reasoning` under the flag `hidden_tokens`. With a total, a count that was left out
    is 0; without one, prompt and candidates must both be there for the usage to be whole.
    """
    flags: list[str] = []
    report = decode_report(_DECODER, raw, flags)
    total = report.totalTokenCount
    prompt = report.promptTokenCount
    answer = report.candidatesTokenCount
    answer_details = report.candidatesTokensDetails
    if answer is None:
        answer, answer_details = report.responseTokenCount, report.responseTokensDetails
    usage: Usage = {}
    if prompt is not None or total is not None:
        _split_prompt(usage, prompt or 0, report, flags)
    if answer is not None or total is not None:
        split_headline(usage, answer or 0, "output", _by_modality("output", answer_details), flags)
        if report.thoughtsTokenCount:
            usage["output_reasoning"] = report.thoughtsTokenCount
    if total is not None:
        _recompose(usage, total, flags)
    return Decomposition(usage, total is not None or (prompt is not None and answer is not None), flags)


def decompose_input(raw: bytes) -> Decomposition:
    """The classes of the usage object of work without output: an embedding, or making a cache, told by the total."""
    flags: list[str] = []
    report = decode_report(_DECODER, raw, flags)
    prompt = report.totalTokenCount if report.promptTokenCount is None else report.promptTokenCount
    usage: Usage = {}
    if prompt is not None:
        _split_prompt(usage, prompt, report, flags)
        if report.totalTokenCount not in (None, sum(usage.values())):
            flag(flags, "inconsistent_usage")
    return Decomposition(usage, prompt is not None, flags)


def _split_prompt(usage: Usage, prompt: int, report: _Metadata, flags: list[str]) -> None:
    """Prompt and tool results as input, and of the prompt what was read from a cache, by modality."""
    parts = _by_modality("input", report.promptTokensDetails)
    cached = _by_modality("input_cache_read", report.cacheTokensDetails)
    read: Usage = {}
    if report.cachedContentTokenCount:
        split_headline(read, report.cachedContentTokenCount, "input_cache_read", cached, flags)
        if parts and not report.cacheTokensDetails:
            flag(flags, "assumed_modality")
    fresh: dict[str, int | None] = {
        name: (count or 0) - read.get(name.replace("input", "input_cache_read"), 0) for name, count in parts.items()
    }
    rest = prompt - sum(read.values())
    if rest < 0 or any((count or 0) < 0 for count in fresh.values()):
        flag(flags, "inconsistent_usage")
        fresh = {}
    if rest < 0:
        rest, read = prompt, {}
    split_headline(usage, rest, "input", fresh, flags)
    usage.update({name: count for name, count in read.items() if count})
    if report.toolUsePromptTokenCount:
        tools: Usage = {}
        details = _by_modality("input", report.toolUsePromptTokensDetails)
        split_headline(tools, report.toolUsePromptTokenCount, "input", details, flags)
        for name, count in tools.items():
            usage[name] = usage.get(name, 0) + count


def _by_modality(base: str, details: _Details | None) -> dict[str, int | None]:
    """The classes of a breakdown that are not text; what it leaves out stays with the headline, as text."""
    found: dict[str, int | None] = {}
    for part in details or ():
        suffix = _SUFFIXES.get(part.modality) if isinstance(part.modality, str) else None
        if suffix is not None:
            found[base + suffix] = (found.get(base + suffix) or 0) + part.tokenCount
    return found


def _recompose(usage: Usage, total: int, flags: list[str]) -> None:
    hidden = total - sum(usage.values())
    if hidden > 0:
        usage["output_reasoning"] = usage.get("output_reasoning", 0) + hidden
        flag(flags, "hidden_tokens")
    elif hidden < 0:
        flag(flags, "inconsistent_usage")
