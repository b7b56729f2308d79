"""Inspecting one lane: its chain, its tree, its seals and what its own entries say of it."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from zstandard import ZstdError

from tollbook.core.money import parse_amount
from tollbook.journal.entry import LINE_LIMIT, Charge, LaneBegin, LaneCounts, SegmentSealed, read_head
from tollbook.journal.finding import Finding
from tollbook.journal.line import UNREADABLE, Break, Chain, Line
from tollbook.journal.segment import open_segment, segments
from tollbook.journal.statement import STATEMENT_KINDS
from tollbook.journal.tree import Tree

RESTORE: Final = "restore the lane from a backup or a shipped copy"

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many bytes were read, and how many there are."""

_BLOCK: Final = 1 << 18
_RATED: Final = frozenset({"attempt.settled", "request.settled"})
_NOTABLE: Final = STATEMENT_KINDS | {
    "lane.begin",
    "lane.heartbeat",
    "lane.end",
    "configuration.loaded",
    "prices.activated",
}


class Unproven:
    """What lies after a checkpoint: entries (heads aside) and expected amounts per currency in picodollars."""

    __slots__ = ("entries", "expected")

    def __init__(self) -> None:
        self.entries = 0
        self.expected: Final[Counter[str]] = Counter()


class _Rating(Struct):
    charges: list[Charge]
    currency: str = "USD"
    shares: list[tuple[str, list[Charge]]] = []


class _Rated(Struct):
    rating: _Rating | None = None


_rated_decoder: Final = msgspec.json.Decoder(_Rated)
_begin_decoder: Final = msgspec.json.Decoder(LaneBegin)
_counts_decoder: Final = msgspec.json.Decoder(LaneCounts)
_any_decoder: Final = msgspec.json.Decoder(dict[str, Any])


class Meter:
    """Adds up the bytes read, and tells somebody how many of all there are."""

    def __init__(self, tell: Progress | None, total: int) -> None:
        self._tell: Final = tell
        self._total: Final = total
        self._read = 0

    def add(self, count: int) -> None:
        self._read += count
        if self._tell is not None:
            self._tell(min(self._read, self._total), self._total)


class Context(NamedTuple):
    """What an inspection needs of the book: its id, a lane's seals, and whom to tell of findings and objects."""

    book: str
    seals: Mapping[tuple[str, int], SegmentSealed]
    report: Callable[[Finding], None]
    check_object: Callable[[Line, object], None]
    meter: Meter


class LaneInspection:
    """Reads one lane from its first line on, as far as asked, and reports what is wrong; nothing after the first break.

    `sequence`, `digest` and `recorded` are of the last line taken; `entries` and `bytes` count what was taken; `torn`
    is how many bytes lie after the last whole line; `end` is the number of its `lane.end`.
    """

    def __init__(self, directory: Path, context: Context) -> None:
        self.lane: Final = directory.name
        self.tree: Final = Tree()
        self.sequence = -1
        self.digest: str | None = None
        self.recorded: int | None = None
        self.first_recorded: int | None = None
        self.begin: LaneBegin | None = None
        self.end: int | None = None
        self.bytes = 0
        self.torn = 0
        self.broken = False
        self._chain_broken = False
        self._directory: Final = directory
        self._context: Final = context
        self._chain: Final = Chain(self.lane)
        self._counts: Final[Counter[str]] = Counter()
        self._raws: Final = self._read()
        self._ahead: list[Line] = []
        self._taken = 0
        self._finding: Finding | None = None

    @property
    def entries(self) -> int:
        return self.sequence + 1

    def advance(self, until: int | None, after: Sequence[Unproven]) -> None:
        """Take lines up to entry `until` (all there are, when None), counting them into `after`."""
        while not self.broken and (until is None or self.sequence < until):
            if self._taken == len(self._ahead) and not self._look_ahead():
                return
            stop = len(self._ahead) if until is None else self._taken + until - self.sequence
            lines = self._ahead[self._taken : stop]
            self._taken += len(lines)
            if lines:
                self._take(lines, after)

    def finish(self, after: Sequence[Unproven]) -> None:
        """Take all that is left, and let the lane go."""
        self.advance(None, after)
        self._raws.close()
        self._ahead, self._taken = [], 0

    def report(self, code: str, sequence: int | None, message: str) -> None:
        """Say what is wrong with this lane."""
        where = f"lane {self.lane}" if sequence is None else f"lane {self.lane}, entry {sequence}"
        self._context.report(Finding(code, self.lane, sequence, f"{where}: {message}"))

    def _look_ahead(self) -> bool:
        """Check the chain of the next block; whether there is more to take."""
        if self._finding is not None:
            self.broken = True
            self._context.report(self._finding)
            return False
        try:
            raws = next(self._raws, [])
        except ZstdError as fault:
            self.broken = True
            message = f"its sealed segment cannot be decompressed ({fault}); {RESTORE}"
            self.report("segment_damaged", self.sequence + 1, message)
            return False
        before = self._ahead[-2:]
        self._ahead, broken = self._chain.extend(raws)
        self._taken = 0
        if broken is not None:
            self._chain_broken = True
            self._finding = self._classify(broken, raws[broken.good :], (before + self._ahead)[-2:])
        return bool(raws)

    def _take(self, lines: list[Line], after: Sequence[Unproven]) -> None:
        self.tree.extend([line.bytes for line in lines])
        self.bytes += sum([len(line.bytes) for line in lines]) + len(lines)
        if after:
            self._count_in(lines, after)
        kinds = [line.kind for line in lines]
        if _NOTABLE.isdisjoint(kinds):
            self._counts.update(kinds)
        else:
            for line in lines:
                if line.kind in _NOTABLE:
                    self._note(line)
                self._counts[line.kind] += 1
        if self.first_recorded is None:
            self.first_recorded = lines[0].recorded
        _, self.sequence, self.recorded, _, self.digest, _ = lines[-1]
        if self.end is not None and self.end < self.sequence:
            self.report("lane_extended", self.end + 1, f"the lane goes on after its end; {RESTORE}")
            self.broken = True

    def _count_in(self, lines: list[Line], after: Sequence[Unproven]) -> None:
        entries = sum(line.kind != "heads" for line in lines)
        expected = Counter[str]()
        for line in lines:
            if line.kind in _RATED:
                self._add_expected(line, expected)
        for unproven in after:
            unproven.entries += entries
            unproven.expected.update(expected)

    def _add_expected(self, line: Line, expected: Counter[str]) -> None:
        try:
            rating = _rated_decoder.decode(line.bytes).rating
            if rating is not None:
                lines = itertools.chain(rating.charges, *(part for _, part in rating.shares))
                expected[rating.currency] += sum([parse_amount(line[4]) for line in lines if line[4] is not None])
        except (msgspec.MsgspecError, ValueError) as fault:
            self.report("entry_unreadable", line.sequence, f"its rating cannot be read ({fault}); {RESTORE}")

    def _note(self, line: Line) -> None:
        """Check what an entry says of the lane or of an object."""
        try:
            if line.kind == "lane.begin":
                self._check_begin(_begin_decoder.decode(line.bytes), line.sequence)
            elif line.kind in ("lane.heartbeat", "lane.end"):
                if line.kind == "lane.end":
                    self.end = line.sequence
                self._check_counts(_counts_decoder.decode(line.bytes), line.sequence)
            else:
                entry = _any_decoder.decode(line.bytes)
                self._context.check_object(line, entry.get("object"))
                if entry.get("source") is not None:
                    self._context.check_object(line, entry.get("source"))
        except UNREADABLE as fault:
            self.report("entry_unreadable", line.sequence, f"{line.kind} cannot be read ({fault}); {RESTORE}")

    def _check_begin(self, begin: LaneBegin, sequence: int) -> None:
        self.begin = begin
        if begin.book != self._context.book:
            message = f"it is bound to book {begin.book}, this is {self._context.book}; move it to where it belongs"
            self.report("lane_of_another_book", sequence, message)

    def _check_counts(self, told: LaneCounts, sequence: int) -> None:
        if told.counts != self._counts:
            message = f"it counts {dict(told.counts)}, and the lane holds {dict(self._counts)} before it; {RESTORE}"
            self.report("counts_differ", sequence, message)

    def _classify(self, broken: Break, rest: list[bytes], before: list[Line]) -> Finding:
        """Name the first bad entry by what stands around it. `before` are the last lines that hold."""
        if len(rest) < 2:
            try:
                rest += next(self._raws)
            except ZstdError:
                rest = list(rest)
            broken = self._chain.extend(rest)[1] or broken
        code, sequence, message = _name(broken, rest, before)
        intact = f"; entries before it are intact; {RESTORE}"
        return Finding(code, self.lane, sequence, f"lane {self.lane}, entry {sequence}: {message}{intact}")

    def _read(self) -> Generator[list[bytes], None, None]:
        """The whole lines of all segments, in blocks; an empty block means that there is no more at present."""
        number = -1
        while True:
            following = [segment.number for segment in segments(self._directory) if segment.number > number]
            if following:
                number = following[0]
                yield from self._read_segment(number)
            else:
                yield []

    def _read_segment(self, number: int) -> Generator[list[bytes], None, None]:
        stream = open_segment(self._directory, number)
        if stream is None:
            return
        first, size, content, carry = self._chain.sequence + 1, 0, hashlib.sha256(), b""
        seal = self._context.seals.get((self.lane, number))
        with stream:
            while True:
                # Asked before reading: once a later segment exists, one more read sees all of this one.
                final = any(segment.number > number for segment in segments(self._directory))
                block = stream.read(_BLOCK)
                self._context.meter.add(len(block))
                if not block and final:
                    break
                size += len(block)
                if seal is not None:
                    content.update(block)
                lines = (carry + block).split(b"\n")
                carry = lines.pop()
                if len(carry) > LINE_LIMIT:
                    lines, carry = [*lines, carry], b""
                if not block:
                    self.torn = len(carry)
                    self._check_seal(seal, first, size, content.hexdigest())
                    seal = None
                if lines or not block:
                    yield lines
        self._check_seal(seal, first, size, content.hexdigest())
        if carry:
            message = f"segment {number} ends without a newline, and another follows; {RESTORE}"
            self.report("lane_torn", self._chain.sequence + 1, message)
            yield [carry]

    def _check_seal(self, seal: SegmentSealed | None, first: int, size: int, sha256: str) -> None:
        if seal is None or self._chain_broken:
            return
        last = self._chain.sequence
        if (seal.first, seal.last, seal.bytes, seal.sha256) != (first, last, size, sha256):
            message = (
                f"segment {seal.segment} holds entries {first} to {last}, {size} bytes, digest {sha256}; its seal says "
                f"{seal.first} to {seal.last}, {seal.bytes} bytes, digest {seal.sha256}; {RESTORE}"
            )
            self.report("segment_differs", first, message)


def _name(broken: Break, rest: list[bytes], before: list[Line]) -> tuple[str, int, str]:
    """Code, first bad entry and what is wrong with it."""
    expected = before[-1].sequence + 1 if before else 0
    head = read_head(rest[0])
    after = read_head(rest[1]) if len(rest) > 1 else None
    if head is None:
        return "entry_changed", expected, "it does not begin as an entry: it was changed"
    if head.sequence != expected:
        if before and head.previous == before[-1].digest:
            return "entry_renumbered", expected, f"it bears the number {head.sequence}: it was renumbered"
        if head.sequence > expected and after is not None and after.sequence == expected:
            return "entries_swapped", expected, f"entry {head.sequence} stands in its place, and it after that"
        if head.sequence > expected:
            return "entry_missing", expected, f"entries {expected} to {head.sequence - 1} are missing"
        return "entry_inserted", head.sequence, "it stands there twice: one of the two was inserted"
    return "entry_changed", broken.sequence, f"it {broken.reason}"
