"""What the supervisor owes its children and its book when things go wrong."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from chaos_books import check_sound, match
from chaos_house import House, kill, until
from chaos_load import KINDS, Answer, Kind, post

from tollbook.assembly.child import BACKOFF_FIRST, LEFT_DOWN_SECONDS, TRY_LATER, TRY_LATER_SECONDS, Backoff, Running
from tollbook.simulator import read_books

BUFFERED = KINDS[0]
SLOW = Kind("slow", "gpt-4o-mini", "first_byte_ms=5000")
KEY = {"idempotency-key": "order-4711"}


def code_of(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["code"])


def ended(code: int, *, lived: float) -> Running:
    """A child that ended after so many seconds."""

    async def run() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {code}")
        await process.wait()
        return process

    return Running(asyncio.run(run()), cast(Any, None), time.monotonic() - lived)


def test_a_child_that_dies_of_its_start_is_left_down_and_said(capfd: pytest.CaptureFixture[str]) -> None:
    """Five deaths right after the start leave a child down for a minute, and the operator is told; one that lived, or
    that asks to be tried later, is started again soon."""
    backoff = Backoff("desk")
    crashed = ended(1, lived=0.1)
    pauses = [backoff.after(crashed) for _ in range(4)]
    assert pauses == sorted(pauses) and pauses[-1] < 10
    assert backoff.after(ended(TRY_LATER, lived=0.1)) == TRY_LATER_SECONDS
    assert "left down" not in capfd.readouterr().err
    assert backoff.after(crashed) == LEFT_DOWN_SECONDS
    assert "desk died 5 times right after its start: left down for 60 s" in capfd.readouterr().err
    for _ in range(8):
        assert backoff.after(ended(1, lived=60)) == BACKOFF_FIRST


def test_a_second_gateway_on_one_book_is_refused(tmp_path: Path) -> None:
    """A book is served by one supervisor: a second one says who has it and leaves; the first one serves on."""
    with House(tmp_path) as house:
        assert house.supervisor is not None
        second = house.tollbook("serve", "--config", str(house.config))
        assert second.returncode == 1
        assert f"process {house.supervisor.pid} writes this book now" in second.stderr.replace("\n", " ")
        assert post(house.port, BUFFERED).status == 200
        house.stop()
        check_sound(house)


def test_a_key_whose_worker_was_killed_is_never_forwarded_again(tmp_path: Path) -> None:
    """`Idempotency-Key`: while its request runs 409 in_progress; once its worker was killed nobody knows how it ended,
    so 409 outcome_unknown, also after a restart of everything; the vendor saw it once."""
    with House(tmp_path) as house, ThreadPoolExecutor(1) as client:
        running = client.submit(post, house.port, SLOW, headers=KEY)
        until(lambda: read_books(house.vendor_books)[0], "the request is not under way")
        again = post(house.port, SLOW, headers=KEY)
        assert (again.status, code_of(again)) == (409, "in_progress")
        (worker,) = house.children("worker")
        kill(worker)
        assert running.result(30).status == 0
        until(lambda: [one for one in house.children("worker") if one.pid != worker.pid], "no new worker")
        until(house.is_ready, "the new worker is not ready")
        for _ in range(2):
            again = post(house.port, SLOW, headers=KEY)
            assert (again.status, code_of(again)) == (409, "outcome_unknown")
        other = post(house.port, BUFFERED, headers=KEY)
        assert (other.status, code_of(other)) == (409, "key_reused")
        house.kill_all()
        house.serve()
        again = post(house.port, SLOW, headers=KEY)
        assert (again.status, code_of(again)) == (409, "outcome_unknown")
        house.stop()
        assert len(read_books(house.vendor_books)[0]) == 1
        assert dict(match(house).outcomes) == {"unsettled": 1}
        check_sound(house)


def test_a_stop_just_after_the_start_closes_what_a_crash_left(tmp_path: Path) -> None:
    """The socket of the killed scribe is still there when the stop comes: the new scribe is awaited all the same."""
    with House(tmp_path) as house:
        assert post(house.port, BUFFERED).status == 200
        house.kill_all()
        house.start_serving()
        until(lambda: house.children("scribe"), "no scribe is started")
        house.stop()
        check_sound(house)


def test_orphans_leave_and_a_damaged_lane_stops_nobody(tmp_path: Path) -> None:
    """Children whose supervisor was killed leave by themselves. A dead lane that was damaged meanwhile is left as it is
    and said, and the gateway serves; what else was left is reaped."""
    with House(tmp_path) as house:
        for kind in KINDS[:6]:
            assert post(house.port, kind).status == 200
        house.kill_supervisor()
        until(lambda: not house.survivors(), "a child does not leave")
        (lane,) = (house.book / "lanes").glob("worker-*")
        (spare,) = (house.book / "lanes").glob("spare-*")
        path = lane / "000000.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"acme", b"acne"), *lines[3:]]))
        house.serve()
        assert post(house.port, BUFFERED).status == 200
        told = f"lane {lane.name} is left as it is"
        until(lambda: told in house.log.read_text(), "the damaged lane is not named")
        until((spare / "reaped").exists, "the other lanes are not reaped")
        assert not (lane / "reaped").exists()
        house.stop()
        assert house.tollbook("verify", "--book", str(house.book)).returncode == 3
