"""The vendor's side of the road: which addresses are dialled, and what is made of answers no vendor should give."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tollbook.core.faults import BadInput
from tollbook.core.settings import Vendor, VendorKey
from tollbook.gateway.message import Headers
from tollbook.gateway.upstream import Pool, VendorAddress, VendorConnection, names_loopback

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def vendor(base_url: str, **settings: Any) -> Vendor:
    return Vendor(name="v", format="openai", base_url=base_url, keys=(VendorKey(name="k", secret="s"),), **settings)


PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
           "198.18.0.1", "224.0.0.1", "255.255.255.255", "fe80::1", "fe80::1%eth0", "fd00::1", "::", "ff02::1",
           "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a9fe:a9fe::1",
           "64:ff9b::7f00:1"]  # fmt: skip
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "2002:7f00:1::"]
PUBLIC = ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", PRIVATE + LOOPBACK)
def test_a_name_does_not_lead_into_our_own_network(address: str) -> None:
    """Private, link-local, metadata and loopback addresses are refused, whatever IPv6 form they come in."""
    assert not VendorAddress(vendor("https://api.example.com"))._allowed(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(address: str) -> None:
    """An ordinary vendor is reached."""
    assert VendorAddress(vendor("https://api.example.com"))._allowed(address)


@pytest.mark.parametrize("address", PRIVATE + LOOPBACK + PUBLIC)
def test_private_addresses_are_reached_when_the_vendor_says_so(address: str) -> None:
    """`allow_private` is the operator's word for one vendor; it does not turn public ones away."""
    assert VendorAddress(vendor("https://api.example.com", allow_private=True))._allowed(address)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_host_that_says_it_is_this_machine_may_be_it(host: str) -> None:
    """Loopback needs no permission where the address itself names it; other private addresses still do."""
    address = VendorAddress(vendor(f"http://{host}:9"))
    assert address._allowed("127.0.0.1")
    assert address._allowed("::1")
    assert not address._allowed("10.0.0.1")


def test_only_names_of_this_machine_name_it() -> None:
    """No look-alike passes."""
    assert names_loopback("localhost")
    assert names_loopback("::1")
    assert not any(map(names_loopback, ("localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "")))


@pytest.mark.parametrize("url", ["ftp://x", "https://", "x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Configuration names it before; the road does not guess either."""
    with pytest.raises(BadInput, match="not an http"):
        VendorAddress(vendor(url))


def test_an_address_keeps_path_port_and_name() -> None:
    """What is dialled, and what the vendor is told it was called."""
    address = VendorAddress(vendor("https://api.example.com:8443/openai/v1/"))
    assert (address.host, address.port, address.path) == ("api.example.com", 8443, "/openai/v1")
    assert address.authority == "api.example.com:8443"
    assert VendorAddress(vendor("https://api.example.com")).port == 443
    assert VendorAddress(vendor("http://localhost")).port == 80


async def test_the_address_that_was_judged_is_the_one_that_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a private address beside a public one leads to the public one only."""
    loop = asyncio.get_running_loop()
    address = VendorAddress(vendor("https://api.example.com"))

    class Resolver:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        async def getaddrinfo(self, host: str, port: int, **_: object) -> list[Any]:
            assert (host, port) == ("api.example.com", 443)
            return [(None, None, None, None, (text, port)) for text in ("10.0.0.1", "8.8.8.8", "8.8.8.8", "::1")]

    monkeypatch.setattr(asyncio, "get_running_loop", Resolver)
    assert await address._addresses() == ["8.8.8.8"]


async def test_a_name_with_nothing_but_private_addresses_is_not_dialled() -> None:
    """A name of this machine that does not say so is not reached, and the class of the failure tells why."""
    address = VendorAddress(vendor(f"https://{socket.gethostname()}"))
    answer = Answer()
    Pool(address).connect(answer, 2)
    await asyncio.wait_for(answer.over.wait(), 5)
    assert answer.heard in ([("failed", "address_refused")], [("failed", "dns")])


class Answer:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.over = asyncio.Event()

    def connected(self, connection: VendorConnection) -> None:
        connection.send(self, b"GET / HTTP/1.1\r\nhost: v\r\n\r\n")

    def connect_failed(self, why: str) -> None:
        self.heard.append(("failed", why))
        self.over.set()

    def answer_began(self, status: int, headers: Headers) -> None:
        self.heard.append(status)

    def answer_data(self, data: bytes) -> None:
        self.heard.append(data)

    def answer_ended(self) -> None:
        self.heard.append("ended")
        self.over.set()

    def connection_lost(self, why: str) -> None:
        self.heard.append(("lost", why))
        self.over.set()


class Scripted:
    """A vendor that sends given bytes for each request on a connection, then closes it when the script is over."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.answers = answers
        self.close = close
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self.answers:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            writer.write(answer)
        if not self.close:
            await reader.read()
        writer.close()


@asynccontextmanager
async def pool_to(script: Scripted) -> AsyncIterator[Pool]:
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    pool = Pool(VendorAddress(vendor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")))
    try:
        yield pool
    finally:
        pool.close()
        server.close()


async def ask(pool: Pool) -> list[object]:
    answer = Answer()
    pool.connect(answer, 2)
    await asyncio.wait_for(answer.over.wait(), 5)
    return answer.heard


async def test_a_connection_is_used_again() -> None:
    """Two requests one after the other need one connection."""
    script = Scripted(OK, OK)
    async with pool_to(script) as pool:
        assert await ask(pool) == [200, b"hi", "ended"]
        assert await ask(pool) == [200, b"hi", "ended"]
    assert script.connections == 1


@pytest.mark.parametrize(
    "extra",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nwr",
     b"garbage", b"HTTP/1.1 200"],
)  # fmt: skip
async def test_an_answer_nobody_asked_for_reaches_nobody(extra: bytes) -> None:
    """What a vendor sends behind an answer is not taken for the next one's, though that is asked for at once."""
    script = Scripted(OK + extra, OK + extra)
    async with pool_to(script) as pool:
        first, second = Answer(), Answer()

        def follow() -> None:
            first.heard.append("ended")
            pool.connect(second, 2)

        first.answer_ended = follow  # type: ignore[method-assign]
        pool.connect(first, 2)
        await asyncio.wait_for(second.over.wait(), 5)
        assert first.heard == second.heard == [200, b"hi", "ended"]
    assert script.connections == 2


@pytest.mark.parametrize(
    ("data", "heard"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, [200, b"hi", "ended"]),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, [200, b"hi", "ended"]),
        (b"HTTP/1.1 204 No Content\r\n\r\n", [204, "ended"]),
        (b"HTTP/1.1 200 OK\r\n\r\nup to the end", [200, b"up to the end", "ended"]),
        (b"HTTP/1.0 200 OK\r\n\r\nold", [200, b"old", "ended"]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", [200, b"hi", ("lost", "closed")]),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", [200, b"hi", ("lost", "closed")]),
        (b"", [("lost", "closed")]),
        (b"SSH-2.0-OpenSSH\r\n", [("lost", "malformed_answer")]),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", [("lost", "unasked_upgrade")]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
         [("lost", "malformed_answer")]),
        (b"HTTP/1.1 200 OK\r\ndate: now\r\n", [("lost", "closed")]),
    ],
)  # fmt: skip
async def test_every_answer_has_one_end(data: bytes, heard: list[object]) -> None:
    """Whole, cut, endless by form or no HTTP at all: told once, and never as whole when it was not."""
    async with pool_to(Scripted(data, close=True)) as pool:
        assert await ask(pool) == heard


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    """The next request gets a new one."""
    script = Scripted(OK, close=True)
    async with pool_to(script) as pool:
        assert await ask(pool) == [200, b"hi", "ended"]
        await asyncio.sleep(0.05)
        assert await ask(pool) == [200, b"hi", "ended"]
    assert script.connections == 2


async def test_an_old_connection_is_not_used() -> None:
    """A vendor may be closing it this very moment, and a request written into it would be in doubt."""
    script = Scripted(OK, OK)
    async with pool_to(script) as pool:
        await ask(pool)
        pool._free[0].idle_since -= 16
        await ask(pool)
    assert script.connections == 2


async def test_failures_to_connect_have_names() -> None:
    """Refused, unknown, no TLS: a short class each, and no byte of a request was sent."""

    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ask(Pool(VendorAddress(vendor(f"https://127.0.0.1:{port}")))) == [("failed", "tls")]
    assert await ask(Pool(VendorAddress(vendor("http://127.0.0.1:1")))) == [("failed", "refused")]
    assert await ask(Pool(VendorAddress(vendor("https://name.invalid")))) == [("failed", "dns")]
    long = Pool(VendorAddress(vendor(f"https://{'a' * 64}.example")))
    assert await ask(long) == [("failed", "dns")]
