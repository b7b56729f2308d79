"""The bytes that go to a vendor: an allow-list of headers, our ids, the trace's next span, the vendor's own secret."""

from tollbook.core.identity import attempt_id, own_traceparent, span_id_of
from tollbook.gateway.message import Headers
from tollbook.gateway.request import Admitted
from tollbook.gateway.upstream import VendorAddress
from tollbook.providers.contract import Adapter, Prepared


def fixed_lines(address: VendorAddress, adapter: Adapter, secret: str) -> bytes:
    """The lines that are the same in all requests of one operation with one vendor key."""
    lines = [(b"host", address.authority.encode("latin-1")), (b"accept-encoding", b"identity")]
    credentials = [] if adapter.signs else adapter.credentials(secret)
    return b"".join(b"%b: %b\r\n" % line for line in lines + credentials)


def signed_lines(admitted: Admitted, address: VendorAddress, fixed: bytes, prepared: Prepared, secret: str) -> bytes:
    """The fixed lines, and a signature over this very request. Raises BadInput when the secret cannot sign."""
    call, adapter = admitted.call, admitted.adapter
    passed = [field for field in call.headers if field[0] in adapter.request_headers]
    signature = adapter.sign(secret, call.route.method, address.url + prepared.path, passed, prepared.body)
    return fixed + b"".join(b"%b: %b\r\n" % line for line in signature)


def outgoing(admitted: Admitted, base: str, fixed: bytes, prepared: Prepared, number: int) -> bytes:
    """One whole upstream request (HTTP/1.1); `base` is the path of the vendor's address, `fixed` its `fixed_lines`."""
    call, request_id = admitted.call, admitted.facts.id
    lines = (
        f"{call.route.method} {base}{prepared.path} HTTP/1.1\r\ncontent-length: {len(prepared.body)}\r\n"
        f"x-tollbook-request-id: {request_id}\r\nx-tollbook-attempt-id: {attempt_id(request_id, number)}\r\n"
        f"traceparent: {traceparent(admitted, number)}\r\n"
    )
    dimensions = admitted.dimensions
    if dimensions.tracestate is not None:
        lines += f"tracestate: {dimensions.tracestate}\r\n"
    if dimensions.baggage is not None:
        lines += f"baggage: {dimensions.baggage}\r\n"
    return b"".join((lines.encode("latin-1"), fixed, admitted.passed, b"\r\n", prepared.body))


def passed_lines(headers: Headers, adapter: Adapter) -> bytes:
    """The lines of a client's head that go on to the vendor."""
    allowed = adapter.request_headers
    return b"".join(b"%b: %b\r\n" % field for field in headers if field[0] in allowed)


def traceparent(admitted: Admitted, number: int) -> str:
    """The `traceparent` of attempt `number`: the caller's trace, or our own, and the attempt's span as parent.

    Source: W3C Trace Context, section 4.3. A trace we start is marked as not sampled: that decision is not ours.
    """
    request_id = admitted.facts.id
    outer = admitted.dimensions.traceparent
    if outer is None:
        return own_traceparent(request_id, number)
    trace_id, flags = outer[:32], outer[-2:]
    return f"00-{trace_id}-{span_id_of(request_id, number)}-{flags}"
