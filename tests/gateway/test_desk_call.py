"""Passing `/tollbook/v1/*` on to the desk: what it is told, and what becomes of a desk that is gone, slow or broken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from small_road import Reply, SmallRoad

from tollbook.gateway import desk

PATH = "/tollbook/v1/requests/01900000-0000-7000-8000-000000000001"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Desk:
    """A desk that keeps what it is asked and gives one answer, or none."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heard: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            try:
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                break
            writer.write(self.answer)
            if self.answer.startswith(b"cut"):
                break
        writer.close()


@asynccontextmanager
async def served(road: SmallRoad, answer: bytes) -> AsyncIterator[Desk]:
    answering = Desk(answer)
    async with road, await asyncio.start_unix_server(answering.serve, road.directory / "book" / "desk.sock"):
        yield answering
        for client in road.clients:
            client.cut()
        road.desk.close()


async def get(road: SmallRoad, key: str = "key-acme", *headers: str) -> Reply:
    lines = "".join(f"{line}\r\n" for line in headers)
    return await road.send(f"GET {PATH}?a=b HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n{lines}\r\n".encode(), "GET")


async def test_the_desk_is_told_the_tenant_that_the_key_proves(road: SmallRoad) -> None:
    """Tenant, key and the workloads of a limited key come from the credential; the client's own words do not pass."""
    forged = ("x-tollbook-tenant: globex", "x-tollbook-workloads: mail", "x-tollbook-key: other", "cookie: a=b")
    async with served(road, OK) as answering:
        assert (await get(road, "key-acme", *forged)).body == b"{}"
        assert (await get(road, "key-search", *forged)).status == 200
    whole, limited = answering.heard
    start = b"GET " + PATH.encode() + b"?a=b HTTP/1.1\r\nhost: desk\r\ncontent-length: 0\r\n"
    assert whole == start + b"x-tollbook-tenant: acme\r\nx-tollbook-key: acme-prod\r\n\r\n"
    assert limited == (
        start + b"x-tollbook-tenant: acme\r\nx-tollbook-key: acme-search\r\nx-tollbook-workloads: search\r\n\r\n"
    )
    assert answering.connections == 1


@pytest.mark.parametrize("answer", [b"", b"cut", b"cut HTTP/1.1 200 OK\r\n"])
async def test_a_desk_that_does_not_answer_is_behind(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Silence, a cut and nonsense are 503 within bounded time, with the stable code."""
    monkeypatch.setattr(desk, "TIMEOUT", 0.3)
    async with served(road, answer):
        reply = await get(road)
    assert (reply.status, reply.code) == (503, "book_behind")


async def test_the_time_limit_of_an_answered_call_harms_no_later_one(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is used again, and what the earlier call had set for itself does not cut it."""
    monkeypatch.setattr(desk, "TIMEOUT", 0.4)
    async with served(road, OK) as answering:
        for _ in range(6):
            assert (await get(road)).status == 200
            await asyncio.sleep(0.12)
    assert answering.connections == 1


async def test_a_client_that_leaves_ends_its_call(road: SmallRoad) -> None:
    """Nothing is kept for who does not wait, and the next caller gets an answer of its own."""
    async with served(road, b"") as answering:
        client = await road.connect()
        client.send(f"GET {PATH} HTTP/1.1\r\nhost: x\r\nx-api-key: key-acme\r\n\r\n".encode())
        await road.until(lambda: answering.heard)
        client.cut()
        await asyncio.sleep(0.05)
        answering.answer = OK
        assert (await get(road)).status == 200
    assert answering.connections == 2
