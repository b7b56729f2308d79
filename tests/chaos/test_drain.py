"""Stopping in order: what is in flight is finished, nothing is lost or doubled."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chaos_books import check_sound, match, request_counts
from chaos_house import House, until
from chaos_load import Kind, Load, post

from tollbook.simulator import read_books

STREAM = Kind("long stream", "gpt-4o-mini", "output=200 chunk_ms=200", stream=True)


def run_stops(directory: Path, calls: int, seed: int, pause: float) -> None:
    """Send that many calls while the gateway is told to stop, and started again, at random points."""
    chance, stops, began = random.Random(seed), 0, time.monotonic()
    with House(directory, gateway={"workers": 2}) as house:
        with Load(house.port, seed=seed, most=calls, pause=pause) as load:
            while load.is_running:
                time.sleep(chance.uniform(1.0, 4.0))
                house.stop()
                stops += 1
                house.serve()
            load.wait(60)
        house.stop()
        matched = match(house)
        assert matched.outcomes.keys() <= {"ok", "client_gone", "rate_limited", "vendor_error"}
        counts = request_counts(house.book)
        answered = [one for one in load.answers if one.status != 503 and one.request_id is not None]
        assert all(counts[str(one.request_id)] == 1 for one in answered)
        assert [one for one in answered if not one.whole and one.kind != "left"] == [], "an answer was broken off"
        check_sound(house)
    print(  # noqa: T201  the figures of a run, shown with -rP
        f"calls {len(answered)}, stops {stops}, attempts {matched.attempts}, lost {matched.lost}, "
        f"doubled {matched.doubled}, {time.monotonic() - began:.0f} s"
    )
    assert stops >= 2


def test_five_hundred_calls_over_restarts(tmp_path: Path) -> None:
    """Every call that was answered is in the book once; no answer that was begun is broken off, no attempt is cut."""
    run_stops(tmp_path, calls=500, seed=12, pause=0.03)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand_calls_over_restarts(tmp_path: Path) -> None:
    """The same, with 10,000."""
    run_stops(tmp_path, calls=10_000, seed=13, pause=0.01)


def test_a_stream_is_finished_by_a_worker_that_lost_its_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed, its worker finishes the stream it relays and leaves; meanwhile a new supervisor
    serves on the same port, and puts the end of the old lanes on record once their writer has gone."""
    with House(tmp_path) as house, ThreadPoolExecutor(1) as client:
        (worker,) = house.children("worker")
        streamed = client.submit(post, house.port, STREAM)
        until(lambda: read_books(house.vendor_books)[0], "the stream is not under way")
        house.kill_supervisor()
        house.serve()
        assert post(house.port, Kind("buffered", "gpt-4o-mini")).status == 200
        assert worker.is_running() and not streamed.done(), "the stream ended too soon: this test shows nothing"
        answer = streamed.result(60)
        assert answer.whole and b"[DONE]" in answer.body
        until(lambda: not worker.is_running(), "the old worker does not leave")
        house.stop()
        assert set(match(house).outcomes) == {"ok"}
        check_sound(house)
