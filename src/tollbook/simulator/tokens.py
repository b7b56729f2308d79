"""What the simulated vendor meters: token counts, its counting rule, and the text it answers with."""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

PER_MESSAGE: Final = 4
"""Tokens that each message costs beside its text."""

PER_REQUEST: Final = 3
"""Tokens that each request costs beside its messages."""

PER_OBJECT: Final = 85
"""Tokens of a content part that is not text (an image, a document)."""

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")

# Some words are not ASCII, so that readers of streams meet characters of several bytes in every longer answer.
_TAPE: Final = [
    f" {word}"
    for word in """
        the a toll book of each road keeps what was paid who passed when and why so that naïve readers in Zürich or 東京
        can count again every wagon crossed under lantern light while clerks wrote figures down twice never erasing one
        line because rivers move slowly but ledgers move less résumé pages were bound with thread then sealed
    """.split()  # noqa: SIM905 - a list of sixty strings is no text any more
]


class Tokens(Struct, frozen=True):
    """What a piece of work uses, in disjoint classes. The wire formats add them up as their vendors do.

    `input` is text that was neither read from nor written to a cache, `output` is text without `reasoning`;
    `tool_prompt` is what the vendor's own tools put into the prompt. `advisor_*` are tokens of a second model,
    `compaction_*` of the same model apart from the answer. The last seven are no tokens but counts.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    input_audio: int = 0
    input_image: int = 0
    tool_prompt: int = 0
    output_audio: int = 0
    output_image: int = 0
    advisor_input: int = 0
    advisor_output: int = 0
    compaction_input: int = 0
    compaction_output: int = 0
    web_searches: int = 0
    file_searches: int = 0
    code_sessions: int = 0
    images: int = 0
    seconds: int = 0
    characters: int = 0
    search_units: int = 0

    @property
    def cache_write(self) -> int:
        return self.cache_write_5m + self.cache_write_1h

    @property
    def all_input(self) -> int:
        cached = self.cache_read + self.cache_write_5m + self.cache_write_1h
        return self.input + cached + self.input_audio + self.input_image + self.tool_prompt

    @property
    def all_output(self) -> int:
        return self.output + self.reasoning + self.output_audio + self.output_image

    def generated(self, count: int) -> "Tokens":
        """These counts as they stood when only `count` output tokens were generated; reasoning comes first."""
        if count >= self.all_output:
            return self
        reasoning = min(self.reasoning, count)
        output = min(self.output, count - reasoning)
        audio = min(self.output_audio, count - reasoning - output)
        image = count - reasoning - output - audio
        return replace(self, reasoning=reasoning, output=output, output_audio=audio, output_image=image)

    def counted(self) -> dict[str, int]:
        """The classes that are not zero."""
        return {name: count for name, count in asdict(self).items() if count}


def count_text(text: str) -> int:
    """Tokens of a text: every run of letters, digits and underscores is one, every other visible character is one."""
    return len(_TOKEN.findall(text))


def count_request(texts: Iterable[str], messages: int, objects: int) -> int:
    """Input tokens of a request: its texts, and fixed amounts per message, per object and per request."""
    return sum(map(count_text, texts)) + PER_MESSAGE * messages + PER_OBJECT * objects + PER_REQUEST


def answer_words(count: int, offset: int) -> list[str]:
    """Words of an answer, one token each; joined by nothing they are its text."""
    start = offset % len(_TAPE)
    tape = _TAPE[start:] + _TAPE[:start]
    words = (tape * (count // len(tape) + 1))[:count]
    return [words[0].lstrip(), *words[1:]] if words else []
