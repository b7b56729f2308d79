"""What the stream readers of all formats share: events out of bytes, hiding one, counting the text that passed."""

from abc import ABC, abstractmethod
from typing import ClassVar

from tollbook.providers import tokenizer
from tollbook.providers.answer import flag
from tollbook.providers.contract import Reading
from tollbook.providers.sse import EVENT_LIMIT, Piece, Splitter, parse_event, single_event
from tollbook.providers.text import text_bytes


class EventReader(ABC):
    """Reads a stream of server-sent events as it passes; a `StreamReader`.

    Every event is decoded into the few members that concern us, which costs less than searching it for them. Where
    events may have to be hidden (`hides`), an event is held back until it is whole; else all bytes pass at once.
    """

    event_limit: ClassVar[int] = EVENT_LIMIT
    """The longest event that is read, in bytes; as much may be held back for each stream."""

    __slots__ = ("_between", "_deltas", "_error", "_flags", "_hides", "_sample", "_splitter", "_text")

    def __init__(self, hides: bool = False) -> None:
        self._hides = hides
        self._splitter = Splitter(self.event_limit)
        self._between = True
        self._flags: list[str] = []
        self._error: str | None = None
        self._text = 0
        self._deltas = 0
        self._sample = bytearray() if tokenizer.loaded() else None

    @property
    @abstractmethod
    def terminal(self) -> bool:
        """Whether the terminal event has been seen."""

    @abstractmethod
    def reading(self) -> Reading:
        """What has been learned so far."""

    @abstractmethod
    def _take(self, data: bytes, name: bytes = b"") -> bool:
        """Learn from an event's data; whether it is an event that only our own asking brought."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the vendor; give the bytes for the client."""
        if self._between and (said := single_event(data)) is not None:
            return b"" if self._take(said) and self._hides else data
        passed = self._pass(self._splitter.push(data))
        self._between = self._splitter.clear
        if not self._hides or passed == data:
            return data
        return passed

    def flush(self) -> bytes:
        """What was held back when the stream ended. A last event without its blank line is read all the same."""
        passed = self._pass(self._splitter.flush())
        return passed if self._hides else b""

    def _pass(self, pieces: list[Piece]) -> bytes:
        """Learn from some pieces; give the bytes that are not hidden."""
        passed: list[bytes] = []
        for block, whole in pieces:
            if not whole:
                flag(self._flags, "event_too_long")
            elif self._read(block) and self._hides:
                # Blank lines before the event belong to no event, and pass.
                passed.append(block[: -len(block.lstrip(b"\r\n"))])
                continue
            passed.append(block)
        return b"".join(passed)

    def _read(self, block: bytes) -> bool:
        """Learn from a whole event; whether only our own asking brought it."""
        said = single_event(block)
        if said is not None:
            return self._take(said)
        event = parse_event(block)
        return bool(event.data) and self._take(event.data, event.name)

    def _saw(self, size: int) -> None:
        """Count a piece of answer text."""
        if size:
            self._text += size
            self._deltas += 1

    def _saw_text(self, text: str) -> None:
        """Count a piece of answer text, and keep the first of it while its tokens may have to be counted."""
        self._saw(text_bytes(text))
        if self._sample is not None and len(self._sample) < tokenizer.SAMPLE_LIMIT:
            self._sample += text.encode()

    def _put_text(self, reading: Reading) -> None:
        """Put into a reading without a final usage how much text was seen."""
        reading.output_text, reading.output_deltas = self._text, self._deltas
        if self._sample:
            reading.output_tokens = tokenizer.count_tokens(bytes(self._sample), self._text, reading.model_served)

    def _saw_unreadable(self, data: bytes) -> None:
        """An event that cannot be decoded may be answer text, all of it."""
        flag(self._flags, "unreadable_event")
        self._saw(len(data))
