"""Where the vocabularies are loaded, OpenAI's tokens are counted; the bands that estimates state are true."""

import pathlib
import sys
from collections.abc import Iterator

import pytest
from bpe_openai import _bindings
from recorded_wire import OPENAI, call_of, read_pieces

from tollbook.core.faults import BadInput
from tollbook.providers import tokenizer
from tollbook.providers.contract import Reading

ROOT = pathlib.Path(__file__).parent.parent.parent
CHUNK = '{"id":"c","model":"%s","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
REQUEST = b'{"model":"m","messages":[{"role":"user","content":"When did the road open, and who took the first toll?"}]}'


@pytest.fixture
def loaded() -> Iterator[None]:
    tokenizer.load()
    yield
    tokenizer._LOADED.clear()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-5.5", "o200k_base"),
        ("gpt-6.1-sol", "o200k_base"),
        ("o3-pro", "o200k_base"),
        ("openai.gpt-oss-120b-1:0", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4o-mini:acme::1", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("claude-haiku-5-5", None),
        ("gemini-3.8-flash", None),
        ("mistral-large", None),
        ("olmo-2", None),
        (None, None),
    ],
)
def test_a_model_has_its_familys_vocabulary(model: str | None, name: str | None) -> None:
    """OpenAI's models, by family and however they are named; nobody else's."""
    assert tokenizer.vocabulary(model) == name


def stream(model: str, words: list[str]) -> Reading:
    chunks = [f"data: {CHUNK % (model, word)}\n\n".encode() for word in words]
    return read_pieces(OPENAI, chunks)[0]


WORDS = ["The road opened in 1663, ", "and the first toll was taken by a hundred surveyors ", "of the highways."]


@pytest.mark.usefixtures("loaded")
def test_a_broken_answer_is_counted_in_its_models_tokens() -> None:
    """The text that was delivered, in the vocabulary of the model that answered, and the method says which."""
    reading = stream("gpt-4o-2024-08-06", WORDS)
    counted = _bindings.tokenizer_for_encoding("o200k_base").count("".join(WORDS))
    assert reading.output_tokens == counted
    made = OPENAI.estimate(call_of(OPENAI, REQUEST), reading)
    assert made.usage["output"] == counted
    assert made.method == "o200k_base v1 (±5%), bound text seen"
    assert 12 <= made.usage["input"] <= 16


@pytest.mark.usefixtures("loaded")
def test_other_vendors_models_are_counted_in_bytes() -> None:
    """Without the model's own vocabulary nothing is pretended."""
    reading = stream("mistral-large", WORDS)
    assert reading.output_tokens == 0
    assert OPENAI.estimate(call_of(OPENAI, REQUEST), reading).method.startswith("bytes/4")


def test_nothing_is_kept_where_nothing_is_loaded() -> None:
    """A process that never loads the vocabularies keeps no text and pays nothing."""
    assert not tokenizer.loaded()
    assert stream("gpt-4o", WORDS).output_tokens == 0


@pytest.mark.usefixtures("loaded")
def test_a_long_answer_is_kept_in_part_and_counted_whole() -> None:
    """No more than the limit and one piece is held; the rest is taken to go on alike."""
    reader = OPENAI.stream(OPENAI.prepare(call_of(OPENAI, b'{"model":"m"}'), "m"))
    for _ in range(5000):
        reader.feed(f"data: {CHUNK % ('gpt-4o', WORDS[1])}\n\n".encode())
    assert len(reader._sample) <= tokenizer.SAMPLE_LIMIT + len(WORDS[1])  # type: ignore[attr-defined]
    exact = _bindings.tokenizer_for_encoding("o200k_base").count(WORDS[1] * 5000)
    assert abs(reader.reading().output_tokens - exact) <= exact / 100


@pytest.mark.usefixtures("loaded")
def test_a_sample_cut_inside_a_letter_is_counted() -> None:
    """Bytes that end in the middle of a letter are no fault."""
    assert tokenizer.count_tokens("ürümqi".encode()[:1], 1, "gpt-4o") == 0
    assert tokenizer.count_tokens("aü".encode()[:2], 2, "gpt-4o") == 1


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the extra."""
    monkeypatch.setitem(sys.modules, "bpe_openai._bindings", None)
    with pytest.raises(BadInput, match=r"tollbook\[tokenizers\]"):
        tokenizer.load()


TEXTS = {
    "prose": (ROOT / "docs" / "why.md").read_text(),
    "code": (ROOT / "src" / "tollbook" / "providers" / "estimate.py").read_text(),
    "json": (ROOT / "tests" / "wire" / "openai" / "chat.json").read_text() * 20,
    "numbers": "".join(f"{place * 7919}, " for place in range(3000)),
    "german": "Der Zöllner schrieb jede Durchfahrt in sein Buch, und das Buch hielt jeder Prüfung stand. " * 20,
    "chinese": "收费员把每一次通行都写进账本而账本经得起任何审计" * 20,
    "russian": "Сборщик записывал каждый проезд в книгу, и книга выдерживала любую проверку. " * 20,
    "hindi": "चुंगी लेने वाला हर गुज़रने वाले को अपनी बही में लिखता था और बही हर जाँच में सही निकलती थी। " * 20,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_the_band_of_counting_bytes_is_true(kind: str) -> None:
    """Four bytes a token is within the stated band for prose, code, JSON, lists of numbers and other scripts."""
    text = TEXTS[kind]
    exact = _bindings.tokenizer_for_encoding("o200k_base").count(text)
    estimated = len(text.encode()) / 4
    assert 0.45 <= estimated / exact <= 2.05, estimated / exact
