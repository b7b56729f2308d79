"""From an answer and its faults to the bytes of a reply."""

from collections.abc import Mapping
from typing import Final

import msgspec

from tollbook.simulator.answer import Answer, Event
from tollbook.simulator.call import Call
from tollbook.simulator.reply import (
    Ending,
    Reply,
    chunked,
    date_line,
    length_lines,
    status_line,
    stream_lines,
)
from tollbook.simulator.rule import Rule
from tollbook.simulator.vendor import Operation, Paper, Vendor

Faults = Mapping[str, Rule]

_RETRY_AFTER: Final = 1
_SLOW_FIRST_BYTE_MS: Final = 1000
_SLOW_CHUNK_MS: Final = 100
_STOPS: Final = ("cut", "cut_fin", "clean_end", "error_event")
"""The faults that stop an answer in its middle; of several the first in this order acts."""

_MESSAGES: Final = {
    400: "The simulator was told to refuse this request.",
    401: "Incorrect API key provided.",
    403: "Your key may not use this resource.",
    404: "The model does not exist or you do not have access to it.",
    408: "Request timeout.",
    409: "Conflict.",
    413: "Request exceeds the maximum size.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "The request timed out.",
    529: "Overloaded",
}


def json_reply(status: int, body: bytes, extra: bytes = b"", keep_alive: bool = True) -> Reply:
    """A buffered reply with a JSON body."""
    closing = b"" if keep_alive else b"connection: close\r\n"
    head = status_line(status) + extra + closing + length_lines(len(body))
    return Reply(head, [(body, 0)], Ending.KEEP if keep_alive else Ending.CLOSE, status=status)


def error_reply(
    call: Call, vendor: Vendor, status: int, message: str | None = None, retry_after: int | None = None
) -> Reply:
    """An error in the vendor's own shape, with `retry-after` in seconds when told, and always for 429."""
    extra = vendor.headers(call.number, 1) + vendor.error_headers(status)
    if retry_after is None and status == 429:
        retry_after = _RETRY_AFTER
    if retry_after is not None:
        extra += b"retry-after: %d\r\n" % retry_after
    body = vendor.error(status, message or _MESSAGES[status], call.number)
    return json_reply(status, body, extra, call.keep_alive)


def paper_reply(call: Call, vendor: Vendor, paper: Paper, faults: Faults) -> Reply:
    """The reply to an errand. Faults of an answer's content have nothing to act on."""
    first_byte_ms, chunk_ms = _pace(faults, 0, 0)
    head = status_line(paper.status) + vendor.headers(call.number, 1)
    reply = _buffered(call, head, paper.body, paper.content_type, 0, faults)
    reply.status = paper.status
    return _bend(reply, faults, False, 0, first_byte_ms, chunk_ms)


def answer_reply(
    call: Call, operation: Operation, answer: Answer, faults: Faults, stream: bool, first_byte_ms: int, chunk_ms: int
) -> Reply:
    """The reply to an accepted request; waits are in milliseconds."""
    first_byte_ms, chunk_ms = _pace(faults, first_byte_ms, chunk_ms)
    total = answer.tokens.all_output
    head = status_line(200) + date_line(answer.created) + operation.vendor.headers(call.number, first_byte_ms + 1)
    head += operation.head(answer, stream)
    if stream:
        reply = _stream(call, head, operation, answer, faults)
    else:
        body, content_type = operation.body(answer), operation.content_type(answer, False)
        reply = _buffered(call, head, body, content_type, total, faults)
    return _bend(reply, faults, stream, total, first_byte_ms, chunk_ms)


def _bend(reply: Reply, faults: Faults, stream: bool, total: int, first_byte_ms: int, chunk_ms: int) -> Reply:
    """Faults of the connection, and the pace."""
    if "accept_then_timeout" in faults:
        return Reply(ending=Ending.HANG, generated=total, whole=False, status=None)
    if "drop" in faults:
        generated = 0 if stream else total
        return Reply(ending=Ending.RESET, first_byte_ms=first_byte_ms, generated=generated, whole=False, status=None)
    if "cut_before_body" in faults:
        reply.pieces = []
        reply.ending = Ending.RESET
        reply.generated = 0 if stream else total
        reply.whole = False
    if "close_after" in faults and reply.ending is Ending.KEEP:
        reply.ending = Ending.CLOSE
    reply.first_byte_ms = first_byte_ms
    reply.chunk_ms = chunk_ms
    reply.one_by_one = "tiny" in faults
    return reply


def _pace(faults: Faults, first_byte_ms: int, chunk_ms: int) -> tuple[int, int]:
    slow_first, slow_chunks = faults.get("slow_first_byte"), faults.get("slow_chunks")
    if slow_first is not None:
        first_byte_ms = _SLOW_FIRST_BYTE_MS if slow_first.ms is None else slow_first.ms
    if slow_chunks is not None:
        chunk_ms = _SLOW_CHUNK_MS if slow_chunks.ms is None else slow_chunks.ms
    return first_byte_ms, chunk_ms


def _stop(faults: Faults, stream: bool) -> Rule | None:
    names = _STOPS if stream else _STOPS[:2]
    return next((faults[name] for name in names if name in faults), None)


def _buffered(call: Call, head: bytes, body: bytes, content_type: str, total: int, faults: Faults) -> Reply:
    closing = b"" if call.keep_alive else b"connection: close\r\n"
    head += closing + length_lines(len(body), content_type)
    stop = _stop(faults, stream=False)
    if stop is not None and body:
        part = body[: min(len(body) - 1, len(body) // 2 if stop.after is None else stop.after)]
        return Reply(head, _split([(part, total)], faults), _broken(stop), whole=False)
    return Reply(head, _split([(body, total)], faults), Ending.KEEP if call.keep_alive else Ending.CLOSE)


def _stream(call: Call, head: bytes, operation: Operation, answer: Answer, faults: Faults) -> Reply:
    events = operation.events(answer)
    stop = _stop(faults, stream=True)
    if stop is not None:
        events = _first_events(events, stop.after)
        if stop.do == "error_event":
            generated = events[-1].generated if events else 0
            events.append(msgspec.structs.replace(operation.error_event(answer), generated=generated))
    framed = [(operation.frame(event, answer, place == 0), event.generated) for place, event in enumerate(events)]
    pieces = _split(framed, faults)
    broken = stop is not None and stop.do in ("cut", "cut_fin")
    if call.chunked:
        pieces = chunked(pieces, closed=not broken)
    if stop is not None and broken:
        ending = _broken(stop)
    else:
        ending = Ending.KEEP if call.keep_alive and call.chunked else Ending.CLOSE
    lines = stream_lines(call.chunked, operation.content_type(answer, True))
    return Reply(head + lines, pieces, ending, whole=stop is None)


def _first_events(events: list[Event], after: int | None) -> list[Event]:
    """The events up to the given number of content chunks (half of them when not told); beyond their number,
    everything but the terminal event."""
    content = [position for position, event in enumerate(events) if event.content]
    count = len(content) // 2 if after is None else after
    if count > len(content):
        return events[:-1]
    if count == 0:
        return events[: content[0] if content else 1]
    return events[: content[count - 1] + 1]


def _split(pieces: list[tuple[bytes, int]], faults: Faults) -> list[tuple[bytes, int]]:
    if "tiny" not in faults:
        return pieces
    return [(data[at : at + 1], generated) for data, generated in pieces for at in range(len(data))]


def _broken(stop: Rule) -> Ending:
    return Ending.RESET if stop.do == "cut" else Ending.CLOSE
