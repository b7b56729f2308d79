"""Telling systemd how we are (sd_notify(3)): nothing happens where nobody asked for it."""

import os
import socket
from contextlib import suppress
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"


def notify(*states: str) -> None:
    """Say `READY=1`, `STOPPING=1`, `MAINPID=...`, `STATUS=...`."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect(address)
        told.send("\n".join(states).encode())
