"""Proofs out of a book's journal: raw lines, and how they hang on a signed checkpoint."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from tollbook.core.faults import BadInput, NotFound, Tampered
from tollbook.evidence.bundle import EntryLine, HeadsLine, SignedCheckpoint
from tollbook.journal.book import Book
from tollbook.journal.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from tollbook.journal.entry import LaneHead
from tollbook.journal.heads import book_lines, decode_heads, heads_number
from tollbook.journal.keychain import KeyChain
from tollbook.journal.line import Line
from tollbook.journal.tail import read_lane
from tollbook.journal.tree import Hashes, includes, leaf_hash

Place = tuple[str, int]
"""A lane's name and a sequence number in it."""

SCRIBE_ENTRIES: Final = "key.rotated"


class NotYet(BadInput):
    """What is to be proven is not covered and signed yet: while the book is served that takes a second."""


class Proven(NamedTuple):
    """What proves entries: the checkpoints, heads and entry lines of a bundle, and the entries themselves, by place."""

    checkpoints: list[SignedCheckpoint]
    heads: list[HeadsLine]
    entries: list[EntryLine]
    lines: dict[Place, Line]


def prove(book: Book, places: Iterable[Place], also: Callable[[Line], bool] = lambda line: False) -> Proven:
    """Proofs of the entries at these places and of those lines of the book's own lanes that `also` picks; changes of
    the signing key are always among them.

    Raises NotYet while no signed checkpoint covers them, Tampered when the journal is not what was signed.
    """
    covering = _Covering(book, places)
    covering.read(also)
    checkpoints = covering.checkpoints()
    hashes = Hashes(bytes(covering.leaves))
    size = parse_checkpoint(checkpoints[0]).size
    notes = [SignedCheckpoint(note=checkpoints[0].decode())]
    for note in checkpoints[1:]:
        steps = [step.hex() for step in hashes.consistency(size, parse_checkpoint(note).size)]
        notes.append(SignedCheckpoint(note=note.decode(), consistency=steps))
    heads = [
        HeadsLine(
            lane=line.lane,
            sequence=line.sequence,
            number=number,
            proof=[step.hex() for step in hashes.inclusion(number - 1, size)],
            **_text(line.bytes),
        )
        for number, line in sorted(covering.heads.items())
    ]
    entries, lines = [], {}
    for lane, wanted in sorted(covering.covered.items()):
        for entry, line in _of_lane(book, lane, wanted):
            entries.append(entry)
            lines[lane, line.sequence] = line
    return Proven(notes, heads, entries, lines)


class _Covering:
    """Which heads cover which entries, and which checkpoint covers these heads."""

    def __init__(self, book: Book, places: Iterable[Place]) -> None:
        self._book: Final = book
        self._wanted: Final[defaultdict[str, set[int]]] = defaultdict(set)
        for lane, sequence in places:
            self._wanted[lane].add(sequence)
        self._keys: Final = KeyChain(book.id, book.key)
        self.leaves: Final = bytearray()
        self.heads: Final[dict[int, Line]] = {}
        self.covered: Final[defaultdict[str, list[tuple[int, LaneHead, int]]]] = defaultdict(list)
        """By lane: the entry's sequence, the lane's head in the heads that cover it first, and their number."""

    def read(self, also: Callable[[Line], bool]) -> None:
        """Go through the book's own lanes. Raises NotYet when an entry is covered by no heads."""
        for line in book_lines(self._book.root):
            number = heads_number(line.bytes) if line.kind == "heads" else None
            if number is not None:
                self._take_heads(number, line)
            elif line.kind == SCRIBE_ENTRIES:
                self._keys.take(line, len(self.leaves) // 32)
                self._wanted[line.lane].add(line.sequence)
            elif also(line):
                self._wanted[line.lane].add(line.sequence)
        if self._wanted:
            lane, sequences = next(iter(self._wanted.items()))
            raise NotYet(f"lane {lane}, entry {min(sequences)} is covered by no heads yet: ask again in a second")

    def checkpoints(self) -> list[bytes]:
        """The first checkpoint kept that covers all heads that are needed, and the last one when that is later."""
        needed = max(self.heads, default=1)
        kept = sorted(int(path.name) for path in self._book.checkpoints.iterdir() if path.name.isdecimal())
        notes = [self._signed(str(number)) for number in kept if number >= needed][:1]
        notes.append(self._signed("latest"))
        sizes = [checkpoint.size for _, checkpoint in notes]
        if sizes[0] < needed:
            raise NotYet(f"heads {needed} are not signed yet: ask again in a second")
        return [note for note, _ in notes] if sizes[0] < sizes[-1] else [notes[0][0]]

    def _take_heads(self, number: int, line: Line) -> None:
        self.leaves.extend(leaf_hash(line.bytes))
        if not self._wanted or number * 32 != len(self.leaves):
            if number * 32 != len(self.leaves):
                raise Tampered(f"lane {line.lane}, entry {line.sequence}: heads {number} do not follow those before")
            return
        for head in decode_heads(line).lanes:
            found = [sequence for sequence in self._wanted.get(head.lane, ()) if sequence <= head.last]
            if not found:
                continue
            self._wanted[head.lane].difference_update(found)
            if not self._wanted[head.lane]:
                del self._wanted[head.lane]
            self.covered[head.lane] += [(sequence, head, number) for sequence in found]
            self.heads[number] = line

    def _signed(self, name: str) -> tuple[bytes, Checkpoint]:
        try:
            note = (self._book.checkpoints / name).read_bytes()
        except FileNotFoundError:
            raise NotYet("the book has no signed checkpoint yet: ask again in a second") from None
        checkpoint = verify_checkpoint(note, self._keys.at(parse_checkpoint(note).size))
        size = len(self.leaves) // 32
        if checkpoint.size > size:  # signed after the lanes were read: what was read is below it all the same
            raise NotYet("the book grew while it was read: ask again")
        if Hashes(bytes(self.leaves[: checkpoint.size * 32])).root(checkpoint.size) != checkpoint.root:
            raise Tampered(f"checkpoint {name} signs other heads than the book has; run: tollbook verify")
        return note, checkpoint


def _of_lane(book: Book, lane: str, wanted: list[tuple[int, LaneHead, int]]) -> list[tuple[EntryLine, Line]]:
    """The entries of one lane with their proofs. Raises NotFound, Tampered."""
    last = max(head.last for _, head, _ in wanted)
    sequences = {sequence for sequence, _, _ in wanted}
    leaves, lines = bytearray(), dict[int, Line]()
    directory = book.lane_directory(lane)
    if not directory.is_dir():
        raise NotFound(f"lane {lane} is not in the book; restore it from a backup")
    for line in read_lane(directory):
        leaves.extend(leaf_hash(line.bytes))
        if line.sequence in sequences:
            lines[line.sequence] = line
        if line.sequence >= last:
            break
    hashes = Hashes(bytes(leaves))
    found = []
    for sequence, head, number in sorted(wanted):
        if head.last >= len(hashes):
            raise Tampered(f"lane {lane} ends before entry {head.last}, which heads cover; run: tollbook verify")
        line, proof = lines[sequence], hashes.inclusion(sequence, head.last + 1)
        if not includes(leaf_hash(line.bytes), sequence, head.last + 1, proof, bytes.fromhex(head.root)):
            raise Tampered(f"lane {lane} is not what heads {number} say of it; run: tollbook verify")
        steps = [step.hex() for step in proof]
        entry = EntryLine(lane=lane, sequence=sequence, heads=number, proof=steps, **_text(line.bytes))
        found.append((entry, line))
    return found


def _text(raw: bytes) -> dict[str, str]:
    """A journal line as a member of a bundle's line."""
    try:
        return {"line": raw.decode()}
    except UnicodeDecodeError:
        from base64 import b64encode

        return {"base64": b64encode(raw).decode()}
