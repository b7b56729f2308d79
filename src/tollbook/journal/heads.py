"""Heads: the entries that say how far every lane had got, and so give the whole book one position.

`recover` reads from the book's own lanes where the heads stand; `HeadsKeeper` follows all lanes and says what the
next heads are. What heads name was made durable before.
"""

import os
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tollbook.core.faults import JournalUnavailable, Tampered
from tollbook.journal.authority import AUTHORITY_KINDS
from tollbook.journal.book import Book
from tollbook.journal.casework import CASE_KINDS
from tollbook.journal.closing import is_live
from tollbook.journal.entry import Heads, LaneBegin, LaneClosed, LaneHead, PersonalErased
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.registration import REGISTRY_KINDS
from tollbook.journal.segment import segments
from tollbook.journal.statement import STATEMENT_KINDS
from tollbook.journal.tail import LaneTail, lane_directories, read_lane
from tollbook.journal.tree import Tree

_heads_decoder: Final = msgspec.json.Decoder(Heads)
_closed_decoder: Final = msgspec.json.Decoder(LaneClosed)
_begin_decoder: Final = msgspec.json.Decoder(LaneBegin)
_LAST: Final = 1 << 62
_erased_decoder: Final = msgspec.json.Decoder(PersonalErased)
_SETTLED_AFTER: Final = 1_000_000_000
_NUMBER: Final = re.compile(rb'"k":"heads","number":(\d{1,18})[,}]')


class Recovered(NamedTuple):
    """Where the heads of a book stand.

    `lanes` are the lanes the last heads leave open; `known` all lanes that any heads ever listed; `ends` where book
    lanes say that others end; `tree` is over all heads lines, `earlier_root` its root when it had the size that was
    asked for; `created` whether the book's birth is on record; `erasures` what was erased from the personal directory,
    to be erased again after a restore; `registry` the lines that the registry is folded from, `authority` those that
    identities and proposals are folded from, `casework` those of cases,
    `statements` those of vendors' documents, `prices` those of price books put in force, in order.
    """

    number: int
    digest: str | None
    lanes: dict[str, LaneHead]
    known: set[str]
    ends: dict[str, int]
    tree: Tree
    earlier_root: bytes | None
    created: bool
    erasures: list[PersonalErased]
    registry: list[Line]
    authority: list[Line]
    casework: list[Line]
    statements: list[Line]
    prices: list[Line]


def decode_heads(line: Line) -> Heads:
    """The payload of a heads line. Raises Tampered when it cannot be read."""
    try:
        return _heads_decoder.decode(line.bytes)
    except UNREADABLE as fault:
        raise Tampered(f"lane {line.lane}, entry {line.sequence}: heads that cannot be read ({fault})") from fault


def heads_number(line: bytes) -> int | None:
    """The number of a heads line, found without a JSON parser; None for a line of another kind."""
    found = _NUMBER.search(line, 0, 256)
    return int(found[1]) if found else None


def book_lines(book_root: Path) -> Iterator[Line]:
    """All lines of the book's own lanes, lane after lane in the order they were written."""
    lanes = [path for path in lane_directories(book_root) if path.name.startswith("book-")]
    for directory in _in_order(lanes):
        yield from read_lane(directory)


class _Beginning(NamedTuple):
    """How a lane of the book begins: the heads that were the last ones then, and the number of its own first heads."""

    directory: Path
    bound: str | None
    first: int | None


def _in_order(lanes: list[Path]) -> list[Path]:
    """The book's lanes as they were written, by numbers: clocks may step back.

    A lane is bound to the last heads there were when it began. Of those bound to the same ones, all but the last ended
    without heads of their own: a command that changed nothing, a writer that was killed.
    """
    beginnings = [_beginning(directory) for directory in lanes]
    numbers = {one.bound: one.first for one in beginnings if one.first is not None}

    def place(one: _Beginning) -> tuple[int, bool, str]:
        return numbers.get(one.bound, _LAST), one.first is not None, one.directory.name

    return [one.directory for one in sorted(beginnings, key=place)]


def _beginning(directory: Path) -> _Beginning:
    bound = None
    for line in read_lane(directory):
        if line.kind == "lane.begin":
            bound = _bound(line)
        elif line.kind == "heads":
            return _Beginning(directory, bound, decode_heads(line).number)
    return _Beginning(directory, bound, None)


def _bound(line: Line) -> str | None:
    try:
        return _begin_decoder.decode(line.bytes).heads
    except UNREADABLE as fault:
        raise Tampered(f"lane {line.lane}, entry {line.sequence}: cannot be read ({fault})") from fault


def recover(book_root: Path, *, root_at: int = 0) -> Recovered:
    """Read where the heads stand; `root_at` asks for the root when that many heads were there.

    Raises Tampered when heads do not follow one another.
    """
    tree, known, ends, digest, last, created = Tree(), set[str](), dict[str, int](), None, None, False
    earlier = tree.root() if root_at == 0 else None
    erasures: list[PersonalErased] = []
    registry: list[Line] = []
    authority: list[Line] = []
    casework: list[Line] = []
    statements: list[Line] = []
    prices: list[Line] = []
    for line in book_lines(book_root):
        created = created or line.kind == "book.created"
        if line.kind == "lane.closed":
            _take_end(ends, line)
        if line.kind == "personal.erased":
            erasures.append(_erasure(line))
        if line.kind in REGISTRY_KINDS:
            registry.append(line)
        if line.kind in AUTHORITY_KINDS:
            authority.append(line)
        if line.kind in CASE_KINDS:
            casework.append(line)
        if line.kind in STATEMENT_KINDS:
            statements.append(line)
        if line.kind == "prices.activated":
            prices.append(line)
        number = heads_number(line.bytes) if line.kind == "heads" else None
        if number is None:
            continue
        if number != tree.size + 1:
            raise Tampered(
                f"lane {line.lane}, entry {line.sequence}: heads {number} follow heads {tree.size}; "
                "run: tollbook verify, and restore the book's lanes from a backup"
            )
        tree.append(line.bytes)
        digest, last = line.digest, line
        if b'"opened":[' in line.bytes:
            known.update(decode_heads(line).opened)
        if number == root_at:
            earlier = tree.root()
    heads = decode_heads(last) if last else None
    lanes = {head.lane: head for head in heads.lanes if head.lane not in heads.closed} if heads else {}
    told = (erasures, registry, authority, casework, statements, prices)
    return Recovered(tree.size, digest, lanes, known, ends, tree, earlier, created, *told)


def _erasure(line: Line) -> PersonalErased:
    try:
        return _erased_decoder.decode(line.bytes)
    except UNREADABLE as fault:
        raise Tampered(f"lane {line.lane}, entry {line.sequence}: cannot be read ({fault})") from fault


def _take_end(ends: dict[str, int], line: Line) -> None:
    try:
        closed = _closed_decoder.decode(line.bytes)
    except UNREADABLE as fault:
        raise Tampered(f"lane {line.lane}, entry {line.sequence}: cannot be read ({fault})") from fault
    ends[closed.lane] = closed.last


def _supervisors_ends(book_root: Path) -> dict[str, int]:
    """Where supervisors say that lanes end."""
    ends = dict[str, int]()
    for directory in lane_directories(book_root):
        if directory.name.startswith("supervisor-"):
            for line in read_lane(directory):
                if line.kind == "lane.closed":
                    _take_end(ends, line)
    return ends


class _Followed:
    """One lane as the keeper follows it: its tail, its tree, and where it ends once that is known."""

    __slots__ = ("_tail", "_tree", "directory", "end", "head", "listed", "moved")

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tail = LaneTail(directory)
        self._tree = Tree()
        self.head: LaneHead | None = None
        self.moved = False
        self.listed = False
        self.end: int | None = None

    @classmethod
    def resumed(cls, directory: Path, head: LaneHead) -> "_Followed":
        """A lane from where heads left it; its tree is made again from its lines.

        Raises Tampered when the lane is not what those heads say.
        """
        followed = cls(directory)
        followed.head, followed.listed = head, True
        followed._tree.extend(line.bytes for line in islice(read_lane(directory), head.last + 1))
        if followed._tree.root().hex() != head.root:
            raise Tampered(
                f"lane {head.lane} is not what the last heads say of it up to entry {head.last}; run: tollbook verify"
            )
        followed._tail = LaneTail(directory, start_after=head.last)
        return followed

    def read(self, limit_bytes: int) -> list[Line]:
        """The lines that came since. Raises Tampered when one does not follow."""
        lines = self._tail.read(limit_bytes)
        self._tree.extend(line.bytes for line in lines)
        if lines:
            last = lines[-1]
            self.head = LaneHead(last.lane, last.sequence, last.digest, self._tree.root().hex(), last.recorded)
            if last.kind == "lane.end":
                self.end = last.sequence
        return lines

    def sync(self) -> None:
        """Make durable what was read, whoever wrote it: heads must not outlive the lines they cover.

        Only the newest segment can have lines that are not: a writer makes one durable before it begins the next.
        """
        newest = segments(self.directory)[-1:]
        if not newest or newest[0].sealed:
            return
        try:
            with newest[0].path.open("rb") as stream:
                os.fdatasync(stream.fileno())
        except OSError as fault:
            raise JournalUnavailable(f"{newest[0].path} cannot be made durable: {fault.strerror}") from fault

    def close(self) -> None:
        self._tail.close()

    @property
    def ended(self) -> bool:
        """Whether all there will ever be was read."""
        return self.end is not None and self.head is not None and self.head.last >= self.end


class HeadsKeeper:
    """Follows every lane of a book and says what the next heads are.

    Heads lines are no news: they move no lane. A lane that does not verify is left where it was last good and named in
    `broken`; the others go on.
    """

    def __init__(self, book: Book, recovered: Recovered | None = None) -> None:
        at = recovered or recover(book.root)
        self._root: Final = book.root
        self._number = at.number
        self._digest = at.digest
        self._known = set(at.known)
        self._ends = dict(at.ends)
        self._followed: dict[str, _Followed] = {}
        self._pending: list[Line] = []
        self._settled = 0
        self.broken: Final[dict[str, Tampered]] = {}
        if any(not is_live(book.lane_directory(lane)) for lane in at.lanes):
            self._ends |= _supervisors_ends(book.root)
        for head in at.lanes.values():
            self._resume(head)

    @property
    def number(self) -> int:
        """The number of the last heads written."""
        return self._number

    def is_finished(self, lane: str) -> bool:
        """Whether heads have listed this lane for the last time."""
        return lane in self._known and lane not in self._followed

    def poll(self, limit_bytes: int = 8 << 20) -> list[Line]:
        """What lanes brought since the last poll, at most about `limit_bytes`; heads lines are left out."""
        self._notice()
        news: list[Line] = []
        for lane, followed in self._followed.items():
            if limit_bytes <= 0:
                break
            if lane in self.broken:
                continue
            try:
                lines = followed.read(limit_bytes)
            except Tampered as fault:
                self.broken[lane] = fault
                continue
            limit_bytes -= sum(len(line.bytes) for line in lines)
            for line in lines:
                if line.kind != "heads":
                    followed.moved = True
                    news.append(line)
                if line.kind == "lane.closed":
                    self._close(line)
        self._pending += news
        return news

    def next_heads(self) -> Heads | None:
        """Heads that cover all that was polled; None when no lane moved since the last ones.

        Raises JournalUnavailable when what they would cover cannot be made durable.
        """
        reached = {lane: followed for lane, followed in self._followed.items() if followed.head is not None}
        moved = [followed for followed in reached.values() if followed.moved]
        if not moved:
            return None
        for followed in moved:
            followed.sync()
        return Heads(
            number=self._number + 1,
            previous=self._digest,
            lanes=[followed.head for _, followed in sorted(reached.items()) if followed.head is not None],
            opened=sorted(lane for lane, followed in reached.items() if not followed.listed),
            closed=sorted(lane for lane, followed in reached.items() if followed.ended),
        )

    def written(self, heads: Heads, digest: str) -> list[Line]:
        """Take note that these heads, just given by `next_heads`, were written; the lines that they cover, by lane
        and sequence."""
        self._number, self._digest = heads.number, digest
        self._known.update(heads.opened)
        for head in heads.lanes:
            followed = self._followed[head.lane]
            followed.moved, followed.listed = False, True
        for lane in heads.closed:
            self._followed.pop(lane).close()
        lines, self._pending = self._pending, []
        lines.sort(key=lambda line: (line.lane, line.sequence))
        return lines

    def _resume(self, head: LaneHead) -> None:
        directory = self._root / "lanes" / head.lane
        try:
            followed = _Followed.resumed(directory, head)
        except Tampered as fault:
            self.broken[head.lane] = fault
            followed = _Followed(directory)
            followed.head, followed.listed = head, True
        followed.end = self._ends.get(head.lane)
        self._followed[head.lane] = followed

    def _notice(self) -> None:
        """Begin to follow lanes that are new. The directory is listed again only when it changed."""
        changed = (self._root / "lanes").stat().st_mtime_ns
        if changed == self._settled:
            return
        for directory in lane_directories(self._root):
            if directory.name not in self._known and directory.name not in self._followed:
                followed = self._followed[directory.name] = _Followed(directory)
                followed.end = self._ends.get(directory.name)
        # A second lane made within one tick of the clock leaves this time as it is, so only an old one settles it.
        if time.time_ns() - changed > _SETTLED_AFTER:
            self._settled = changed

    def _close(self, line: Line) -> None:
        """A supervisor says where a lane ends."""
        _take_end(self._ends, line)
        closed = _closed_decoder.decode(line.bytes)
        followed = self._followed.get(closed.lane)
        if followed is not None:
            followed.end = closed.last
