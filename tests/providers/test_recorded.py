"""Every recorded shape is read as written down in tests/wire/expected.json."""

import json
import pathlib
import re
from typing import Any

import anthropic.types
import anthropic.types.beta
import msgspec
import openai.types.chat
import pydantic
import pytest
from recorded_wire import BESIDE, BUFFERED, EXPECTED, STREAMS, WIRE, adapter_of, body_of, call_of, read_pieces

from tollbook.core.usage import CLASSES, tokens_input, tokens_output
from tollbook.providers.contract import FLAGS, Reading

DEFAULTS: dict[str, Any] = msgspec.to_builtins(Reading())


def status_of(name: str) -> int:
    """The status a recorded answer came with: its file says so when it was an error."""
    found = re.search(r"error_(\d{3})", name)
    return int(found[1]) if found else 200


def told(reading: Reading) -> dict[str, Any]:
    """What a reading says, without its raw usage and without defaults."""
    said = msgspec.to_builtins(reading)
    return {name: value for name, value in said.items() if name != "raw" and value != DEFAULTS[name]}


def expected(name: str) -> dict[str, Any]:
    return {key: value for key, value in EXPECTED[name].items() if value is not None}


@pytest.mark.parametrize("name", BUFFERED)
def test_buffered_answers_are_read_as_recorded(name: str) -> None:
    """Usage, basis, model, id, tier, region, completeness, error and flags of each buffered answer are exact."""
    assert told(adapter_of(name).read(status_of(name), [], body_of(name))) == expected(name)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_read_as_recorded(name: str) -> None:
    """The same of each stream that comes in one piece; a cut one may also lose the event it was cut in."""
    reading, passed = read_pieces(adapter_of(name), [body_of(name)])
    assert passed == body_of(name)
    said = told(reading)
    if name == "openai/stream_cut.sse":
        assert said.pop("output_text") > 30 and said.pop("output_deltas") == 10
    assert said == expected(name)


@pytest.mark.parametrize("name", STREAMS)
def test_terminal_events_are_seen(name: str) -> None:
    """A reader is terminal exactly when the vendor's terminal event came."""
    reader = adapter_of(name).stream(adapter_of(name).prepare(call_of(adapter_of(name), b'{"model":"m"}'), "m"))
    reader.feed(body_of(name))
    reader.flush()
    text = body_of(name).decode()
    ends = "[DONE]" in text or re.search(r'message_stop"|stream_no_done', text + name) is not None
    assert reader.terminal == ends


def test_every_recorded_file_is_expected() -> None:
    """No recorded shape lies about untested."""
    files = {str(path.relative_to(WIRE)) for path in WIRE.glob("*/*") if path.name != "expected.json"}
    assert files == set(EXPECTED) | set(BESIDE)


@pytest.mark.parametrize("name", BUFFERED + STREAMS)
def test_words_of_a_reading_are_known(name: str) -> None:
    """Classes and flags come from their closed lists."""
    assert set(EXPECTED[name].get("usage", {})) | set(EXPECTED[name].get("partial", {})) <= CLASSES
    assert set(EXPECTED[name].get("flags", [])) <= set(FLAGS)


@pytest.mark.parametrize("name", [name for name in BUFFERED if "error_" not in name])
def test_the_raw_usage_is_kept_as_it_came(name: str) -> None:
    """The vendor's usage object is kept on one line, and says what it said; without one nothing is kept."""
    reading = adapter_of(name).read(200, [], body_of(name))
    try:
        usage = json.loads(body_of(name)).get("usage")
    except ValueError:
        usage = None
    assert (None if reading.raw is None else json.loads(reading.raw)) == usage
    assert reading.raw is None or b"\n" not in reading.raw


@pytest.mark.parametrize("name", [name for name in BUFFERED if "openai/" in name and "error" not in name])
def test_openai_classes_recompose_to_the_total(name: str) -> None:
    """The classes add up to the vendor's total, or the reading says that they do not (L36, X4)."""
    reading = adapter_of(name).read(200, [], body_of(name))
    if reading.basis == "provider_reported" and "inconsistent_usage" not in reading.flags:
        assert reading.usage is not None
        total = tokens_input(reading.usage) + tokens_output(reading.usage)
        assert total == json.loads(body_of(name))["usage"]["total_tokens"]


def test_streamed_and_buffered_are_metered_alike() -> None:
    """The same answer has the same usage streamed, streamed with the usage beside choices, and buffered (L3, L4)."""
    names = ("openai/stream.sse", "openai/stream_usage_with_choices.sse", "openai/stream_same_as_buffered.json")
    readings = [
        read_pieces(adapter_of(name), [body_of(name)])[0]
        if name.endswith(".sse")
        else adapter_of(name).read(200, [], body_of(name))
        for name in names
    ]
    first, *others = [(one.usage, one.basis, one.model_served, one.tier, one.response_id) for one in readings]
    assert first[0] == {"input": 103, "input_cache_read": 128, "output": 11}
    assert all(other == first for other in others)


DEVIANTS = {"chat_half_usage", "chat_usage_null", "chat_error_inside", "chat_cut", "message_no_usage"}
DEVIANT_STREAMS = {"stream_azure", "stream_odd_choices", "stream_cut", "stream_error", "stream_error_named"}


@pytest.mark.parametrize("name", [name for name in BUFFERED if "error_4" not in name and "error_5" not in name])
def test_recorded_answers_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded answer is one for the official SDK's types too, deviations aside."""
    if pathlib.PurePath(name).stem in DEVIANTS:
        pytest.skip("deviates on purpose")
    kind: type[pydantic.BaseModel] = openai.types.chat.ChatCompletion
    if name.startswith("anthropic/"):
        beta = "iterations" in name or "credit" in name
        kind = anthropic.types.beta.BetaMessage if beta else anthropic.types.Message
    kind.model_validate_json(body_of(name))


@pytest.mark.parametrize("name", [name for name in STREAMS if "openai/" in name])
def test_recorded_chunks_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded chunk is one for the official SDK's types too, deviations aside."""
    if pathlib.PurePath(name).stem in DEVIANT_STREAMS:
        pytest.skip("deviates on purpose")
    for line in body_of(name).decode().splitlines():
        if line.startswith("data: {"):
            openai.types.chat.ChatCompletionChunk.model_validate_json(line[6:])


@pytest.mark.parametrize("name", ["stream", "stream_cached", "stream_server_tools"])
def test_recorded_events_have_the_sdks_shape(name: str) -> None:
    """What we call a recorded event is one for the official SDK's types too."""
    kind: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)
    for line in body_of(f"anthropic/{name}.sse").decode().splitlines():
        if line.startswith("data: {") and '"ping"' not in line:
            kind.validate_json(line[6:])
