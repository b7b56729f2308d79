"""The listening socket: bound here, or handed over by the supervisor before."""

import asyncio
import socket
from typing import Final

from tollbook.core.faults import BadInput

BIND_SECONDS: Final = 15.0
"""How long a former process may hold the port, or the lock."""


async def bind(listen: str, setting: str = "gateway.listen") -> socket.socket:
    """The listening socket. A former worker that still drains may hold the port for a moment.

    Raises BadInput when the address is not one of ours or stays taken.
    """
    host, _, port = listen.rpartition(":")
    until = asyncio.get_running_loop().time() + BIND_SECONDS
    while True:
        try:
            return socket.create_server((host.strip("[]"), int(port)), backlog=1024, family=_family(host))
        except OSError as fault:
            if asyncio.get_running_loop().time() > until:
                raise BadInput(f"{setting}: cannot listen on {listen}: {fault.strerror or fault}") from fault
        await asyncio.sleep(0.1)


def check_listener(listener: socket.socket, listen: str) -> None:
    """Raise BadInput when a socket that was handed over does not listen where the configuration says."""
    there, port = listener.getsockname()[1], int(listen.rpartition(":")[2])
    if port not in (0, there):
        raise BadInput(f"gateway.listen: the running gateway listens on port {there}; to change it, stop and start it")


def address_of(listener: socket.socket) -> str:
    """Where it listens, as `host:port`; with port 0 in the settings only the socket knows."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if host.startswith("[") else socket.AF_INET
