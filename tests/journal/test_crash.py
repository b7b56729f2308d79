"""Crashes at every call, failures of every call, and real processes killed at random instants."""

import errno
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from model_disk import Crash, ModelDisk
from msgspec import structs

from tollbook.core.faults import JournalUnavailable
from tollbook.journal.closing import Remains, drop_torn, examine, is_live, remove_unborn
from tollbook.journal.entry import LaneBegin
from tollbook.journal.lane import Lane
from tollbook.journal.tail import LaneTail, read_lane

NAME = "worker-20261123T164000Z-0badcafe"
BEGIN = LaneBegin(
    book="book-1", lane=NAME, role="worker", format=1, release="0.1.0", configuration="c", host="h", process=1
)
PARTS = (0.0, 0.5, 0.99, 1.0)


class Story:
    """A lane's life on a model disk, and what was acknowledged of it: `told` are the digests, in order."""

    def __init__(self, disk: ModelDisk) -> None:
        self.disk = disk
        self.told: list[str] = []
        self.lane: Lane | None = None
        self.created = False
        self.clock = 1_000

    def tell(self) -> None:
        """Create, append, sync, rotate twice, beat, close."""
        self.lane = Lane.create(
            self.disk.root / NAME, BEGIN, files=self.disk, clock=self.tick, ballast=1 << 20, segment_bytes=1200
        )
        self.created = True
        self.told.append(self.lane.digest)
        for number in range(9):
            self.lane.append("heads", b'"number":%d,"text":"%s"' % (number, b"x" * (17 * number)))
            self.told.append(self.lane.digest)
            if number % 3 == 1:
                self.lane.sync()
            if number == 6:
                self.lane.heartbeat()
                self.told.append(self.lane.digest)
        self.lane.close("drained")

    def tick(self) -> int:
        self.clock += 10
        return self.clock

    @property
    def durable(self) -> int:
        return self.lane.durable if self.lane is not None else -1


def recover(story: Story, root: Path, part: float, names: float) -> tuple[int, int]:
    """What a supervisor does after a power loss; the last entry, which must be good, and how many bytes were torn."""
    story.disk.survivors(root, part, names)
    directory = root / NAME
    if not directory.exists():
        return -1, 0
    assert examine(directory).sequence >= 0, "a lane appeared without its first line"
    torn = examine(directory).torn
    assert drop_torn(directory) == torn
    remains = examine(directory)
    assert remains.torn == 0
    lines = list(read_lane(directory))
    assert [line.sequence for line in lines] == list(range(remains.sequence + 1))
    assert all(line.digest == told for line, told in zip(lines, story.told, strict=False))
    return remains.sequence, torn


def told(until: int | None, ignore: set[str], tmp_path: Path) -> Story:
    disk = ModelDisk(tmp_path)
    disk.crash_at, disk.ignore = until, ignore
    story = Story(disk)
    with suppress(Crash):
        story.tell()
    return story


def crash_everywhere(tmp_path: Path, ignore: set[str]) -> tuple[int, list[str]]:
    """Crash at every call; the number of recoveries, and what was lost in any of them."""
    calls = told(None, ignore, tmp_path).disk.calls
    losses, runs = [], 0
    for point in range(1, calls + 1):
        story = told(point, ignore, tmp_path)
        for part in PARTS:
            for names in (0.0, 0.5, 1.0):
                runs += 1
                root = tmp_path / f"{point}-{part}-{names}"
                try:
                    last, _ = recover(story, root, part, names)
                except Exception as fault:  # noqa: BLE001 - whatever goes wrong is what the test reports
                    losses.append(f"call {point} ({story.disk.log[-1]}), {part}, {names}: {fault!r}")
                    continue
                if last < (max(story.durable, 0) if story.created else -1):
                    losses.append(f"call {point}, {part}, {names}: durable {story.durable}, recovered {last}")
    return runs, losses


def test_a_power_loss_at_any_call_loses_nothing_durable(tmp_path: Path) -> None:
    """Whatever the instant and whatever part of the unsynced bytes survives: what was synced is there, once, in a
    chain that holds."""
    runs, losses = crash_everywhere(tmp_path, set())
    assert losses == []
    assert runs > 400
    assert told(None, set(), tmp_path).disk.log.count("open_new") > 4, "the story must rotate"


def test_a_closed_lane_is_durable_to_its_last_line(tmp_path: Path) -> None:
    """A power loss right after `close` finds every entry, the lane's end included."""
    story = told(None, set(), tmp_path)
    assert story.lane is not None
    assert recover(story, tmp_path / "after", 0.0, 0.0) == (story.lane.sequence, 0)
    assert examine(tmp_path / "after" / NAME).ended


@pytest.mark.parametrize("forgotten", ["datasync", "sync_directory"])
def test_a_forgotten_sync_is_noticed(tmp_path: Path, forgotten: str) -> None:
    """The test above can fail: a lane whose syncs do nothing loses entries on the same model."""
    _, losses = crash_everywhere(tmp_path, {forgotten})
    assert losses


def test_any_single_failing_call_leaves_a_good_lane_or_none(tmp_path: Path) -> None:
    """Each call fails once, in turn: either the lane goes on, or it is dead and holds only whole entries that were
    acknowledged, or it was never there."""
    calls = told(None, set(), tmp_path).disk.calls
    for point in range(1, calls + 1):
        disk = ModelDisk(tmp_path)
        disk.fail_at = point
        story = Story(disk)
        failed = False
        try:
            story.tell()
        except JournalUnavailable:
            failed = True
        if not story.created:
            assert failed
            assert disk.names() == [] or disk.log[point - 1] in {"unlink", "remove_directory"}
            continue
        root = tmp_path / str(point)
        last, torn = recover(story, root, 1.0, 1.0)
        assert story.lane is not None
        assert last >= story.lane.sequence, "an acknowledged entry is missing"
        if failed:
            assert story.lane.dead
            assert not torn


@pytest.mark.parametrize("broken_too", [None, "truncate"])
def test_a_disk_that_fills_up_kills_the_lane_at_its_last_good_line(tmp_path: Path, broken_too: str | None) -> None:
    """ENOSPC in the middle of a line, at every byte: the lane is dead, cut back, and readable to its last entry; when
    it cannot even be cut back, the torn bytes are told and dropped."""
    torn_at = []
    for room in range(500, 700, 7):
        disk = ModelDisk(tmp_path)
        disk.room = room
        lane = Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=0)
        disk.fail_kind = broken_too
        with pytest.raises(JournalUnavailable, match="no space left"):
            while True:
                lane.append("heads", b'"number":1')
        with pytest.raises(JournalUnavailable, match="takes no more entries"):
            lane.append("heads", b"")
        story = Story(disk)
        story.lane = lane
        last, torn = recover(story, tmp_path / f"{room}", 1.0, 1.0)
        assert last == lane.sequence
        torn_at.append(torn)
    assert (max(torn_at) > 0) == (broken_too is not None)


def test_ballast_lets_what_is_in_flight_be_settled(tmp_path: Path) -> None:
    """When the disk is full the spare lane gives its ballast back, and takes entries again."""
    disk = ModelDisk(tmp_path)
    disk.room = 4000
    lane = Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=1000)
    spare_name = NAME.replace("worker", "spare")
    spare = Lane.create(
        tmp_path / spare_name,
        structs.replace(BEGIN, lane=spare_name, role="spare"),
        files=disk,
        ballast=1000,
    )
    with pytest.raises(JournalUnavailable):
        while True:
            lane.append("request.opened", b'"x":1')
    disk.room = 0
    lane.release_ballast()
    lane.release_ballast()
    sequence, _ = spare.append("request.settled", b'"x":1')
    spare.sync()
    assert (sequence, spare.durable, spare.dead) == (1, 1, None)


def test_ballast_that_cannot_be_had_leaves_no_lane(tmp_path: Path) -> None:
    """A lane that could not settle what it opens is not opened at all."""
    disk = ModelDisk(tmp_path)
    disk.room = 1000
    with pytest.raises(JournalUnavailable, match="no space left"):
        Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=1 << 20)
    assert disk.names() == []


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_short_writes_are_finished(tmp_path: Path, limit: int) -> None:
    """A write that takes only part of a line is carried on, not doubled."""
    disk = ModelDisk(tmp_path)
    disk.write_limit = limit
    story = Story(disk)
    story.tell()
    assert recover(story, tmp_path / "after", 1.0, 1.0) == (story.durable, 0)


def test_a_failed_sync_kills_the_lane_for_ever(tmp_path: Path) -> None:
    """After EIO the next fdatasync would report success; it is not believed."""
    disk = ModelDisk(tmp_path)
    lane = Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=0)
    lane.append("heads", b'"number":1')
    disk.fail_at = disk.calls + 1
    with pytest.raises(JournalUnavailable, match="cannot sync"):
        lane.sync()
    with pytest.raises(JournalUnavailable, match="not durable after entry 0"):
        lane.sync()
    with pytest.raises(JournalUnavailable, match="takes no more entries"):
        lane.append("heads", b'"number":2')
    lane.close("dead")
    assert lane.durable == 0
    assert examine_model(disk, tmp_path).sequence == 1


def test_a_failed_write_leaves_what_came_before_syncable(tmp_path: Path) -> None:
    """A full disk is no reason to lose the entries before: they still become durable."""
    disk = ModelDisk(tmp_path)
    lane = Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=0)
    lane.append("heads", b'"number":1')
    disk.fail_at, disk.error = disk.calls + 1, errno.ENOSPC
    with pytest.raises(JournalUnavailable):
        lane.append("heads", b'"number":2')
    lane.sync()
    assert lane.durable == 1


def examine_model(disk: ModelDisk, tmp_path: Path) -> Remains:
    disk.survivors(tmp_path / "after", 1.0, 1.0)
    return examine(tmp_path / "after" / NAME)


WRITER = """
import sys
from pathlib import Path
from tollbook.journal.entry import LaneBegin
from tollbook.journal.lane import Lane

directory = Path(sys.argv[1])
begin = LaneBegin(
    book="b", lane=directory.name, role="worker", format=1, release="", configuration="", host="", process=1
)
lane = Lane.create(directory, begin, ballast=1 << 20, segment_bytes=20_000)
number = 0
while True:
    number += 1
    sequence, _ = lane.append("heads", b'"number":%d,"text":"%s"' % (number, b"y" * (number * 37 % 900)))
    sys.stdout.write(f"{sequence}\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def start_writer(tmp_path: Path) -> Callable[[Path], subprocess.Popen[bytes]]:
    def start(directory: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE)

    return start


def kill_rounds(start_writer: Callable[[Path], subprocess.Popen[bytes]], tmp_path: Path, rounds: int) -> None:
    lanes = tmp_path / "lanes"
    lanes.mkdir()
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for number in range(rounds):
        directory = lanes / f"worker-20261123T164000Z-{number:08x}"
        with start_writer(directory) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            live = is_live(directory)
            time.sleep(chance.random() * 0.05)
            process.kill()
            told = (first + process.stdout.read()).split(b"\n")
        assert live, f"seed {seed}"
        acknowledged = int(told[-2])
        assert not is_live(directory)
        drop_torn(directory)
        with LaneTail(directory) as tail:
            lines = []
            while found := tail.read():
                lines += found
        assert [line.sequence for line in lines] == list(range(len(lines)))
        # The last entry may have been written and not told; none that was told may be missing.
        assert acknowledged + 1 <= len(lines) <= acknowledged + 2, f"seed {seed}"
        assert sorted(path.name for path in directory.iterdir() if not path.name.endswith("jsonl")) == ["lock"]
    assert remove_unborn(tmp_path) == []


def test_a_killed_process_loses_no_acknowledged_entry(
    start_writer: Callable[[Path], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """SIGKILL at a random instant: all that was acknowledged is there, whole and once; the lock is free."""
    kill_rounds(start_writer, tmp_path, 15)


@pytest.mark.long
def test_two_hundred_killed_processes_lose_no_acknowledged_entry(
    start_writer: Callable[[Path], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """The same, 200 times."""
    kill_rounds(start_writer, tmp_path, 200)
