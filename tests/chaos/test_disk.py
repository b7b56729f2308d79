"""A disk that is full, or fails, in the middle of traffic."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from chaos_books import attempts, check_sound, journaled, match, rows
from chaos_house import House, kill, until
from chaos_load import KINDS, Answer, Kind, post

from tollbook.journal.tail import lane_directories, read_lane
from tollbook.simulator import read_books

BUFFERED = KINDS[0]
RETRIED = next(kind for kind in KINDS if kind.name == "retried")
SLOW = Kind("slow", "gpt-4o-mini", "first_byte_ms=2500")
FULL_SECONDS = 2.5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Somebody else takes all the space there is."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue
        yield
    finally:
        filler.unlink()


def is_refused(answer: Answer) -> bool:
    """Whether the gateway refused a request because it could not be written down."""
    return answer.status == 503 and json.loads(answer.body)["error"]["code"] == "journal_unavailable"


def sent_to_vendor(house: House) -> set[str | None]:
    """The requests that the vendor saw."""
    return {line.request_id for line in read_books(house.vendor_books)[0]}


def workers_of(house: House) -> list[int]:
    return [process.pid for process in house.children("worker")]


def test_a_full_disk_refuses_what_is_new_and_settles_what_is_in_flight(tmp_path: Path, small_disk: Path) -> None:
    """Attempts in flight when the disk fills are answered and settled from the ballast; new requests get 503 and are
    not forwarded; when there is space again traffic flows without a restart; nothing is missing, all verifies."""
    with House(tmp_path, book=small_disk / "book") as house, ThreadPoolExecutor(8) as clients:
        assert post(house.port, BUFFERED).status == 200
        before = workers_of(house)
        in_flight = [clients.submit(post, house.port, SLOW) for _ in range(8)]
        until(lambda: len(sent_to_vendor(house)) == 9, "the slow requests are not under way")
        with filled(small_disk):
            late: list[Answer] = []
            until(lambda: late.append(post(house.port, BUFFERED)) or is_refused(late[-1]), "nothing is refused")
            answered = [one.result() for one in in_flight]
            until_then = time.monotonic() + FULL_SECONDS
            while time.monotonic() < until_then:
                late.append(post(house.port, BUFFERED))
                time.sleep(0.05)
        until(lambda: post(house.port, BUFFERED).status == 200, "traffic does not flow again")
        assert [one.status for one in answered] == [200] * 8
        refused = [one for one in late if one.status != 200]
        assert len(refused) > 10 and all(map(is_refused, refused))
        assert not {one.request_id for one in refused} & sent_to_vendor(house)
        assert workers_of(house) == before, "the worker was restarted"
        time.sleep(1.5)  # the scribe may be waiting for its next try
        house.stop()
        matched = match(house)
        assert set(matched.outcomes) == {"ok"}
        check_sound(house)
        assert rows(house.book, "SELECT count(*) FROM gaps") == [(0,)], "nothing was forwarded unrecorded"


@pytest.mark.long
@pytest.mark.parametrize("roles", [["worker", "scribe"], ["supervisor"]])
def test_processes_killed_on_a_full_disk_come_back_with_the_space(
    tmp_path: Path, small_disk: Path, roles: list[str]
) -> None:
    """Children that cannot begin on a full disk are tried again and again, not left down; once there is space what
    they left is put on record, and traffic flows. A supervisor that cannot begin says why."""
    with House(tmp_path, book=small_disk / "book") as house, ThreadPoolExecutor(4) as clients:
        in_flight = [clients.submit(post, house.port, SLOW) for _ in range(4)]
        until(lambda: len(sent_to_vendor(house)) == 4, "the slow requests are not under way")
        with filled(small_disk):
            if roles == ["supervisor"]:
                house.kill_all()
                house.start_serving()
                assert house.supervisor is not None
                assert house.supervisor.wait(60) == 1
                assert "No space left on device" in house.log.read_text().replace("\n", " ")
            else:
                for role in roles:
                    kill(house.children(role)[0])
                time.sleep(12)
            assert {one.result().status for one in in_flight} == {0}
        if roles == ["supervisor"]:
            house.serve()
        until(lambda: is_answered(house), "traffic does not flow again", seconds=20)
        until(lambda: house.children("scribe"), "the scribe does not come back", seconds=20)
        time.sleep(3)
        house.stop()
        assert match(house).outcomes["unsettled"] == 4
        check_sound(house)


def is_answered(house: House) -> bool:
    """Whether a request gets through now."""
    try:
        return post(house.port, BUFFERED).status == 200
    except OSError:
        return False


def test_forwarding_unrecorded_counts_what_it_forwards(tmp_path: Path, small_disk: Path) -> None:
    """By explicit setting traffic goes on while the journal cannot be written; afterwards the book says from when to
    when, and how many requests of each tenant: as many as the vendor saw without the book holding every attempt."""
    journal = {"on_failure": "forward_unrecorded"}
    with House(tmp_path, book=small_disk / "book", journal=journal) as house:
        assert post(house.port, BUFFERED).status == 200
        with filled(small_disk):
            for number in range(60):
                tenant = "acme" if number % 3 else "globex"
                assert post(house.port, RETRIED if number % 4 else BUFFERED, tenant=tenant).status == 200
        until(house.is_ready, "the journal is not written again")
        assert post(house.port, BUFFERED).status == 200
        time.sleep(1.5)
        house.stop()
        opened, settled = journaled(house.book)
        assert opened == settled
        received = {str(line.attempt_id) for line in read_books(house.vendor_books)[0]}
        assert opened.keys() <= received
        unrecorded = {name.rpartition(".")[0] for name in received - opened.keys()}
        gaps = Counter[str]()
        for tenant, count in rows(house.book, "SELECT tenant, requests FROM gaps"):
            gaps[tenant] += count
        assert gaps.total() == len(unrecorded) > 20
        assert gaps["acme"] > gaps["globex"] > 0
        check_sound(house)


@contextmanager
def failing(call: str, pid: int, path: Path) -> Iterator[None]:
    """Every such system call of a process on one file fails with EIO."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    arguments = ["strace", "-f", "-p", str(pid), "-P", str(path), "-e", f"trace={call}"]
    tracer = subprocess.Popen(
        [*arguments, "-e", f"inject={call}:error=EIO", "-o", "/dev/null"], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    try:
        told = tracer.stderr.readline()
        if "attached" not in told:
            pytest.skip(f"a process cannot be traced here: {told.strip()}")
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)
        tracer.stderr.close()


@pytest.mark.parametrize("call", ["fdatasync", "write"])
def test_a_failing_disk_ends_a_lane_and_another_is_opened(tmp_path: Path, call: str) -> None:
    """After EIO a lane takes no more entries: it is closed at its last good line, traffic goes on in a new one after
    at most a refusal, and what was in flight is settled there."""
    with House(tmp_path) as house, ThreadPoolExecutor(2) as clients:
        assert post(house.port, BUFFERED).status == 200
        (worker,) = workers_of(house)
        (lane,) = [path for path in lane_directories(house.book) if path.name.startswith("worker-")]
        (spare,) = [path for path in lane_directories(house.book) if path.name.startswith("spare-")]
        in_flight = [clients.submit(post, house.port, SLOW) for _ in range(2)]
        until(lambda: len(sent_to_vendor(house)) == 3, "the slow requests are not under way")
        time.sleep(0.1)  # their openings are synced
        with failing(call, worker, lane / "000000.jsonl"):
            late: list[Answer] = []
            until(lambda: late.append(post(house.port, BUFFERED)) or has_moved(house, lane), "the failure is not seen")
            until(lambda: late.append(post(house.port, BUFFERED)) or late[-1].status == 200, "no new lane is opened")
            assert [one.result().status for one in in_flight] == [200, 200]
        assert workers_of(house) == [worker]
        until(lambda: last_kind(spare) == "lane.end", "the spare that was used is not ended: reports wait for it")
        refused = {one.request_id for one in late if one.status != 200}
        assert not refused & sent_to_vendor(house)
        house.stop()
        assert set(match(house).outcomes) == {"ok"}
        assert {row.outcome for row in attempts(house.book)} == {"ok"}
        assert closing_reason(house.book, lane.name) == "failed"
        check_sound(house)


def has_moved(house: House, lane: Path) -> bool:
    """Whether the worker has a new lane: that may take less time than one refusal."""
    return any(path.name.startswith("worker-") and path != lane for path in lane_directories(house.book))


def last_kind(lane: Path) -> str:
    """The kind of a lane's last entry."""
    return [line.kind for line in read_lane(lane)][-1]


def closing_reason(book: Path, lane: str) -> str | None:
    """Why a lane was closed, as the supervisor tells it."""
    for directory in lane_directories(book):
        for line in read_lane(directory) if directory.name.startswith("supervisor-") else ():
            if line.kind == "lane.closed" and (told := json.loads(line.bytes))["lane"] == lane:
                return str(told["reason"])
    return None
