"""What OTLP/HTTP is answered: in the format it was asked in.

Source: the OTLP specification 1.9: full success leaves `partial_success` unset; errors are a `google.rpc.Status`; of
ours only 503 is retried by a sender.
"""

from typing import Final, NamedTuple

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tollbook.ingest.otlp import JSON, PROTOBUF

_CODES: Final = {400: 3, 401: 16, 413: 8, 415: 3, 503: 14}
"""HTTP status -> gRPC code."""


class Answer(NamedTuple):
    """Status, body and content type."""

    status: int
    body: bytes
    kind: str


def accepted(rejected: int, *, json: bool) -> Answer:
    """All spans are on record but for those that were none: they had no usable ids, and are not to be sent again."""
    message = f"{rejected} spans have no valid trace id and span id" if rejected else ""
    if json:
        told = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}} if rejected else {}
        return Answer(200, msgspec.json.encode(told), JSON)
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = message
    return Answer(200, response.SerializeToString(), PROTOBUF)


def refused(status: int, message: str, *, json: bool) -> Answer:
    """A `google.rpc.Status`: field 1 the code, field 2 the message."""
    text = message[:512]
    if json:
        return Answer(status, msgspec.json.encode({"code": _CODES[status], "message": text}), JSON)
    data = text.encode()
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
    return Answer(status, b"\x08" + bytes([_CODES[status]]) + b"\x12" + length + data, PROTOBUF)
