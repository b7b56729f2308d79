"""OpenAI's usage API (`GET /v1/organization/usage/...`): quantities by minute, hour or day.

`input_tokens` includes what was read from and written to a cache; it is taken apart into disjoint classes. Reasoning
is inside `output_tokens`, the vendor does not tell it here. A number under a name that is not known stays, under that
name.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO, Final

from tollbook.statements.document import Importer, Item, Line, Problem
from tollbook.statements.openai_pages import Result, results, text, texts_are_texts

_PREFIX: Final = "organization.usage."
_SIMPLE: Final = {
    "num_model_requests": "requests",
    "images": "images",
    "characters": "characters",
    "seconds": "seconds",
    "num_sessions": "code_sessions",
}
_CALLS: Final = {"file_search_calls": "file_searches", "web_search_calls": "web_searches"}
_TEXTS: Final = ("project_id", "api_key_id", "model", "service_tier")
_TOKENS: Final = ("input_tokens", "output_tokens")
_WRITES: Final = {"input_cache_write_30m_tokens": "30m", "input_cache_write_12h_tokens": "12h"}
_MODALITIES: Final = ("text", "audio", "image")


def _read(source: BinaryIO) -> Iterator[Item]:
    for result in results(source):
        if isinstance(result, Problem):
            yield result
        else:
            yield from texts_are_texts(result, _TEXTS)
            yield from _lines(result)


def _lines(result: Result) -> Iterator[Item]:
    numbers: dict[str, Decimal] = {}
    for name, value in result.members.items():
        if isinstance(value, Decimal):
            if value < 0 or value != value.to_integral_value():
                yield Problem(f"{result.where}.{name}", f"{value} is no count", "it was not read: fetch the page again")
            else:
                numbers[name] = value
    word = str(result.members.get("object", "")).removeprefix(_PREFIX).removesuffix(".result")
    quantities: dict[str, Decimal] = {}
    yield from _input(result, numbers, quantities)
    _output(numbers, quantities)
    for name, value in numbers.items():
        ours = _CALLS.get(word) if name == "num_requests" else _SIMPLE.get(name)
        quantities[ours or name] = value
    for usage_class, quantity in quantities.items():
        yield _line(result, word, usage_class, quantity)


def _input(result: Result, numbers: dict[str, Decimal], quantities: dict[str, Decimal]) -> Iterator[Problem]:
    """Takes the input apart; what it used is taken out of `numbers`."""
    whole = numbers.pop("input_tokens", None)
    if whole is None:
        return
    cached = numbers.pop("input_cached_tokens", None)
    written = numbers.pop("input_cache_write_tokens", None)
    by_time = {f"input_cache_write_{time}": numbers.pop(name) for name, time in _WRITES.items() if name in numbers}
    rest = whole - (cached or 0) - (written or 0)
    plain = numbers.pop("input_uncached_tokens", rest)
    if plain != rest:
        told = f"input_tokens is {whole}, its parts come to {plain + (cached or 0) + (written or 0)}"
        yield Problem(result.where, told, "the parts were taken: ask the vendor, or fetch the page again")
    if rest < 0 or (written is not None and written < sum(by_time.values())):
        yield Problem(result.where, "parts of the input are more than the whole", "fetch the page again")
    _by_modality("input", max(plain, Decimal(0)), "input_{}_tokens", numbers, quantities)
    if cached is not None:
        _by_modality("input_cache_read", cached, "input_cached_{}_tokens", numbers, quantities)
    if written is not None:
        remaining = written - sum(by_time.values())
        quantities |= by_time
        if remaining > 0 or not by_time:
            quantities["input_cache_write"] = max(remaining, Decimal(0))


def _output(numbers: dict[str, Decimal], quantities: dict[str, Decimal]) -> None:
    whole = numbers.pop("output_tokens", None)
    if whole is not None:
        _by_modality("output", whole, "output_{}_tokens", numbers, quantities)


def _by_modality(
    base: str, whole: Decimal, form: str, numbers: dict[str, Decimal], quantities: dict[str, Decimal]
) -> None:
    """Splits a class by modality where the vendor does and its parts come to the whole; else it stays one."""
    parts = {word: numbers.pop(form.format(word)) for word in _MODALITIES if form.format(word) in numbers}
    if not parts or sum(parts.values()) != whole:
        quantities[base] = whole
        return
    quantities[base] = parts.pop("text", Decimal(0))
    quantities |= {f"{base}.{word}": value for word, value in parts.items() if value}


def _line(result: Result, word: str, usage_class: str, quantity: Decimal) -> Line:
    batch = result.members.get("batch")
    return Line(
        where=result.where,
        begins=result.begins,
        ends=result.ends,
        kind="usage",
        item=word,
        usage_class=usage_class,
        quantity=quantity,
        project=text(result, "project_id"),
        vendor_key=text(result, "api_key_id"),
        model=text(result, "model"),
        tier=text(result, "service_tier"),
        processing="batch" if batch is True else None,
    )


IMPORTER: Final = Importer(
    kind="openai_usage",
    vendor="openai",
    version=1,
    type="usage_export",
    read=_read,
    recognises=lambda head: b'"organization.usage.' in head,
    meaning="OpenAI's usage API, one page or a JSON list of pages",
)
