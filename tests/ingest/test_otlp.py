"""Bodies of OTLP: whatever comes, spans or a refusal."""

import gzip
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tollbook.core.faults import BadInput
from tollbook.dialects.read import read
from tollbook.ingest.otlp import JSON, PROTOBUF, TooLarge, decode, unpacked


def message() -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.start_time_unix_nano = b"\1" * 16, b"\2" * 8, 1
    for name in ("gen_ai.operation.name", "gen_ai.usage.input_tokens"):
        attribute = span.attributes.add()
        attribute.key, attribute.value.string_value = name, "chat"
    return request.SerializeToString()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_body_that_was_changed_is_read_or_refused(data: st.DataObject) -> None:
    """Truncated, with bytes replaced, or noise: never another fault than BadInput."""
    body = bytearray(message())
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        found = decode(cut, PROTOBUF)
    except BadInput:
        return
    for span in found.spans:
        read(span)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "intValue", "traceId"]),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY, ANY)
def test_json_of_any_shape_is_read_or_refused(span: Any, whole: Any) -> None:
    """Wrong types anywhere are left out, or the body is refused."""
    for document in (whole, {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}):
        try:
            found = decode(msgspec.json.encode(document), JSON)
        except BadInput:
            continue
        for one in found.spans:
            read(one)


def test_ids_that_are_none_are_rejected_and_the_others_taken() -> None:
    """Zeros, odd lengths and text are no ids."""
    good = {"traceId": "ab" * 16, "spanId": "cd" * 8}
    changes = ({"traceId": "00" * 16}, {"spanId": "c"}, {"spanId": 5}, {"traceId": "zz"})
    bad = [{}, *({**good, **change} for change in changes)]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [good, *bad]}]}]}
    found = decode(msgspec.json.encode(body), JSON)
    assert (len(found.spans), found.rejected) == (1, 5)


def test_too_many_spans_are_refused_as_too_large() -> None:
    """A hundred thousand spans in one body are more than is taken."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(100_001):
        spans.add()
    with pytest.raises(TooLarge):
        decode(request.SerializeToString(), PROTOBUF)


def test_a_bomb_is_not_unpacked() -> None:
    """The limit holds for what comes out, and no more than that is ever made."""
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(b"\0" * 50_000_000), "gzip", 1_000_000)
