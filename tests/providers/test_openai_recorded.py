"""The recorded answers of OpenAI's operations, and of vendors of its format, are read as written down beside them."""

import json
import pathlib
import re
from typing import Any

import msgspec
import openai.types as openai_types
import openai.types.audio
import openai.types.conversations
import openai.types.responses
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_wire import BESIDE, body_of

from tollbook.core.usage import CLASSES
from tollbook.providers.contract import FLAGS, KINDS, Adapter, Prepared, Reading
from tollbook.providers.registry import BY_ENDPOINT

OPERATIONS = {name: expected for name, expected in BESIDE.items() if name.startswith("openai/")}
DEFAULTS: dict[str, Any] = msgspec.to_builtins(Reading())
BUFFERED = sorted(name for name in OPERATIONS if "terminal" not in OPERATIONS[name])
STREAMS = sorted(set(OPERATIONS) - set(BUFFERED))


def adapter_of(name: str) -> Adapter:
    return BY_ENDPOINT[OPERATIONS[name]["endpoint"]]


def expected(name: str) -> dict[str, Any]:
    return {key: value for key, value in OPERATIONS[name].items() if key not in ("endpoint", "terminal")}


def told(reading: Reading) -> dict[str, Any]:
    said = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(reading)))
    return {name: value for name, value in said.items() if name != "raw" and value != DEFAULTS[name]}


def read(name: str) -> Reading:
    """The reading of a recorded answer in one piece."""
    if name in STREAMS:
        reader = adapter_of(name).stream(Prepared(path="", body=b"", streams=True))
        reader.feed(body_of(name))
        reader.flush()
        return reader.reading()
    found = re.search(r"error_(\d{3})", name)
    return adapter_of(name).read(int(found[1]) if found else 200, [], body_of(name))


@pytest.mark.parametrize("name", BUFFERED)
def test_buffered_answers_of_operations(name: str) -> None:
    """Every fact of a buffered answer is exact, and nothing else is told."""
    assert told(read(name)) == expected(name)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_operations(name: str) -> None:
    """The same of a stream; its bytes pass as they came, and its terminal event is seen or not."""
    reader = adapter_of(name).stream(Prepared(path="", body=b"", streams=True))
    passed = reader.feed(body_of(name)) + reader.flush()
    assert passed == body_of(name)
    assert told(reader.reading()) == expected(name)
    assert reader.terminal == OPERATIONS[name]["terminal"]


@pytest.mark.parametrize("name", STREAMS)
def test_any_split_of_a_stream_is_read_alike(name: str) -> None:
    """One byte at a time, the reading and the bytes are the same."""
    body = body_of(name)
    reader = adapter_of(name).stream(Prepared(path="", body=b"", streams=True))
    passed = b"".join(reader.feed(body[index : index + 1]) for index in range(len(body))) + reader.flush()
    assert passed == body
    assert told(reader.reading()) == expected(name)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_words_of_operations_are_known(name: str) -> None:
    """Classes, flags and kinds come from their closed lists."""
    reading = read(name)
    usages = [reading.usage or {}, reading.partial or {}, *(share.usage for share in reading.shares)]
    assert all(set(usage) <= CLASSES for usage in usages)
    assert set(reading.flags) <= set(FLAGS)
    assert {one.kind for one in reading.made} <= set(KINDS)


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_stream_cut_anywhere_is_never_whole(name: str, data: st.DataObject) -> None:
    """A stream that lost its end is not complete, and charges nothing by itself before its terminal event."""
    body = body_of(name)
    cut = data.draw(st.integers(0, len(body) - 1))
    reader = adapter_of(name).stream(Prepared(path="", body=b"", streams=True))
    assert reader.feed(body[:cut]) + reader.flush() == body[:cut]
    reading = reader.reading()
    if not reader.terminal and OPERATIONS[name]["endpoint"] not in ("openai.chat", "openai.completions"):
        assert not reading.complete
        assert reading.usage is None


SAME = [
    ("openai/response.json", "openai/response_stream.sse"),
    ("openai/response_tools.json", "openai/response_stream_tools.sse"),
    ("openai/completion.json", "openai/completion_stream.sse"),
    ("openai/transcription_tokens.json", "openai/transcription_stream.sse"),
    ("openai/image_stream.sse", "openai/image_edit_stream.sse"),
]


@pytest.mark.parametrize(("buffered", "streamed"), SAME)
def test_operations_are_metered_alike_buffered_and_streamed(buffered: str, streamed: str) -> None:
    """The same answer has the same usage, model, tier and objects in both forms (L3)."""
    one, other = read(buffered), read(streamed)
    for fact in ("usage", "basis", "model_served", "tier", "made", "shares"):
        assert getattr(one, fact) == getattr(other, fact)


@pytest.mark.parametrize("name", BUFFERED)
def test_the_raw_usage_of_operations_is_kept(name: str) -> None:
    """The vendor's usage object is kept as it said it; what has none keeps nothing."""
    reading = read(name)
    usage = json.loads(body_of(name)).get("usage")
    if OPERATIONS[name]["endpoint"] in ("openai.batches", "azure.chat"):
        usage = None
    assert (None if reading.raw is None else json.loads(reading.raw)) == usage


TYPES: dict[str, type[pydantic.BaseModel]] = {
    "openai.responses": openai.types.responses.Response,
    "openai.response": openai.types.responses.Response,
    "openai.embeddings": openai_types.CreateEmbeddingResponse,
    "openai.completions": openai_types.Completion,
    "openai.images": openai_types.ImagesResponse,
    "openai.audio": openai.types.audio.Transcription,
    "openai.files": openai_types.FileObject,
    "openai.batches": openai_types.Batch,
    "openai.conversations": openai.types.conversations.Conversation,
}
DEVIANTS = {
    "response_deleted",
    "response_input_items",
    "response_compact",
    "response_xai",
    "embedding_no_usage",
    "image_xai",
    "transcription_mistral",
    "file_deleted",
    "response_tool_usage",
}


@pytest.mark.parametrize("name", [name for name in BUFFERED if OPERATIONS[name]["endpoint"] in TYPES])
def test_recorded_operations_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded answer is one for the official SDK's types too, deviations aside."""
    if pathlib.PurePath(name).stem in DEVIANTS:
        pytest.skip("deviates on purpose")
    TYPES[OPERATIONS[name]["endpoint"]].model_validate_json(body_of(name))


@pytest.mark.parametrize("name", [name for name in STREAMS if OPERATIONS[name]["endpoint"] == "openai.responses"])
def test_recorded_response_events_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded event is one for the official SDK's types too."""
    kind: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(openai.types.responses.ResponseStreamEvent)
    for line in body_of(name).decode().splitlines():
        if line.startswith("data: {"):
            kind.validate_json(line[6:])


@pytest.mark.parametrize("name", BUFFERED)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_damaged_answer_is_read_without_fault(name: str, data: st.DataObject) -> None:
    """Whatever bytes are lost or changed, there is a reading."""
    body = body_of(name)
    position = data.draw(st.integers(0, max(0, len(body) - 1)))
    damaged = data.draw(
        st.sampled_from([body[:position], body[position:], body[:position] + b"\xff" + body[position + 1 :]])
        | st.builds(lambda value: re.sub(rb":\s*(\d+|\"[^\"]*\"|null)", b":" + value, body), st.sampled_from(ODD))
    )
    reading = adapter_of(name).read(data.draw(st.sampled_from([200, 400, 500])), [], damaged)
    assert set(reading.flags) <= set(FLAGS)
    assert all(quantity >= 0 for quantity in (reading.usage or {}).values())


ODD = [b"null", b"-1", b"1.5", b'"x"', b"[]", b"{}", b"[[1]]", b'{"a":1}', b"1e400", b"99999999999999999999", b"true"]
