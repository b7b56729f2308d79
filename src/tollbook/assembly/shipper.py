"""The shipper process: keeps the copy that `journal.ship` asks for.

A process of its own, because the place it writes to may hang as only a network's can: then nothing else does.
"""

import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

from tollbook.assembly.boot import BookBoot, receive, supervisor_gone
from tollbook.assembly.child import say
from tollbook.core.faults import BadInput, Tampered
from tollbook.core.settings import Ship
from tollbook.journal.book import Book
from tollbook.journal.copying import Copier

LOOK_SECONDS: Final = 0.2


class Shipper:
    """One round after the other; what fails is said once, and tried again."""

    def __init__(self, book: Book, ship: Ship) -> None:
        self._copier: Final = Copier(book, Path(ship.to), personal_keys=ship.personal_keys)
        self._every: Final = ship.every
        self._to: Final = ship.to
        self._fault: str | None = None
        self._stopping = False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)

    def run(self, control: socket.socket) -> None:
        """Ship until told to stop, or until the supervisor is gone; then once more."""
        while not self._stopping and not supervisor_gone(control):
            due = time.monotonic() + self._every
            self.round()
            while not self._stopping and time.monotonic() < due and not supervisor_gone(control):
                time.sleep(min(LOOK_SECONDS, self._every))
        self.round()

    def round(self) -> None:
        """Bring the copy up to date, if that can be done now."""
        try:
            self._copier.round()
        except (OSError, Tampered, BadInput) as fault:
            if self._fault != str(fault):
                say(f"the copy in {self._to} is not brought up to date: {fault}")
            self._fault = str(fault)
            return
        if self._fault is not None:
            say(f"the copy in {self._to} is up to date again")
        self._fault = None

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True


def main() -> None:
    """Entry point of `python -m tollbook.assembly.shipper CONTROL` (a file descriptor)."""
    control = socket.socket(fileno=int(sys.argv[1]))
    boot = receive(control, BookBoot)
    ship = boot.settings.journal.ship
    assert ship is not None, "the supervisor starts a shipper only where there is something to ship to"
    Shipper(Book.open(Path(boot.root)), ship).run(control)


if __name__ == "__main__":
    main()
