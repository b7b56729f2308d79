"""Group sync: one fdatasync for all who wait, and the truth when it fails."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from model_disk import ModelDisk

from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.journal.entry import LaneBegin
from tollbook.journal.files import RealFiles
from tollbook.journal.lane import Lane
from tollbook.journal.sync import GroupSync

NAME = "worker-20261123T164000Z-0badcafe"
BEGIN = LaneBegin(book="b", lane=NAME, role="worker", format=1, release="0", configuration="c", host="h", process=7)


class Answers:
    """Collects what callbacks were told, in order."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.told: list[tuple[int, JournalUnavailable | None, int]] = []
        self._changed = threading.Condition()

    def of(self, sequence: int) -> Callable[[JournalUnavailable | None], None]:
        def callback(fault: JournalUnavailable | None) -> None:
            with self._changed:
                self.told.append((sequence, fault, self.lane.durable))
                self._changed.notify_all()

        return callback

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, timeout=10)


class GatedFiles(RealFiles):
    """Real files whose fdatasync waits to be let through once the gate is closed."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.syncs = 0

    def datasync(self, descriptor: int, /) -> None:
        self.syncs += 1
        self.entered.release()
        assert self.open.wait(10)
        RealFiles.datasync(descriptor)


def test_nothing_is_answered_before_it_is_durable(tmp_path: Path) -> None:
    """`before_forward`: each caller is told once, after a sync that covers its entry."""
    lane = Lane.create(tmp_path / NAME, BEGIN, ballast=0)
    answers = Answers(lane)
    group = GroupSync(lane, "before_forward", interval=5)
    started = time.monotonic()
    for _ in range(50):
        sequence, _ = lane.append("heads", b"")
        group.request(sequence, answers.of(sequence))
    answers.wait(50)
    assert time.monotonic() - started < 5, "a request must not wait for the interval"
    group.stop()
    assert [sequence for sequence, _, _ in answers.told] == list(range(1, 51))
    assert all(fault is None and durable >= sequence for sequence, fault, durable in answers.told)


def test_requests_share_a_sync(tmp_path: Path) -> None:
    """What came during one fdatasync is made durable by the next one, together."""
    files = GatedFiles()
    lane = Lane.create(tmp_path / NAME, BEGIN, files=files, ballast=0)
    answers = Answers(lane)
    group = GroupSync(lane, "before_forward", interval=60)
    while files.entered.acquire(blocking=False):
        pass
    files.open.clear()
    before = files.syncs
    first, _ = lane.append("heads", b"")
    group.request(first, answers.of(first))
    assert files.entered.acquire(timeout=10)
    for _ in range(20):
        sequence, _ = lane.append("heads", b"")
        group.request(sequence, answers.of(sequence))
    assert answers.told == []
    files.open.set()
    answers.wait(21)
    group.stop()
    assert files.syncs - before == 2
    assert all(durable >= sequence for sequence, _, durable in answers.told)
    assert lane.durable == 21


def test_periodic_syncs_by_itself_and_rests_when_nothing_is_new(tmp_path: Path) -> None:
    """Entries become durable within the interval without being asked for; an idle lane is not synced again."""
    files = GatedFiles()
    lane = Lane.create(tmp_path / NAME, BEGIN, files=files, ballast=0)
    group = GroupSync(lane, "periodic", interval=0.01)
    lane.append("heads", b"")
    answers = Answers(lane)
    group.request(1, answers.of(1))
    answers.wait(1)
    assert lane.durable == 1
    before = files.syncs
    time.sleep(0.1)
    assert files.syncs == before
    group.stop()


def test_off_syncs_never(tmp_path: Path) -> None:
    """No thread, no promise: waiting for an entry is refused."""
    lane = Lane.create(tmp_path / NAME, BEGIN, ballast=0)
    group = GroupSync(lane, "off")
    lane.append("heads", b"")
    with pytest.raises(BadInput, match="off"):
        group.request(1, print)
    group.stop()
    assert lane.durable == 0


def test_a_failed_sync_is_told_to_all_who_wait_and_to_all_who_come(tmp_path: Path) -> None:
    """EIO: nobody is told that his entry is durable, neither now nor after a sync that would report success."""
    disk = ModelDisk(tmp_path)
    lane = Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=0)
    answers = Answers(lane)
    group = GroupSync(lane, "periodic", interval=0.2)
    lane.append("heads", b"")
    disk.fail_kind = "datasync"
    for number in range(3):
        group.request(1, answers.of(number))
    answers.wait(3)
    disk.fail_kind = None
    group.request(1, answers.of(3))
    answers.wait(4)
    assert all(fault is not None for _, fault, _ in answers.told)
    assert lane.dead
    group.stop()
    assert lane.durable == 0


def test_a_lane_that_died_of_a_full_disk_still_makes_its_entries_durable(tmp_path: Path) -> None:
    """What was written before the disk was full is answered truthfully: it is durable."""
    disk = ModelDisk(tmp_path)
    lane = Lane.create(tmp_path / NAME, BEGIN, files=disk, ballast=0)
    answers = Answers(lane)
    group = GroupSync(lane, "periodic", interval=0.2)
    lane.append("heads", b"")
    disk.room = 0
    with pytest.raises(JournalUnavailable):
        lane.append("heads", b"")
    group.request(1, answers.of(1))
    answers.wait(1)
    assert answers.told == [(1, None, 1)]
    group.stop()


def test_stopping_syncs_and_answers_what_is_left(tmp_path: Path) -> None:
    """A clean stop leaves nothing volatile and nobody waiting; who comes later is told no."""
    lane = Lane.create(tmp_path / NAME, BEGIN, ballast=0)
    answers = Answers(lane)
    group = GroupSync(lane, "periodic", interval=60)
    lane.append("heads", b"")
    group.request(1, answers.of(1))
    group.stop()
    group.stop()
    assert answers.told == [(1, None, 1)]
    group.request(1, answers.of(2))
    assert answers.told[1][1] is not None
    lane.close("done")


def test_rotation_and_sync_do_not_disturb_one_another(tmp_path: Path) -> None:
    """A thread that syncs while segments change under it: no error, everything durable, every entry once."""
    lane = Lane.create(tmp_path / NAME, BEGIN, ballast=0, segment_bytes=600)
    answers = Answers(lane)
    group = GroupSync(lane, "before_forward", interval=0.001)
    for _ in range(400):
        sequence, _ = lane.append("heads", b'"x":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"')
        group.request(sequence, answers.of(sequence))
    answers.wait(400)
    group.stop()
    assert all(fault is None for _, fault, _ in answers.told)
    assert lane.durable == lane.sequence == 400
    lane.close("done")
