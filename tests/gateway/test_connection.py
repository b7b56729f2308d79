"""What a client may send: every way of cutting a request, and every way of being read in two ways."""

import asyncio
import random
import tracemalloc
from typing import Any

import pytest
from small_road import SmallRoad, request_bytes

from tollbook.gateway.connection import HEADERS_LIMIT, PIPELINE_LIMIT, ClientConnection, Exchange
from tollbook.gateway.message import ClientRequest

HEAD = b"POST /x HTTP/1.1\r\nhost: a\r\n"
CHUNKED = (
    HEAD + b"transfer-encoding: chunked\r\nX-Case: Kept Value\r\n\r\n"
    b"5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nx-tollbook-user: evil\r\nauthorization: Bearer evil\r\n\r\n"
)


class Transport:
    """The client's side of a connection, without a socket."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.aborted = False
        self.ended = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Waiting:
    """An exchange that ends when the test says so."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def client_gone(self) -> None:
        self.said.append("gone")

    def client_slow(self) -> None:
        self.said.append("slow")

    def client_ready(self) -> None:
        self.said.append("ready")


class Listener:
    """A road that keeps what it is handed; `/wait` is answered when the test says so, all else at once."""

    def __init__(self, body_limit: int = 1 << 20) -> None:
        self.body_limit = body_limit
        self.connections: set[ClientConnection] = set()
        self.requests: list[ClientRequest] = []
        self.refused: list[tuple[int, str]] = []
        self.exchange = Waiting()

    def handle(self, connection: ClientConnection, request: ClientRequest) -> Exchange | None:
        self.requests.append(request)
        if request.path == b"/wait":
            return self.exchange
        if request.path == b"/bug":
            raise ZeroDivisionError
        connection.write(b"<%b>" % request.path)
        connection.done(request.keep_alive)
        return None

    def malformed(self, connection: ClientConnection, status: int, code: str, message: str) -> None:
        self.refused.append((status, code))
        connection.write(b"<%d>" % status)


def connected(road: Listener) -> tuple[ClientConnection, Any]:
    connection, transport = ClientConnection(road), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    return connection, transport


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_request_is_the_same_however_it_is_cut() -> None:
    """A chunked request cut at every byte, and into single bytes, is one request; its trailers are dropped."""
    whole = [(CHUNKED[:at], CHUNKED[at:]) for at in range(len(CHUNKED))]
    for pieces in [*whole, tuple(CHUNKED[at : at + 1] for at in range(len(CHUNKED)))]:
        road = Listener()
        connection, _ = connected(road)
        for piece in pieces:
            connection.data_received(piece)
        (request,) = road.requests
        assert request.body == b"hello world"
        assert request.headers == [
            (b"host", b"a"), (b"transfer-encoding", b"chunked"), (b"x-case", b"Kept Value"),
        ]  # fmt: skip


SMUGGLING = {
    "length and chunked": HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "one length twice": HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "list of lengths": HEAD + b"content-length: 3, 3\r\n\r\nabc",
    "signed length": HEAD + b"content-length: +3\r\n\r\nabc",
    "negative length": HEAD + b"content-length: -1\r\n\r\n",
    "huge length": HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
    "folded header": HEAD + b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"POST /x HTTP/1.1\nhost: a\n\n",
    "bare line feed": HEAD + b"x-a: b\nx-b: c\r\n\r\n",
    "bare carriage return": HEAD + b"x-a: b\rx-b: c\r\n\r\n",
    "space before colon": HEAD + b"content-length : 3\r\n\r\nabc",
    "space in name": HEAD + b"x a: b\r\n\r\n",
    "NUL": HEAD + b"x-a: b\x00c\r\n\r\n",
    "vertical tab": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity coding": HEAD + b"transfer-encoding: identity\r\n\r\nabc",
    "chunked not last": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size no number": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "chunk size signed": HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
    "chunk size huge": HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "chunk with line feed": HEAD + b"transfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "chunk longer than said": HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n",
    "extension with line feed": HEAD + b"transfer-encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/1.2": b"GET /x HTTP/1.2\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host in the URL": b"GET http:// HTTP/1.1\r\n\r\n",
    "two URLs": b"GET /a /b HTTP/1.1\r\n\r\n",
    "unknown method": b"FOO /x HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
async def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(data: bytes) -> None:
    """None of it reaches the road, whatever follows in the same packet or in later ones."""
    for pieces in ([data + request_bytes()], [data, request_bytes()], [bytes([byte]) for byte in data]):
        road = Listener()
        connection, transport = connected(road)
        for piece in pieces:
            connection.data_received(piece)
        assert road.requests == []
        assert road.refused == [(400, "malformed_request")]
        assert transport.ended


@pytest.mark.parametrize(
    "data",
    [
        b"GET /wait HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
        b"POST /wait HTTP/1.1\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
        b"CONNECT vendor:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_another_protocol_is_refused_before_anything_is_done(data: bytes) -> None:
    """An upgrade is 501, and the request that asked for it is not begun."""
    road = Listener()
    connection, transport = connected(road)
    connection.data_received(data + b"GET /x HTTP/1.1\r\n\r\n")
    assert (road.requests, road.refused) == ([], [(501, "upgrade_unsupported")])
    assert transport.ended


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (HEAD + b"x-a: " + b"a" * HEADERS_LIMIT + b"\r\n\r\n", (431, "headers_too_large")),
        (HEAD + b"x-a: b\r\n" * 200 + b"\r\n", (431, "headers_too_large")),
        (b"GET /" + b"a" * HEADERS_LIMIT + b" HTTP/1.1\r\n\r\n", (431, "headers_too_large")),
        (HEAD + b"x-a: b\r\n" * 20_000, (431, "headers_too_large")),  # and no end of it
        (HEAD + b"content-length: 101\r\n\r\n", (413, "body_too_large")),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n64\r\n" + b"a" * 100 + b"\r\n1\r\na\r\n", (413, "body_too_large")),
    ],
)  # fmt: skip
async def test_what_is_too_large_is_refused_as_soon_as_it_shows(data: bytes, refused: tuple[int, str]) -> None:
    """Headers and bodies are bounded; a later request on the connection does not hide that."""
    for following in (b"", b"\r\n\r\n" + request_bytes()):
        road = Listener(body_limit=100)
        connection, transport = connected(road)
        connection.data_received(data + following)
        connection.data_received(request_bytes())
        assert (road.requests, road.refused) == ([], [refused])
        assert transport.ended


async def test_a_body_of_the_very_limit_passes() -> None:
    """The limit is what may be sent, not the first that may not."""
    road = Listener(body_limit=100)
    connection, _ = connected(road)
    connection.data_received(HEAD + b"content-length: 100\r\n\r\n" + b"a" * 100)
    assert [request.body for request in road.requests] == [b"a" * 100]


async def test_a_body_of_tiny_chunks_costs_no_more_than_its_size() -> None:
    """A client cannot make a worker hold many times what it sends."""
    road = Listener(body_limit=1 << 20)
    connection, _ = connected(road)
    connection.data_received(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    tracemalloc.start()
    for _ in range(100):
        connection.data_received(b"2\r\nab\r\n" * 2_000)
    held, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    connection.data_received(b"0\r\n\r\n")
    assert road.requests[0].body == b"ab" * 200_000
    assert held < 2 * 400_000


async def test_pipelined_requests_are_answered_in_turn() -> None:
    """One at a time, in the order they came; the others wait."""
    road = Listener()
    connection, transport = connected(road)
    connection.data_received(b"".join(b"GET /%b HTTP/1.1\r\n\r\n" % name for name in (b"wait", b"1", b"2", b"3")))
    assert [request.path for request in road.requests] == [b"/wait"]
    connection.write(b"<wait>")
    connection.done(True)
    await settle()
    assert transport.written == b"<wait></1></2></3>"


async def test_any_number_of_pipelined_requests_is_survived() -> None:
    """Thousands behind one that takes its time neither overflow the stack nor keep being read."""
    road = Listener()
    connection, transport = connected(road)
    connection.data_received(b"GET /wait HTTP/1.1\r\n\r\n" + b"GET /1 HTTP/1.1\r\n\r\n" * 5_000)
    assert not transport.reading
    connection.done(True)
    for _ in range(10_000):
        await asyncio.sleep(0)
    assert transport.written == b"</1>" * 5_000
    assert transport.reading
    assert PIPELINE_LIMIT < 5_000


async def test_nothing_is_begun_on_a_connection_that_is_to_close() -> None:
    """A request behind one that closes the connection is not served."""
    for connection_header in (b"connection: close\r\n", b""):
        road = Listener()
        connection, transport = connected(road)
        connection.draining = not connection_header
        connection.data_received(b"GET /1 HTTP/1.1\r\n" + connection_header + b"\r\nGET /2 HTTP/1.1\r\n\r\n")
        await settle()
        assert [request.path for request in road.requests] == [b"/1"]
        assert transport.closing


async def test_garbage_behind_a_request_cuts_its_answer() -> None:
    """What comes with a request that is being answered cannot be told apart from it: the connection is cut."""
    road = Listener()
    connection, transport = connected(road)
    connection.data_received(b"GET /wait HTTP/1.1\r\n\r\n" + SMUGGLING["bare line feeds"])
    assert transport.aborted
    connection.connection_lost(None)
    assert road.exchange.said == ["gone"]
    assert road.connections == set()


async def test_a_fault_of_ours_is_not_blamed_on_the_client() -> None:
    """An exception of the road is not answered as a malformed request; it comes out."""
    road = Listener()
    connection, _ = connected(road)
    with pytest.raises(Exception) as caught:
        connection.data_received(b"GET /bug HTTP/1.1\r\n\r\n")
    assert isinstance(caught.value.__context__ or caught.value.__cause__, ZeroDivisionError)
    assert road.refused == []


async def test_a_slow_client_is_told_to_whoever_answers_it() -> None:
    """Also when its buffer was full before the answer began."""
    road = Listener()
    connection, _ = connected(road)
    connection.pause_writing()
    connection.data_received(b"GET /wait HTTP/1.1\r\n\r\n")
    connection.resume_writing()
    assert road.exchange.said == ["slow", "ready"]


async def test_random_bytes_never_reach_the_road() -> None:
    """A thousand bodies of noise: refused or waited for, never served, never a crash."""
    chance = random.Random(3)
    for _ in range(1_000):
        road = Listener()
        connection, transport = connected(road)
        connection.data_received(chance.randbytes(chance.randrange(1, 200)))
        assert road.requests == []
        assert transport.ended == bool(road.refused)


async def test_over_a_socket_errors_arrive_before_the_connection_ends(road: SmallRoad) -> None:
    """A client that is still sending its too large body can read why it is refused."""
    async with road:
        client = await road.connect()
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 40000000\r\n\r\n" + b"a" * 3_000_000)
        reply = await client.answer()
        assert (reply.status, reply.code) == (413, "body_too_large")
        assert await client.ended()


async def test_a_client_may_ask_before_it_sends(road: SmallRoad) -> None:
    """`Expect: 100-continue` is answered, and the request then served."""
    async with road:
        data = request_bytes(headers={"expect": "100-continue"})
        head, _, body = data.partition(b"\r\n\r\n")
        client = await road.connect()
        client.send(head + b"\r\n\r\n")
        assert (await client.answer()).status == 100
        client.send(body)
        assert (await client.answer()).status == 200


async def test_a_slow_request_is_served_when_it_is_whole(road: SmallRoad) -> None:
    """A request that trickles in byte by byte is one request."""
    async with road:
        client = await road.connect()
        for byte in request_bytes():
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200
        assert len(road.entries) == 2


async def test_head_has_no_body(road: SmallRoad) -> None:
    """A load balancer may ask with HEAD; what follows on the connection is the next answer."""
    async with road:
        client = await road.connect()
        for path, status in (("/health/ready", 200), ("/v1/models", 404), ("/tollbook/v1/requests/x", 405)):
            client.send(f"HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            assert (await client.answer("HEAD")).status == status
        client.send(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await client.answer()).body == b'{"status":"ok"}'


async def test_an_idle_connection_expires_although_its_client_reads_nothing() -> None:
    """What was written and never taken does not keep a connection for ever."""
    connection, transport = connected(Listener())
    connection.expire()
    assert transport.closing
    assert not transport.aborted
    connection, transport = connected(Listener())
    transport.get_write_buffer_size = lambda: 1
    connection.expire()
    assert transport.aborted
