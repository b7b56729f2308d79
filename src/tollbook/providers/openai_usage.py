"""OpenAI's usage object (`CompletionUsage`) in disjoint classes. Its convention is nested: details lie in headlines.

Source: the API reference and the types of the official SDK, openai 3.54: `prompt_tokens` holds cached, cache-write,
audio and image tokens; `completion_tokens` holds reasoning, audio and both kinds of prediction tokens.
"""

from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.usage import Usage
from tollbook.providers.answer import Count, Decomposition, decode_report, flag, split_headline


class _PromptDetails(Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class _CompletionDetails(Struct, gc=False):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


class _CompletionUsage(Struct, gc=False):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_DECODER: Final = msgspec.json.Decoder(_CompletionUsage)


def decompose(raw: bytes) -> Decomposition:
    """The classes of a usage object, checked against `total_tokens`.

    `input` and `output` are kept when they are 0; a detail of 0 is left out. Where the total exceeds both headlines,
    the difference is the reasoning that other vendors of this format count beside the completion (xAI), or stays as
    `output_reasoning` under the flag `hidden_tokens`, so that the classes recompose to the vendor's total.
    """
    flags: list[str] = []
    report = decode_report(_DECODER, raw, flags)
    usage: Usage = {}
    if report.prompt_tokens is not None:
        _split_prompt(usage, report.prompt_tokens, report.prompt_tokens_details, flags)
    if report.completion_tokens is not None:
        _split_completion(usage, report, report.completion_tokens, flags)
    whole = report.prompt_tokens is not None and report.completion_tokens is not None
    if whole and report.total_tokens is not None:
        hidden = report.total_tokens - sum(usage.values())
        if hidden > 0:
            usage["output_reasoning"] = usage.get("output_reasoning", 0) + hidden
            flag(flags, "hidden_tokens")
        elif hidden < 0:
            flag(flags, "inconsistent_usage")
    return Decomposition(usage, whole, flags)


def _split_prompt(usage: Usage, prompt: int, details: _PromptDetails | None, flags: list[str]) -> None:
    if details is None:
        usage["input"] = prompt
        return
    cached, written = details.cached_tokens, details.cache_write_tokens
    audio, image = details.audio_tokens, details.image_tokens
    if not (cached or written or audio or image):
        usage["input"] = prompt
        return
    if (cached or written) and (audio or image):
        flag(flags, "assumed_modality")
    parts = {"input_cache_read": cached, "input_cache_write": written, "input.audio": audio, "input.image": image}
    split_headline(usage, prompt, "input", parts, flags)


def _split_completion(usage: Usage, report: _CompletionUsage, completion: int, flags: list[str]) -> None:
    details = report.completion_tokens_details
    if details is None:
        usage["output"] = completion
        return
    reasoning, audio = details.reasoning_tokens, details.audio_tokens
    if not (reasoning or audio):
        usage["output"] = completion
        return
    if reasoning and report.total_tokens == (report.prompt_tokens or 0) + completion + reasoning:
        split_headline(usage, completion, "output", {"output.audio": audio}, flags)
        usage["output_reasoning"] = reasoning
        flag(flags, "reasoning_beside_output")
    else:
        split_headline(usage, completion, "output", {"output_reasoning": reasoning, "output.audio": audio}, flags)
