"""The output limit that a request sets, in whichever member its format has for it."""

from typing import Final

from tollbook.providers.body import read_value
from tollbook.providers.estimate import output_limit

_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "max_gen_len")
"""OpenAI's formats, Anthropic, Mistral, Cohere, those compatible with them, and Llama."""
_ANSWERS: Final = ("n", "best_of")
_NESTED: Final = {
    "generationConfig": (("maxOutputTokens", "max_output_tokens"), ("candidateCount", "candidate_count")),
    "generation_config": (("maxOutputTokens", "max_output_tokens"), ("candidateCount", "candidate_count")),
    "inferenceConfig": (("maxTokens", "max_new_tokens"), ()),
    "textGenerationConfig": (("maxTokenCount",), ()),
}
"""Google, in both spellings that it reads; AWS: Converse and Nova, Titan."""

_COUNTS: Final = frozenset(_ANSWERS)
_NAMES: Final = frozenset((*_LIMITS, *_ANSWERS, *_NESTED))


def asked_limit(members: dict[str, bytes]) -> int | None:
    """The most output tokens that a request allows over all its answers; None when it sets no limit."""
    named = [name for name in members if name in _NAMES]
    if not named:
        return None
    if len(named) == 1 and named[0] not in _COUNTS and (plain := members[named[0]]).isdigit() and len(plain) < 10:
        return int(plain) or None
    raw = [members[name] for name in _LIMITS if name in members]
    if raw:
        counts: list[bytes | None] = [members[name] for name in _ANSWERS if name in members]
        limits = [output_limit(*raw, answers=count) for count in counts or [None]]
        return max((limit for limit in limits if limit is not None), default=None)
    for outer, (most, answers) in _NESTED.items():
        inner = read_value(members.get(outer)) if outer in members else None
        if isinstance(inner, dict) and any(name in inner for name in most):
            return output_limit(_first(inner, most), answers=_first(inner, answers))
    return None


def _first(inner: dict[str, object], names: tuple[str, ...]) -> bytes | None:
    return next((_text(inner[name]) for name in names if name in inner), None)


def _text(value: object) -> bytes | None:
    return str(value).encode() if type(value) is int else None
