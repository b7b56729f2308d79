"""Sealing: finished segments are compressed, put on record, and their open form removed.

Every step can be repeated: after a crash the next round begins again with what is still there. Until the entry
`segment.sealed` is durable the open segment stays.
"""

import hashlib
import os
from itertools import islice
from pathlib import Path
from typing import Final

import zstandard

from tollbook.core.faults import JournalUnavailable, Tampered
from tollbook.journal.book import Book
from tollbook.journal.entry import SegmentSealed, read_head
from tollbook.journal.files import writing
from tollbook.journal.heads import HeadsKeeper
from tollbook.journal.recording import BookLane
from tollbook.journal.segment import Segment, sealed_path, segments
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.journal.tree import Tree

_LEVEL: Final = 3
_BLOCK: Final = 1 << 20


class Sealer:
    """Seals the finished segments of a book's lanes, one at a time.

    A segment is finished when a later one exists, or when heads have listed its lane for the last time. A lane with a
    segment that cannot be sealed is left as it is and named in `broken`; verify tells what is wrong with it.
    """

    def __init__(self, book: Book, lane: BookLane, keeper: HeadsKeeper) -> None:
        self._root: Final = book.root
        self._lane: Final = lane
        self._keeper: Final = keeper
        self._trees: Final[dict[str, Tree]] = {}
        self.broken: Final[dict[str, Tampered]] = {}

    def seal_next(self) -> SegmentSealed | None:
        """Seal one segment, about 64 MiB of work; None when nothing is left to seal.

        Raises JournalUnavailable when the disk refuses.
        """
        for directory in lane_directories(self._root):
            if directory.name in self._keeper.broken or directory.name in self.broken:
                continue
            finished = self._finished(directory)
            if finished:
                try:
                    return self._seal(directory, finished[0])
                except Tampered as fault:
                    self.broken[directory.name] = fault
                except OSError as fault:
                    raise JournalUnavailable(f"{finished[0].path} cannot be sealed: {fault.strerror}") from fault
            if self._keeper.is_finished(directory.name):
                self._trees.pop(directory.name, None)
        return None

    def _finished(self, directory: Path) -> list[Segment]:
        found = segments(directory)
        if not self._keeper.is_finished(directory.name):
            found = found[:-1]
        return [segment for segment in found if not segment.sealed]

    def _seal(self, directory: Path, segment: Segment) -> SegmentSealed:
        place = sealed_path(directory, segment.number)
        for left_by_a_crash in directory.glob(f".{place.name}.*.tmp"):
            left_by_a_crash.unlink()
        tree = self._tree_before(directory, segment)
        first = tree.size
        size, sha256 = _pack(segment.path, place, tree)
        entry = SegmentSealed(
            lane=directory.name,
            segment=segment.number,
            first=first,
            last=tree.size - 1,
            bytes=size,
            sha256=sha256,
            root=tree.root().hex(),
        )
        self._lane.append("segment.sealed", entry)
        segment.path.unlink()
        self._lane.keep_checkpoint()
        self._trees[directory.name] = tree
        return entry

    def _tree_before(self, directory: Path, segment: Segment) -> Tree:
        """The lane's tree over all lines before a segment. It goes on from the segment sealed before."""
        with segment.path.open("rb") as lines:
            head = read_head(lines.readline())
        if head is None:
            raise _not_whole(segment.path)
        known = self._trees.get(directory.name)
        if known is not None and known.size == head.sequence:
            return known
        tree = Tree()
        if head.sequence:
            tree.extend(line.bytes for line in islice(read_lane(directory), head.sequence))
        return tree


def _pack(source: Path, place: Path, tree: Tree) -> tuple[int, str]:
    """Write the compressed form of a segment in its place, after reading it back gave the same bytes; their number and
    digest. The tree takes the segment's lines."""
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj(size=source.stat().st_size)
    digest, size, rest = hashlib.sha256(), 0, b""
    with writing(place) as descriptor:
        with source.open("rb") as plain, os.fdopen(os.dup(descriptor), "wb") as packed:
            while block := plain.read(_BLOCK):
                size += len(block)
                digest.update(block)
                packed.write(packer.compress(block))
                lines = (rest + block).split(b"\n")
                rest = lines.pop()
                tree.extend(lines)
            packed.write(packer.flush())
        if rest:
            raise _not_whole(source)
        if _unpacked_digest(descriptor) != digest.hexdigest():
            raise Tampered(f"{source} was packed and does not unpack to the same bytes; run: tollbook verify")
    return size, digest.hexdigest()


def _unpacked_digest(descriptor: int) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.dup(descriptor), "rb") as packed:
        packed.seek(0)
        for block in zstandard.ZstdDecompressor().read_to_iter(packed, write_size=_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _not_whole(source: Path) -> Tampered:
    return Tampered(f"{source} does not hold whole lines, so it cannot be sealed; run: tollbook verify")
