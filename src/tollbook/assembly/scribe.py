"""The scribe process: the book's lane, heads, seals, personal directory, loader. Nothing else writes them."""

import contextlib
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

import duckdb

from tollbook.assembly.acts import Acts
from tollbook.assembly.boot import BookBoot, receive
from tollbook.assembly.child import say
from tollbook.core.faults import Fault, JournalUnavailable
from tollbook.journal.book import Book
from tollbook.journal.files import write_whole
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane
from tollbook.journal.replay import Batch, replay
from tollbook.journal.sealing import Sealer
from tollbook.ledger.loader import Loader

POLL_SECONDS: Final = 0.05
HEADS_SECONDS: Final = 0.5
"""Half a second between heads, so that a request is in the ledger within a second of its end."""
HEARTBEAT_SECONDS: Final = 4.0
SEAL_SECONDS: Final = 15.0
ABSORB_SECONDS: Final = 1.0
IDLE_LOAD_SECONDS: Final = 5.0
"""Heads that cover nothing but heartbeats are loaded together, at most this late."""
LOADER_RETRY_SECONDS: Final = 5.0
_QUIET: Final = frozenset(("lane.heartbeat", "heads", "segment.sealed"))


class Loading:
    """Feeds the ledger. It may fail and be tried again: the journal goes on, and the ledger catches up from it."""

    def __init__(self, root: Path) -> None:
        self._root: Final = root
        self._loader: Loader | None = None
        self._waiting: list[Batch] = []
        self._since = 0.0
        self._not_before = 0.0

    def take(self, batch: Batch | None) -> None:
        """One more position; commits at once when it covers anything that people ask for."""
        now = time.monotonic()
        if batch is not None:
            if not self._waiting:
                self._since = now
            self._waiting.append(batch)
        if not self._waiting:
            return
        if now < self._not_before:
            del self._waiting[:-1]  # the journal holds the others
            return
        loud = any(line.kind not in _QUIET for one in self._waiting for line in one.lines)
        if loud or now - self._since >= IDLE_LOAD_SECONDS:
            self._commit()

    def close(self) -> None:
        if self._waiting:
            self._commit()
        if self._loader is not None:
            self._loader.close()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            if self._loader is None:
                self._loader = Loader(self._root)
            position = self._loader.position
            if waiting[0].position != position + 1:
                # After a failure, or at the start: the journal holds what this process has not in memory.
                self._loader.load(replay(self._root, position))
            else:
                self._loader.load(waiting)
        except (duckdb.Error, Fault, OSError) as fault:
            say(f"the ledger is behind: {fault}")
            self._not_before = time.monotonic() + LOADER_RETRY_SECONDS
            self._waiting = waiting[-1:]
            if self._loader is not None:
                with contextlib.suppress(duckdb.Error):
                    self._loader.close()
            self._loader = None


class Scribe:
    """One loop: read lanes, write heads, load; between times seal, absorb personal values, do what people ask."""

    def __init__(self, boot: BookBoot) -> None:
        root = Path(boot.root)
        journal = boot.settings.journal
        self._book: Final = Book.open(root)
        anchor = Path(journal.anchor) if journal.anchor else None
        self._lane: Final = BookLane.open(
            self._book, release=boot.release, configuration=boot.settings.digest, anchor=anchor
        )
        self._keeper: Final = self._lane.keeper()
        self._sealer: Final = Sealer(self._book, self._lane, self._keeper)
        self._personal: Final = PersonalDirectory(root)
        self._loading: Final = Loading(root)
        self._acts: Final = Acts(root, self._lane, self._personal)
        self._stopping = False
        self._due: Final = dict.fromkeys(("heads", "beat", "seal", "absorb"), 0.0)

    def run(self, control: socket.socket) -> None:
        """Work until told to stop, or until the supervisor is gone and the lanes are read to their end."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        control.setblocking(False)
        try:
            while not self._stopping and not _gone(control):
                self._turn()
                self._acts.serve(POLL_SECONDS)
            self._last_turns()
        finally:
            self._acts.close()
            self._loading.close()
            self._lane.close("stopped")

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _turn(self) -> None:
        try:
            self._advance()
            if self._is_due("beat", HEARTBEAT_SECONDS):
                self._lane.heartbeat()
            if self._is_due("absorb", ABSORB_SECONDS):
                self._personal.absorb()
            if self._is_due("seal", SEAL_SECONDS):
                self._sealer.seal_next()
        except JournalUnavailable as fault:
            # The disk is full or failing: this process ends, and the supervisor starts another with a new lane.
            say(f"the book's lane cannot be written: {fault}")
            raise SystemExit(1) from fault

    def _advance(self) -> None:
        if not self._is_due("heads", HEADS_SECONDS):
            return
        batch = self._lane.advance(self._keeper)
        if batch is None:
            self._due["heads"] = 0.0  # look again at the next turn: the first entry after a pause waits for nobody
        else:
            write_whole(self._book.root / "run" / "heads", batch.digest.encode())
        self._loading.take(batch)

    def _last_turns(self) -> None:
        """What the others wrote before they ended."""
        while (batch := self._lane.advance(self._keeper)) is not None:
            self._loading.take(batch)
        self._personal.absorb()

    def _is_due(self, name: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due[name]:
            return False
        self._due[name] = now + every
        return True


def _gone(control: socket.socket) -> bool:
    """Whether the supervisor has gone: its end of the channel is closed."""
    try:
        return not control.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def main() -> None:
    """Entry point of `python -m tollbook.assembly.scribe CONTROL` (a file descriptor)."""
    control = socket.socket(fileno=int(sys.argv[1]))
    Scribe(receive(control, BookBoot)).run(control)


if __name__ == "__main__":
    main()
