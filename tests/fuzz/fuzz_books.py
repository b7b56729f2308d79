"""A small book whose files a fuzzer may change: verifying and the personal directory must name what is wrong."""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import zstandard
from bookmaking import START, ToldClock, begin_lane, make_book, open_writer, register, serve_request

from tollbook.core.faults import Fault
from tollbook.journal.finding import FINDINGS
from tollbook.journal.personal import PersonalDirectory, ensure_keys
from tollbook.journal.sealing import Sealer
from tollbook.journal.segment import segments
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.journal.verify import verify

NOW: Final = START + 10**12


class Sample(NamedTuple):
    """A book, and the files of its journal with their bytes."""

    root: Path
    files: tuple[tuple[Path, bytes], ...]


@cache
def sample() -> Sample:
    """The book, made once per process: a lane in several segments, one of them sealed, and one that is open."""
    directory = Path(tempfile.mkdtemp(prefix="tollbook-fuzz-"))
    clock = ToldClock()
    book = make_book(directory, clock)
    writer = open_writer(book, clock)
    supervisor = begin_lane(book, "supervisor", clock)
    lane = begin_lane(book, "worker", clock, segment_bytes=2048)
    register(supervisor, lane.name)
    for _ in range(6):
        serve_request(lane)
    lane.sync()
    keeper = writer.keeper()
    writer.advance(keeper)
    Sealer(book, writer, keeper).seal_next()
    writer.advance(keeper)
    lane.close("stopped")
    supervisor.close("stopped")
    writer.advance(keeper)
    writer.close("stopped")
    ensure_keys(book.root, ["acme"], [2026])
    paths = [segment.path for lane in lane_directories(book.root) for segment in segments(lane)]
    paths += [path for path in (book.root / "checkpoints").iterdir() if path.is_file()]
    return Sample(book.root, tuple((path, path.read_bytes()) for path in sorted(paths)))


def verified(data: bytes) -> None:
    """A book with some bytes of one file changed: what is wrong is named in known words, by verifying and by reading;
    an unchanged book has no finding."""
    root, files = sample()
    if len(data) < 4:
        return
    path, before = files[data[0] % len(files)]
    at = int.from_bytes(data[1:3], "big") % (len(before) + 1)
    after = before[:at] + data[4:] + before[at + data[3] :]
    path.write_bytes(after)
    try:
        try:
            found = verify(root, clock=lambda: NOW).findings
        except Fault as fault:
            assert str(fault)
        else:
            assert {finding.code for finding in found} <= set(FINDINGS)
            if not found and path.parent.parent.name == "lanes" and path.suffix != ".zst":
                assert after == before or after.startswith(before), (path, at)
        for directory in lane_directories(root):
            try:
                for _ in read_lane(directory):
                    pass
            except (Fault, zstandard.ZstdError):
                continue
    finally:
        path.write_bytes(before)


def personal(data: bytes) -> None:
    """What a worker handed over, as a power loss may have left it: absorbed as far as it is readable."""
    root, _ = sample()
    inbox = root / "personal" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    path = inbox / "worker-000000.jsonl"
    path.write_bytes(data)
    try:
        directory = PersonalDirectory(root)
        try:
            directory.absorb()
            assert not path.exists()
        finally:
            directory.close()
    finally:
        path.unlink(missing_ok=True)


def clear() -> None:
    """Remove the book."""
    if sample.cache_info().currsize:
        shutil.rmtree(sample().root.parent)
        sample.cache_clear()


BOOK_TARGETS: Final = {"verified": verified, "personal": personal}
