"""Making a lane durable from a thread of its own: one fdatasync for all entries that wait."""

from collections import deque
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final, Literal, TypeAlias

from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.journal.lane import Lane

SyncMode: TypeAlias = Literal["before_forward", "periodic", "off"]
WhenDurable: TypeAlias = Callable[[JournalUnavailable | None], None]
"""Told None once an entry is durable, or why it is not. It runs in the sync thread and must not raise."""

INTERVAL_S: Final = 0.02


class GroupSync:
    """Syncs one lane, at most `interval` seconds after an entry was appended.

    `before_forward`: a request wakes the thread, and all requests that came during one fdatasync share the next;
    `periodic`: requests wait for the interval; `off`: nothing is synced before the lane is closed.
    """

    def __init__(self, lane: Lane, mode: SyncMode, interval: float = INTERVAL_S) -> None:
        self._lane: Final = lane
        self._mode: Final = mode
        self._interval: Final = interval
        self._waiting: deque[tuple[int, WhenDurable]] = deque()
        self._fault: JournalUnavailable | None = None
        self._stopping = False
        self._wake: Final = Event()
        # Held while `_fault` is set or looked at, so that no request can slip in after the last answer.
        self._gate: Final = Lock()
        self._thread: Final = Thread(target=self._run, name=f"sync {lane.name}", daemon=True)
        if mode != "off":
            self._thread.start()

    def request(self, sequence: int, callback: WhenDurable) -> None:
        """Have `callback` called once everything up to `sequence` is durable, or cannot become so.

        Raises BadInput in mode `off`, where nothing becomes durable in time.
        """
        if self._mode == "off":
            raise BadInput("journal.sync is off: no entry can be waited for")
        with self._gate:
            fault = self._fault
            if fault is None:
                self._waiting.append((sequence, callback))
        if fault is not None:
            callback(fault)
        elif self._mode == "before_forward":
            self._wake.set()

    def stop(self) -> None:
        """Sync what is left, answer who waits, end the thread. To be called before the lane is closed."""
        if self._thread.is_alive():
            self._stopping = True
            self._wake.set()
            self._thread.join()

    def _run(self) -> None:
        while self._fault is None:
            self._wake.wait(self._interval)
            self._wake.clear()
            stopping = self._stopping
            try:
                self._lane.sync()
            except JournalUnavailable as fault:
                self._end(fault)
            else:
                self._answer()
                if stopping:
                    self._end(JournalUnavailable(f"lane {self._lane.name} is being closed"))

    def _answer(self) -> None:
        """Tell those whose entry is durable; keep the others, whose entry came during the sync."""
        durable = self._lane.durable
        for _ in range(len(self._waiting)):
            sequence, callback = self._waiting.popleft()
            if sequence <= durable:
                callback(None)
            else:
                self._waiting.append((sequence, callback))

    def _end(self, fault: JournalUnavailable) -> None:
        with self._gate:
            self._fault = fault
        while self._waiting:
            sequence, callback = self._waiting.popleft()
            callback(None if sequence <= self._lane.durable else fault)
