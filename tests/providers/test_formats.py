"""Every recorded shape of Google, Bedrock and Cohere is read as its expected.json says, and is one for their SDKs."""

import base64
import json
from typing import Any

import botocore.parsers
import botocore.session
import cohere
import cohere.v2
import msgspec
import pytest
from google.genai import types as google
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_formats import (
    AROUND,
    FORMATS,
    RECORDED,
    STREAMED,
    WHOLE,
    adapter_for,
    answer_of,
    read_stream,
    stream_of,
)
from recorded_wire import WIRE

from tollbook.core.usage import CLASSES, tokens_input, tokens_output
from tollbook.providers.contract import FLAGS, KINDS, Reading

ENDED_WITH_ERROR = {"cohere/stream_error.sse"}
"""Streams whose terminal event came and told an error."""

DEFAULTS: dict[str, Any] = msgspec.to_builtins(Reading())


def told(reading: Reading) -> dict[str, Any]:
    """What a reading says, without its raw usage and without defaults."""
    said = json.loads(msgspec.json.encode(msgspec.structs.replace(reading, raw=None)))
    return {name: value for name, value in said.items() if value != DEFAULTS[name]}


def expected(name: str) -> dict[str, Any]:
    return {key: value for key, value in RECORDED[name].items() if key not in AROUND}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_answers_are_read_as_recorded(name: str) -> None:
    """Usage, basis, model, id, tier, speed, completeness, error, flags and objects of each answer are exact."""
    assert told(adapter_for(name).read(*answer_of(name))) == expected(name)


@pytest.mark.parametrize("name", STREAMED)
def test_streams_are_read_as_recorded(name: str) -> None:
    """The same of each stream, and every byte of it passes."""
    data = stream_of(name)
    reading, terminal, passed = read_stream(name, [data])
    assert passed == data
    assert told(reading) == expected(name)
    assert terminal == (reading.complete or name in ENDED_WITH_ERROR)


@pytest.mark.parametrize("name", STREAMED)
def test_streams_are_read_alike_at_every_byte_boundary(name: str) -> None:
    """Where the network cuts a stream changes nothing: two pieces at every boundary, and single bytes."""
    data = stream_of(name)
    whole = read_stream(name, [data])
    for at in range(len(data) + 1):
        assert read_stream(name, [data[:at], data[at:]]) == whole
    assert read_stream(name, [data[at : at + 1] for at in range(len(data))]) == whole


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_cut_anywhere_charges_by_no_half_usage(name: str) -> None:
    """Cut at any byte, a stream is either final with the usage of the whole or not final at all."""
    data = stream_of(name)
    final = read_stream(name, [data])[0].usage
    for at in range(len(data)):
        reading, _, passed = read_stream(name, [data[:at]])
        assert passed == data[:at]
        assert reading.usage in (None, final)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STREAMED), st.data())
def test_damaged_streams_are_never_fatal(name: str, data: st.DataObject) -> None:
    """With some bytes changed a reader raises nothing and holds nothing back."""
    body = bytearray(stream_of(name))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    at = data.draw(st.integers(0, len(body)))
    _, _, passed = read_stream(name, [bytes(body[:at]), bytes(body[at:])])
    assert passed == bytes(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), JSON, st.data())
def test_odd_answers_are_never_fatal(name: str, odd: object, data: st.DataObject) -> None:
    """Whatever stands in place of any member, an adapter reads what it can and raises nothing."""
    try:
        answer = json.loads(answer_of(name)[2])
    except ValueError:
        return
    spots: list[tuple[Any, Any]] = []
    waiting = [answer]
    while waiting:
        part = waiting.pop()
        keys: Any = part.keys() if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        for key in keys:
            spots.append((part, key))
            waiting.append(part[key])
    part, key = data.draw(st.sampled_from(spots))
    part[key] = odd
    status, headers, _ = answer_of(name)
    body = json.dumps(answer).encode()
    reading = adapter_for(name).read(status, headers, body)
    assert set(reading.usage or {}) <= CLASSES
    assert all(count >= 0 for count in (reading.usage or {}).values())


def test_every_recorded_file_is_expected() -> None:
    """No recorded shape lies about untested."""
    files = {f"{name}/{path.name}" for name in FORMATS for path in (WIRE / name).iterdir()}
    assert files - {f"{name}/expected.json" for name in FORMATS} == set(RECORDED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_words_of_a_reading_are_known(name: str) -> None:
    """Classes, flags and kinds come from their closed lists."""
    said = RECORDED[name]
    assert set(said.get("usage", {})) | set(said.get("partial", {})) <= CLASSES
    assert set(said.get("flags", [])) <= set(FLAGS)
    assert {kind for kind, _ in said.get("made", [])} <= set(KINDS)


def _totals(name: str) -> int | None:
    """The vendor's own total in a recorded answer that came whole."""
    answer = json.loads(answer_of(name)[2])
    report = answer.get("usageMetadata") or answer.get("usage") or {}
    total = report.get("totalTokenCount", report.get("totalTokens"))
    return total if isinstance(total, int) else None


@pytest.mark.parametrize("name", [name for name in WHOLE if "error_" not in name and "cut" not in name])
def test_classes_recompose_to_the_total(name: str) -> None:
    """The classes add up to the vendor's total, or the reading says that they do not (L36, X4)."""
    reading = adapter_for(name).read(*answer_of(name))
    total = _totals(name)
    if total is not None and reading.usage is not None and "short_total" not in name:
        summed = tokens_input(reading.usage) + tokens_output(reading.usage)
        assert summed == total or "inconsistent_usage" in reading.flags


PAIRS = [
    ("gemini/stream_same_as_buffered.json", "gemini/stream.sse", "gemini/stream.array"),
    ("cohere/chat.json", "cohere/stream.sse"),
    ("bedrock/converse_cached.json", "bedrock/converse_stream.jsonl"),
    ("bedrock/invoke_claude.json", "bedrock/invoke_stream_claude.jsonl"),
    ("bedrock/invoke_titan.json", "bedrock/invoke_stream_titan.jsonl"),
]


@pytest.mark.parametrize("names", PAIRS, ids=lambda names: names[0])
def test_streamed_and_buffered_are_metered_alike(names: tuple[str, ...]) -> None:
    """The same answer has the same usage whole and streamed, in every form of stream (L3, L4)."""
    first, *others = names
    whole = adapter_for(first).read(*answer_of(first))
    assert whole.usage
    for other in others:
        reading = read_stream(other, [stream_of(other)])[0]
        assert (reading.usage, reading.basis, reading.model_served) == (whole.usage, whole.basis, whole.model_served)


DEVIANT_GOOGLE = {"generate_odd_usage", "generate_cut"}


@pytest.mark.parametrize("name", [name for name in WHOLE if "gemini/generate" in name or "gemini/stream_same" in name])
def test_googles_answers_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded answer is one for google-genai too, deviations aside."""
    if any(deviant in name for deviant in DEVIANT_GOOGLE):
        pytest.skip("deviates on purpose")
    google.GenerateContentResponse.model_validate_json(answer_of(name)[2])


@pytest.mark.parametrize("name", [name for name in STREAMED if "gemini/" in name and "error" not in name])
def test_googles_chunks_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded chunk is one for google-genai too."""
    text = stream_of(name).decode()
    if name.endswith(".array"):
        chunks = json.loads(text) if "cut" not in name else []
    else:
        chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    for chunk in chunks:
        google.GenerateContentResponse.model_validate(chunk)


@pytest.mark.parametrize("name", [name for name in WHOLE if "cohere/" in name and "error_" not in name])
def test_coheres_answers_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded answer is one for cohere's SDK too."""
    kinds = {
        "cohere.chat": cohere.V2ChatResponse,
        "cohere.embed": cohere.EmbedByTypeResponse,
        "cohere.rerank": cohere.V2RerankResponse,
    }
    kinds[RECORDED[name]["endpoint"]].model_validate_json(answer_of(name)[2])


def _converse_shape(operation: str) -> Any:
    loader = botocore.session.get_session().get_service_model("bedrock-runtime")
    return loader.operation_model(operation).output_shape


@pytest.mark.parametrize("name", [name for name in WHOLE if "bedrock/converse" in name])
def test_bedrocks_answers_have_the_sdks_shape(name: str) -> None:
    """botocore's own parser finds in a recorded answer the same counts as we do."""
    status, headers, body = answer_of(name)
    known = {key.decode(): value.decode() for key, value in headers}
    parser = botocore.parsers.create_parser("rest-json")
    parsed = parser.parse({"status_code": status, "headers": known, "body": body}, _converse_shape("Converse"))
    report = json.loads(body)
    assert parsed.get("usage") == report.get("usage")
    assert set(parsed) - {"ResponseMetadata"} == set(report)


@pytest.mark.parametrize("name", [name for name in STREAMED if "bedrock/" in name])
def test_bedrocks_streams_are_ones_for_botocore(name: str) -> None:
    """botocore decodes the recorded messages, and its events say what was recorded."""
    from botocore.eventstream import EventStreamBuffer

    buffer = EventStreamBuffer()
    buffer.add_data(stream_of(name))
    recorded = [json.loads(line) for line in (WIRE / name).read_text().splitlines()]
    for said, event in zip(recorded, buffer, strict=True):
        payload = json.loads(event.payload)
        if "chunk" in said:
            assert json.loads(base64.b64decode(payload["bytes"])) == said["chunk"]
        else:
            assert payload == said["payload"]
