"""Connections to vendors: one small pool per vendor, keep-alive, every answer told to a listener as it comes."""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections import deque
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

import httptools

from tollbook.core.faults import BadInput
from tollbook.core.settings import Vendor
from tollbook.gateway.message import Headers
from tollbook.gateway.outlet import Outlet
from tollbook.gateway.proxy import ConnectFailed, Proxy
from tollbook.gateway.tls import client_context

IDLE_SECONDS: Final = 15.0
"""A connection idle for longer is not used again: vendors close theirs after 60 s and more, and a request written
into a closing connection cannot be told from one that was received."""
ADDRESS_SECONDS: Final = 30.0
HEADERS_LIMIT: Final = 64 * 1024

Address4or6: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Listener(Protocol):
    """Who is told of an answer."""

    def connected(self, connection: "VendorConnection") -> None: ...

    def connect_failed(self, why: str) -> None: ...

    def answer_began(self, status: int, headers: Headers) -> None: ...

    def answer_data(self, data: bytes) -> None: ...

    def answer_ended(self) -> None: ...

    def connection_lost(self, why: str) -> None:
        """The connection ended before the answer was whole."""
        ...


class VendorConnection(asyncio.Protocol):
    """One connection to a vendor, used by one listener at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool: Final = pool
        self._transport: asyncio.Transport
        self._outlet: Outlet
        self._parser = httptools.HttpResponseParser(self)
        self._listener: Listener | None = None
        self._headers: Headers = []
        self._size = 0
        self._whole_head = False
        self._began = False
        self._ended = False
        self._reusable = False
        self.idle_since = 0.0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclasses
        self._outlet = Outlet(self._transport)

    def send(self, listener: Listener, data: bytes) -> None:
        """Write a whole request; its answer goes to the listener."""
        self._listener = listener
        self._began = self._ended = False
        self._outlet.write(data)

    @property
    def written(self) -> bool:
        """Whether everything given to `send` has left for the kernel."""
        self._outlet.flush()
        return self._transport.get_write_buffer_size() == 0

    def pause(self) -> None:
        if not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self.closed:
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Cut the connection; the listener hears nothing more."""
        self._listener = None
        if not self.closed:
            self._transport.abort()

    def connection_lost(self, fault: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if fault is None and self._ends_with_connection():
            listener.answer_ended()
        else:
            listener.connection_lost("reset" if fault is not None else "closed")

    def _ends_with_connection(self) -> bool:
        """An answer without length and chunks ends where its connection ends (RFC 9112, section 6.3)."""
        names = {name for name, _ in self._headers}
        return self._began and not names & {b"content-length", b"transfer-encoding"}

    def data_received(self, data: bytes) -> None:
        if self._listener is None:
            self._transport.abort()  # a vendor that speaks unasked is not to be trusted with the next request
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("unasked_upgrade")
        except httptools.HttpParserCallbackError:
            raise  # a fault of ours, not of the vendor
        except httptools.HttpParserError:
            self._reusable = False
            if not self._ended:
                self._fail("malformed_answer")
        if self._ended:
            self._end()

    def _end(self) -> None:
        """The answer is whole. The listener hears it only now, so that bytes after it never reach the next one."""
        listener, self._listener = self._listener, None
        self._ended = False
        if listener is None:
            return
        if self._reusable and not self.closed:
            self._pool.release(self)
        else:
            self._transport.close()
        listener.answer_ended()

    def _fail(self, why: str) -> None:
        listener = self._listener
        self.abandon()
        if listener is not None:
            listener.connection_lost(why)

    # --- httptools

    def on_message_begin(self) -> None:
        if self._ended:
            self._reusable = False
            return
        self._headers = []
        self._size = 0
        self._whole_head = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers, and what comes after the answer, are not of its head.
        if self._whole_head:
            return
        self._size += len(name) + len(value)
        if self._size <= HEADERS_LIMIT:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._whole_head = True
        status = self._parser.get_status_code()
        if self._listener is not None and status >= 200 and not self._ended:
            self._began = True
            self._listener.answer_began(status, self._headers)

    def on_body(self, data: bytes) -> None:
        if self._listener is not None and not self._ended:
            self._listener.answer_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200 and not self._ended:
            self._ended = True
            self._reusable = self._parser.should_keep_alive()


class Pool:
    """Connections to one vendor (or one unix socket)."""

    def __init__(self, address: "Address") -> None:
        self._address: Final = address
        self._free: deque[VendorConnection] = deque()
        self._all: set[VendorConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired = False

    def connect(self, listener: Listener, timeout: float) -> None:
        """Give the listener a connection, at once when one is free, else when it stands."""
        now = time.monotonic()
        while self._free:
            connection = self._free.pop()
            if connection.closed:
                continue
            if now - connection.idle_since > IDLE_SECONDS:
                connection.abandon()
                continue
            listener.connected(connection)
            return
        task = asyncio.get_running_loop().create_task(self._dial(listener, timeout))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, listener: Listener, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                connection = await self._address.dial(lambda: VendorConnection(self))
        except TimeoutError:
            listener.connect_failed("connect_timeout")
        except ConnectFailed as fault:
            listener.connect_failed(str(fault))
        except ssl.SSLError:
            listener.connect_failed("tls")
        except (socket.gaierror, UnicodeError):  # the latter: a name that cannot be one
            listener.connect_failed("dns")
        except ConnectionRefusedError:
            listener.connect_failed("refused")
        except OSError:
            listener.connect_failed("network")
        else:
            self._all.add(connection)
            listener.connected(connection)

    def release(self, connection: VendorConnection) -> None:
        if self._retired:
            connection.abandon()
            return
        connection.idle_since = time.monotonic()
        self._free.append(connection)

    def forget(self, connection: VendorConnection) -> None:
        self._all.discard(connection)

    def retire(self) -> None:
        """Keep nothing for later: what is free is closed now, what is in use once it is released."""
        self._retired = True
        while self._free:
            self._free.pop().abandon()

    def close(self) -> None:
        for connection in list(self._all):
            connection.abandon()
        self._free.clear()


class Address(Protocol):
    """Where a pool dials."""

    async def dial(self, factory: Any) -> VendorConnection: ...


class SocketAddress:
    """A unix socket: the desk."""

    def __init__(self, path: str) -> None:
        self._path: Final = path

    async def dial(self, factory: Any) -> VendorConnection:
        _, connection = await asyncio.get_running_loop().create_unix_connection(factory, self._path)
        return connection  # type: ignore[no-any-return]


class VendorAddress:
    """A vendor's host: resolved, judged, and dialled at the very address that was judged.

    Loopback is allowed when the configuration names a loopback host; link-local, private and other special addresses
    are refused unless the vendor has `allow_private`, so that a name cannot lead a vendor's secret into our own
    network.
    """

    def __init__(self, vendor: Vendor) -> None:
        parts = urlsplit(vendor.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"vendor {vendor.name}: base_url {vendor.base_url!r} is not an http(s) address")
        self.host: Final = parts.hostname
        self.port: Final = parts.port or (443 if parts.scheme == "https" else 80)
        self.path: Final = parts.path.rstrip("/")
        self.authority: Final = parts.netloc.rpartition("@")[2]
        self.url: Final = f"{parts.scheme}://{self.authority}{self.path}"
        self._proxy: Final = Proxy(vendor.proxy) if vendor.proxy is not None else None
        self._private: Final = vendor.allow_private
        self._tls: Final = client_context(vendor.ca_file) if parts.scheme == "https" else None
        self._resolved: tuple[float, list[str]] = (0.0, [])

    async def dial(self, factory: Any) -> VendorConnection:
        loop = asyncio.get_running_loop()
        if self._proxy is not None:
            tunnel = await self._proxy.tunnel(self.host, self.port)
            name = self.host if self._tls else None
            _, connection = await loop.create_connection(factory, sock=tunnel, ssl=self._tls, server_hostname=name)
            return connection  # type: ignore[no-any-return]
        fault: OSError | None = None
        for address in await self._addresses():
            try:
                _, connection = await loop.create_connection(
                    factory,
                    address,
                    self.port,
                    ssl=self._tls,
                    server_hostname=self.host if self._tls else None,
                )
            except OSError as this:
                fault = this
            else:
                return connection  # type: ignore[no-any-return]
        raise fault or ConnectFailed("dns")

    async def _addresses(self) -> list[str]:
        found_at, addresses = self._resolved
        now = time.monotonic()
        if addresses and now - found_at < ADDRESS_SECONDS:
            return addresses
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        allowed = [address for address in addresses if self._allowed(address)]
        if not allowed:
            raise ConnectFailed("address_refused")
        self._resolved = (now, allowed)
        return allowed

    def _allowed(self, text: str) -> bool:
        address = _inner(ipaddress.ip_address(text.partition("%")[0]))
        if address.is_loopback:
            return self._private or names_loopback(self.host)
        return self._private or (address.is_global and not address.is_multicast)


def _inner(address: Address4or6) -> Address4or6:
    """The IPv4 address that an IPv6 address stands for (RFC 4291, 3056, 6052), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def names_loopback(host: str) -> bool:
    """Whether a host's name itself says that it is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
