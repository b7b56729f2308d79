"""What comes after the end of a message concerns nobody. Found by fuzzing."""

from typing import Any

from fuzz_targets import Road, VendorPool, VendorTransport

from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.message import Headers
from tollbook.gateway.upstream import VendorConnection


class Heard:
    """Keeps the headers it was given, as an attempt does."""

    def __init__(self) -> None:
        self.headers: Headers = []
        self.ended = False

    def answer_began(self, status: int, headers: Headers) -> None:
        self.headers = headers

    def answer_data(self, data: bytes) -> None:
        return

    def answer_ended(self) -> None:
        self.ended = True

    def connection_lost(self, why: str) -> None:
        return


def _headers_of(data: bytes) -> Headers:
    connection, heard = VendorConnection(VendorPool()), Heard()  # type: ignore[arg-type]
    transport: Any = VendorTransport()
    connection.connection_made(transport)
    connection.send(heard, b"")  # type: ignore[arg-type]
    connection.data_received(data)
    assert heard.ended
    return heard.headers


async def test_a_vendors_next_message_adds_no_header_to_its_answer() -> None:
    """Bytes that follow an answer in the same packet are not of it."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    assert _headers_of(answer + b"HTTP/1.1 200 OK\r\nset-cookie: evil\r\n\r\n") == [(b"content-length", b"2")]


async def test_a_vendors_trailers_are_no_headers() -> None:
    """Fields after a chunked body may not take the place of those before it (RFC 9110, section 6.5.1)."""
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-request-id: other\r\n\r\n"
    assert _headers_of(chunked) == [(b"transfer-encoding", b"chunked")]


async def test_nothing_is_refused_on_a_connection_that_is_closing() -> None:
    """What follows a request that was answered and closed its connection gets no second answer."""
    road = Road()
    connection = ClientConnection(road)  # type: ignore[arg-type]
    connection.connection_made(VendorTransport())  # type: ignore[arg-type]
    connection.data_received(b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\nno request")
    assert len(road.came) == 1
    assert road.refused == []
