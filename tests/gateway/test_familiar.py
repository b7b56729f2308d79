"""A head that was read before is read the same way again, and nothing else is."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_road import SmallRoad, request_bytes
from test_connection import Listener, Transport

from tollbook.gateway.connection import ClientConnection, Exchange
from tollbook.gateway.familiar import FamiliarHead
from tollbook.gateway.message import ClientRequest

PIECES = (
    b"POST /x HTTP/1.1\r\n",
    b"POST /y?a=b HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"host: a\r\n",
    b"Content-Length: ",
    b"content-length: ",
    b"CONTENT-LENGTH:",
    b"transfer-encoding: chunked\r\n",
    b"connection: close\r\n",
    b"expect: 100-continue\r\n",
    b"idempotency-key: k\r\n",
    b"x: a\n",
    b"0", b"1", b"2", b"5", b"07", b"11", b"+5", b" 5",
    b"\r\n", b"\r\n\r\n", b"\n\n", b"hello", b"x\r\n\r\nhello",
)  # fmt: skip
"""What requests are made of, well and badly."""

Read = tuple[list[tuple[object, ...]], list[tuple[int, str]]]


class Answering(Listener):
    """One that answers whole, as a client of HTTP/1.0 needs it: its answer is read to be sent without chunks."""

    def handle(self, connection: ClientConnection, request: ClientRequest) -> Exchange | None:
        self.requests.append(request)
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        connection.done(request.keep_alive)
        return None

    def malformed(self, connection: ClientConnection, status: int, code: str, message: str) -> None:
        self.refused.append((status, code))
        connection.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


class Forgetful(FamiliarHead):
    """One that knows no head."""

    def learn(self, data: bytes, request: ClientRequest) -> None: ...


def whole(body: bytes, *headers: bytes, size: bytes | None = None) -> bytes:
    lines = b"".join(b"%b\r\n" % header for header in headers)
    length = size if size is not None else b"%d" % len(body)
    return b"POST /x HTTP/1.1\r\nhost: a\r\n" + lines + b"content-length: " + length + b"\r\n\r\n" + body


async def read(messages: list[bytes], *, familiar: bool) -> Read:
    """What a connection makes of messages that come one at a time."""
    road = Answering()
    connection, transport = ClientConnection(road), Transport()
    if not familiar:
        connection._familiar = Forgetful()  # type: ignore[misc]  # the very difference that is looked at
    connection.connection_made(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    for message in messages:
        connection.data_received(message)
    requests = [
        (
            one.method, one.path, one.query, one.body, one.keep_alive, one.chunks,
            tuple(field for field in one.headers if field[0] != b"content-length"),
        )
        for one in road.requests
    ]  # fmt: skip
    return requests, road.refused


pieces = st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join)
good = st.builds(whole, st.sampled_from((b"", b"a", b"hello", b"content-length: 3\r\n\r\nabc", b"x" * 120)))


@given(st.lists(st.one_of(good, pieces), min_size=1, max_size=6))
@example([b"GET / HTTP/1.0\r\n\r\n"] * 2)
@example([b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", b"\r\n", b"x: a\n"])
def test_a_familiar_head_changes_nothing(messages: list[bytes]) -> None:
    """Whatever comes, in whatever order: what is read and what is refused are the same with and without the memory."""
    with asyncio.Runner() as runner:
        assert runner.run(read(messages, familiar=True)) == runner.run(read(messages, familiar=False))


async def test_the_parser_is_spared() -> None:
    """The second request with a head is not parsed, whatever the length of its body."""
    head = FamiliarHead()
    road = Listener()
    connection, transport = ClientConnection(road), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    connection.data_received(whole(b"hello"))
    head.learn(whole(b"hello"), road.requests[0])
    again = head.read(whole(b"a longer body"), 1_000)
    assert again is not None
    assert (again.path, again.body, again.usual) == (b"/x", b"a longer body", road.requests[0].usual)


@pytest.mark.parametrize(
    "data",
    [
        whole(b"hello") + b"G",
        whole(b"hello")[:-1],
        whole(b"hello", size=b"05"),
        whole(b"hello", size=b"5 "),
        whole(b"hello", size=b""),
        whole(b"hello", b"x: y"),
        whole(b"h" * 101),
    ],
)
async def test_only_the_very_same_head_is_familiar(data: bytes) -> None:
    """More bytes, fewer, an odd number, another header, a body over the limit: the parser has to judge."""
    head, road = FamiliarHead(), Listener()
    connection, transport = ClientConnection(road), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    connection.data_received(whole(b"first"))
    head.learn(whole(b"first"), road.requests[0])
    assert head.read(whole(b"other"), 100) is not None
    assert head.read(data, 100) is None


@pytest.mark.parametrize("name", [b"traceparent", b"idempotency-key", b"x-amz-date", b"expect", b"x-request-id"])
async def test_a_head_with_something_of_its_own_is_not_kept(name: bytes) -> None:
    """A signature, an idempotency key, a trace: what holds for one request is read each time."""
    head, road = FamiliarHead(), Listener()
    connection, transport = ClientConnection(road), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    connection.data_received(whole(b"first", name + b": 1"))
    head.learn(whole(b"first", name + b": 1"), road.requests[0])
    assert head.read(whole(b"first", name + b": 1"), 100) is None


async def test_dimensions_are_read_each_time(road: SmallRoad) -> None:
    """What a request says of itself is a keyed digest, kept in a directory that can be erased: it is made anew for each
    request on one connection; and a request that says nothing is not taken for one that did."""
    async with road:
        client = await road.connect()
        for headers in ({"x-tollbook-user": "ann"}, {"x-tollbook-user": "ann"}, {}, {"x-tollbook-user": "bob"}, {}):
            client.send(request_bytes(headers=headers))
            await client.answer()
        users = [entry.request.user for kind, entry in road.entries if kind == "request.settled"]
    assert users[0] == users[1] != users[3]
    assert users[2] is users[4] is None
