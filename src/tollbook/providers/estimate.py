"""Estimates of a usage that was never reported, from the text that went and came.

One token is taken for four bytes of UTF-8 text, and each piece of an answer that was streamed for at least one token.
English prose and code have 4.0 to 4.2 bytes per token in o200k_base. Of the kinds of text that were measured, furthest
off are lists of numbers (1.9, so half is estimated) and Hindi (8.0, so twice as much): the band in `METHOD`. In a
process that loaded the vocabularies (`tokenizer.load`) tokens of OpenAI's models are counted instead.

What a model reasoned without showing it is in no estimate: of models that are known to do so, and where the request
asks for it, `method` says that the estimate is a lower bound. No tokenizer gives more tokens than its text has bytes,
which is the bound that stands beside an estimate.
"""

import re
from typing import Final, NamedTuple

from tollbook.core.usage import Usage, tokens_output
from tollbook.providers import tokenizer
from tollbook.providers.body import read_value
from tollbook.providers.contract import Estimate, Reading
from tollbook.providers.text import measure_text

BYTES_PER_TOKEN: Final = 4
METHOD: Final = "bytes/4 v1 (-55%..+105%)"
_REASONS: Final = re.compile(
    r"(?:o[1-9]|gpt-[5-9]|gpt-oss|codex|gemini-(?:2\.5|[3-9])|grok-[3-9]|deepseek-r|magistral)(?![a-z])"
)
"""Models that reason without being asked to."""

TOOL_PROMPT: Final = 1024
"""More tokens than vendors add on their own where a request has tools (Anthropic states up to 804)."""

_LIMIT: Final = 1 << 53


class Prompt(NamedTuple):
    """What a request gives a model to read, as raw members.

    `conversation` is text with media in it, `schemas` is JSON read as such (tools, functions, a response format).
    `open_ended` when the vendor itself adds input while it works, such as search results. `media` when the conversation
    is known to hold some; in the parts of OpenAI and Anthropic they are found here. `reasons` when the request asks the
    model to reason.
    """

    conversation: list[bytes]
    schemas: list[bytes]
    open_ended: bool = False
    media: bool = False
    reasons: bool = False


def estimate_usage(prompt: Prompt, output_limit: int | None, reading: Reading) -> Estimate:
    """A usage from what the model was given to read, and from what the answer said and showed.

    Classes that the vendor reported before the answer broke off stand as a floor. The bound of the input is its bytes;
    with media in it, or when it is open-ended, there is none. The bound of the output is the request's own limit;
    without one, the bytes of answer text that were seen, and `method` says which. No class exceeds its bound.
    """
    reported = reading.usage or reading.partial or {}
    usage, bound = _estimate_input(prompt, reported, reading.model_served)
    counted = reading.output_tokens or max(reading.output_deltas, _tokens(reading.output_text))
    shown = max(counted, reported.get("output", 0))
    hidden = {name: quantity for name, quantity in reported.items() if name.startswith("output") and name != "output"}
    limit = reading.output_text if output_limit is None else output_limit
    room = max(limit, tokens_output(reported)) - tokens_output(hidden)
    usage |= {"output": min(shown, room)} | hidden
    bound |= {"output": room} | hidden
    for name in reported.keys() - usage.keys():
        usage[name] = bound[name] = reported[name]
    known = tokenizer.vocabulary(reading.model_served) if reading.output_tokens else None
    method = METHOD if known is None else f"{known} v1 ({tokenizer.BAND})"
    method += f", bound {'text seen' if output_limit is None else 'output limit'}"
    if prompt.reasons or _REASONS.search(reading.model_served or ""):
        method += ", lower bound: reasoning is not seen"
    return Estimate(usage=usage, method=method, bound=bound)


def _estimate_input(prompt: Prompt, reported: Usage, model: str | None) -> tuple[Usage, Usage]:
    """The input classes and their bounds: as reported where they were, else from the text."""
    if "input" in reported:
        usage = {name: quantity for name, quantity in reported.items() if name.startswith("input")}
        return usage, {} if prompt.open_ended else dict(usage)
    sample = bytearray() if tokenizer.loaded() else None
    texts = [measure_text(read_value(raw), sample, tokenizer.SAMPLE_LIMIT) for raw in prompt.conversation]
    schemas = sum(map(len, prompt.schemas))
    size = sum(text.size for text in texts) + schemas
    usage = {"input": tokenizer.count_tokens(bytes(sample or b""), size, model) or _tokens(size)}
    if prompt.open_ended or prompt.media or any(text.media for text in texts):
        return usage, {}
    bound = sum(map(len, prompt.conversation)) + schemas + (TOOL_PROMPT if schemas else 0)
    return usage, {"input": bound}


def output_limit(*raw_limits: bytes | None, answers: bytes | None = None) -> int | None:
    """The least of the limits a request sets on its output tokens, times the answers it asks for; None without one."""
    limits = [value for value in map(read_value, raw_limits) if type(value) is int and 0 < value <= _LIMIT]
    if not limits:
        return None
    count = read_value(answers)
    return min(limits) * (count if type(count) is int and 0 < count <= _LIMIT else 1)


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)
