"""Passing `/tollbook/v1/*` to the desk over its unix socket, with the tenant that the credential proved."""

import asyncio
from typing import Final

from tollbook.core.identity import new_request_id
from tollbook.gateway import answer
from tollbook.gateway.admission import Caller
from tollbook.gateway.connection import ClientConnection
from tollbook.gateway.message import HOP_BY_HOP, ClientRequest, Headers, head
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.upstream import Pool, VendorConnection
from tollbook.providers.contract import Adapter

TIMEOUT: Final = 30.0
"""Seconds until the desk has answered."""


class DeskCall:
    """One request to the desk. The desk trusts these headers because only this user's processes reach its socket."""

    def __init__(self, connection: ClientConnection, request: ClientRequest, caller: Caller, adapter: Adapter) -> None:
        self._client: Final = connection
        self._request: Final = request
        self._caller: Final = caller
        self._adapter: Final = adapter
        self._upstream: VendorConnection | None = None
        self._status = 0
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._over = False
        self._timer: Final = asyncio.get_running_loop().call_later(TIMEOUT, self._late)

    def start(self, desk: Pool) -> None:
        desk.connect(self, TIMEOUT)

    def connected(self, connection: VendorConnection) -> None:
        if self._over:
            connection.abandon()
            return
        self._upstream = connection
        request = self._request
        target = request.path + (b"?" + request.query if request.query else b"")
        lines = [
            b"%b %b HTTP/1.1\r\nhost: desk\r\ncontent-length: %d\r\n" % (request.method, target, len(request.body)),
            f"x-tollbook-tenant: {self._caller.tenant.name}\r\nx-tollbook-key: {self._caller.key}\r\n".encode(),
        ]
        if self._caller.workloads != self._caller.tenant.workloads:
            lines.append(f"x-tollbook-workloads: {','.join(self._caller.workloads)}\r\n".encode())
        content_type = request.header(b"content-type")
        if content_type is not None:
            lines.append(b"content-type: %b\r\n" % content_type)
        connection.send(self, b"".join([*lines, b"\r\n", request.body]))

    def connect_failed(self, why: str) -> None:
        self._fail()

    def answer_began(self, status: int, headers: Headers) -> None:
        self._status, self._headers = status, headers

    def answer_data(self, data: bytes) -> None:
        self._body.append(data)

    def answer_ended(self) -> None:
        if self._over:
            return
        self._finish()
        body = b"".join(self._body)
        kept = [(name, value) for name, value in self._headers if name not in HOP_BY_HOP and name != b"content-length"]
        self._client.write(head(self._status, [*kept, (b"content-length", b"%d" % len(body))]) + body)
        self._client.done(self._request.keep_alive)

    def connection_lost(self, why: str) -> None:
        self._fail()

    def client_gone(self) -> None:
        self._finish()
        if self._upstream is not None:
            self._upstream.abandon()

    def client_slow(self) -> None:
        """The answer is written whole: there is nothing to slow down."""

    def client_ready(self) -> None:
        """Likewise."""

    def _late(self) -> None:
        if self._upstream is not None:
            self._upstream.abandon()
        self._fail()

    def _finish(self) -> None:
        self._over = True
        self._timer.cancel()

    def _fail(self) -> None:
        if self._over:
            return
        self._finish()
        fault = Refusal(503, "book_behind", "the book cannot be read at the moment; requests are recorded all the same")
        self._client.write(answer.error(self._adapter, fault, new_request_id()))
        self._client.done(self._request.keep_alive)
