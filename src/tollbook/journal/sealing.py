"""Sealing: finished segments are compressed, put on record, and their open form removed.

Every step can be repeated: after a crash the next round begins again with what is still there. Until the entry
`segment.sealed` is durable the open segment stays.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from tollbook.core.faults import JournalUnavailable, Tampered
from tollbook.journal.book import Book, sync_directory, writing
from tollbook.journal.entry import SegmentSealed, read_head
from tollbook.journal.heads import HeadsKeeper
from tollbook.journal.recording import BookLane
from tollbook.journal.segment import Segment, sealed_path, segments
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.journal.tree import Tree

_LEVEL: Final = 3
_BLOCK: Final = 1 << 20


class _Content(NamedTuple):
    """What a segment holds, before compression."""

    first: int
    last: int
    bytes: int
    sha256: str


class Sealer:
    """Seals the finished segments of a book's lanes, one at a time.

    A segment is finished when a later one exists, or when heads have listed its lane for the last time.
    """

    def __init__(self, book: Book, lane: BookLane, keeper: HeadsKeeper) -> None:
        self._root: Final = book.root
        self._lane: Final = lane
        self._keeper: Final = keeper
        self._trees: Final[dict[str, Tree]] = {}

    def seal_next(self) -> SegmentSealed | None:
        """Seal one segment, about 64 MiB of work; None when nothing is left to seal.

        Raises JournalUnavailable when the disk refuses, Tampered when a segment does not hold whole lines.
        """
        for directory in lane_directories(self._root):
            if directory.name in self._keeper.broken:
                continue
            finished = self._finished(directory)
            if finished:
                try:
                    return self._seal(directory, finished[0])
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
        content = _compress(segment.path, place)
        entry = SegmentSealed(
            lane=directory.name,
            segment=segment.number,
            first=content.first,
            last=content.last,
            bytes=content.bytes,
            sha256=content.sha256,
            root=self._root_at(directory, content.last),
        )
        self._lane.append("segment.sealed", entry)
        segment.path.unlink()
        sync_directory(directory)
        self._lane.keep_checkpoint()
        return entry

    def _root_at(self, directory: Path, last: int) -> str:
        """The lane's root up to and with entry `last`. Its tree goes on from the segment sealed before."""
        tree = self._trees.setdefault(directory.name, Tree())
        for line in read_lane(directory, after=tree.size - 1):
            tree.append(line.bytes)
            if line.sequence == last:
                break
        return tree.root().hex()


def _compress(source: Path, place: Path) -> _Content:
    """Write the compressed form of a segment in its place, after reading it back gave the same bytes."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    content = _read_content(source)
    with writing(place) as descriptor:
        with source.open("rb") as plain, os.fdopen(os.dup(descriptor), "wb") as packed:
            compressor.copy_stream(plain, packed, size=content.bytes, read_size=_BLOCK, write_size=_BLOCK)
        with os.fdopen(os.dup(descriptor), "rb") as packed:
            packed.seek(0)
            unpacked = hashlib.sha256()
            for block in zstandard.ZstdDecompressor().read_to_iter(packed, write_size=_BLOCK):
                unpacked.update(block)
        if unpacked.hexdigest() != content.sha256:
            raise Tampered(f"{source} changed while it was sealed; run: tollbook verify")
    return content


def _read_content(source: Path) -> _Content:
    """The numbers of the first and last line, the length and the digest of an open segment."""
    digest, size, first, last = hashlib.sha256(), 0, b"", b""
    for line in _lines(source):
        digest.update(line)
        size += len(line)
        first, last = first or line, line
    heads = read_head(first), read_head(last)
    if heads[0] is None or heads[1] is None or not last.endswith(b"\n"):
        raise Tampered(f"{source} does not hold whole lines, so it cannot be sealed; run: tollbook verify")
    return _Content(heads[0].sequence, heads[1].sequence, size, digest.hexdigest())


def _lines(source: Path) -> Iterator[bytes]:
    with source.open("rb", buffering=_BLOCK) as plain:
        yield from plain
