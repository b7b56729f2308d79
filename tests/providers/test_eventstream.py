"""Binary event streams are cut as botocore cuts them; what is broken is named, and nothing grows without bound."""

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from recorded_formats import message

from tollbook.providers.eventstream import Message, MessageSplitter

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
MESSAGES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.text(max_size=40), max_size=4), st.binary(max_size=200)), max_size=5
)


@given(MESSAGES, st.data())
def test_messages_are_cut_as_botocore_cuts_them(
    messages: list[tuple[dict[str, str], bytes]], data: st.DataObject
) -> None:
    """Headers and payloads are botocore's, at any split into pieces."""
    stream = b"".join(message(headers, payload) for headers, payload in messages)
    theirs = EventStreamBuffer()
    theirs.add_data(stream)
    splitter = MessageSplitter()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found: list[Message | str] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.push(stream[begin:end])
    assert found == [Message(dict(one.headers), one.payload) for one in theirs]
    assert splitter.clear


def test_headers_of_every_type_are_passed_over() -> None:
    """Of the ten types of header only texts are kept; the others are stepped over by their size, as botocore does."""
    from struct import pack
    from zlib import crc32

    values = [
        b"\x00", b"\x01", b"\x02\x7f", b"\x03\x00\x01", b"\x04\x00\x00\x00\x01", b"\x05" + bytes(8),
        b"\x06\x00\x02ab", b"\x07\x00\x02cd", b"\x08" + bytes(8), b"\x09" + bytes(16),
    ]  # fmt: skip
    headers = b"".join(bytes([2]) + f"h{place}".encode() + value for place, value in enumerate(values))
    prelude = pack(">II", 16 + len(headers), len(headers))
    whole = prelude + pack(">I", crc32(prelude)) + headers
    whole += pack(">I", crc32(whole))
    theirs = EventStreamBuffer()
    theirs.add_data(whole)
    assert len(next(iter(theirs)).headers) == len(values)
    assert MessageSplitter().push(whole) == [Message({"h7": "cd"}, b"")]


FIRST = message({":event-type": "a"}, b"{}")
SECOND = message({":event-type": "b"}, b"[]")


@pytest.mark.parametrize("place", range(len(FIRST)))
def test_a_changed_byte_is_noticed(place: int) -> None:
    """Any byte changed in a message makes it unreadable; one in the prelude also all that follows."""
    damaged = bytearray(FIRST)
    damaged[place] ^= 0x55
    found = MessageSplitter().push(bytes(damaged) + SECOND)
    rest = [] if place < 12 else [Message({":event-type": "b"}, b"[]")]
    assert found == ["unreadable_event", *rest]


def test_a_message_that_is_too_long_is_skipped() -> None:
    """It is named once, is never held, and the next message is read."""
    long = message({}, bytes(5000))
    splitter = MessageSplitter(limit=1000)
    found: list[Message | str] = []
    for at in range(0, len(long), 7):
        found += splitter.push(long[at : at + 7])
        assert len(splitter._held) <= 1000
    assert found == ["event_too_long"]
    assert splitter.push(SECOND) == [Message({":event-type": "b"}, b"[]")]


def test_nothing_is_held_once_the_stream_is_lost() -> None:
    """After a prelude that cannot be true nobody knows where a message begins: bytes are dropped, not kept."""
    splitter = MessageSplitter()
    assert splitter.push(b"\xff" * 12) == ["unreadable_event"]
    assert splitter.push(FIRST) == []
    assert not splitter._held and not splitter.clear


@given(st.binary(max_size=300), st.integers(1, 40))
def test_noise_is_never_fatal(noise: bytes, size: int) -> None:
    """Any bytes in any pieces raise nothing."""
    splitter = MessageSplitter()
    for at in range(0, len(noise), size):
        splitter.push(noise[at : at + size])
