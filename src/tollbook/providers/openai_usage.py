"""The usage objects of the OpenAI format in disjoint classes. Their convention is nested: details lie in headlines.

Source: the API reference and the types of the official SDK, openai 3.54. Chat and completions (`CompletionUsage`):
`prompt_tokens` holds cached, cache-write, audio and image tokens; `completion_tokens` holds reasoning, audio and both
kinds of prediction tokens. Responses (`ResponseUsage`): the same nesting by other names, and cache writes by time to
live. Images: text and image tokens on both sides. Audio: tokens, or a duration in seconds.

Other vendors of the format, by their documentation: DeepSeek mirrors `cached_tokens` as `prompt_cache_hit_tokens`
(the same quantity, never added); Mistral reports cached tokens as `num_cached_tokens` and meters audio that it is given
by the second (`prompt_audio_seconds`); OpenRouter adds video and image details and counts web searches; xAI counts
reasoning beside the completion.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.usage import Usage
from tollbook.providers.answer import Count, Decomposition, decode_report, flag, split_headline


class _PromptDetails(Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    video_tokens: Count | None = None


class _CompletionDetails(Struct, gc=False):
    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class _CompletionUsage(Struct, gc=False):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: Any = None
    num_cached_tokens: Any = None
    prompt_audio_seconds: Any = None
    server_tool_use_details: Any = None


class _WriteDetails(Struct, gc=False):
    ttl_30m_tokens: Count | None = None
    ttl_12h_tokens: Count | None = None


class _InputDetails(Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_write_tokens_details: _WriteDetails | None = None
    text_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class _CachedDetails(Struct, gc=False):
    cached_image_tokens: Count | None = None
    cached_text_tokens: Count | None = None


class _OutputDetails(Struct, gc=False):
    reasoning_tokens: Count | None = None
    text_tokens: Count | None = None
    image_tokens: Count | None = None
    audio_tokens: Count | None = None


class _TokenUsage(Struct, gc=False):
    """What responses, images and audio report; no endpoint has all members."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_tokens_details: _InputDetails | None = None
    input_token_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    cached_tokens: Count | None = None
    cached_tokens_details: _CachedDetails | None = None


class _Duration(Struct, gc=False):
    seconds: Decimal | None = None


_DECODER: Final = msgspec.json.Decoder(_CompletionUsage)
_TOKEN_DECODER: Final = msgspec.json.Decoder(_TokenUsage)
_DURATION_DECODER: Final = msgspec.json.Decoder(_Duration)


def decompose(raw: bytes) -> Decomposition:
    """The classes of a chat's or completion's usage object, checked against `total_tokens`.

    `input` and `output` are kept when they are 0; a detail of 0 is left out. Where the total exceeds both headlines,
    the difference is the reasoning that other vendors of this format count beside the completion (xAI), or audio that
    is metered by the second (Mistral), or stays as `output_reasoning` under the flag `hidden_tokens`, so that the
    classes recompose to the vendor's total.
    """
    flags: list[str] = []
    report = decode_report(_DECODER, raw, flags)
    usage: Usage = {}
    if report.prompt_tokens is not None:
        _split_prompt(usage, report, report.prompt_tokens, flags)
    if report.completion_tokens is not None:
        _split_completion(usage, report, report.completion_tokens, flags)
    whole = report.prompt_tokens is not None and report.completion_tokens is not None
    seconds = None if report.prompt_audio_seconds is None else _count(report.prompt_audio_seconds)
    if whole:
        _check(usage, report.total_tokens, flags, by_second=bool(seconds))
    if seconds:
        usage["seconds"] = seconds
    if isinstance(report.server_tool_use_details, dict):
        searches = _count(report.server_tool_use_details.get("web_search_requests"))
        if searches:
            usage["web_searches"] = searches
    return Decomposition(usage, whole, flags)


def decompose_input(raw: bytes) -> Decomposition:
    """The classes of an embedding's usage object, which has an input only."""
    flags: list[str] = []
    report = decode_report(_DECODER, raw, flags)
    usage: Usage = {}
    if report.prompt_tokens is not None:
        _split_prompt(usage, report, report.prompt_tokens, flags)
        if report.completion_tokens:
            usage["output"] = report.completion_tokens
        if report.total_tokens is not None and report.total_tokens != sum(usage.values()):
            flag(flags, "inconsistent_usage")
    return Decomposition(usage, report.prompt_tokens is not None, flags)


def decompose_response(raw: bytes) -> Decomposition:
    """The classes of a response's usage object, checked against `total_tokens`.

    A cache write whose time to live was not reported is `input_cache_write` under the flag `assumed_cache_ttl`.
    """
    flags: list[str] = []
    report = decode_report(_TOKEN_DECODER, raw, flags)
    usage: Usage = {}
    if report.input_tokens is not None:
        details = report.input_tokens_details or _InputDetails()
        parts = {"input_cache_read": details.cached_tokens} | _cache_writes(details, flags)
        split_headline(usage, report.input_tokens, "input", parts, flags)
    if report.output_tokens is not None:
        reasoning = None if report.output_tokens_details is None else report.output_tokens_details.reasoning_tokens
        split_headline(usage, report.output_tokens, "output", {"output_reasoning": reasoning}, flags)
    whole = report.input_tokens is not None and report.output_tokens is not None
    if whole:
        _check(usage, report.total_tokens, flags)
    return Decomposition(usage, whole, flags)


def decompose_images(raw: bytes) -> Decomposition:
    """The classes of an image model's usage object: what it wrote without details are the tokens of the image."""
    flags: list[str] = []
    report = decode_report(_TOKEN_DECODER, raw, flags)
    usage: Usage = {}
    if report.input_tokens is not None:
        _split_pictured(usage, report, report.input_tokens, flags)
    if report.output_tokens is not None:
        details = report.output_tokens_details
        image = report.output_tokens if details is None else details.image_tokens
        reasoning = None if details is None else details.reasoning_tokens
        parts = {"output.image": image, "output_reasoning": reasoning}
        split_headline(usage, report.output_tokens, "output", parts, flags)
    whole = report.input_tokens is not None and report.output_tokens is not None
    if whole:
        _check(usage, report.total_tokens, flags)
    return Decomposition(usage, whole, flags)


def decompose_audio(raw: bytes, spoken: bool = False) -> Decomposition:
    """The classes of a transcription's usage object (tokens, or seconds), or of a speech's (`spoken`: audio comes out).

    Seconds are whole ones, rounded half up: the vendor bills transcription rounded to the nearest second.
    """
    flags: list[str] = []
    duration = decode_report(_DURATION_DECODER, raw, []).seconds
    if duration is not None:
        seconds = whole_seconds(duration)
        return Decomposition({} if seconds is None else {"seconds": seconds}, seconds is not None, flags)
    report = decode_report(_TOKEN_DECODER, raw, flags)
    if report.input_tokens is None and report.output_tokens is None:
        return decompose(raw)
    usage: Usage = {}
    if report.input_tokens is not None:
        details = report.input_token_details or report.input_tokens_details
        if details is None and not spoken:
            flag(flags, "assumed_modality")
        audio = None if details is None else details.audio_tokens
        split_headline(usage, report.input_tokens, "input", {"input.audio": audio}, flags)
    if report.output_tokens is not None:
        usage["output.audio" if spoken else "output"] = report.output_tokens
    whole = report.input_tokens is not None and report.output_tokens is not None
    if whole:
        _check(usage, report.total_tokens, flags)
    return Decomposition(usage, whole, flags)


def whole_seconds(duration: Decimal) -> int | None:
    """A duration in whole seconds, rounded half up; None when it is none."""
    if not duration.is_finite() or not 0 <= duration <= 1 << 53:
        return None
    return int(duration.to_integral_value(ROUND_HALF_UP))


def _count(value: object) -> int | None:
    """A quantity that a vendor adds to the format; None when it is none."""
    return value if type(value) is int and 0 <= value <= 1 << 53 else None


def _check(usage: Usage, total: int | None, flags: list[str], by_second: bool = False) -> None:
    """Hold the classes against the vendor's total. What it has beside them is kept, under a flag."""
    if total is None:
        return
    hidden = total - sum(usage.values())
    if hidden > 0 and by_second:
        flag(flags, "audio_by_second")
    elif hidden > 0:
        usage["output_reasoning"] = usage.get("output_reasoning", 0) + hidden
        flag(flags, "hidden_tokens")
    elif hidden < 0:
        flag(flags, "inconsistent_usage")


def _split_prompt(usage: Usage, report: _CompletionUsage, prompt: int, flags: list[str]) -> None:
    details = report.prompt_tokens_details
    cached = None if details is None else details.cached_tokens
    if cached is None and report.prompt_cache_hit_tokens is not None:
        cached = _count(report.prompt_cache_hit_tokens)
    if cached is None and report.num_cached_tokens is not None:
        cached = _count(report.num_cached_tokens)
    written = media = None
    if details is not None:
        written = details.cache_write_tokens
        media = details.audio_tokens or details.image_tokens or details.video_tokens
    if not (cached or written or media):
        usage["input"] = prompt
        return
    parts = {"input_cache_read": cached}
    if details is not None and (written or media):
        parts["input_cache_write"] = written
        parts["input.audio"] = details.audio_tokens
        parts["input.image"] = details.image_tokens
        parts["input.video"] = details.video_tokens
    if (cached or written) and media:
        flag(flags, "assumed_modality")
    split_headline(usage, prompt, "input", parts, flags)


def _split_completion(usage: Usage, report: _CompletionUsage, completion: int, flags: list[str]) -> None:
    details = report.completion_tokens_details
    if details is None:
        usage["output"] = completion
        return
    reasoning = details.reasoning_tokens
    if not (reasoning or details.audio_tokens or details.image_tokens):
        usage["output"] = completion
        return
    parts = {"output.audio": details.audio_tokens, "output.image": details.image_tokens}
    if reasoning and report.total_tokens == (report.prompt_tokens or 0) + completion + reasoning:
        split_headline(usage, completion, "output", parts, flags)
        usage["output_reasoning"] = reasoning
        flag(flags, "reasoning_beside_output")
    else:
        split_headline(usage, completion, "output", {"output_reasoning": reasoning} | parts, flags)


def _cache_writes(details: _InputDetails, flags: list[str]) -> dict[str, int | None]:
    """The tokens written to the cache by time to live, and those whose time was not reported."""
    split = details.cache_write_tokens_details or _WriteDetails()
    by_time = {"input_cache_write_30m": split.ttl_30m_tokens, "input_cache_write_12h": split.ttl_12h_tokens}
    told = sum(quantity or 0 for quantity in by_time.values())
    written = details.cache_write_tokens if details.cache_write_tokens is not None else told
    if written < told:
        flag(flags, "inconsistent_usage")
        by_time, told = {}, 0
    if written > told:
        flag(flags, "assumed_cache_ttl")
    return {"input_cache_write": written - told} | by_time


def _split_pictured(usage: Usage, report: _TokenUsage, headline: int, flags: list[str]) -> None:
    """An input of text and images, of which each may have been cached."""
    details = report.input_tokens_details or _InputDetails()
    image = details.image_tokens or 0
    cached = report.cached_tokens if report.cached_tokens is not None else details.cached_tokens
    split = report.cached_tokens_details
    if cached and split is None and image:
        flag(flags, "assumed_modality")
    cached_image = 0 if split is None else split.cached_image_tokens or 0
    if cached_image > image or cached_image > (cached or 0):
        flag(flags, "inconsistent_usage")
        cached_image = 0
    parts: dict[str, int | None] = {
        "input_cache_read": (cached or 0) - cached_image,
        "input_cache_read.image": cached_image,
        "input.image": image - cached_image,
    }
    split_headline(usage, headline, "input", parts, flags)
