"""OpenAI's own vocabularies, offline, for estimates that are nearer than a count of bytes.

The package bpe-openai holds them in its code. They cost a process some 130 MB and the better part of a second, once, so
they are there only in a process that called `load`; in any other, nothing of this module costs anything.

Source of which model has which: the table of tiktoken, and OpenAI's word that o200k_base goes on in its newer models.
"""

import re
from typing import Final, Protocol

from tollbook.core.faults import BadInput

SAMPLE_LIMIT: Final = 16 * 1024
"""Bytes of a text that are counted; what is longer is taken to go on alike."""

BAND: Final = "±5%"
"""How far a count of text may be from what is billed for it: what a chat adds around its messages is not in it."""

_O200K: Final = re.compile(r"(?:gpt-4o|gpt-4\.[1-9]|gpt-[5-9]|gpt-\d\d|gpt-oss|chatgpt|codex|o[1-9])(?![a-z0-9])")
_CL100K: Final = re.compile(r"(?:gpt-4|gpt-3\.5|gpt-35|text-embedding-(?:3|ada-002))(?![a-z0-9.])")
_PLACE: Final = re.compile(r"^(?:ft:|openai[/.])+")


class _Vocabulary(Protocol):
    def count(self, text: str) -> int: ...


_LOADED: Final[dict[str, _Vocabulary]] = {}


def load() -> None:
    """Load the vocabularies. Raises BadInput when bpe-openai is not installed."""
    try:
        # The package's public encodings count nothing without making a list, and hold each vocabulary twice.
        from bpe_openai._bindings import tokenizer_for_encoding
    except ImportError:
        raise BadInput("counting tokens needs bpe-openai; install tollbook[tokenizers]") from None
    for name in ("o200k_base", "cl100k_base"):
        _LOADED[name] = tokenizer_for_encoding(name)


def loaded() -> bool:
    """Whether tokens can be counted in this process."""
    return bool(_LOADED)


def vocabulary(model: str | None) -> str | None:
    """The vocabulary of a model; None for models of other vendors, whose own are not public."""
    name = _PLACE.sub("", model or "")
    if _O200K.match(name):
        return "o200k_base"
    return "cl100k_base" if _CL100K.match(name) else None


def count_tokens(sample: bytes, size: int, model: str | None) -> int:
    """The tokens of a text of `size` bytes that begins with `sample`; 0 when they cannot be counted."""
    known = _LOADED.get(vocabulary(model) or "")
    if known is None or not sample:
        return 0
    counted = known.count(sample[:SAMPLE_LIMIT].decode(errors="ignore"))
    return -(-counted * size // min(len(sample), SAMPLE_LIMIT))
