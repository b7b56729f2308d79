"""The lane writer: the format to the byte, and what it refuses."""

import hashlib
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tollbook.core.faults import BadInput, BookLocked, JournalUnavailable
from tollbook.journal.closing import is_live
from tollbook.journal.entry import KINDS, LINE_LIMIT, LaneBegin, encode_payload, lane_seed
from tollbook.journal.lane import Lane
from tollbook.journal.tail import LaneTail, lane_directories, read_lane

NAME = "worker-20261123T164000Z-0badcafe"
BEGIN = LaneBegin(
    book="0193-book", lane=NAME, role="worker", format=1, release="0.1.0", configuration="c0", host="h", process=7
)
START = 1_795_436_400_000_000


def new_lane(root: Path, **options: Any) -> Lane:
    return Lane.create(root / NAME, BEGIN, **{"ballast": 0, **options})


def written(lane: Lane) -> list[bytes]:
    return b"".join(path.read_bytes() for path in sorted(lane.directory.glob("*.jsonl"))).split(b"\n")[:-1]


GOLDEN = [
    (
        '{"v":1,"p":"002618de3da82f0bec8b2fc280bb01ed41e22f459d7da9ab39aaf475fc38ac57","n":0,"t":179543640000'
        '0000,"k":"lane.begin","book":"0193-book","lane":"worker-20261123T164000Z-0badcafe","role":"worker","'
        'format":1,"release":"0.1.0","configuration":"c0","host":"h","process":7}'
    ),
    (
        '{"v":1,"p":"b7fc6b7c71568d0948f713a8e543cfcf80a4372b55351bab4c7deb46f2ac43cd","n":1,"t":179543640000'
        '0001,"k":"request.opened","request":{"id":"r1"}}'
    ),
    (
        '{"v":1,"p":"148e39268c356a259f574c2edb1eeded87788353ecf220481b453f7517c1f58e","n":2,"t":179543640000'
        '0900,"k":"lane.heartbeat","counts":{"lane.begin":1,"request.opened":1},"expected":{"EUR":"1","USD":"'
        '0.0000018"}}'
    ),
    (
        '{"v":1,"p":"6408ea9a1d869841462bcf81c9a182012e90047ef6e8626ea9e4edead47c306d","n":3,"t":179543640000'
        '0901,"k":"lane.end","counts":{"lane.begin":1,"lane.heartbeat":1,"request.opened":1},"expected":{"EUR'
        '":"1","USD":"0.0000018"},"reason":"drained"}'
    ),
]
DIGEST = "c5ce26442a3b0ed49c3c2b256f387877f41bcd6fac5a64113d6bfafd6869e21f"


def test_format_1_to_the_byte(tmp_path: Path) -> None:
    """A lane of format 1 is these bytes, for ever; a clock that stands or goes back still moves time forward."""
    clock = iter((START, START - 5, START + 900, START + 900))
    lane = new_lane(tmp_path, clock=clock.__next__)
    assert lane.append("request.opened", b'"request":{"id":"r1"}') == (1, START + 1)
    lane.expected["USD"] = 1_800_000
    lane.expected["EUR"] = 10**12
    lane.heartbeat()
    lane.close("drained")
    content = (tmp_path / NAME / "000000.jsonl").read_text()
    assert content == "".join(line + "\n" for line in GOLDEN)
    assert lane.digest == DIGEST


def test_a_line_without_payload_is_json(tmp_path: Path) -> None:
    """An entry that says nothing more than its kind has no comma too many."""
    lane = new_lane(tmp_path)
    lane.append("heads", b"")
    assert json.loads(written(lane)[1])["k"] == "heads"


PAYLOADS = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in {"v", "p", "n", "t", "k"}),
    st.one_of(st.none(), st.integers(-(2**53), 2**53), st.text(), st.lists(st.text(), max_size=3)),
    max_size=5,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), PAYLOADS, st.integers(0, 2**50)), max_size=12),
    segment_bytes=st.integers(400, 3000),
)
def test_what_is_appended_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, dict[str, Any], int]], segment_bytes: int
) -> None:
    """Any payload comes back as it went in, in order, under a chain that a few plain lines of code can check."""
    clock = iter([0, *[instant for _, _, instant in entries], 0])
    lane = new_lane(tmp_path_factory.mktemp("lane"), clock=clock.__next__, segment_bytes=segment_bytes)
    told = [lane.append(kind, encode_payload(payload)) for kind, payload, _ in entries]
    lane.close("end")

    digest, last = lane_seed(BEGIN.book, NAME), -1
    raws = written(lane)
    for number, raw in enumerate(raws):
        line = json.loads(raw)
        assert (line["v"], line["p"], line["n"]) == (1, digest, number)
        assert line["t"] > last
        digest, last = hashlib.sha256(raw).hexdigest(), line["t"]
    assert digest == lane.digest

    with LaneTail(lane.directory) as tail:
        lines = tail.read()
    assert [line.bytes for line in lines] == raws
    assert lines == list(read_lane(lane.directory))
    for line, (kind, payload, _), (sequence, recorded) in zip(lines[1:-1], entries, told, strict=True):
        assert (line.lane, line.kind, line.sequence, line.recorded) == (NAME, kind, sequence, recorded)
        assert {name: value for name, value in json.loads(line.bytes).items() if name not in "vpntk"} == payload


def test_what_cannot_be_a_line_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Too long, an unknown kind, a line break: refused by name, and the lane goes on as if nothing had been asked."""
    lane = new_lane(tmp_path)
    before = (written(lane), lane.sequence, lane.digest, lane.recorded)
    head = len(written(lane)[0].split(b'"book"')[0])
    with pytest.raises(BadInput, match="at most 262144"):
        lane.append("lane.begin", b'"x":"' + b"y" * (LINE_LIMIT - head - 6) + b'"')
    with pytest.raises(BadInput, match=r"heads\.of"):
        lane.append("heads.of", b"")
    with pytest.raises(BadInput, match="line break"):
        lane.append("heads", b'"raw":{\n}')
    assert (written(lane), lane.sequence, lane.digest, lane.recorded) == before
    assert lane.dead is None
    lane.append("lane.begin", b'"x":"' + b"y" * (LINE_LIMIT - head - 7) + b'"')
    assert len(written(lane)[1]) == LINE_LIMIT
    assert [line.sequence for line in read_lane(lane.directory)] == [0, 1]


def test_a_segment_ends_by_size_or_age(tmp_path: Path) -> None:
    """A new file begins with the first entry that would make the old one too long, or that comes too late for it."""
    now = [START]
    lane = new_lane(tmp_path, clock=lambda: now[0], segment_bytes=1000, segment_age_s=600)

    def names() -> list[str]:
        return sorted(path.name for path in lane.directory.glob("*.jsonl"))

    lane.append("heads", b'"x":"' + b"y" * 400 + b'"')
    assert names() == ["000000.jsonl"]
    lane.append("heads", b'"x":"' + b"y" * 400 + b'"')
    assert names() == ["000000.jsonl", "000001.jsonl"]
    assert (lane.directory / "000000.jsonl").stat().st_size <= 1000
    now[0] += 599_000_000
    lane.append("heads", b"")
    assert len(names()) == 2
    now[0] += 1_000_010
    lane.append("heads", b"")
    assert len(names()) == 3
    lane.append("heads", b'"x":"' + b"y" * 2000 + b'"')
    lane.append("heads", b"")
    assert len(names()) == 5, "an entry longer than a segment gets one of its own"
    assert [line.sequence for line in read_lane(lane.directory)] == list(range(7))


def test_a_lane_belongs_to_its_owner_only(tmp_path: Path) -> None:
    """Directories are 0700, files 0600, whatever the umask allows."""
    lane = new_lane(tmp_path, ballast=4096)
    assert stat.S_IMODE(lane.directory.stat().st_mode) == 0o700
    for path in lane.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ballast_is_real_space_and_is_given_back(tmp_path: Path) -> None:
    """The ballast occupies blocks on the disk until it is released or the lane is closed."""
    lane = new_lane(tmp_path, ballast=1 << 20)
    ballast = lane.directory / "ballast"
    assert ballast.stat().st_blocks * 512 >= 1 << 20
    lane.release_ballast()
    assert not ballast.exists()
    lane.close("done")
    other = Lane.create(tmp_path / "x", structs.replace(BEGIN, lane="x"), ballast=4096)
    other.close("done")
    assert sorted(path.name for path in other.directory.iterdir()) == ["000000.jsonl", "lock"]


def test_a_closed_lane_takes_nothing_more(tmp_path: Path) -> None:
    """After its last line a lane is over; closing it again is no error."""
    lane = new_lane(tmp_path)
    lane.close("drained")
    with pytest.raises(JournalUnavailable, match="closed"):
        lane.append("heads", b"")
    lane.close("again")
    lane.sync()
    assert [line.kind for line in read_lane(lane.directory)] == ["lane.begin", "lane.end"]


def test_a_lane_is_written_once(tmp_path: Path) -> None:
    """No second writer, in this process or later, and no lane under another name than its own."""
    lane = new_lane(tmp_path)
    with pytest.raises(BookLocked, match="new name"):
        new_lane(tmp_path)
    lane.close("done")
    with pytest.raises(BookLocked):
        new_lane(tmp_path)
    with pytest.raises(BadInput):
        Lane.create(tmp_path / "other", BEGIN)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert [line.kind for line in read_lane(lane.directory)] == ["lane.begin", "lane.end"]


def test_a_segment_that_is_already_there_is_not_written_to(tmp_path: Path) -> None:
    """Whoever put a file where the next segment goes: the lane ends rather than append to it."""
    lane = new_lane(tmp_path, segment_bytes=300)
    foreign = lane.directory / "000001.jsonl"
    foreign.write_bytes(b"what somebody else wrote\n")
    with pytest.raises(JournalUnavailable, match="cannot begin a segment"):
        lane.append("heads", b'"x":"' + b"y" * 200 + b'"')
    assert lane.dead
    assert foreign.read_bytes() == b"what somebody else wrote\n"


def test_a_missing_book_is_said(tmp_path: Path) -> None:
    """Without its parent directory a lane cannot be; the message names the lane."""
    with pytest.raises(JournalUnavailable, match=NAME):
        new_lane(tmp_path / "no" / "lanes")


WRITER = """
import sys
from pathlib import Path
from tollbook.journal.entry import LaneBegin
from tollbook.journal.lane import Lane
directory = Path(sys.argv[1])
begin = LaneBegin(
    book="b", lane=directory.name, role="worker", format=1, release="", configuration="", host="", process=1
)
lane = Lane.create(directory, begin, ballast=0)
print("ready", flush=True)
sys.stdin.read()
"""


def test_two_processes_cannot_write_one_lane(tmp_path: Path) -> None:
    """A lane is live as long as its process is, and not a moment longer, however it died; nobody may follow it."""
    lanes = tmp_path / "lanes"
    lanes.mkdir()
    directory = lanes / NAME
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert is_live(directory)
            with pytest.raises(BookLocked):
                new_lane(lanes)
        finally:
            process.kill()
    assert not is_live(directory)
    with pytest.raises(BookLocked):
        new_lane(lanes)
    assert lane_directories(tmp_path) == [directory]
