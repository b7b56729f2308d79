"""What must hold of every parser of foreign bytes, whatever the bytes are: one function per parser.

Each takes any bytes and raises when a promise is broken. The first bytes choose what is not content (which adapter,
where the stream is cut), so that a fuzzer can choose it too. `python -m tests.fuzz` gives them what coverage suggests,
`test_fuzz.py` what hypothesis does.
"""

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from tollbook import config
from tollbook.core.faults import BadConfiguration, BadInput, Fault
from tollbook.core.money import format_decimal, parse_amount
from tollbook.core.settings import Settings
from tollbook.core.usage import CLASSES
from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.message import ClientRequest, Headers
from tollbook.gateway.upstream import VendorConnection
from tollbook.journal.line import Chain, read_lines
from tollbook.journal.statement import LINE_BYTES, encode_statement_line
from tollbook.pricing.book import PriceBook
from tollbook.providers.answer import RAW_LIMIT
from tollbook.providers.contract import FLAGS, KINDS, Adapter, Call, Estimate, Prepared, Reading
from tollbook.providers.eventstream import MessageSplitter
from tollbook.providers.gemini_array import ArraySplitter
from tollbook.providers.registry import ADAPTERS
from tollbook.providers.sse import Piece, Splitter, parse_event
from tollbook.statements.mapped import importer_by, read_mapping
from tollbook.statements.reading import Reading as StatementReading
from tollbook.statements.sources import IMPORTERS

INSTANT: Final = 1_795_436_400_000_000
BASES: Final = {"provider_reported", "computed", "unreported"}
TOLD: Final = tuple(adapter for adapter in ADAPTERS if adapter.purpose != "list")
"""The adapters that read what a vendor sends: a list is answered from our own record."""


def pieces_of(data: bytes, way: int) -> list[bytes]:
    """The bytes as the network may cut them; each way is another cut, 0 is single bytes."""
    if way == 0:
        return [data[at : at + 1] for at in range(len(data))]
    sizes = (way % 16 + 1, way // 16 * 7 + 1)
    found, at, turn = [], 0, 0
    while at < len(data):
        found.append(data[at : at + sizes[turn % 2]])
        at, turn = at + sizes[turn % 2], turn + 1
    return found


# --- streams, cut into events


def sse(data: bytes) -> None:
    """Server-sent events: the same events however the bytes are cut, and all bytes in order."""
    way, data = (data[0], data[1:]) if data else (1, b"")
    whole = _split(Splitter(), [data])
    for parts in (pieces_of(data, way), [*pieces_of(data, way), b""]):
        assert _split(Splitter(), parts) == whole
    small = _split(Splitter(limit=16), pieces_of(data, way))
    assert b"".join(block for block, _ in small) == data
    for block, is_event in whole:
        assert is_event
        event = parse_event(block)
        assert len(event.data) <= len(block) and len(event.name) <= len(block)


def _split(splitter: Splitter, parts: Sequence[bytes]) -> list[Piece]:
    found = [piece for part in parts for piece in splitter.push(part)]
    found += splitter.flush()
    assert b"".join(block for block, _ in found) == b"".join(parts)
    return found


def json_array(data: bytes) -> None:
    """An array in pieces: the same elements however the bytes are cut; of an array that is JSON, its objects."""
    way, data = (data[0], data[1:]) if data else (1, b"")
    whole = ArraySplitter().push(data)
    splitter = ArraySplitter()
    assert [piece for part in pieces_of(data, way) for piece in splitter.push(part)] == whole
    limited = ArraySplitter(limit=16)
    for part in pieces_of(data, way):
        limited.push(part)
        assert len(limited._held) <= 16 + len(part)
    try:
        elements = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(elements, list) and all(isinstance(element, dict) for element in elements):
        assert [json.loads(element) for element, _ in whole] == elements or "NaN" in str(elements).replace("nan", "NaN")


def event_stream(data: bytes) -> None:
    """Amazon's messages: the same however the bytes are cut."""
    way, data = (data[0], data[1:]) if data else (1, b"")
    whole = MessageSplitter().push(data)
    splitter = MessageSplitter()
    assert [found for part in pieces_of(data, way) for found in splitter.push(part)] == whole
    limited = MessageSplitter(limit=64)
    for part in pieces_of(data, way):
        limited.push(part)
        assert len(limited._held) <= 64 + len(part)


# --- adapters


def check_reading(reading: Reading) -> None:
    """A reading is made of known words, and says the same thing in all its members."""
    assert (reading.usage is not None) == (reading.basis in ("provider_reported", "computed"))
    assert reading.basis in BASES
    assert reading.usage is None or reading.partial is None
    for usage in (reading.usage, reading.partial, *(share.usage for share in reading.shares)):
        _check_usage(usage or {})
    assert set(reading.flags) <= set(FLAGS) and len(set(reading.flags)) == len(reading.flags)
    assert {made.kind for made in reading.made} <= set(KINDS)
    # Three times: what is no UTF-8 becomes three bytes after the length was looked at (see test_fuzz.py).
    assert reading.raw is None or (len(reading.raw) <= 3 * RAW_LIMIT and b"\n" not in reading.raw)
    msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(reading, raw=None)))
    if reading.raw is not None:
        reading.raw.decode()


def _check_usage(usage: dict[str, int]) -> None:
    assert set(usage) <= CLASSES, usage
    assert all(type(count) is int and count >= 0 for count in usage.values()), usage


def buffered(data: bytes) -> None:
    """A whole answer: read without an exception by every adapter, twice alike."""
    if len(data) < 2:
        return
    adapter, status, body = TOLD[data[0] % len(TOLD)], STATUSES[data[1] % len(STATUSES)], data[2:]
    headers = HEADERS[data[1] // len(STATUSES) % len(HEADERS)]
    reading = adapter.read(status, headers, body)
    check_reading(reading)
    assert adapter.read(status, headers, body) == reading
    if status >= 400:
        assert reading.error and reading.usage is None


STATUSES: Final = (200, 201, 400, 429, 500)
HEADERS: Final[tuple[Headers, ...]] = (
    [],
    [(b"x-amzn-bedrock-input-token-count", b"17"), (b"x-amzn-bedrock-output-token-count", b"\xff")],
    [(b"content-type", b"application/json"), (b"x-gemini-service-tier", b"flex"), (b"openai-version", b"")],
)
PREPARED: Final = (
    Prepared(path="?alt=sse", body=b"", streams=True),
    Prepared(path="", body=b"", streams=True),
    Prepared(path="", body=b"", streams=True, hides_usage=True),
)


def streamed(data: bytes) -> None:
    """A streamed answer: read without an exception, alike however the bytes are cut, and no byte is lost on the way to
    the client, unless a usage is hidden that it did not ask for."""
    if len(data) < 3:
        return
    adapter, prepared, way, body = TOLD[data[0] % len(TOLD)], PREPARED[data[1] % len(PREPARED)], data[2], data[3:]
    whole = read_stream(adapter, prepared, [body])
    assert read_stream(adapter, prepared, pieces_of(body, way)) == whole
    reading, _, passed = whole
    check_reading(reading)
    if not prepared.hides_usage:
        assert passed == body


def read_stream(adapter: Adapter, prepared: Prepared, parts: Sequence[bytes]) -> tuple[Reading, bool, bytes]:
    """The reading of a stream, whether it was terminal, and what its client got."""
    reader = adapter.stream(prepared)
    passed = b"".join([reader.feed(part) for part in parts]) + reader.flush()
    reading = reader.reading()
    adapter.read_head(reading, HEADERS[0])
    return reading, reader.terminal, passed


def request(data: bytes) -> None:
    """A client's request: judged and prepared, or refused as bad input; what is prepared is what was judged."""
    if len(data) < 2:
        return
    adapter, body = ADAPTERS[data[0] % len(ADAPTERS)], data[2:]
    route = adapter.routes[data[1] % len(adapter.routes)]
    names = {part[1:].partition("}")[0]: "some%20name" for part in route.path.split("/") if part.startswith("{")}
    headers = FORM if data[1] >= 128 else JSON
    try:
        members = adapter.scan(headers, body)
        call = Call(route, names, b"alt=sse&beta=%ff", headers, body, members)
        adapter.model(call)
        adapter.objects(call)
        adapter.streamed(call)
        prepared = adapter.prepare(call, "fuzz-model")
    except BadInput:
        return
    for name, (start, end) in members.spans.items():
        assert body[start:end] == members.values[name]
    if prepared.body is not body and headers is JSON:
        scanned = adapter.scan(headers, prepared.body)
        assert scanned.values.keys() >= members.values.keys() - {"model"}
    _estimate(adapter, call)


JSON: Final[Headers] = [(b"content-type", b"application/json")]
FORM: Final[Headers] = [(b"content-type", b"multipart/form-data; boundary=b")]


def _estimate(adapter: Adapter, call: Call) -> None:
    for reading in (Reading(complete=False), Reading(complete=False, output_text=900, output_deltas=9)):
        estimate: Estimate = adapter.estimate(call, reading)
        _check_usage(estimate.usage)
        assert all(estimate.usage[name] <= bound for name, bound in estimate.bound.items() if name in estimate.usage)


# --- connections


class VendorTransport:
    """A socket's place."""

    def __init__(self) -> None:
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing or data is not None

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        return

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        return

    resume_reading = pause_reading

    def get_extra_info(self, name: str) -> Any:
        raise AssertionError(name)


class Road:
    """Answers at once, and keeps what came."""

    body_limit = 4096

    def __init__(self) -> None:
        self.connections: set[ClientConnection] = set()
        self.came: list[ClientRequest] = []
        self.refused: list[int] = []

    def handle(self, connection: ClientConnection, request: ClientRequest) -> None:
        self.came.append(request)
        connection.done(request.keep_alive)

    def malformed(self, connection: ClientConnection, status: int, code: str, message: str) -> None:
        self.refused.append(status)
        connection.done(False)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _said(request: ClientRequest) -> tuple[object, ...]:
    """A request as its client meant it: of a familiar head, the length is that of the first message that had it."""
    headers = [(name, value) for name, value in request.headers if name != b"content-length"]
    told = (request.method, request.path, request.query, request.body, request.keep_alive, request.chunks)
    return (*told, headers)


def client_connection(data: bytes) -> None:
    """What a client sends, and sends again: the same requests however the bytes are cut, and the same refusal."""
    way, data = (data[0], data[1:]) if data else (1, b"")

    async def serve(parts: Sequence[bytes]) -> tuple[list[ClientRequest], list[int]]:
        road = Road()
        connection = ClientConnection(road)  # type: ignore[arg-type]
        transport = VendorTransport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        for part in parts:
            if not transport.closing:
                connection.data_received(part)
        connection.connection_lost(None)
        assert not road.connections
        return road.came, road.refused

    async def compare() -> None:
        # The second packet of the same bytes is where a connection knows the head already.
        came, refused = await serve([data, data])
        again, refused_again = await serve(pieces_of(data + data, way))
        assert [_said(one) for one in again] == [_said(one) for one in came]
        # What follows a request that closes the connection may be looked at or not.
        assert refused == refused_again or not came[-1].keep_alive
        assert len(refused) <= 1
        for request in came:
            assert len(request.body) <= Road.body_limit

    _loop().run_until_complete(compare())


class VendorPool:
    """Keeps nothing."""

    def __init__(self) -> None:
        self.released = 0

    def release(self, connection: VendorConnection) -> None:
        self.released += 1

    def forget(self, connection: VendorConnection) -> None:
        return


class _Listener:
    """Notes what it is told; that an answer ends once, and nothing of it comes before its beginning."""

    def __init__(self) -> None:
        self.head: tuple[int, Headers] | None = None
        self.body = b""
        self.end: str | None = None

    def answer_began(self, status: int, headers: Headers) -> None:
        assert self.head is None and self.end is None and status >= 200
        self.head = status, list(headers)

    def answer_data(self, data: bytes) -> None:
        assert self.end is None
        if self.head is not None:  # what comes before a head, or with one that is no final answer's, is not heard
            self.body += data

    def answer_ended(self) -> None:
        assert self.head is not None and self.end is None
        self.end = "whole"

    def connection_lost(self, why: str) -> None:
        assert self.end is None
        self.end = why


def vendor_connection(data: bytes) -> None:
    """What a vendor answers: one answer that ends once, the same however its bytes are cut."""
    way, data = (data[0], data[1:]) if data else (1, b"")

    async def answer(parts: Sequence[bytes]) -> tuple[object, ...]:
        pool, listener, transport = VendorPool(), _Listener(), VendorTransport()
        connection = VendorConnection(pool)  # type: ignore[arg-type]
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.send(listener, b"")  # type: ignore[arg-type]
        for part in parts:
            if not transport.closing and listener.end is None:
                connection.data_received(part)
        connection.connection_lost(None)
        assert listener.end is not None
        assert not pool.released or listener.end == "whole"
        return listener.head, listener.body, listener.end

    async def compare() -> None:
        whole = await answer([data])
        assert await answer(pieces_of(data, way)) == whole

    _loop().run_until_complete(compare())


# --- files


def configuration(data: bytes) -> None:
    """A configuration: settings, or a BadConfiguration that names the file."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        assert isinstance(config.parse(text), Settings)
    except BadConfiguration as fault:
        assert "tollbook.yaml" in str(fault) or ": " in str(fault)


def journal_lines(data: bytes) -> None:
    """Lines of a lane: as many as hold, and the first that does not; the same a block at a time or line by line."""
    raws = data.split(b"\n")
    lines, broken = read_lines("lane", 0, raws)
    assert len(lines) == len(raws) if broken is None else broken.good == len(lines) and broken.reason
    chain = Chain("worker-20261123T000000Z-00000000")
    good, wrong = chain.extend(raws)
    assert len(good) <= len(lines) and (wrong is None) == (len(good) == len(raws))
    again = Chain(chain.lane)
    singly = []
    for raw in raws:
        found, stop = again.extend([raw])
        singly += found
        if stop is not None:
            break
    # Of a block more is known: a changed line is named by what the line after it says of it.
    assert singly[: len(good)] == good and len(singly) <= len(good) + 1


def price_book(data: bytes) -> None:
    """A price book: loads whole and explains every price, or is bad input."""
    with contextlib.suppress(BadInput):
        book = PriceBook.load(data)
        for entry in book.entries():
            book.explain(entry.party, entry.model, INSTANT)
            book.show(entry.party, entry.model)


Target = Callable[[bytes], None]


def statement(data: bytes) -> None:
    """A vendor's file: lines and problems, or BadInput; lines in order, amounts of the lines the document's totals."""
    which, data = (data[0], data[1:]) if data else (0, b"")
    importers = list(IMPORTERS.values())
    reading = StatementReading(importers[which % len(importers)])
    try:
        lines = list(reading.lines(io.BytesIO(data)))
    except BadInput:
        return
    assert [line.line for line in lines] == list(range(1, reading.count + 1))
    sums: dict[str, int] = {}
    for line in lines:
        assert line.begins < line.ends and len(encode_statement_line(line)) < LINE_BYTES
        if line.amount is not None:
            sums[line.currency or ""] = sums.get(line.currency or "", 0) + parse_amount(line.amount)
    assert sums == {currency: parse_amount(format_decimal(total)) for currency, total in reading.totals.items()}


def mapping(data: bytes) -> None:
    """A mapping file: one that can be used, or BadInput."""
    with contextlib.suppress(BadInput):
        importer_by(read_mapping(data))


TARGETS: Final[dict[str, Target]] = {
    "sse": sse,
    "json_array": json_array,
    "event_stream": event_stream,
    "buffered": buffered,
    "streamed": streamed,
    "request": request,
    "client_connection": client_connection,
    "vendor_connection": vendor_connection,
    "configuration": configuration,
    "journal_lines": journal_lines,
    "price_book": price_book,
    "statement": statement,
    "mapping": mapping,
}

__all__ = ["TARGETS", "Fault"]
