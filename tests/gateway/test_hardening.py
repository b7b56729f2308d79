"""Old clients, compressing vendors, TLS before clients: what the ordinary tests of the road do not meet."""

import asyncio
import contextlib
import gzip
import ipaddress
import os
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from real_stage import ACME, CONFIG, RealStage
from small_road import SmallRoad, request_bytes

from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Tls
from tollbook.gateway.tls import server_context
from tollbook.simulator import Simulator


class TlsStage(RealStage):
    """A stage whose gateway serves https: it is asked so whether it is ready."""

    def _wait_ready(self, gateway: Any) -> None:
        url = self.gateway_url.replace("http:", "https:")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{url}/health/ready", timeout=1, context=context).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(self.logs())


def old(data: bytes) -> bytes:
    return data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)


async def everything(road: SmallRoad, data: bytes) -> tuple[bytes, bytes]:
    """Head and all that follows it until the connection ends."""
    client = await road.connect()
    client.send(data)
    head, _, rest = (await asyncio.wait_for(client.reader.read(-1), 10)).partition(b"\r\n\r\n")
    return head.lower(), rest


@pytest.mark.parametrize("stream", [False, True])
async def test_an_http_1_0_client_gets_no_chunks(road: SmallRoad, stream: bool) -> None:
    """The same bytes as others get, ended by closing, even when it asks to keep the connection."""
    async with road:
        asked = request_bytes(text="[[sim output=30]]", stream=stream, headers={"connection": "keep-alive"})
        head, body = await everything(road, old(asked))
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert (b"content-length" in head) is not stream
        assert body.startswith(b"data: {" if stream else b"{")
        assert not stream or body.endswith(b"data: [DONE]\n\n")
        assert (await road.last()).close.outcome == "ok"  # type: ignore[union-attr]


async def test_a_cut_stream_is_cut_for_an_old_client_too(road: SmallRoad) -> None:
    """Closing means whole; what is not whole is reset."""
    async with road:
        client = await road.connect()
        client.send(old(request_bytes(text="[[sim output=30 fault=cut after=3]]", stream=True)))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(client.reader.read(-1), 10)


async def test_an_old_client_is_not_told_to_continue(road: SmallRoad) -> None:
    """RFC 9110, section 10.1.1: its Expect is ignored."""
    async with road:
        head, _ = await everything(road, old(request_bytes(headers={"expect": "100-continue"})))
        assert head.startswith(b"http/1.1 200")


def zipped(body: bytes, kind: str) -> bytes:
    data = gzip.compress(body)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


@asynccontextmanager
async def answering(data: bytes) -> AsyncIterator[str]:
    """A vendor that gives every request the same answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(65536)
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize(("kind", "stream"), [("application/json", False), ("text/event-stream", True)])
async def test_a_compressed_answer_passes_and_is_estimated(tmp_path: Path, kind: str, stream: bool) -> None:
    """Untouched, its encoding told to the client; its usage is not lost but estimated, and a flag says why."""
    body = b'data: {"choices": []}\n\n' * 50
    async with answering(zipped(body, kind)) as url, SmallRoad(tmp_path, url) as road:
        reply = await road.ask(stream=stream)
        assert reply.headers["content-encoding"] == "gzip"
        assert gzip.decompress(reply.body) == body
        settlement: Any = (await road.last()).settlement
        assert (settlement.outcome, settlement.basis) == ("ok", "estimated")
        assert settlement.flags == ["encoded_body"]
        assert settlement.usage["output"] > 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    today = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=2))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "gateway.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_a_certificate_that_cannot_be_used_is_told(certificate: Path, tmp_path: Path) -> None:
    """A missing file, a file without a key."""
    with pytest.raises(BadConfiguration, match=r"gateway\.tls: .*cannot be used"):
        server_context(Tls(certificate=str(tmp_path / "none.pem"), key=str(certificate)))
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(BadConfiguration, match=r"gateway\.tls"):
        server_context(Tls(certificate=str(certificate), key=str(empty)))


@pytest.mark.xdist_group("gateway-stage")
def test_clients_over_tls(certificate: Path, tmp_path: Path) -> None:
    """AWS's library with nothing but a bearer token in its environment, which it sends over TLS only; what is no
    request is refused in a readable way there too."""
    text = CONFIG.replace("body_limit: 1MiB", f"tls: {{certificate: {certificate}, key: {certificate}}}")
    with TlsStage(tmp_path, text) as stage, mock.patch.dict(os.environ, {"AWS_BEARER_TOKEN_BEDROCK": ACME}):
        url = stage.gateway_url.replace("http:", "https:")
        client = boto3.client(
            "bedrock-runtime",
            region_name="eu-central-1",
            endpoint_url=url,
            verify=str(certificate),
            config=Config(retries={"max_attempts": 0}),
        )
        said = [{"role": "user", "content": [{"text": "[[sim input=9 output=5]]"}]}]
        whole = client.converse(modelId="amazon.nova-lite-v1:0", messages=said)
        assert whole["usage"]["inputTokens"] == 9
        found = stage.find(whole["ResponseMetadata"]["HTTPHeaders"]["x-tollbook-request-id"])
        assert found["request"]["amount_usd"] == "0.00000174"
        asyncio.run(_garbage(stage, certificate))
        assert "Traceback" not in stage.logs()


async def _garbage(stage: RealStage, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    port = int(stage.gateway_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"nonsense\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


class Tunnel:
    """An HTTP proxy that knows CONNECT only, and keeps what it was asked for."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n") -> None:
        self._answer = answer
        self.asked: list[bytes] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        writer.write(self._answer)
        if b" 200 " not in self._answer:
            writer.close()
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


def through(proxy: str) -> dict[str, str]:
    first = 'openai: {{format: openai, base_url: "{vendor}/v1"'
    return {first: f'{first}, proxy: "{proxy}"'}


async def test_a_vendor_behind_a_proxy(vendor: Simulator, tmp_path: Path) -> None:
    """One CONNECT for a connection; nothing of the request and no secret is the proxy's to see in its head."""
    tunnel = Tunnel()
    async with tunnel.listening() as url, SmallRoad(tmp_path, vendor.url, edits=through(url)) as road:
        for stream in (False, True):
            assert (await road.ask(stream=stream)).status == 200
        (head,) = tunnel.asked
        place = urlsplit(vendor.url).netloc.encode()
        assert head == b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (place, place)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", b"nonsense\r\n\r\n", b"a" * 20000])
async def test_a_proxy_that_refuses(vendor: Simulator, tmp_path: Path, answer: bytes) -> None:
    """No byte of the request was sent: the attempt is not billed, and says whose doing it was."""
    async with Tunnel(answer).listening() as url, SmallRoad(tmp_path, vendor.url, edits=through(url)) as road:
        reply = await road.ask()
        assert (reply.status, reply.code) == (502, "attempts_exhausted")
        settlement: Any = (await road.last()).settlement
        assert (settlement.outcome, settlement.error, settlement.billable) == ("connect_failed", "proxy_refused", False)


async def test_the_environments_proxy_is_used_only_when_told(vendor: Simulator, tmp_path: Path) -> None:
    """HTTPS_PROXY alone changes nothing; `env:HTTPS_PROXY` takes it; a variable that is not set is told."""
    dead = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:1")
    with mock.patch.dict(os.environ, dead):
        async with SmallRoad(tmp_path, vendor.url) as road:
            assert (await road.ask()).status == 200
        told = SmallRoad(tmp_path, vendor.url, edits=through("env:HTTPS_PROXY"))
        assert told.settings.vendors["openai"].proxy == "http://127.0.0.1:1"
    for wrong in ("env:NO_SUCH_PROXY", "https://x:1", "http://u:p@x:1", "http://x"):
        with pytest.raises(BadConfiguration, match=r"vendors\.openai\.proxy"):
            SmallRoad(tmp_path, vendor.url, edits=through(wrong))
