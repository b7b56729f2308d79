"""OTLP trace requests as spans: protobuf and JSON. Nothing that comes in is believed to be well formed.

Source: opentelemetry-proto 1.9. In JSON ids are hexadecimal, 64-bit integers text or numbers, unknown fields ignored.
"""

import binascii
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tollbook.core.faults import BadInput
from tollbook.dialects.span import Scope, Span, Value

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
SPANS_LIMIT: Final = 100_000
_DEPTH: Final = 8
_ERROR: Final = 2
_LONGEST_INSTANT: Final = 1 << 63


class Received(NamedTuple):
    """The spans of one request, and how many of it could not be spans at all."""

    spans: list[Span]
    rejected: int


class TooLarge(BadInput):
    """A body that is larger than the door takes."""


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """A body without its content coding. Raises TooLarge, whatever it was before, and BadInput."""
    if encoding in ("", "identity"):
        found = body
    elif encoding == "gzip":
        try:
            stream = zlib.decompressobj(31)
            found = stream.decompress(body, limit + 1)
        except zlib.error as fault:
            raise BadInput(f"the body is not gzip: {fault}") from None
        if len(found) <= limit and not stream.eof:
            raise BadInput("the body's gzip ends too early")
    else:
        raise BadInput(f"content-encoding {encoding[:32]!r} is not known; send gzip or none")
    if len(found) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes; send smaller batches")
    return found


def decode(body: bytes, content_type: str) -> Received:
    """The spans of a body. Raises BadInput when it is no trace request."""
    if content_type == PROTOBUF:
        try:
            request = ExportTraceServiceRequest.FromString(body)
        except (DecodeError, RecursionError) as fault:
            raise BadInput(f"the body is no ExportTraceServiceRequest: {str(fault)[:200]}") from None
        found = _protobuf_spans(request)
    else:
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise BadInput(f"the body is not JSON: {str(fault)[:200]}") from None
        if not isinstance(document, dict):
            raise BadInput("the body is no ExportTraceServiceRequest: not an object")
        found = _json_spans(document)
    return _collected(found)


def _collected(found: Iterable[Span | None]) -> Received:
    spans: list[Span] = []
    rejected = 0
    for span in found:
        if span is None:
            rejected += 1
        else:
            spans.append(span)
        if len(spans) + rejected > SPANS_LIMIT:
            raise TooLarge(f"the body has more than {SPANS_LIMIT} spans; send smaller batches")
    return Received(spans, rejected)


def _protobuf_spans(request: Any) -> Iterator[Span | None]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = Scope(scope_spans.scope.name, scope_spans.scope.version)
            for span in scope_spans.spans:
                yield _span(
                    (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                    name=span.name,
                    instants=(span.start_time_unix_nano, span.end_time_unix_nano),
                    failed=span.status.code == _ERROR,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    scope=scope,
                    dropped=span.dropped_attributes_count,
                )


def _span(
    ids: tuple[str, str, str],
    *,
    name: str,
    instants: tuple[int, int],
    failed: bool,
    attributes: dict[str, Value],
    resource: dict[str, Value],
    scope: Scope,
    dropped: int,
) -> Span | None:
    trace_id, span_id, parent_id = ids
    if not (_is_id(trace_id, 32) and _is_id(span_id, 16)):
        return None
    start, end = (instant // 1000 if 0 < instant < _LONGEST_INSTANT else 0 for instant in instants)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id if _is_id(parent_id, 16) else None,
        name=name,
        start=start,
        end=end,
        failed=failed,
        attributes=attributes,
        resource=resource,
        scope=scope,
        dropped=dropped,
    )


def _is_id(text: str, digits: int) -> bool:
    return len(text) == digits and text.strip("0") != ""


def _attributes(pairs: Any) -> dict[str, Value]:
    """Attributes by name; of one that stands twice the first."""
    found: dict[str, Value] = {}
    for pair in pairs:
        if pair.key not in found:
            found[pair.key] = _value(pair.value, _DEPTH)
    return found


def _value(value: Any, depth: int) -> Value:
    kind = value.WhichOneof("value")
    if kind is None or depth == 0:
        return None
    if kind == "array_value":
        return [_value(one, depth - 1) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value, depth - 1) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return None
    found: Value = getattr(value, kind)
    return found


# --- JSON


def _json_spans(document: dict[str, Any]) -> Iterator[Span | None]:
    for resource_spans in _objects(document.get("resourceSpans")):
        resource = _json_attributes(_object(resource_spans.get("resource")).get("attributes"))
        for scope_spans in _objects(resource_spans.get("scopeSpans")):
            told = _object(scope_spans.get("scope"))
            scope = Scope(_string(told.get("name")), _string(told.get("version")))
            for span in _objects(scope_spans.get("spans")):
                yield _json_span(span, resource, scope)


def _json_span(span: dict[str, Any], resource: dict[str, Value], scope: Scope) -> Span | None:
    trace_id, span_id, parent_id = (_hex(span.get(name)) for name in ("traceId", "spanId", "parentSpanId"))
    return _span(
        (trace_id, span_id, parent_id),
        name=_string(span.get("name")),
        instants=(_integer(span.get("startTimeUnixNano")), _integer(span.get("endTimeUnixNano"))),
        failed=_object(span.get("status")).get("code") in (_ERROR, "STATUS_CODE_ERROR"),
        attributes=_json_attributes(span.get("attributes")),
        resource=resource,
        scope=scope,
        dropped=_integer(span.get("droppedAttributesCount")),
    )


def _json_attributes(pairs: Any) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for pair in _objects(pairs):
        name = pair.get("key")
        if isinstance(name, str) and name not in found:
            found[name] = _json_value(_object(pair.get("value")), _DEPTH)
    return found


def _json_value(value: dict[str, Any], depth: int) -> Value:
    if depth == 0:
        return None
    for name, kinds in (("stringValue", str), ("boolValue", bool), ("doubleValue", (float, int, str))):
        if isinstance(value.get(name), kinds):
            found: Value = value[name]
            return found
    if "intValue" in value:
        whole = value["intValue"]
        return whole if isinstance(whole, int | str) and not isinstance(whole, bool) else None
    if "arrayValue" in value:
        return [_json_value(one, depth - 1) for one in _objects(_object(value["arrayValue"]).get("values"))]
    if "kvlistValue" in value:
        pairs = _objects(_object(value["kvlistValue"]).get("values"))
        return {_string(one.get("key")): _json_value(_object(one.get("value")), depth - 1) for one in pairs}
    return None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _hex(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 32:
        return ""
    try:
        return binascii.unhexlify(value).hex()
    except (ValueError, binascii.Error):
        return ""


def _integer(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
