"""One line of a lane: building it, reading it, and checking that lines follow one another.

`entry.py` gives the format. Lines are checked a block at a time, in loops that run in C; only when a block does not
hold is it walked line by line, to say which entry is the first that is wrong, and how.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from itertools import repeat
from operator import lt
from re import compile
from typing import Final, NamedTuple

import msgspec

from tollbook.core.digest import sha256_hex
from tollbook.journal.entry import FORMAT, KINDS, LINE_LIMIT, LaneBegin, lane_seed, read_head

_START: Final = f'{{"v":{FORMAT},"p":"'
_START_BYTES: Final = _START.encode()
_REST_AT: Final = len(_START) + 64
_REST: Final = compile(rb'","n":(\d{1,18}),"t":(\d{1,18}),"k":"([a-z._]{1,64})"[,}]')


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)
"""What decoding a line's payload raises when it is not what its kind says: msgspec leaves broken UTF-8 to Python."""


class Line(NamedTuple):
    """An entry as it stands in its lane. `bytes` is without the newline; `digest` is SHA-256 over `bytes`."""

    lane: str
    sequence: int
    recorded: int
    kind: str
    digest: str
    bytes: bytes


class Break(NamedTuple):
    """Where a lane stops holding: the first wrong entry, what is wrong, and how many lines of the block hold."""

    sequence: int
    reason: str
    good: int


class _KindNames(dict[bytes, str]):
    """The kinds as one shared text each; a kind of a later release is decoded where it is met."""

    def __missing__(self, kind: bytes) -> str:
        return kind.decode()


_KIND_NAMES: Final = _KindNames({kind.encode(): kind for kind in KINDS})
_begin_decoder: Final = msgspec.json.Decoder(LaneBegin)
_make_line: Final = partial(tuple.__new__, Line)


def encode_line(previous: str, sequence: int, recorded: int, kind: str, payload: bytes) -> bytes:
    """A line without its newline. `payload` is what `entry.encode_payload` gives: members without outer braces."""
    if not payload:
        return f'{_START}{previous}","n":{sequence},"t":{recorded},"k":"{kind}"}}'.encode()
    return f'{_START}{previous}","n":{sequence},"t":{recorded},"k":"{kind}",'.encode() + payload + b"}"


def read_lines(lane: str, first: int, raws: Sequence[bytes]) -> tuple[list[Line], Break | None]:
    """Lines whose heads are readable and whose numbers run on from `first`; and the break, where they stop doing so.

    The links between the lines are not looked at: that is `Chain`'s work.
    """
    block = _read_all(lane, first, raws)
    if block is not None and all(raw.startswith(_START_BYTES) for raw in raws):
        return block.lines, None
    for index, raw in enumerate(raws):
        reason = _wrong_head(raw, first + index)
        if reason is not None:
            return _read_good(lane, first, raws[:index]), Break(first + index, reason, index)
    raise AssertionError("a block that does not hold has a line that does not hold")


class Chain:
    """The end of a lane as far as it was checked; `extend` takes it further.

    A chain begins before the lane's first line, or with `resume` at a line whose link to the one before is taken as
    given (that one stands in an earlier segment).
    """

    def __init__(self, lane: str) -> None:
        self.lane: Final = lane
        self.sequence = -1
        self.digest: str | None = None
        self.recorded = -1

    def resume(self, raw: bytes) -> None:
        """Stand right before a line in mid-lane. A line without a readable head changes nothing: it will not follow."""
        head = read_head(raw)
        if head is not None:
            self.sequence, self.digest, self.recorded = head.sequence - 1, head.previous, -1

    def extend(self, raws: Sequence[bytes]) -> tuple[list[Line], Break | None]:
        """The lines that follow, as far as they do, and the break where they stop. The chain ends at the last good."""
        if not raws:
            return [], None
        seed = self._seed(raws[0]) if self.digest is None else self.digest
        if isinstance(seed, Break):
            return [], seed
        block = _read_all(self.lane, self.sequence + 1, raws)
        if block is not None and self._holds(seed, raws, block):
            lines, broken = block.lines, None
        else:
            broken = self._find_break(seed, raws)
            lines = _read_good(self.lane, self.sequence + 1, raws[: broken.good])
        if lines:
            _, self.sequence, self.recorded, _, self.digest, _ = lines[-1]
        return lines, broken

    def _seed(self, raw: bytes) -> str | Break:
        """What the first line must chain to, by its own account of its book and lane."""
        reason = _wrong_head(raw, 0)
        if reason is not None:
            return Break(0, reason, 0)
        try:
            begin = _begin_decoder.decode(raw)
        except UNREADABLE:
            return Break(0, "does not say what the lane is bound to", 0)
        if begin.lane != self.lane:
            return Break(0, f"says it is of lane {begin.lane}", 0)
        return lane_seed(begin.book, begin.lane)

    def _holds(self, seed: str, raws: Sequence[bytes], block: "_Block") -> bool:
        """Whether every line names the digest of the one before, and time only goes forward."""
        links = _START.join(["", seed, *block.digests[:-1]])
        instants = block.instants
        return (
            b"".join([raw[:_REST_AT] for raw in raws]) == links.encode()
            and instants[0] > self.recorded
            and all(map(lt, instants, instants[1:]))
        )

    def _find_break(self, seed: str, raws: Sequence[bytes]) -> Break:
        previous, recorded = seed, self.recorded
        for index, raw in enumerate(raws):
            sequence = self.sequence + 1 + index
            reason = _wrong_head(raw, sequence)
            head = read_head(raw)
            if reason is not None or head is None:
                return Break(sequence, reason or "", index)
            digest = sha256_hex(raw)
            if head.previous != previous:
                after = read_head(raws[index + 1]) if index + 1 < len(raws) else None
                if sequence and after is not None and after.previous == digest:
                    return Break(sequence - 1, f"was changed: entry {sequence} names another digest for it", index)
                return Break(
                    sequence, "does not name the digest of the entry before: one of the two was changed", index
                )
            if head.recorded <= recorded:
                return Break(sequence, "was not recorded after the entry before it", index)
            previous, recorded = digest, head.recorded
        raise AssertionError("a block that does not hold has a line that does not hold")


class _Block(NamedTuple):
    """Lines that were read together, and two of their fields by themselves."""

    lines: list[Line]
    digests: list[str]
    instants: list[int]


def _read_all(lane: str, first: int, raws: Sequence[bytes]) -> _Block | None:
    """The lines when every number, instant and kind is where it must be; the first fields are not looked at."""
    found = [match.groups() for match in map(_REST.match, raws, repeat(_REST_AT)) if match is not None]
    if len(found) != len(raws) or max(map(len, raws)) > LINE_LIMIT:
        return None
    numbers, instant_texts, kinds = zip(*found, strict=True)
    sequences = range(first, first + len(raws))
    if b",".join(numbers) != ",".join(map(str, sequences)).encode():
        return None
    digests = [sha256(raw).hexdigest() for raw in raws]
    instants = list(map(int, instant_texts))
    names = map(_KIND_NAMES.__getitem__, kinds)
    lines = list(map(_make_line, zip(repeat(lane), sequences, instants, names, digests, raws, strict=False)))
    return _Block(lines, digests, instants)


def _read_good(lane: str, first: int, raws: Sequence[bytes]) -> list[Line]:
    block = _read_all(lane, first, raws) if raws else None
    return block.lines if block is not None else []


def _wrong_head(raw: bytes, sequence: int) -> str | None:
    """Why a line cannot be entry `sequence`, by its leading fields alone; None when it can."""
    if len(raw) > LINE_LIMIT:
        return f"is longer than {LINE_LIMIT} bytes"
    head = read_head(raw)
    if head is None:
        return "does not begin with the five leading fields"
    if head.version != FORMAT:
        return f"has format version {head.version}; this release reads {FORMAT}: use the release that wrote it"
    if head.sequence != sequence:
        return f"is missing: entry {head.sequence} stands in its place"
    if not raw.startswith(_START_BYTES) or not raw.startswith(b'","n":%d,' % sequence, _REST_AT):
        return "has its leading fields in another form than they are written in"
    return None
