"""What vendors of the OpenAI format add: their own figures of cost, exact; and events that hold a whole answer."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.providers.compat import vendor_cost
from tollbook.providers.contract import FLAGS, Prepared, Reading
from tollbook.providers.openai_usage import (
    decompose,
    decompose_audio,
    decompose_images,
    decompose_input,
    decompose_response,
)
from tollbook.providers.registry import BY_ENDPOINT


@given(st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=18))
def test_a_cost_is_taken_digit_by_digit(cost: Decimal) -> None:
    """What the vendor wrote is what is kept, to the last digit: no float on the way."""
    told = vendor_cost(b'{"prompt_tokens":1,"cost":' + format(cost, "f").encode() + b"}")
    assert told is not None and Decimal(told) == cost and "e" not in told.lower()


@given(st.integers(0, (1 << 62) - 1))
def test_ticks_are_exact(ticks: int) -> None:
    """Ten thousand million ticks are a dollar; none is lost."""
    told = vendor_cost(b'{"cost_in_usd_ticks":%d}' % ticks)
    assert told is not None and Decimal(told) * 10**10 == ticks


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"cost":0.00014}', "0.00014"),
        (b'{"cost":1.4e-07}', "0.00000014"),
        (b'{"cost":0}', "0"),
        (b'{"cost":2E2}', "200"),
        (b'{"cost":-0.1}', None),
        (b'{"cost":"0.1"}', None),
        (b'{"cost":null}', None),
        (b'{"cost":{"usd":1}}', None),
        (b'{"cost":1e999999999}', None),
        (b'{"cost":' + b"9" * 500 + b"}", None),
        (b'{"cost_in_usd_ticks":1.5}', None),
        (b'{"cost_in_usd_ticks":-1}', None),
        (b'{"cost_details":{"upstream":1}}', None),
        (b'{"prompt_tokens":1}', None),
        (b'{"cost":', None),
    ],
)
def test_what_is_no_cost_is_none(raw: bytes, told: str | None) -> None:
    """A figure that is no amount is unknown, never zero."""
    assert vendor_cost(raw) == told


NUMBERS = st.one_of(st.integers(-5, 10**6), st.none(), st.floats(allow_nan=False, allow_infinity=False), st.text())
DETAILS = st.dictionaries(
    st.sampled_from(
        ["cached_tokens", "audio_tokens", "image_tokens", "text_tokens", "reasoning_tokens", "cache_write_tokens"]
    ),
    NUMBERS,
)
USAGES = st.dictionaries(
    st.sampled_from(
        [
            "prompt_tokens",
            "completion_tokens",
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "seconds",
            "num_cached_tokens",
            "prompt_cache_hit_tokens",
            "prompt_audio_seconds",
            "prompt_tokens_details",
            "completion_tokens_details",
            "input_tokens_details",
            "input_token_details",
            "output_tokens_details",
        ]
    ),
    st.one_of(NUMBERS, DETAILS, st.lists(st.integers(), max_size=2)),
)


@given(USAGES)
def test_any_usage_is_read_into_known_words(usage: dict[str, object]) -> None:
    """Whatever a usage object holds, its classes are counts that are not negative, and its flags are known."""
    raw = json.dumps(usage).encode()
    for read in (decompose, decompose_input, decompose_response, decompose_images, decompose_audio):
        found = read(raw)
        assert all(type(quantity) is int and quantity >= 0 for quantity in found.usage.values())
        assert set(found.flags) <= set(FLAGS)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_parts_never_change_the_sum(prompt: int, completion: int, data: st.DataObject) -> None:
    """Details that fit move tokens between classes; the classes still come to the vendor's total."""
    cached = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - cached))
    short = data.draw(st.integers(0, written))
    reasoning = data.draw(st.integers(0, completion))
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": written,
            "cache_write_tokens_details": {"ttl_30m_tokens": short, "ttl_12h_tokens": written - short},
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }
    found = decompose_response(json.dumps(usage).encode())
    assert found.whole and not found.flags
    assert sum(found.usage.values()) == prompt + completion


def read_in_pieces(endpoint: str, body: bytes, size: int = 16_384) -> tuple[Reading, bool]:
    reader = BY_ENDPOINT[endpoint].stream(Prepared(path="", body=b"", streams=True))
    passed = b"".join(reader.feed(body[start : start + size]) for start in range(0, len(body), size)) + reader.flush()
    assert passed == body
    return reader.reading(), reader.terminal


@pytest.mark.parametrize("endpoint", ["openai.responses", "openai.images"])
def test_an_event_with_a_whole_image_is_read(endpoint: str) -> None:
    """The terminal event holds megabytes of image before the usage; the usage is read all the same."""
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    image = "A" * (3 << 20)
    event: dict[str, object] = {"type": "image_generation.completed", "b64_json": image, "usage": usage}
    if endpoint == "openai.responses":
        output = [{"id": "ig_1", "type": "image_generation_call", "result": image}]
        event = {"type": "response.completed", "response": {"id": "r", "output": output, "usage": usage}}
    body = f"data: {json.dumps(event)}\n\n".encode()
    reading, terminal = read_in_pieces(endpoint, body)
    assert terminal and reading.complete
    assert reading.usage is not None and sum(reading.usage.values()) == 12


def test_an_event_beyond_the_limit_passes_unread() -> None:
    """An event of 40 MB passes; what it said is unknown, under a flag, and the answer is not taken for whole."""
    body = b'data: {"type":"response.completed","response":{"id":"' + b"A" * (40 << 20) + b'"}}\n\n'
    reading, terminal = read_in_pieces("openai.responses", body, 1 << 20)
    assert not terminal and not reading.complete
    assert reading.flags == ["event_too_long"]


@pytest.mark.parametrize("endpoint", [name for name in BY_ENDPOINT if name.startswith(("openai.", "azure."))])
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"usage":' + b'{"a":' * 100_000, b"\xff\xfe", b"", b"null", b'{"id":"\\ud800"}']
)
def test_hostile_answers_are_read(endpoint: str, body: bytes) -> None:
    """Deep, undecodable and empty answers give a reading, buffered and streamed."""
    adapter = BY_ENDPOINT[endpoint]
    for status in (200, 400, 502):
        assert adapter.read(status, [], body).usage is None
    reader = adapter.stream(Prepared(path="", body=b"", streams=True))
    reader.feed(b"data: " + body + b"\n\n")
    reader.flush()
    assert reader.reading().usage is None
