"""Verifying a whole book: every lane against its chain, all lanes against the heads, the heads against the signature.

The heads are walked in order, and each lane is read on as far as they say, so that memory does not grow with the
book. It works on a live book: what lies after the last heads is only not covered yet.
"""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.faults import NotFound, Tampered
from tollbook.core.money import format_amount
from tollbook.journal.actors import Actors
from tollbook.journal.book import Book
from tollbook.journal.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from tollbook.journal.closing import is_live
from tollbook.journal.copying import read_copy
from tollbook.journal.entry import Heads, LaneBegin, LaneClosed, LaneHead, ObjectNamed
from tollbook.journal.finding import Finding
from tollbook.journal.heads import book_lines, decode_heads
from tollbook.journal.inspection import RESTORE, Context, LaneInspection, Meter, Progress, Unproven
from tollbook.journal.keychain import KeyChain, Link
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.objects import ObjectStore
from tollbook.journal.record import LaneRecord
from tollbook.journal.segment import segments
from tollbook.journal.tail import BrokenLane, lane_directories, read_lane
from tollbook.journal.tree import Tree

_begin_decoder: Final = msgspec.json.Decoder(LaneBegin)
_GRACE: Final = 60 * SECOND
"""How long a live supervisor may take to write where a dead lane ends."""


class Beyond(NamedTuple):
    """What lies after a checkpoint: entries, whole seconds from its last heads to the book's last entry, and the sum
    of expected amounts per currency as decimal text."""

    entries: int
    seconds: int
    expected: dict[str, str]


class Verification(NamedTuple):
    """What verifying found. `position` is the number of the last heads, `digest` that of their line.

    `checkpoint` is how many heads the book's own last checkpoint signs; `after_checkpoint` what lies after it.
    `anchor` and `after_anchor` are the same for the checkpoint given from outside: without one (0), nothing shows
    that the whole book was not written anew by somebody who holds its key, and all of it is beyond. `copied` is when a
    copy was made (microseconds); None for a book. `keys` are the signing keys, one after the other.
    """

    findings: list[Finding]
    lanes: int
    entries: int
    bytes: int
    position: int
    digest: str | None
    checkpoint: int
    after_checkpoint: Beyond
    anchor: int
    after_anchor: Beyond
    copied: int | None = None
    keys: tuple[Link, ...] = ()


def verify(
    book_root: Path, *, checkpoint: bytes | None = None, progress: Progress | None = None, clock: Clock = now
) -> Verification:
    """Verify a book; `checkpoint` is a signed note of it that was kept elsewhere.

    Raises BadInput when there is no book, or the given checkpoint is none.
    """
    return _Verifier(Book.open(book_root), checkpoint, progress, clock).run()


class _Signed:
    """A checkpoint that the heads must fit, and what comes after it."""

    def __init__(self, name: str, checkpoint: Checkpoint | None) -> None:
        self.name: Final = name
        self.checkpoint: Final = checkpoint
        self.size: Final = checkpoint.size if checkpoint else 0
        self.recorded: int | None = None
        self.unproven: Final = Unproven()


class _Verifier:
    def __init__(self, book: Book, checkpoint: bytes | None, progress: Progress | None, clock: Clock) -> None:
        self._book: Final = book
        copy = read_copy(book.root)
        self._copied: Final = None if copy is None else copy.made
        self._clock: Final = clock if copy is None else (lambda: copy.made)
        self._findings: Final[list[Finding]] = []
        self._objects: Final = ObjectStore(book.root)
        self._objects_seen: Final[set[str]] = set()
        directories = lane_directories(book.root)
        # Asked before anything is read: a lane that is dead now has nothing to add later.
        self._live: Final = {path.name for path in directories if is_live(path)} | set(copy.live if copy else ())
        self._keys: Final = self._chain()
        self._outside: Final = _Signed("the checkpoint given", self._usable("the checkpoint given", checkpoint))
        self._own: Final = _Signed("checkpoints/latest", self._usable("checkpoints/latest", _latest(book)))
        self._record: Final = LaneRecord(book)
        self._findings.extend(self._record.findings)
        meter = Meter(progress, sum(self._size_of(path) for path in directories))
        self._context: Final = Context(book.id, self._record.seals, self._report, self._check_object, meter)
        self._lanes: Final = {path.name: LaneInspection(path, self._context) for path in directories}
        self._actors: Final = Actors(book.id)
        self._tree: Final = Tree()
        self._last: Line | None = None
        self._listed: dict[str, LaneHead] = {}
        self._finished: Final[set[str]] = set()
        self._missing: Final[set[str]] = set()
        self._beyond_all: Final = (self._own.unproven, self._outside.unproven)

    def run(self) -> Verification:
        self._walk()
        self._check_signed(self._own)
        self._check_signed(self._outside)
        for lane in sorted(self._lanes):
            self._lanes[lane].finish(self._beyond_all)
        for lane in sorted(self._lanes):
            self._check_end(self._lanes[lane])
        self._check_registered()
        return self._result()

    def _walk(self) -> None:
        """Go through the heads in order, and read every lane on as far as each says."""
        bound = {lane: begin.heads for lane in self._lanes if (begin := _begin(self._book.lane_directory(lane)))}
        unknown = {digest for digest in bound.values() if digest is not None}
        try:
            for line in book_lines(self._book.root):
                self._actors.take(line)
                if line.kind == "heads":
                    self._take_heads(line, decode_heads(line))
                    unknown.discard(line.digest)
        except Tampered as fault:
            self._report(Finding("heads_out_of_order", None, None, f"the heads cannot be read on: {fault}; {RESTORE}"))
        self._findings.extend(self._actors.findings)
        for lane, digest in bound.items():
            if digest in unknown:
                self._lanes[lane].report("unknown_heads", 0, f"its heads {digest} are not in the book; {RESTORE}")

    def _take_heads(self, line: Line, heads: Heads) -> None:
        previous = self._last.digest if self._last else None
        if heads.number != self._tree.size + 1 or heads.previous != previous:
            message = (
                f"lane {line.lane}, entry {line.sequence}: heads {heads.number} do not follow what stands before them, "
                f"which is heads {self._tree.size}: heads were dropped or changed; {RESTORE}"
            )
            self._report(Finding("heads_out_of_order", line.lane, line.sequence, message))
        self._tree.append(line.bytes)
        self._last = line
        after = [signed.unproven for signed in (self._own, self._outside) if self._tree.size > signed.size]
        for head in heads.lanes:
            self._take_head(line, heads, head, after)
        self._check_listing(line, heads)
        for signed in (self._own, self._outside):
            if signed.checkpoint is not None and self._tree.size == signed.size:
                signed.recorded = line.recorded
                self._check_root(signed, signed.checkpoint)

    def _take_head(self, line: Line, heads: Heads, head: LaneHead, after: list[Unproven]) -> None:
        lane = self._lanes.get(head.lane)
        if lane is None:
            directory = self._book.lane_directory(head.lane)
            if not directory.is_dir():
                self._miss(head.lane, f"heads {heads.number} list it up to entry {head.last}")
                return
            lane = self._lanes[head.lane] = LaneInspection(directory, self._context)
        lane.advance(head.last, after)
        if lane.broken:
            return
        if lane.sequence < head.last:
            message = f"the lane ends before it, and heads {heads.number} cover entry {head.last}: its tail was cut"
            lane.report("lane_cut", lane.sequence + 1, f"{message}; {RESTORE}")
            lane.broken = True
        elif lane.sequence == head.last and lane.digest != head.digest:
            message = f"it was changed: heads {heads.number} name another digest for it; {RESTORE}"
            lane.report("entry_changed", head.last, message)
            lane.broken = True
        elif lane.sequence > head.last or lane.tree.root().hex() != head.root:
            message = (
                f"lane {line.lane}, entry {line.sequence}: heads {heads.number} do not fit lane {head.lane} at entry "
                f"{head.last}; {RESTORE}"
            )
            self._report(Finding("heads_differ", line.lane, line.sequence, message))

    def _check_listing(self, line: Line, heads: Heads) -> None:
        """A lane is opened once, listed in all heads until it is closed, and never after."""
        names = {head.lane for head in heads.lanes}
        wrong = names & self._finished
        wrong |= {lane for lane in heads.opened if lane in self._listed or lane not in names}
        wrong |= names - set(heads.opened) - set(self._listed)
        wrong |= set(self._listed) - names
        for lane in sorted(wrong):
            message = (
                f"lane {line.lane}, entry {line.sequence}: heads {heads.number} do not go on from those before with "
                f"lane {lane}; {RESTORE}"
            )
            self._report(Finding("heads_differ", line.lane, line.sequence, message))
        self._finished.update(heads.closed)
        for lane in heads.closed:
            if lane in self._lanes:
                self._lanes[lane].finish(self._beyond_all)
        self._listed = {head.lane: head for head in heads.lanes if head.lane not in heads.closed}

    def _check_root(self, signed: _Signed, checkpoint: Checkpoint) -> None:
        if checkpoint.root != self._tree.root():
            message = (
                f"{signed.name} signs {signed.size} heads with another root than the book has: heads at or before "
                f"position {signed.size} were changed; compare with a backup made before"
            )
            self._report(Finding("checkpoint_differs", None, None, message))

    def _check_signed(self, signed: _Signed) -> None:
        """Heads that were signed must be there."""
        if signed.size > self._tree.size:
            message = (
                f"{signed.name} signs {signed.size} heads, and the book has only {self._tree.size}: the end of its "
                f"record was cut; {RESTORE}"
            )
            self._report(Finding("checkpoint_differs", None, None, message))

    def _check_end(self, lane: LaneInspection) -> None:
        """How a lane ends must be what was said of its end."""
        if lane.broken:
            return
        told = self._record.closed.get(lane.lane)
        last = self._record.ends.get(lane.lane, -1)
        if lane.sequence < last:
            message = f"the lane ends before it, and it is on record up to entry {last}: its tail was cut; {RESTORE}"
            lane.report("lane_cut", lane.sequence + 1, message)
        elif told is not None and lane.sequence > told.last:
            lane.report("lane_extended", told.last + 1, f"the lane was closed after entry {told.last}; {RESTORE}")
        elif told is not None and told.digest != lane.digest:
            lane.report("entry_changed", lane.sequence, f"its closing names another digest for it; {RESTORE}")
        elif lane.lane not in self._live:
            self._check_dead(lane, told)

    def _check_dead(self, lane: LaneInspection, told: LaneClosed | None) -> None:
        """A lane whose writer is gone."""
        if lane.torn and not (told and told.torn):
            message = f"{lane.torn} bytes of a torn line follow entry {lane.sequence}, and no closing explains them"
            lane.report("lane_torn", lane.sequence + 1, f"{message}; start: tollbook serve (it closes dead lanes)")
        if lane.end is None and told is None and not self._being_closed(lane.recorded):
            message = (
                "its writer is dead and nobody wrote where the lane ends; start: tollbook serve (it closes dead lanes)"
            )
            lane.report("lane_not_closed", lane.sequence, message)

    def _being_closed(self, recorded: int | None) -> bool:
        """Whether a supervisor is there who may just be about to close a lane that died."""
        supervised = any(lane.startswith("supervisor-") for lane in self._live)
        return supervised and (recorded is None or self._clock() - recorded < _GRACE)

    def _check_registered(self) -> None:
        """Every lane that was opened, closed or sealed must be there."""
        for lane, told in self._record.closed.items():
            if told.last >= 0:
                self._miss_unless_there(lane, f"its closing says that it ends with entry {told.last}")
        for lane, seal in self._record.seals:
            self._miss_unless_there(lane, f"its segment {seal} is sealed")
        for lane, recorded in self._record.opened.items():
            if lane not in self._record.closed and not self._being_closed(recorded):
                self._miss_unless_there(lane, "it was opened, and no closing says that it remained empty")

    def _miss_unless_there(self, lane: str, because: str) -> None:
        if lane not in self._lanes and not self._book.lane_directory(lane).is_dir():
            self._miss(lane, because)

    def _miss(self, lane: str, because: str) -> None:
        if lane not in self._missing:
            self._missing.add(lane)
            self._report(Finding("lane_missing", lane, None, f"lane {lane} is gone: {because}; {RESTORE}"))

    def _check_object(self, line: Line, named: object) -> None:
        """An object that an entry names must be there, unchanged."""
        try:
            wanted = msgspec.convert(named, ObjectNamed)
            if wanted.sha256 in self._objects_seen:
                return
            self._objects_seen.add(wanted.sha256)
            size = len(self._objects.get(wanted.sha256))
            if size != wanted.bytes:
                raise Tampered(f"object {wanted.sha256} has {size} bytes, not {wanted.bytes}")
        except (NotFound, Tampered, msgspec.ValidationError, ValueError) as fault:
            code = "object_missing" if isinstance(fault, NotFound) else "object_changed"
            where = f"lane {line.lane}, entry {line.sequence}"
            self._report(Finding(code, line.lane, line.sequence, f"{where} ({line.kind}): {fault}"))

    def _usable(self, name: str, note: bytes | None) -> Checkpoint | None:
        """A signed note of this book as a checkpoint; None, and a finding, when its signature does not hold."""
        if note is None:
            return None
        try:
            return verify_checkpoint(note, self._keys.at(parse_checkpoint(note).size))
        except Tampered as fault:
            self._report(Finding("checkpoint_unusable", None, None, f"{name}: {fault}; compare it with older ones"))
            return None

    def _chain(self) -> KeyChain:
        """The signing keys; as far as they follow one another."""
        chain, position = KeyChain(self._book.id, self._book.key), 0
        try:
            for line in book_lines(self._book.root):
                position += line.kind == "heads"
                if line.kind == "key.rotated":
                    chain.take(line, position)
        except BrokenLane:
            return chain  # the walk names the entry
        except Tampered as fault:
            self._report(Finding("key_chain_broken", None, None, f"{fault}; compare with a backup made before"))
        return chain

    def _report(self, finding: Finding) -> None:
        self._findings.append(finding)

    def _size_of(self, directory: Path) -> int:
        """How many bytes of lines a lane has, before compression."""
        seals = self._record.seals
        found = segments(directory)
        sealed = [seals[key].bytes for s in found if s.sealed and (key := (directory.name, s.number)) in seals]
        return sum(sealed) + sum(s.path.stat().st_size for s in found if not s.sealed)

    def _result(self) -> Verification:
        lanes = self._lanes.values()
        return Verification(
            findings=self._findings,
            lanes=len(lanes),
            entries=sum(lane.entries for lane in lanes),
            bytes=sum(lane.bytes for lane in lanes),
            position=self._tree.size,
            digest=self._last.digest if self._last else None,
            checkpoint=self._own.size,
            after_checkpoint=self._beyond(self._own),
            anchor=self._outside.size,
            after_anchor=self._beyond(self._outside),
            copied=self._copied,
            keys=tuple(self._keys.links),
        )

    def _beyond(self, signed: _Signed) -> Beyond:
        first = [lane.first_recorded for lane in self._lanes.values() if lane.first_recorded is not None]
        last = [lane.recorded for lane in self._lanes.values() if lane.recorded is not None]
        since = signed.recorded if signed.recorded is not None else min(first, default=0)
        seconds = max(0, -((since - max(last, default=since)) // SECOND))
        expected = {currency: format_amount(pico) for currency, pico in sorted(signed.unproven.expected.items())}
        return Beyond(signed.unproven.entries, seconds, expected)


def _latest(book: Book) -> bytes | None:
    """The book's own last checkpoint; None when nothing was signed yet."""
    try:
        return (book.checkpoints / "latest").read_bytes()
    except FileNotFoundError:
        return None


def _begin(directory: Path) -> LaneBegin | None:
    """What a lane is bound to, as far as its first line can be read: inspecting it tells the rest."""
    try:
        line = next(read_lane(directory), None)
        return None if line is None else _begin_decoder.decode(line.bytes)
    except (Tampered, *UNREADABLE):
        return None
