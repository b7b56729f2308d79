"""HTTP itself: hostile bytes, keep-alive, pipelines, admin endpoints, TLS, a process of its own."""

import datetime
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import IncompleteRead
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tollbook.core.faults import BadInput
from tollbook.simulator import Simulator, read_books

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim output=3]]"}]}).encode()
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-sim-a\r\ncontent-length: %d\r\n"
    % len(BODY)
)


def fetch(url: str, value: Any = None, context: ssl.SSLContext | None = None) -> Any:
    """GET, or POST of a JSON value."""
    headers = {"authorization": "Bearer sk-sim-a", "content-type": "application/json"}
    data = None if value is None else json.dumps(value).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=5, context=context) as answer:
        return json.load(answer)


def test_requests_may_come_in_a_pipeline_or_byte_by_byte(exchange: Any, simulator: Simulator) -> None:
    """Three requests in one write are answered in order on one connection, the last one closing it."""
    answer = exchange(simulator.url, (HEAD + b"\r\n" + BODY) * 2 + HEAD + b"connection: close\r\n\r\n" + BODY)
    ids = [part.split(b'"')[0] for part in answer.data.split(b'"id":"')[1:]]
    assert answer.end == "fin" and answer.data.count(b"HTTP/1.1 200 OK") == 3
    assert ids == [line.response_id.encode() for line in simulator.books.billed]


def test_a_request_waits_for_the_answer_before_it(simulator: Simulator) -> None:
    """A second request that arrives while the first is slow is received at once and answered after it."""
    slow = BODY.replace(b"output=3", b"output=3 first_byte_ms=300")
    head = HEAD.replace(str(len(BODY)).encode(), str(len(slow)).encode())
    address = urlsplit(simulator.url)
    with socket.create_connection((address.hostname, address.port), 5) as connection:
        connection.sendall(head + b"\r\n" + slow)
        while not simulator.books.received:
            time.sleep(0.01)
        connection.sendall(HEAD + b"connection: close\r\n\r\n" + BODY)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    ids = [part.split(b'"')[0] for part in answers.split(b'"id":"')[1:]]
    billed = sorted(simulator.books.billed, key=lambda line: line.instant)
    assert ids == [line.response_id.encode() for line in billed]
    assert [line.vendor_request_id for line in billed] == [line.vendor_request_id for line in simulator.books.received]


def test_no_connection_outlives_the_simulator() -> None:
    """Stopping ends idle connections and those that wait for an answer, and frees the address."""
    with Simulator([{"do": "accept_then_timeout"}]) as simulator:
        address = simulator.url.removeprefix("http://").split(":")
        idle, waiting = (socket.create_connection((address[0], int(address[1])), 5) for _ in range(2))
        waiting.sendall(HEAD + b"\r\n" + BODY)
        while not simulator.books.billed:
            time.sleep(0.01)
    assert idle.recv(1) == waiting.recv(1) == b""
    with Simulator(listen=":".join(address)):
        pass


def test_a_kept_connection_can_be_closed_without_notice(exchange: Any, simulator: Simulator) -> None:
    """`close_after`: a complete answer that promises nothing, then the end; the next request on it is lost."""
    simulator.install([{"do": "close_after"}])
    answer = exchange(simulator.url, HEAD + b"\r\n" + BODY)
    assert answer.end == "fin" and answer.json["usage"] and "connection" not in answer.headers
    assert simulator.books.billed[0].complete


def test_an_address_that_is_none_is_refused(simulator: Simulator) -> None:
    """A wrong address and one that is taken raise where the simulator is started."""
    with pytest.raises(BadInput, match="not host:port"), Simulator(listen="here"):
        pass
    with pytest.raises(OSError), Simulator(listen=simulator.url.removeprefix("http://")):
        pass


def test_http_1_0_gets_a_stream_that_ends_with_the_connection(exchange: Any, simulator: Simulator) -> None:
    """No chunked transfer coding for a client that does not know it."""
    body = BODY.replace(b'"messages"', b'"stream":true,"messages"')
    head = b"POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer sk-sim-a\r\ncontent-length: %d\r\n\r\n"
    answer = exchange(simulator.url, head % len(body) + body)
    assert b"chunked" not in answer.data and answer.data.endswith(b"data: [DONE]\n\n") and answer.end == "fin"


def test_a_client_may_ask_before_it_sends_its_body(exchange: Any, simulator: Simulator) -> None:
    """`expect: 100-continue` is answered."""
    answer = exchange(simulator.url, HEAD + b"expect: 100-continue\r\nconnection: close\r\n\r\n" + BODY)
    assert answer.data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"],
)
def test_what_is_not_http_is_refused(exchange: Any, simulator: Simulator, data: bytes) -> None:
    """A 400 or a 404 and the end of the connection; the simulator goes on."""
    answer = exchange(simulator.url, data)
    assert answer.status in (400, 404) and answer.end == "fin"
    assert fetch(simulator.url + "/simulator/rules") == {"rules": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":3}',
        b"\xff\xfe",
        b"[" * 10**6,
        b'{"x":' * 10**6,
        b'{"model":"gpt-4o","messages":null}',
    ],
)
def test_bodies_that_cannot_be_read_are_refused(exchange: Any, simulator: Simulator, body: bytes) -> None:
    """A 400 in the vendor's shape that says why."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer sk-sim-a\r\nconnection: close\r\n"
    answer = exchange(simulator.url, head + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert answer.status == 400 and answer.json["error"]["type"] == "invalid_request_error"
    assert len(simulator.books.received) == 1


def test_the_admin_endpoints(simulator: Simulator) -> None:
    """Books and rules over HTTP, as the properties show them; what is wrong is named."""
    url = simulator.url + "/simulator"
    rules = [{"do": "429", "times": 1, "when": {"model": "gpt-4o"}}]
    assert fetch(url + "/rules", {"rules": rules}) == {"rules": rules} == fetch(url + "/rules")
    with pytest.raises(HTTPError, match="429"):
        fetch(simulator.url + "/v1/chat/completions", json.loads(BODY))
    fetch(simulator.url + "/v1/chat/completions", json.loads(BODY))
    books = fetch(url + "/books")
    assert (len(books["received"]), len(books["billed"])) == (2, 1)
    with pytest.raises(HTTPError, match="400") as error:
        fetch(url + "/rules", [{"do": "cutt"}])
    assert "unknown fault 'cutt'" in json.load(error.value)["error"]
    with pytest.raises(HTTPError, match="404"):
        fetch(url + "/bokos")
    assert fetch(url + "/reset", {}) == {"rules": []}
    assert fetch(url + "/books") == {"received": [], "billed": [], "ended": []}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A self-signed certificate for 127.0.0.1 and its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "simulator")])
    today = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "simulator.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return pem


def test_tls(certificate: pathlib.Path) -> None:
    """The same answers over TLS, and a cut that the client notices."""
    context = ssl.create_default_context(cafile=str(certificate))
    with Simulator(tls=(certificate, certificate)) as simulator:
        url = simulator.openai_url.replace("127.0.0.1", "localhost") + "/chat/completions"
        assert fetch(url, json.loads(BODY), context)["usage"]["completion_tokens"] == 3
        simulator.install([{"do": "cut"}])
        with pytest.raises((OSError, IncompleteRead)):
            fetch(url, json.loads(BODY), context)


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A simulator as a process, and the line it printed."""
    command = [sys.executable, "-m", "tollbook.simulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            yield running, json.loads(running.stdout.readline() or "null")
        finally:
            running.kill()


def test_a_process_says_where_it_listens_and_its_books_survive_it(tmp_path: pathlib.Path) -> None:
    """One JSON line; kill -9 loses nothing of the books; SIGTERM ends it with 0."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {do: 503, times: 1}\n")
    options = ("--books", str(tmp_path / "books"), "--rules", str(rules), "--seed", "5")
    for number in (signal.SIGKILL, signal.SIGTERM):
        with process(*options) as (running, line):
            assert line["listening"].startswith("127.0.0.1:") and line["pid"] == running.pid
            with pytest.raises(HTTPError, match="503"):
                fetch(line["url"] + "/v1/chat/completions", json.loads(BODY))
            fetch(line["url"] + "/v1/chat/completions", json.loads(BODY))
            os.kill(running.pid, number)
            assert running.wait(5) == {signal.SIGKILL: -9, signal.SIGTERM: 0}[number]
    received, billed = read_books(tmp_path / "books")
    assert len({line.vendor_request_id for line in received}) == 4
    assert [line.vendor_request_id for line in billed] == [received[1].vendor_request_id, received[3].vendor_request_id]


@pytest.mark.parametrize("options", [("--listen", "here"), ("--rules", "/absent.yaml"), ("--listen", "192.0.2.1:9")])
def test_a_process_that_cannot_start_says_why(options: tuple[str, ...]) -> None:
    """One line on standard error, status 2, no traceback."""
    with process(*options) as (running, line):
        assert line is None and running.wait(5) == 2
        assert running.stderr
        said = running.stderr.read()
        assert said.startswith("tollbook simulator: ") and said.count("\n") == 1
