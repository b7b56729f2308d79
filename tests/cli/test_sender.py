"""The small client that replays and the demo send with."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tollbook.cli.sender import Shot, Tally, send_all
from tollbook.core.faults import BadInput


class _Echo(BaseHTTPRequestHandler):
    """Answers with a path's status; `/drop` ends the connection, `/long` sends much."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/drop":
            self.close_connection = True
            return
        status = int(self.path.removeprefix("/").split("/")[0]) if self.path[1:4].isdigit() else 200
        answer = b"x" * 100_000 if self.path == "/long" else body
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.send_header("x-tollbook-request-id", body.decode())
        self.end_headers()
        try:
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def send(url: str, shots: list[Shot], connections: int = 4) -> Tally:
    return asyncio.run(send_all(url, shots, connections=connections))


def test_every_shot_has_one_result(url: str) -> None:
    """Many requests over few connections: each is answered once, with its own id and status."""
    shots = [Shot(0.0, f"/{200 + number % 2}", (), f"id-{number}".encode()) for number in range(60)]
    tally = send(url, shots)
    assert tally.statuses == {200: 30, 201: 30}
    assert {result.request_id for result in tally.results} == {f"id-{number}" for number in range(60)}


def test_a_dropped_connection_is_a_result_without_status(url: str) -> None:
    """A request whose connection ends unanswered counts as status 0, and the next ones go on over a new connection."""
    shots = [Shot(0.0, path, (), b"a") for path in ("/200", "/drop", "/200", "/drop", "/200")]
    assert send(url, shots, connections=1).statuses == {200: 3, 0: 2}


def test_a_shot_can_leave_early(url: str) -> None:
    """A client that leaves in the middle of its answer is done at once, and later requests still get theirs."""
    shots = [Shot(0.0, "/long", (), b"a", leave_after=10), Shot(0.0, "/200", (), b"b")]
    tally = send(url, shots, connections=1)
    assert [result.request_id for result in tally.results] == ["a", "b"]


def test_shots_wait_for_their_time(url: str) -> None:
    """Paced requests are not sent before their time."""

    async def timed() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await send_all(url, [Shot(0.0, "/200", (), b"a"), Shot(0.3, "/200", (), b"b")], connections=2)
        return loop.time() - begun

    assert asyncio.run(timed()) >= 0.3


def test_a_silent_gateway_ends_the_sending(url: str) -> None:
    """When nothing at all is answered there is no use in sending the rest; one answer is enough to go on."""
    with pytest.raises(BadInput, match="answered none of 20 requests"):
        send(url, [Shot(0.0, "/drop", (), b"a")] * 1000)
    shots = [Shot(0.0, "/200", (), b"a"), *[Shot(0.0, "/drop", (), b"a")] * 40]
    assert send(url, shots, connections=1).statuses == {200: 1, 0: 40}


def test_an_unreachable_gateway_is_told_once() -> None:
    """When nobody listens the error names the address and asks the right question."""
    with pytest.raises(BadInput, match=r"127\.0\.0\.1:9 cannot be reached: .*is it running"):
        send("http://127.0.0.1:9", [Shot(0.0, "/200", (), b"a")] * 20)
    with pytest.raises(BadInput, match="no address of a gateway"):
        send("localhost:9", [])
