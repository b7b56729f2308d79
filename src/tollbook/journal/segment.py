"""The files of a lane: `000000.jsonl`, `000001.jsonl`, ..., each `.jsonl.zst` once sealed; `lock`; `ballast`."""

import re
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import zstandard

OPEN_SUFFIX: Final = ".jsonl"
SEALED_SUFFIX: Final = ".jsonl.zst"
LOCK: Final = "lock"
BALLAST: Final = "ballast"
REAPED: Final = "reaped"
"""A file in a lane's directory that says the supervisor is through with it: a hint that saves reading, not a truth."""

_SEGMENT: Final = re.compile(r"(\d{6,})\.jsonl(\.zst)?", re.ASCII)


class Segment(NamedTuple):
    """One file of a lane's lines. While a segment is being sealed both its files exist; this is then the open one."""

    number: int
    path: Path
    sealed: bool


def open_path(directory: Path, number: int) -> Path:
    """Where a segment is written."""
    return directory / f"{number:06d}{OPEN_SUFFIX}"


def sealed_path(directory: Path, number: int) -> Path:
    """Where a segment is kept once it is sealed."""
    return directory / f"{number:06d}{SEALED_SUFFIX}"


def segments(directory: Path) -> list[Segment]:
    """A lane's segments in order of number; none when the directory is not there."""
    found: dict[int, Segment] = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        match = _SEGMENT.fullmatch(path.name)
        if match is not None:
            segment = Segment(int(match[1]), path, sealed=match[2] is not None)
            if not segment.sealed or segment.number not in found:
                found[segment.number] = segment
    return [found[number] for number in sorted(found)]


def segment_exists(directory: Path, number: int) -> bool:
    """Whether a segment is there, open or sealed."""
    return open_path(directory, number).exists() or sealed_path(directory, number).exists()


def open_segment(directory: Path, number: int) -> BinaryIO | None:
    """A segment's lines as a stream, whichever file holds them; None when neither does.

    Sealing puts the sealed file in place before it removes the open one, so looking for them in this order cannot
    miss both. An open file's stream goes on when the file grows, and outlives its removal.
    """
    try:
        return open_path(directory, number).open("rb", buffering=0)
    except FileNotFoundError:
        pass
    try:
        sealed = sealed_path(directory, number).open("rb")
    except FileNotFoundError:
        return None
    return zstandard.ZstdDecompressor().stream_reader(sealed, read_across_frames=True)
