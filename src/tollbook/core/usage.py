"""Metered quantities in disjoint classes: every token in exactly one class.

A usage is a plain `dict` of class name to quantity. A class that is absent was not reported; a class with 0 was
reported as zero. The two are never the same.
"""

from typing import Final, TypeAlias

Usage: TypeAlias = dict[str, int]

TOKEN_CLASSES: Final = (
    "input",
    "input_cache_read",
    "input_cache_write",
    "input_cache_write_5m",
    "input_cache_write_30m",
    "input_cache_write_1h",
    "input_cache_write_12h",
    "output",
    "output_reasoning",
)
"""`input` is what was neither read from nor written to a cache; `input_cache_write` is a write whose time to live
was not reported; `output` excludes reasoning where reasoning is reported."""

MODALITIES: Final = ("audio", "image", "video", "document")
"""Suffixes of a token class (`input.audio`); no suffix means text."""

COUNTERS: Final = (
    "requests",
    "web_searches",
    "file_searches",
    "code_sessions",
    "seconds",
    "characters",
    "images",
    "pages",
    "units",
)

CLASSES: Final = frozenset(
    [*TOKEN_CLASSES, *COUNTERS, *(f"{name}.{modality}" for name in TOKEN_CLASSES for modality in MODALITIES)]
)

_ORDER: Final = {
    name: (index, suffix)
    for index, base in enumerate((*TOKEN_CLASSES, *COUNTERS))
    for suffix, name in enumerate((base, *(f"{base}.{modality}" for modality in MODALITIES)))
}


def class_order(name: str) -> tuple[int, int]:
    """Sort key that keeps classes in the order of the word list, modalities after their base."""
    return _ORDER[name]


def tokens(usage: Usage) -> int:
    """All tokens, input and output."""
    return tokens_input(usage) + tokens_output(usage)


def tokens_input(usage: Usage) -> int:
    """All input tokens, cached or not: what selects a vendor's context band."""
    return sum(quantity for name, quantity in usage.items() if name.startswith("input"))


def tokens_output(usage: Usage) -> int:
    """All output tokens, reasoning included."""
    return sum(quantity for name, quantity in usage.items() if name.startswith("output"))


def token_sums(usage: Usage) -> dict[str, int]:
    """All input and output tokens, and how many of them were cached and reasoning: as vendors sum up a whole."""
    return {
        "input": tokens_input(usage),
        "input_cache_read": _sum_of(usage, "input_cache_read"),
        "output": tokens_output(usage),
        "output_reasoning": _sum_of(usage, "output_reasoning"),
    }


def _sum_of(usage: Usage, base: str) -> int:
    return sum(quantity for name, quantity in usage.items() if name.partition(".")[0] == base)
