"""Promise 1, no silent request: processes are killed at random instants under load, and both books still agree."""

import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from chaos_books import Matched, check_sound, match, request_counts
from chaos_house import ROLES, House, age, kill, until
from chaos_load import Load

from tollbook.journal.closing import is_live
from tollbook.journal.segment import segments
from tollbook.journal.tail import lane_directories

TORN = b'{"v":1,"p":"0000000000000000'
YOUNG_SECONDS = 3.0
"""A child killed five times at less than this age is left down for a minute, which would only waste our time."""

TARGETS = ("worker", "worker", "worker", "worker", "scribe", "scribe", "desk", "two", "supervisor", "everything")


class Killer:
    """Kills, and notes what it killed."""

    def __init__(self, house: House, seed: int) -> None:
        self._house = house
        self._chance = random.Random(seed)
        self._young: dict[str, deque[bool]] = {role: deque(maxlen=3) for role in ROLES}
        self.killed: Counter[str] = Counter()

    def kill(self, target: str) -> None:
        """One kill; what the supervisor does not replace is started again."""
        if target == "supervisor":
            self._kill_supervisor()
        elif target == "everything":
            self._kill_everything()
        else:
            roles = self._chance.sample(ROLES, 2) if target == "two" else [target]
            for process in [self._victim(role) for role in roles]:
                kill(process)
            self.killed.update(roles)

    def pause(self) -> None:
        """Let the traffic flow for a random while."""
        time.sleep(self._chance.uniform(0.05, 0.8))

    def _victim(self, role: str) -> psutil.Process:
        """A running child. Not a young one for the fourth time in turn."""
        young = self._young[role]

        def choose() -> psutil.Process | None:
            running = self._house.children(role)
            if len(young) == 3 and all(young):
                running = [process for process in running if age(process) > YOUNG_SECONDS]
            return self._chance.choice(running) if running else None

        process = until(choose, f"no {role} runs")
        assert process is not None
        young.append(age(process) < YOUNG_SECONDS)
        return process

    def _kill_supervisor(self) -> None:
        """Its children notice, drain and leave, while the next supervisor begins."""
        self._house.kill_supervisor()
        time.sleep(self._chance.choice((0.0, 0.1, 0.5)))
        self._house.serve()
        self.killed["supervisor"] += 1

    def _kill_everything(self) -> None:
        """All at once, as when the machine's memory ends; some lanes end with a part of a line."""
        self._house.kill_all()
        for directory in lane_directories(self._house.book):
            newest = segments(directory)[-1]
            if not newest.sealed and not (directory / "reaped").exists() and not directory.name.startswith("book-"):
                # A thread that was syncing holds the files of its dead process until the disk has answered.
                until(lambda lane=directory: not is_live(lane), "a killed process holds its lane")  # type: ignore[misc]
                with newest.path.open("ab") as file:
                    file.write(TORN[: self._chance.randrange(1, len(TORN))])
        self._house.serve()
        self.killed.update(("supervisor", *ROLES))
        for young in self._young.values():
            young.clear()


def run_kill_loop(
    directory: Path, kills: int, seed: int, *, among: Sequence[str] = TARGETS, pause: float = 0.03, **options: Any
) -> Matched:
    """Kill that many times under load; then stop in order and hold the books side by side."""
    began = time.monotonic()
    chance = random.Random(f"targets {seed}")
    targets = [*dict.fromkeys(among), *chance.choices(among, k=kills)][:kills]
    chance.shuffle(targets)
    with House(directory, gateway={"workers": 2}, **options) as house:
        killer = Killer(house, seed)
        with Load(house.port, seed=seed, pause=pause) as load:
            for target in targets:
                killer.kill(target)
                killer.pause()
            until(house.is_ready, "the gateway does not come back")
            until(lambda: all(house.children(role) for role in ROLES), "not all children run")
            time.sleep(1)
        house.stop()
        matched = match(house)
        counts = request_counts(house.book)
        assert max(counts.values()) == 1
        assert all(counts[name] == 1 for name in load.ids(200)), "a request was answered and is not in the book"
        check_sound(house)
    print(  # noqa: T201  the figures of a run, shown with -rP
        f"kills {killer.killed.total()} {dict(killer.killed)}, answers {len(load.answers)}, "
        f"received {matched.received}, attempts {matched.attempts}, lost {matched.lost}, doubled {matched.doubled}, "
        f"{dict(matched.outcomes)}, {time.monotonic() - began:.0f} s"
    )
    assert killer.killed.total() >= kills
    return matched


def test_a_dozen_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """After kill -9 of workers, scribe, desk and supervisor, alone and together, every attempt that the vendor received
    is in the book once, what it did not receive is never charged, usage is the vendor's, and all of it verifies."""
    matched = run_kill_loop(tmp_path, kills=12, seed=2026)
    assert matched.outcomes["unsettled"] > 0, "nothing was in flight when processes died: this test shows nothing"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """The same, 200 times."""
    run_kill_loop(tmp_path, kills=200, seed=11)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kills_while_the_vendor_is_slow(tmp_path: Path) -> None:
    """With a vendor that takes its time kills hit attempts in flight; segments rotate and are sealed meanwhile."""
    journal = {"segment_bytes": "64 KiB", "segment_age": "5s", "sync": "before_forward"}
    run_kill_loop(
        tmp_path, kills=40, seed=7, journal=journal, vendor_options=["--first-byte-ms", "300", "--chunk-ms", "20"]
    )


def test_the_ledger_killed_in_mid_commit_is_exact(tmp_path: Path) -> None:
    """However often the loader is killed, the ledger holds what the journal holds, once, and its totals are its rows.
    Traffic does not notice."""
    matched = run_kill_loop(tmp_path, kills=3, seed=5, among=["scribe"], pause=0.005)
    assert not matched.outcomes.keys() & {"unsettled", "cancelled"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_ledger_killed_sixty_times_is_exact(tmp_path: Path) -> None:
    """The same, 60 times."""
    run_kill_loop(tmp_path, kills=60, seed=6, among=["scribe"], pause=0.005)
