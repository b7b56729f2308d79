"""Estimates of a usage that was never reported, from the text that went and came.

One token is taken for four bytes of UTF-8 text, and each piece of an answer that was streamed for at least one token.
English text has some 4.2 bytes per token in the tokenizers in use; code, tables and other languages have fewer, so an
estimate of them is low. What a model reasoned without showing it is in no estimate. Both are why the bound stands
beside it: no tokenizer gives more tokens than its text has bytes.
"""

from typing import Final, NamedTuple

from tollbook.core.usage import Usage, tokens_output
from tollbook.providers.body import read_value
from tollbook.providers.contract import Estimate, Reading
from tollbook.providers.text import measure_text

BYTES_PER_TOKEN: Final = 4
METHOD: Final = "bytes/4 v1"
TOOL_PROMPT: Final = 1024
"""More tokens than vendors add on their own where a request has tools (Anthropic states up to 804)."""

_LIMIT: Final = 1 << 53


class Prompt(NamedTuple):
    """What a request gives a model to read, as raw members.

    `conversation` is text with media in it, `schemas` is JSON read as such (tools, functions, a response format).
    `open_ended` when the vendor itself adds input while it works, such as search results. `media` when the conversation
    is known to hold some; in the parts of OpenAI and Anthropic they are found here.
    """

    conversation: list[bytes]
    schemas: list[bytes]
    open_ended: bool = False
    media: bool = False


def estimate_usage(prompt: Prompt, output_limit: int | None, reading: Reading) -> Estimate:
    """A usage from what the model was given to read, and from what the answer said and showed.

    Classes that the vendor reported before the answer broke off stand as a floor. The bound of the input is its bytes;
    with media in it, or when it is open-ended, there is none. The bound of the output is the request's own limit;
    without one, the bytes of answer text that were seen, and `method` says which. No class exceeds its bound.
    """
    reported = reading.usage or reading.partial or {}
    usage, bound = _estimate_input(prompt, reported)
    shown = max(reading.output_deltas, _tokens(reading.output_text), reported.get("output", 0))
    hidden = {name: quantity for name, quantity in reported.items() if name.startswith("output") and name != "output"}
    limit = reading.output_text if output_limit is None else output_limit
    room = max(limit, tokens_output(reported)) - tokens_output(hidden)
    usage |= {"output": min(shown, room)} | hidden
    bound |= {"output": room} | hidden
    for name in reported.keys() - usage.keys():
        usage[name] = bound[name] = reported[name]
    method = f"{METHOD}, bound {'text seen' if output_limit is None else 'output limit'}"
    return Estimate(usage=usage, method=method, bound=bound)


def _estimate_input(prompt: Prompt, reported: Usage) -> tuple[Usage, Usage]:
    """The input classes and their bounds: as reported where they were, else from the text."""
    if "input" in reported:
        usage = {name: quantity for name, quantity in reported.items() if name.startswith("input")}
        return usage, {} if prompt.open_ended else dict(usage)
    texts = [measure_text(read_value(raw)) for raw in prompt.conversation]
    schemas = sum(map(len, prompt.schemas))
    usage = {"input": _tokens(sum(text.size for text in texts) + schemas)}
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
