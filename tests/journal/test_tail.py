"""Reading lanes: following them as they grow, rotate and are sealed; and noticing what was done to them."""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook.journal.entry import LINE_LIMIT, LaneBegin, lane_seed
from tollbook.journal.lane import Lane
from tollbook.journal.line import encode_line
from tollbook.journal.segment import segments
from tollbook.journal.tail import BrokenLane, LaneTail, RawLines, lane_directories, read_lane

NAME = "worker-20261123T164000Z-0badcafe"
BEGIN = LaneBegin(book="b", lane=NAME, role="worker", format=1, release="0", configuration="c", host="h", process=7)


def new_lane(root: Path, segment_bytes: int = 2000) -> Lane:
    return Lane.create(root / NAME, BEGIN, ballast=0, segment_bytes=segment_bytes)


def fill(lane: Lane, entries: int) -> None:
    for number in range(entries):
        lane.append("heads", b'"number":%d,"text":"%s"' % (number, b"z" * (number * 31 % 200)))


def seal(directory: Path, number: int) -> None:
    """As sealing does it: the compressed file is in place before the open one goes."""
    plain = directory / f"{number:06d}.jsonl"
    (directory / f"{number:06d}.jsonl.zst.tmp").write_bytes(zstandard.compress(plain.read_bytes(), 3))
    (directory / f"{number:06d}.jsonl.zst.tmp").rename(directory / f"{number:06d}.jsonl.zst")
    plain.unlink()


def read_all(tail: LaneTail, limit: int = 1 << 20) -> list[int]:
    """Everything there is to read, by number; raises what the tail raises."""
    numbers = []
    while lines := tail.read(limit):
        numbers += [line.sequence for line in lines]
    return numbers


def test_a_tail_follows_a_growing_lane_line_by_line(tmp_path: Path) -> None:
    """Each entry is given once, as soon as it is whole, across segments; nothing new gives nothing."""
    lane = new_lane(tmp_path)
    with LaneTail(lane.directory) as tail:
        assert [line.kind for line in tail.read()] == ["lane.begin"]
        for number in range(1, 60):
            lane.append("heads", b'"text":"%s"' % (b"z" * 100))
            assert [(line.sequence, line.digest) for line in tail.read()] == [(number, lane.digest)]
            assert tail.read() == []
        assert (tail.sequence, tail.digest, tail.recorded) == (lane.sequence, lane.digest, lane.recorded)
    assert len(segments(lane.directory)) > 3


def test_a_tail_that_begins_far_into_a_segment_gives_the_next_entry_at_once(tmp_path: Path) -> None:
    """What is read on the way to the first entry asked for does not count against the limit: no lines means no more
    lines, as a replay from a position takes it."""
    lane = new_lane(tmp_path, segment_bytes=8 << 20)
    for _ in range(40):
        lane.append("heads", b'"text":"%s"' % (b"z" * 60_000))
    with LaneTail(lane.directory, start_after=35) as tail:
        assert read_all(tail, limit=1 << 20) == [36, 37, 38, 39, 40]


def test_a_rotation_between_a_read_and_the_look_for_the_next_segment_loses_nothing(tmp_path: Path) -> None:
    """The writer appends to a segment, then leaves it, right after the reader found nothing new in it."""
    lane = new_lane(tmp_path)

    class Raced(RawLines):
        def _has_next(self) -> bool:
            if lane.sequence == 0:
                fill(lane, 60)
            return super()._has_next()

    raw_lines = Raced(lane.directory, 0)
    raws = []
    while found := raw_lines.read():
        raws += found
    assert len(raws) == 61
    assert raws == [line.bytes for line in read_lane(lane.directory)]


def test_time_goes_forward_from_one_read_to_the_next(tmp_path: Path) -> None:
    """Also the first line of a read is compared with the last one of the read before."""
    lane = new_lane(tmp_path)
    tail = LaneTail(lane.directory)
    assert len(tail.read()) == 1
    with (lane.directory / "000000.jsonl").open("ab") as file:
        file.write(encode_line(lane.digest, 1, lane.recorded, "heads", b"") + b"\n")
    with pytest.raises(BrokenLane, match="was not recorded after"):
        tail.read()


def test_half_a_line_is_no_line(tmp_path: Path) -> None:
    """Bytes without their newline are not given, even when they would be a whole entry; they are counted as torn."""
    lane = new_lane(tmp_path)
    path = lane.directory / "000000.jsonl"
    line = encode_line(lane.digest, 1, lane.recorded + 1, "heads", b'"number":1')
    tail = LaneTail(lane.directory)
    assert len(tail.read()) == 1
    with path.open("ab", buffering=0) as file:
        for index in range(len(line)):
            file.write(line[index : index + 1])
            assert tail.read() == []
            assert tail.torn == index + 1
        file.write(b"\n")
    assert [line.sequence for line in tail.read()] == [1]
    assert tail.torn == 0


@pytest.mark.parametrize("after", [-1, 0, 1, 17, 18, 58, 60])
def test_reading_begins_after_the_entry_already_known(tmp_path: Path, after: int) -> None:
    """Whatever segment it stands in, open or sealed, reading goes on with the very next entry."""
    lane = new_lane(tmp_path)
    fill(lane, 60)
    for number in (0, 1):
        seal(lane.directory, number)
    expected = list(range(after + 1, 61))
    assert [line.sequence for line in read_lane(lane.directory, after)] == expected
    tail = LaneTail(lane.directory, start_after=after)
    assert read_all(tail) == expected
    lane.append("heads", b"")
    assert read_all(tail) == [61]


def test_an_entry_that_was_known_and_is_gone_is_missed(tmp_path: Path) -> None:
    """Who has seen entry 60 is told when the lane now ends before it."""
    lane = new_lane(tmp_path)
    fill(lane, 60)
    for read in (lambda: list(read_lane(lane.directory, 61)), lambda: LaneTail(lane.directory, 61).read()):
        with pytest.raises(BrokenLane, match="entry 61 was there") as caught:
            read()
        assert caught.value.sequence == 61


def test_a_limit_bounds_what_is_read_at_once(tmp_path: Path) -> None:
    """A long lane comes in parts, none lost between them."""
    lane = new_lane(tmp_path, segment_bytes=1 << 30)
    for _ in range(600):
        lane.append("heads", b'"x":"' + b"y" * 1000 + b'"')
    tail = LaneTail(lane.directory)
    parts = []
    while lines := tail.read(1):
        parts.append(len(lines))
    assert sum(parts) == 601
    assert max(parts) < 100


ACTIONS = st.lists(st.sampled_from(["append", "append", "append", "read", "seal", "read little"]), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, size=st.integers(0, 400))
def test_a_tail_misses_nothing_whatever_happens_under_it(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str], size: int
) -> None:
    """Appending, rotating, sealing and reading in any order: what the tail gave is what was written, in order."""
    lane = new_lane(tmp_path_factory.mktemp("lane"), segment_bytes=700)
    tail = LaneTail(lane.directory)
    seen, sealed = [], 0
    for action in [*actions, "read", "read"]:
        if action == "append":
            lane.append("heads", b'"x":"' + b"y" * size + b'"')
        elif action == "seal" and sealed < len(segments(lane.directory)) - 1:
            seal(lane.directory, sealed)
            sealed += 1
        elif action == "read":
            seen += tail.read()
        elif action == "read little":
            seen += tail.read(1)
    assert [line.sequence for line in seen] == list(range(lane.sequence + 1))
    assert seen[-1].digest == lane.digest
    assert seen == list(read_lane(lane.directory))
    tail.close()


def test_lanes_are_listed_when_they_are_there(tmp_path: Path) -> None:
    """A lane that is just being created is not listed; a book without lanes has none."""
    assert lane_directories(tmp_path) == []
    (tmp_path / "lanes").mkdir()
    (tmp_path / "lanes" / ".worker-20261123T164000Z-00000000.new").mkdir()
    (tmp_path / "lanes" / "a file").touch()
    new_lane(tmp_path / "lanes")
    assert lane_directories(tmp_path) == [tmp_path / "lanes" / NAME]
    assert list(read_lane(tmp_path / "lanes" / "none")) == []


def drop(lines: list[bytes]) -> None:
    del lines[7]


def swap(lines: list[bytes]) -> None:
    lines[7], lines[8] = lines[8], lines[7]


def double(lines: list[bytes]) -> None:
    lines.insert(8, lines[7])


def change(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b"number", b"NUMBER")


def change_link(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b'"p":"' + lines[7][12:16], b'"p":"0000')


def rename_kind(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b"heads", b"HEADS")


def later_format(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b'"v":1', b'"v":2')


def padded_number(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b'"n":7', b'"n":07')


def empty_line(lines: list[bytes]) -> None:
    lines.insert(7, b"")


def too_long(lines: list[bytes]) -> None:
    lines[7] = lines[7][:-1] + b',"x":"' + b"y" * (LINE_LIMIT - len(lines[7]) - 6) + b'"}'
    assert len(lines[7]) == LINE_LIMIT + 1
    del lines[8:]


def far_too_long(lines: list[bytes]) -> None:
    lines[7] = lines[7][:-1] + b',"x":"' + b"y" * (9 * LINE_LIMIT) + b'"}'


def backwards_in_time(lines: list[bytes]) -> None:
    """Rewritten from entry 7 on with links that hold, but a clock that was turned back."""
    digest = hashlib.sha256(lines[6]).hexdigest()
    for index in range(7, len(lines)):
        lines[index] = encode_line(digest, index, 1000 + index, "heads", b"")
        digest = hashlib.sha256(lines[index]).hexdigest()


def no_beginning(lines: list[bytes]) -> None:
    lines[0] = encode_line(lane_seed("b", NAME), 0, 1, "heads", b'"number":1')


def other_lane(lines: list[bytes]) -> None:
    begin = json.loads(lines[0])
    lines[0] = lines[0].replace(begin["lane"].encode(), b"worker-20261123T164000Z-00000000")


def other_book(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b'"book":"b"', b'"book":"c"')


@pytest.mark.parametrize(
    ("tamper", "sequence", "reason"),
    [
        (drop, 7, "is missing: entry 8 stands in its place"),
        (swap, 7, "is missing: entry 8 stands in its place"),
        (double, 8, "is missing: entry 7 stands in its place"),
        (change, 7, "was changed: entry 8 names another digest for it"),
        (change_link, 7, "does not name the digest"),
        (rename_kind, 7, "does not begin with the five leading fields"),
        (later_format, 7, "has format version 2"),
        (padded_number, 7, "another form"),
        (empty_line, 7, "does not begin with the five leading fields"),
        (too_long, 7, "is longer than 262144 bytes"),
        (far_too_long, 7, "is longer than 262144 bytes"),
        (backwards_in_time, 7, "was not recorded after"),
        (no_beginning, 0, "does not say what the lane is bound to"),
        (other_lane, 0, "says it is of lane worker-20261123T164000Z-00000000"),
        (other_book, 0, "does not name the digest"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_first_wrong_entry_is_named(
    tmp_path: Path, tamper: Callable[[list[bytes]], None], sequence: int, reason: str
) -> None:
    """A lane that was touched is read up to the entry that is wrong; lane, segment, line and what is wrong are said."""
    lane = new_lane(tmp_path, segment_bytes=1 << 20)
    fill(lane, 20)
    lane.close("done")
    path = lane.directory / "000000.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1]
    tamper(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    tail = LaneTail(lane.directory)
    good = []
    with pytest.raises(BrokenLane, match=reason) as caught:
        while found := tail.read():
            good += [line.sequence for line in found]
    fault = caught.value
    assert (fault.lane, fault.segment, fault.line, fault.sequence) == (NAME, 0, sequence + 1, sequence)
    assert str(fault).startswith(f"lane {NAME}, segment 000000, line {sequence + 1}: entry {sequence} ")
    # What was changed is only known from the entry after it.
    assert good == list(range(sequence + 1 if tamper is change else sequence))
    with pytest.raises(BrokenLane):
        tail.read()


def test_heads_without_links_are_read_by_number(tmp_path: Path) -> None:
    """`read_lane` looks at heads and numbers only: a changed entry passes, a dropped one does not."""
    lane = new_lane(tmp_path, segment_bytes=1 << 20)
    fill(lane, 20)
    path = lane.directory / "000000.jsonl"
    whole = path.read_bytes().split(b"\n")[:-1]
    changed = list(whole)
    change(changed)
    path.write_bytes(b"".join(line + b"\n" for line in changed))
    assert [line.bytes for line in read_lane(lane.directory)] == changed
    dropped = list(whole)
    drop(dropped)
    path.write_bytes(b"".join(line + b"\n" for line in dropped))
    numbers = []
    with pytest.raises(BrokenLane, match="entry 7 is missing"):
        numbers += [line.sequence for line in read_lane(lane.directory)]
    reader = read_lane(lane.directory)
    assert [next(reader).sequence for _ in range(7)] == list(range(7))


def test_a_segment_that_is_gone_or_cut_is_named(tmp_path: Path) -> None:
    """A missing file in the middle, one that ends inside a line, a sealed one that does not decompress."""
    lane = new_lane(tmp_path)
    fill(lane, 60)
    directory = lane.directory
    first, second = directory / "000000.jsonl", directory / "000001.jsonl"
    kept = first.read_bytes(), second.read_bytes()

    second.unlink()
    with pytest.raises(BrokenLane, match="its segment's file is gone"):
        read_all(LaneTail(directory))
    second.write_bytes(kept[1])
    first.unlink()
    with pytest.raises(BrokenLane, match="its segment's file is gone"):
        read_all(LaneTail(directory))
    first.write_bytes(kept[0][:-5])
    with pytest.raises(BrokenLane, match="is cut short: its segment ends inside it"):
        read_all(LaneTail(directory))
    first.write_bytes(kept[0])
    assert len(read_all(LaneTail(directory))) == 61

    seal(directory, 0)
    sealed = directory / "000000.jsonl.zst"
    whole = sealed.read_bytes()
    sealed.write_bytes(b"junk" + whole)
    with pytest.raises(BrokenLane, match="does not decompress"):
        read_all(LaneTail(directory))
    sealed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenLane):
        read_all(LaneTail(directory))


def test_the_end_of_a_sealed_lane_cannot_be_torn(tmp_path: Path) -> None:
    """A sealed segment is finished: half a line at its end was cut, not left by a crash."""
    lane = new_lane(tmp_path, segment_bytes=1 << 20)
    fill(lane, 5)
    lane.close("done")
    path = lane.directory / "000000.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    assert read_all(LaneTail(lane.directory)) == list(range(6))
    seal(lane.directory, 0)
    with pytest.raises(BrokenLane, match="sealed segment ends inside it"):
        read_all(LaneTail(lane.directory))


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_byte_is_found(tmp_path: Path, seed: int) -> None:
    """One byte changed anywhere but in the last entry, whose digest nothing here names yet."""
    lane = new_lane(tmp_path, segment_bytes=3000)
    fill(lane, 40)
    chance = random.Random(seed)
    last = segments(lane.directory)[-1].path
    path = chance.choice([segment.path for segment in segments(lane.directory)])
    content = bytearray(path.read_bytes())
    end = len(content) if path != last else content.rindex(b"\n", 0, len(content) - 1)
    place = chance.randrange(end)
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    with pytest.raises(BrokenLane):
        read_all(LaneTail(lane.directory))


def test_nothing_new_costs_no_reading(tmp_path: Path) -> None:
    """A tail keeps its place: a look at an idle lane reads no byte again."""
    lane = new_lane(tmp_path, segment_bytes=1 << 30)
    fill(lane, 2000)
    tail = LaneTail(lane.directory)
    read_all(tail)
    before = _bytes_read()
    for _ in range(100):
        assert tail.read() == []
    assert _bytes_read() - before < 10_000


def _bytes_read() -> int:
    spent = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(spent["rchar"])


def test_a_tail_keeps_up_with_a_writer_in_another_process(tmp_path: Path) -> None:
    """Reading while segments of a few lines come and go: every entry once, in order, whatever the interleaving."""
    directory = tmp_path / NAME
    with subprocess.Popen([sys.executable, "-c", WRITER, str(directory)]) as process:
        while process.poll() is None and not directory.exists():
            time.sleep(0.001)
        tail = LaneTail(directory)
        kinds: list[str] = []
        until = time.monotonic() + 30
        while kinds[-1:] != ["lane.end"] and time.monotonic() < until:
            kinds += [line.kind for line in tail.read()]
        assert process.wait() == 0
    assert len(kinds) == tail.sequence + 1 == 4002


WRITER = """
import sys
from pathlib import Path
from tollbook.journal.entry import LaneBegin
from tollbook.journal.files import RealFiles
from tollbook.journal.lane import Lane

class Unsynced(RealFiles):
    def datasync(self, descriptor, /): ...
    def sync_directory(self, path, /): ...

directory = Path(sys.argv[1])
begin = LaneBegin(
    book="b", lane=directory.name, role="worker", format=1, release="", configuration="", host="", process=1
)
lane = Lane.create(directory, begin, files=Unsynced(), ballast=0, segment_bytes=600)
for number in range(4000):
    lane.append("heads", b'"number":%d' % number)
lane.close("done")
"""
