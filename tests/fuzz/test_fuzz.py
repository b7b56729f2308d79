"""The promises of `fuzz_targets.py`, given what hypothesis thinks of: seeds as they are, damaged, and noise."""

import json
import tracemalloc
from collections.abc import Iterator

import pytest
from fuzz_books import BOOK_TARGETS, clear
from fuzz_seeds import seeds_of
from fuzz_targets import TARGETS, TOLD, check_reading, pieces_of, read_stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook import config
from tollbook.core.faults import BadConfiguration, BadInput
from tollbook.providers.answer import RAW_LIMIT, keep_raw
from tollbook.providers.contract import Call, Prepared
from tollbook.providers.registry import ADAPTERS, BY_FORMAT
from tollbook.providers.sse import EVENT_LIMIT, Splitter, parse_event

EVERY = {**TARGETS, **BOOK_TARGETS}
SSE = Prepared(path="?alt=sse", body=b"", streams=True)
DEEP = 100_000


@pytest.fixture(scope="module", autouse=True)
def book() -> Iterator[None]:
    """The book of the book targets is removed in the end."""
    yield
    clear()


@pytest.mark.parametrize("target", sorted(EVERY))
def test_every_seed_keeps_the_promises(target: str) -> None:
    """What is recorded, as it is and cut short, breaks no promise of any parser."""
    for seed in seeds_of(target):
        EVERY[target](seed)
        EVERY[target](seed[: len(seed) * 2 // 3])


@st.composite
def damaged(draw: st.DrawFn, target: str) -> bytes:
    """A seed, of which a few parts were replaced."""
    data = bytearray(draw(st.sampled_from(seeds_of(target))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        noise = draw(
            st.binary(max_size=6) | st.sampled_from([b"\xff", b"[" * 40, b'"', b"\n", b"\r", b"9" * 25, b"{}"])
        )
        data[at : at + draw(st.integers(0, 9))] = noise
    return bytes(data)


@pytest.mark.parametrize("target", sorted(EVERY))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_damage_and_noise_break_no_promise(target: str, data: st.DataObject) -> None:
    """Nor do damaged recordings and plain noise."""
    EVERY[target](data.draw(damaged(target) | st.binary(max_size=200)))


ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [b"data", b"data:", b"data:x", b"data: x", "data: ü€𝄞".encode(), b": c", b"event: e", b"id:1", b"z"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.tuples(LINES, ENDS), min_size=1, max_size=4), max_size=4), ENDS, st.integers(0, 255))
def test_events_are_the_same_at_every_byte_boundary(
    events: list[list[tuple[bytes, bytes]]], blank: bytes, way: int
) -> None:
    """CR, LF, CRLF, missing spaces, comments, several data lines, characters cut in two: what is read is one thing."""
    data = b"".join(b"".join(line + end for line, end in event) + blank for event in events)

    def read(parts: list[bytes]) -> list[tuple[bytes, bytes]]:
        splitter = Splitter()
        pieces = [piece for part in parts for piece in splitter.push(part)] + splitter.flush()
        return [tuple(parse_event(block)) for block, _ in pieces]  # type: ignore[misc]

    whole = read([data])
    assert read(pieces_of(data, way)) == read(pieces_of(data, 0)) == whole
    for at in range(len(data)):
        assert read([data[:at], data[at:]]) == whole


@pytest.mark.parametrize("adapter", TOLD, ids=lambda adapter: adapter.endpoint)
def test_an_event_of_a_hundred_megabytes_is_not_held(adapter: object) -> None:
    """A stream that never ends its event passes; what is held stays within the limit of its reader, and one copy."""
    reader = adapter.stream(SSE)  # type: ignore[attr-defined]
    piece = b"x" * (1 << 20)
    reader.feed(b'data: {"text": "')
    tracemalloc.start()
    try:
        for _ in range(100):
            assert reader.feed(piece) == piece
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    check_reading(reader.reading())
    limit = max(getattr(reader, "event_limit", 0), EVENT_LIMIT)
    assert peak < 2.5 * limit + len(piece) * 4


NESTED = (b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b"[" * DEEP)


@pytest.mark.parametrize("number", range(len(NESTED)))
@pytest.mark.parametrize("adapter", TOLD, ids=lambda adapter: adapter.endpoint)
def test_endless_nesting_in_an_answer_is_unreadable_at_most(adapter: object, number: int) -> None:
    """A hundred thousand brackets anywhere in an answer or an event overflow no stack."""
    deep = NESTED[number]
    for body in (deep, b'{"usage":' + deep + b"}", b'{"usageMetadata":' + deep + b',"error":' + deep + b"}"):
        for status in (200, 400):
            check_reading(adapter.read(status, [], body))  # type: ignore[attr-defined]
        for event in (b"data: " + body + b"\n\n", b"[" + body + b"]"):
            for prepared in (SSE, Prepared(path="", body=b"", streams=True)):
                check_reading(read_stream(adapter, prepared, [event])[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("number", range(len(NESTED)))
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.endpoint)
def test_endless_nesting_in_a_request_is_refused_or_passed(adapter: object, number: int) -> None:
    """Nor in a request: it is bad input, or content that nobody here looks into."""
    deep = NESTED[number]
    for body in (deep, b'{"model":"m","messages":' + deep + b"}", b'{"model":' + deep + b',"input":' + deep + b"}"):
        try:
            headers = [(b"content-type", b"application/json")]
            members = adapter.scan(headers, body)  # type: ignore[attr-defined]
            call = Call(adapter.routes[0], {}, b"", headers, body, members)  # type: ignore[attr-defined]
            adapter.model(call)  # type: ignore[attr-defined]
            adapter.objects(call)  # type: ignore[attr-defined]
        except BadInput:
            continue


@pytest.mark.parametrize(
    "text", ["[" * DEEP, "book: " + "[" * DEEP + "]" * DEEP, "book: " + "{a: " * 5000 + "}" * 5000]
)
def test_endless_nesting_in_a_configuration_is_refused(text: str) -> None:
    """Nor in a configuration."""
    with pytest.raises(BadConfiguration):
        config.parse(text)


@pytest.mark.parametrize("raw", [b'{"serviceTier":"\xff"}', b'{"promptTokenCount":1,"\xff":2}'])
def test_what_is_not_utf8_in_googles_usage_is_no_fault(raw: bytes) -> None:
    """Found by fuzzing: the usage object is decoded apart, and its text for the first time then."""
    adapter = BY_FORMAT["gemini"][0]
    check_reading(adapter.read(200, [], b'{"candidates":[{"finishReason":"STOP"}],"usageMetadata":' + raw + b"}"))
    event = b'data: {"candidates":[],"usageMetadata":' + raw + b"}\n\n"
    check_reading(read_stream(adapter, SSE, [event])[0])


def test_what_stands_in_no_array_is_read_alike_however_it_is_cut() -> None:
    """Found by fuzzing: objects that follow each other without an array around them."""
    data = json.dumps({"candidates": [{"content": {"parts": [{"text": "hi"}]}}]}).encode() * 3
    adapter, prepared = BY_FORMAT["gemini"][0], Prepared(path="", body=b"", streams=True)
    whole = read_stream(adapter, prepared, [data])
    assert all(read_stream(adapter, prepared, pieces_of(data, way)) == whole for way in range(20))


def test_a_raw_usage_is_never_longer_than_its_limit() -> None:
    """Found by fuzzing: each byte that is no UTF-8 becomes three."""
    kept = keep_raw(b'{"' + b"\xff" * (RAW_LIMIT - 8) + b'":1}', [])
    assert kept is None or len(kept) <= RAW_LIMIT
