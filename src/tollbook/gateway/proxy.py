"""An HTTP proxy on the way to a vendor: a tunnel by CONNECT (RFC 9110, section 9.3.6); TLS goes through it unseen."""

import asyncio
import re
import socket
from typing import Final
from urllib.parse import urlsplit

from tollbook.core.faults import Fault

ANSWER_LIMIT: Final = 16 * 1024
_ACCEPTED: Final = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")


class ConnectFailed(Fault):
    """No byte of the request reached the vendor. The message is a short class (`refused`, `dns`, `tls`, ...)."""

    code = "connect_failed"


class Proxy:
    """A proxy at `http://host:port`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None, "checked when the configuration was read"
        self._host: Final = parts.hostname
        self._port: Final = parts.port

    async def tunnel(self, host: str, port: int) -> socket.socket:
        """A connected socket, at whose other end the vendor is.

        Raises OSError when the proxy cannot be reached, ConnectFailed `proxy_refused` when it does not let us through.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, address)
            place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            await loop.sock_sendall(connection, f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n\r\n".encode())
            await _accepted(connection)
        except BaseException:
            connection.close()
            raise
        return connection


async def _accepted(connection: socket.socket) -> None:
    """Read the proxy's answer, to its end and no further."""
    loop = asyncio.get_running_loop()
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n"):
        # A byte at a time: what follows the head is the vendor's, and this happens once for a connection.
        data = await loop.sock_recv(connection, 1)
        answer += data
        if not data or len(answer) > ANSWER_LIMIT:
            raise ConnectFailed("proxy_refused")
    if not _ACCEPTED.match(answer):
        raise ConnectFailed("proxy_refused")
