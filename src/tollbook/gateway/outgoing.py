"""The bytes that go to a vendor: an allow-list of headers, our ids, the trace's next span, the vendor's own secret."""

from tollbook.core.identity import attempt_id, span_id_of, trace_id_of
from tollbook.gateway.request import Admitted
from tollbook.gateway.upstream import VendorAddress
from tollbook.providers.contract import Prepared


def outgoing(admitted: Admitted, address: VendorAddress, secret: str, prepared: Prepared, number: int) -> bytes:
    """One whole upstream request (HTTP/1.1)."""
    adapter, request_id = admitted.adapter, admitted.facts.id
    parts = [
        f"POST {address.path}{prepared.path} HTTP/1.1\r\nhost: {address.authority}\r\n"
        f"content-length: {len(prepared.body)}\r\naccept-encoding: identity\r\n"
        f"x-tollbook-request-id: {request_id}\r\nx-tollbook-attempt-id: {attempt_id(request_id, number)}\r\n"
        f"traceparent: {traceparent(admitted, number)}\r\n".encode("latin-1")
    ]
    allowed = adapter.request_headers
    for name, value in admitted.call.headers:
        if name in allowed:
            parts += (name, b": ", value, b"\r\n")
    for name, value in adapter.credentials(secret):
        parts += (name, b": ", value, b"\r\n")
    dimensions = admitted.dimensions
    if dimensions.tracestate is not None:
        parts.append(f"tracestate: {dimensions.tracestate}\r\n".encode("latin-1"))
    if dimensions.baggage is not None:
        parts.append(f"baggage: {dimensions.baggage}\r\n".encode("latin-1"))
    parts += (b"\r\n", prepared.body)
    return b"".join(parts)


def traceparent(admitted: Admitted, number: int) -> str:
    """The `traceparent` of attempt `number`: the caller's trace, or our own, and the attempt's span as parent.

    Source: W3C Trace Context, section 4.3. A trace we start is marked as not sampled: that decision is not ours.
    """
    request_id = admitted.facts.id
    outer = admitted.dimensions.traceparent
    if outer is None:
        return f"00-{trace_id_of(request_id)}-{span_id_of(request_id, number)}-00"
    trace_id, flags = outer[:32], outer[-2:]
    return f"00-{trace_id}-{span_id_of(request_id, number)}-{flags}"
