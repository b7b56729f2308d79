"""The scribe process: the book's lane, heads, seals, personal directory, loader. Nothing else writes them."""

import contextlib
import signal
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final

import duckdb

from tollbook.assembly.acts import Acts
from tollbook.assembly.ageing import Ageing
from tollbook.assembly.batches import TakingBatches
from tollbook.assembly.boot import BookBoot, receive, supervisor_gone
from tollbook.assembly.child import TRY_LATER, say
from tollbook.assembly.deeds import authorising
from tollbook.assembly.matching import Matching
from tollbook.assembly.registering import RegistryKeeper, Vouching
from tollbook.assembly.transferring import Transferring
from tollbook.core.faults import BookLocked, Fault, JournalUnavailable
from tollbook.gateway.awaited import AwaitedTable
from tollbook.gateway.batches import BatchTable
from tollbook.journal.book import Book
from tollbook.journal.files import write_whole
from tollbook.journal.personal import PersonalDirectory, PersonalKeys
from tollbook.journal.recording import BookLane
from tollbook.journal.replay import Batch, replay
from tollbook.journal.sealing import Sealer
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Loader

POLL_SECONDS: Final = 0.05
HEADS_SECONDS: Final = 0.5
"""Half a second between heads, so that a request is in the ledger within a second of its end."""
HEARTBEAT_SECONDS: Final = 4.0
SEAL_SECONDS: Final = 15.0
ABSORB_SECONDS: Final = 1.0
AGE_SECONDS: Final = 600.0
MATCH_SECONDS: Final = 1.0
TRANSFER_SECONDS: Final = 0.5
BATCHES_SECONDS: Final = 0.5
IDLE_LOAD_SECONDS: Final = 5.0
"""Heads that cover nothing but heartbeats are loaded together, at most this late."""
LAST_SECONDS: Final = 20.0
"""How long lanes are read on, at most, after an orderly stop."""
LOADER_RETRY_SECONDS: Final = 5.0
TIMES: Final = ("heads", "beat", "seal", "absorb", "age", "match", "transfer", "batches")
"""What is done now and then."""
_QUIET: Final = frozenset(("lane.heartbeat", "heads", "segment.sealed"))


class Stop:
    """SIGTERM, noticed from the first moment on: a lane that was begun is ended in order."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


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

    @property
    def lake(self) -> Lake | None:
        """The ledger, once it holds all that was given; None while it does not."""
        return None if self._waiting or self._loader is None else self._loader.lake

    @property
    def reached(self) -> Lake | None:
        """The ledger as far as it has got; None before it was opened."""
        return None if self._loader is None else self._loader.lake

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

    def __init__(self, boot: BookBoot, stop: Stop) -> None:
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
        self._personal.reapply(self._lane.recovered.erasures)
        self._loading: Final = Loading(root)
        self._ageing: Final = Ageing(self._book, self._lane, boot.settings)
        self._awaited: Final = AwaitedTable(root / "state.sqlite")
        self._matching: Final = Matching(self._lane, self._awaited)
        self._batch_table: Final = BatchTable(root / "state.sqlite")
        self._batches: Final = TakingBatches(self._lane, self._batch_table, PersonalKeys(root))
        self._registry: Final = RegistryKeeper(self._book, self._lane)
        self._vouching: Final = Vouching(self._book)
        self._transferring: Final = Transferring(self._registry, lambda: self._loading.reached)
        office = authorising(self._book, self._lane, self._personal, self._registry, self._transferring)
        self._acts: Final = Acts(root, office.do)
        self._stop: Final = stop
        self._due: Final = dict.fromkeys(TIMES, 0.0)

    def run(self, control: socket.socket) -> None:
        """Work until told to stop, or until the supervisor is gone: then another scribe may wait for our place."""
        try:
            while not self._stop.asked and not supervisor_gone(control):
                self._turn()
                self._acts.serve(POLL_SECONDS)
            self._last_turns()
        finally:
            self._vouching.close()
            self._acts.close()
            self._loading.close()
            self._awaited.close()
            self._batch_table.close()
            self._lane.close("stopped")

    def _turn(self) -> None:
        self._advance()
        if self._is_due("beat", HEARTBEAT_SECONDS):
            self._lane.heartbeat()
        if self._is_due("absorb", ABSORB_SECONDS):
            self._personal.absorb()
        if self._is_due("seal", SEAL_SECONDS):
            self._sealer.seal_next()
        self._registry.refresh()
        self._transfer()
        self._match()
        self._take_batches()
        self._age()

    def _transfer(self) -> None:
        """Carry over what belongs elsewhere since a change, as far as the ledger knows."""
        if not self._is_due("transfer", TRANSFER_SECONDS):
            return
        try:
            self._transferring.post()
        except duckdb.Error as fault:
            say(f"transfers wait: {fault}")

    def _take_batches(self) -> None:
        """Take over batches and the lines of their output: some in each turn while there are any."""
        lake = self._loading.lake
        if lake is None or not self._is_due("batches", BATCHES_SECONDS):
            return
        try:
            if self._batches.take(lake):
                self._due["batches"] = 0.0
        except (duckdb.Error, sqlite3.Error) as fault:
            say(f"batches wait to be taken over: {fault}")

    def _match(self) -> None:
        """Take over what vendors told later, as far as the ledger knows the attempts."""
        lake = self._loading.lake
        if lake is None or not self._is_due("match", MATCH_SECONDS):
            return
        try:
            self._matching.match(lake)
        except (duckdb.Error, sqlite3.Error) as fault:
            say(f"what vendors told later waits: {fault}")

    def _age(self) -> None:
        """Settle by estimate what has been unsettled for too long, as far as the ledger knows."""
        lake = self._loading.lake
        if lake is None or not self._is_due("age", AGE_SECONDS):
            return
        try:
            self._ageing.age(lake)
        except JournalUnavailable:
            raise
        except (duckdb.Error, Fault) as fault:
            say(f"unsettled attempts are not aged: {fault}")

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
        """What the others wrote before they ended. It is not awaited that all have: those of another run may go on."""
        until = time.monotonic() + (LAST_SECONDS if self._stop.asked else 0)
        while (batch := self._lane.advance(self._keeper)) is not None:
            self._loading.take(batch)
            if time.monotonic() >= until:
                break
        self._personal.absorb()

    def _is_due(self, name: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due[name]:
            return False
        self._due[name] = now + every
        return True


def main() -> None:
    """Entry point of `python -m tollbook.assembly.scribe CONTROL` (a file descriptor)."""
    stop = Stop()
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        Scribe(receive(control, BookBoot), stop).run(control)
    except (JournalUnavailable, BookLocked, OSError, sqlite3.OperationalError) as fault:
        # A full or failing disk, or a former scribe that has not left yet: the next one begins with a new lane.
        say(f"the book cannot be written: {fault}")
        sys.exit(TRY_LATER)
    except Fault as fault:
        say(str(fault))
        sys.exit(1)


if __name__ == "__main__":
    main()
