"""Streams: any split of the bytes gives the same reading and the same bytes to the client."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_wire import ANTHROPIC, OPENAI, STREAMS, adapter_of, body_of, read_pieces

from tollbook.providers.contract import Prepared
from tollbook.providers.sse import EVENT_LIMIT, Splitter, parse_event, single_event

LONGEST = max(len(body_of(name)) for name in STREAMS)
CHUNK = b'data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces that end at some places."""
    ends = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(ends) if end > start]


def hidden_usage(data: bytes) -> bytes:
    """What a client must get that did not ask for usage: events with a usage and no choices are gone, wholly."""
    return re.sub(rb'data: \{[^\n]*"choices":(?:\[\]|null),"usage":\{[^\n]*\n\n', b"", data)


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_single_bytes_read_like_one_piece(name: str, hides: bool) -> None:
    """A stream that comes byte by byte is read, and passed on, like one that comes at once (E5)."""
    data = body_of(name)
    whole = read_pieces(adapter_of(name), [data], hides)
    assert read_pieces(adapter_of(name), [data[at : at + 1] for at in range(len(data))], hides) == whole
    assert whole[1] == (hidden_usage(data) if hides and name.startswith("openai/") else data)


@pytest.mark.parametrize("name", ["openai/stream_azure.sse", "anthropic/stream_crlf.sse", "anthropic/stream_cr.sse"])
def test_a_split_at_every_byte_reads_like_one_piece(name: str) -> None:
    """Wherever a stream is cut in two, reading and client bytes are the same."""
    _try_every_split(name)


@pytest.mark.long
@pytest.mark.parametrize("name", STREAMS)
def test_a_split_at_every_byte_of_every_stream(name: str) -> None:
    """The same for every recorded stream."""
    _try_every_split(name)


def _try_every_split(name: str) -> None:
    data = body_of(name)
    whole = read_pieces(adapter_of(name), [data], hides=True)
    for place in range(len(data)):
        assert read_pieces(adapter_of(name), [data[:place], data[place:]], hides=True) == whole, place


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, LONGEST), max_size=40), st.booleans())
@settings(deadline=None)
def test_any_split_reads_like_one_piece(name: str, places: list[int], hides: bool) -> None:
    """Any number of cuts gives the same reading and the same bytes."""
    data = body_of(name)
    whole = read_pieces(adapter_of(name), [data], hides)
    assert read_pieces(adapter_of(name), cut(data, places), hides) == whole


NONSENSE = b"\n|\r|\r\n|data:|data: |event: error|: c|{}|x|\xef\xbb\xbf".split(b"|")
OBJECTS = [b'{"choices":[]}', b'{"usage":{"a":1}}', b'{"type":"message_stop"}']
PARTS = st.sampled_from([*NONSENSE, *OBJECTS, USAGE[:-2], USAGE, USAGE[6:-2], CHUNK, FINISH[:-1], DONE])


@given(st.lists(PARTS, max_size=14).map(b"".join), st.lists(st.integers(0, 999), max_size=10), st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_bytes_survive_any_split(data: bytes, places: list[int], hides: bool) -> None:
    """Nonsense, mixed line ends and all: no exception, same reading, same bytes; nothing is lost unless hidden."""
    for adapter in (OPENAI, ANTHROPIC):
        whole = read_pieces(adapter, [data], hides)
        assert read_pieces(adapter, cut(data, places), hides) == whole
        if not hides or b"usage" not in data:
            assert whole[1] == data


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data: bytes) -> None:
    """An adapter never raises on what a vendor sends, streamed or buffered, and passes it on."""
    for adapter in (OPENAI, ANTHROPIC):
        assert read_pieces(adapter, [data])[1] == data
        for status in (200, 500):
            adapter.read(status, [], data)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "usage",
                    "choices",
                    "delta",
                    "message",
                    "error",
                    "type",
                    "model",
                    "id",
                    "content",
                    "finish_reason",
                    "input_tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON_VALUES)
@settings(max_examples=300)
def test_odd_shapes_never_raise(value: object) -> None:
    """Valid JSON of any shape, streamed or buffered, is read without an exception, and says what it is worth."""
    body = json.dumps(value).encode()
    for adapter in (OPENAI, ANTHROPIC):
        for reading in (adapter.read(200, [], body), read_pieces(adapter, [b"data: " + body + b"\n\n"])[0]):
            assert (reading.basis == "provider_reported") == (reading.usage is not None)
            assert reading.usage is None or reading.partial is None
            assert all(quantity >= 0 for quantity in (reading.usage or reading.partial or {}).values())
        assert adapter.read(503, [], body).error


@pytest.mark.parametrize("depth", [50, 400, 900, 960, 980, 990, 1000, 5000])
def test_deep_nesting_never_raises(depth: int) -> None:
    """A usage nested as deep as a decoder takes it, or deeper, is no exception anywhere."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    start = b'data: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":3,"x":' + deep + b"}}}\n\n"
    chunk = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":3,\n"x":' + deep + b"}}\n\n"
    delta = b'data: {"choices":[{"delta":{"content":' + deep + b"}}]}\n\n"
    for adapter in (OPENAI, ANTHROPIC):
        read_pieces(adapter, [start, start, chunk, delta, DONE])
        adapter.read(200, [], chunk[6:-2])
        adapter.read(400, [], deep)


def test_quiet_chunks_pass_as_the_same_object() -> None:
    """Nothing is copied where nothing is hidden."""
    for hides in (False, True):
        reader = OPENAI.stream(Prepared(path="", body=b"", hides_usage=hides))
        assert reader.feed(CHUNK) is CHUNK
        two = CHUNK + CHUNK
        assert reader.feed(two) is two


def test_only_what_may_have_to_be_hidden_is_held_back() -> None:
    """A cut event passes at once, unless a usage may have to be hidden; then it waits for its end."""
    at_once = OPENAI.stream(Prepared(path="", body=b""))
    assert at_once.feed(CHUNK[:20]) == CHUNK[:20]
    waiting = OPENAI.stream(Prepared(path="", body=b"", hides_usage=True))
    assert waiting.feed(CHUNK + FINISH[:20]) == CHUNK
    assert waiting.feed(FINISH[20:]) == FINISH


def test_the_extra_usage_chunk_is_hidden_and_read() -> None:
    """The client that did not ask for usage does not get its chunk; we do."""
    reading, passed = read_pieces(OPENAI, [CHUNK, FINISH, USAGE, DONE], hides=True)
    assert passed == CHUNK + FINISH + DONE
    assert reading.usage == {"input": 5, "output": 1} and reading.complete


@pytest.mark.parametrize(
    "chunk",
    [
        USAGE.replace(b"[]", b'[{"index":0,"delta":{},"finish_reason":"stop"}]'),
        USAGE.replace(b'"usage":{', b'"moderation":{"input":1},"usage":{'),
        USAGE.replace(b'"usage":{', b'"error":{"code":500},"usage":{'),
        CHUNK.replace(b"}]}", b'}],"usage":null}'),
        USAGE.replace(b"[]", b'{"0":"odd"}'),
    ],
)
def test_what_carries_anything_else_is_never_hidden(chunk: bytes) -> None:
    """A chunk with choices, a moderation, an error or a null usage reaches the client (L3)."""
    assert read_pieces(OPENAI, [CHUNK, chunk, DONE], hides=True)[1] == CHUNK + chunk + DONE


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\r\n", b"\n\r\n", b"\n\r"])
@pytest.mark.parametrize("blank", [b"", b"\n", b"\r\n"])
def test_a_hidden_event_leaves_no_trace(end: bytes, blank: bytes) -> None:
    """With any line ends and any split, what is gone is the whole event and nothing but it."""
    data = CHUNK + blank + USAGE[:-2] + end + DONE
    for place in range(len(data)):
        reading, passed = read_pieces(OPENAI, [data[:place], data[place:]], hides=True)
        assert passed == CHUNK + blank + DONE, place
        assert reading.raw is not None


def test_an_event_is_one_only_between_events() -> None:
    """What looks like an event but continues a comment is part of the comment."""
    reading, passed = read_pieces(OPENAI, [b": a comment, ", USAGE, DONE], hides=True)
    assert passed == b": a comment, " + USAGE + DONE
    assert reading.raw is None


def test_a_finish_with_its_usage_ends_a_stream_without_done() -> None:
    """Vendors that leave `[DONE]` out and put the usage beside the finish reason are complete."""
    end = FINISH.replace(b"}]}", b'}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}')
    reading, _ = read_pieces(OPENAI, [CHUNK, end])
    assert reading.complete and reading.basis == "provider_reported"


def test_a_zero_at_the_end_is_a_zero() -> None:
    """Zeros that come with or after the finish reason are what the vendor reports."""
    zero = USAGE.replace(b'tokens":5', b'tokens":0').replace(b'tokens":1', b'tokens":0').replace(b":6", b":0")
    reading, _ = read_pieces(OPENAI, [CHUNK, FINISH, zero, DONE])
    assert (reading.usage, reading.basis) == ({"input": 0, "output": 0}, "provider_reported")


def test_the_tier_may_come_last() -> None:
    """A tier that only the usage chunk tells is the tier."""
    tier = USAGE.replace(b'"choices"', b'"service_tier":"flex","choices"')
    assert read_pieces(OPENAI, [CHUNK, FINISH, tier, DONE])[0].tier == "flex"


def test_a_hidden_event_at_the_very_end_is_read() -> None:
    """A stream that ends without its last blank line still gives its usage, and still hides it."""
    reading, passed = read_pieces(OPENAI, [CHUNK, FINISH, USAGE[:-2]], hides=True)
    assert passed == CHUNK + FINISH
    assert reading.usage == {"input": 5, "output": 1}


def test_the_terminal_event_may_lack_its_blank_line() -> None:
    """`[DONE]` at the very end counts."""
    assert read_pieces(OPENAI, [CHUNK, FINISH, b"data: [DONE]"])[0].complete


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("size", [1 << 16, EVENT_LIMIT * 3])
def test_an_event_that_is_too_long_passes_unread(hides: bool, size: int) -> None:
    """More than 1 MiB without an end is passed on, flagged and not kept; what follows is read again."""
    long = b'data: {"choices":[{"delta":{"content":"' + b"x" * (EVENT_LIMIT + 10) + b'"}}]}\n\n'
    data = CHUNK + long + FINISH + USAGE + DONE
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    reading, passed = read_pieces(OPENAI, pieces, hides)
    assert passed == (data.replace(USAGE, b"") if hides else data)
    assert reading.flags == ["event_too_long"]
    assert reading.usage == {"input": 5, "output": 1} and reading.complete


def test_what_is_held_is_bounded() -> None:
    """A stream without any line end costs bounded memory, and time in proportion to its length."""
    splitter = Splitter()
    for _ in range(300):
        splitter.push(b"x" * (EVENT_LIMIT // 64))
        assert len(splitter._held) <= EVENT_LIMIT + EVENT_LIMIT // 64
    assert splitter.push(b"\n\ndata: x\n\n")[-1] == (b"data: x\n\n", True)


def test_the_quick_look_at_an_event_agrees_with_the_rules() -> None:
    """What is read without the general parser is what the general parser reads."""
    for name in STREAMS:
        for block in re.split(rb"(?<=\n\n)", body_of(name)):
            quick = single_event(block)
            if quick is not None:
                assert parse_event(block).data == quick.removeprefix(b" ")
    assert single_event(b'data: {"a":1,\r"b":2}\n\n') is None


@pytest.mark.parametrize(
    ("block", "name", "data"),
    [
        (b"data: a\n\n", b"", b"a"),
        (b"data:a\n\n", b"", b"a"),
        (b"data:  a\n\n", b"", b" a"),
        (b"data\n\n", b"", b""),
        (b"data: a\ndata:\ndata: b\n\n", b"", b"a\n\nb"),
        (b"data: a\r\ndata: b\r\n\r\n", b"", b"a\nb"),
        (b"data: a\rdata: b\r\r", b"", b"a\nb"),
        (b": comment\n\n", b"", b""),
        (b"event: x\nid: 1\nretry: 2\ndata: a\n\n", b"x", b"a"),
        (b"event:x\nevent: y\ndata: a\n\n", b"y", b"a"),
        (b"\xef\xbb\xbfdata: a\n\n", b"", b"a"),
        (b"datax: a\n data: b\n\n", b"", b""),
        ("data: \u00fc\u2028\x0b\n\n".encode(), b"", "\u00fc\u2028\x0b".encode()),
    ],
)
def test_events_follow_the_standard(block: bytes, name: bytes, data: bytes) -> None:
    """Fields, optional space, comments, line ends and several data lines are read as the HTML standard says."""
    assert parse_event(block) == (name, data)
