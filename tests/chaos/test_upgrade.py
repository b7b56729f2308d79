"""Another release takes over while clients go on: nobody is refused, nothing is lost, what is open ends."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from chaos_books import check_sound, match, request_counts
from chaos_house import House, kill, until
from chaos_load import KINDS, Kind, Load, post

STREAM = Kind("long stream", "gpt-4o-mini", "output=40 chunk_ms=100", stream=True)
SOUND = {"ok", "client_gone", "rate_limited", "vendor_error"}


class Knocking:
    """Somebody who opens a new connection all the time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._done = self._pool.submit(self._run)

    def _run(self) -> list[int]:
        seen = []
        while not self._stopping.is_set():
            try:
                seen.append(post(self._port, KINDS[0]).status)
            except OSError:
                seen.append(0)
        return seen

    def stop(self) -> list[int]:
        """The statuses seen; 0 where the connection was refused."""
        self._stopping.set()
        return self._done.result(30)


def test_upgrade_and_rollback_under_load(tmp_path: Path) -> None:
    """The gateway is replaced twice under load, as for an upgrade and its rollback: every request is
    answered, by new connections and by kept ones; streams that were open end whole; both books agree."""
    with House(tmp_path, gateway={"workers": 2}) as house, ThreadPoolExecutor(3) as clients:
        knocking = Knocking(house.port)
        with Load(house.port, seed=3, clients=6) as load:
            streams = []
            for number in range(2):
                streams.append(clients.submit(post, house.port, STREAM, user=f"stream-{number}"))
                until(lambda: len(load.answers) > 40 * (number + 1), "no load")  # noqa: B023
                house.replace()
            until(lambda: len(load.answers) > 120, "no load")
        seen = knocking.stop()
        house.stop()
        assert load.unanswered == [], f"{len(load.unanswered)} requests were not answered"
        assert set(seen) == {200} and len(seen) > 20
        assert all(answer.status == 200 and answer.whole for answer in (stream.result(30) for stream in streams))
        assert not [one for one in load.answers if one.status in (502, 503)]
        matched = match(house)
        assert matched.outcomes.keys() <= SOUND, matched.outcomes
        counts = request_counts(house.book)
        assert all(counts[str(one.request_id)] == 1 for one in load.answers if one.request_id is not None)
        check_sound(house)


def test_a_successor_that_dies_changes_nothing(tmp_path: Path) -> None:
    """One that is killed while it takes over leaves the former serving, with as many workers as before; its lanes are
    closed. One that cannot begin is refused. Then another takes over, started by SIGUSR2."""
    with House(tmp_path, gateway={"workers": 2}) as house:
        assert house.supervisor is not None
        former = house.supervisor
        knocking = Knocking(house.port)
        house.supervisor = house._run("tollbook", "serve", "--config", str(house.config), "--replace", log=house.log)
        until(lambda: "taking over from process" in house.log.read_text(), "it does not take over")
        second = psutil.Process(house.supervisor.pid)
        until(lambda: second.children(), "it starts no worker")
        kill(second)
        house.supervisor.wait()
        house.supervisor = former
        until(lambda: "this supervisor goes on" in house.log.read_text(), "the former does not notice")
        until(lambda: len(house.children("worker")) == 2, "a worker is missing")
        other = tmp_path / "other.yaml"
        other.write_text(house.config.read_text().replace(f":{house.port}", ":1"))
        refused = house.tollbook("serve", "--config", str(other), "--replace")
        assert refused.returncode == 2 and "listens on port" in refused.stderr
        former.send_signal(signal.SIGUSR2)
        until(lambda: former.poll() is not None, "nobody takes over")
        assert former.returncode == 0
        successor = until(lambda: _supervisor_of(house), "no successor")
        time.sleep(0.5)
        assert set(knocking.stop()) == {200}
        until(lambda: _has_scribe(successor), "the successor has no scribe")
        successor.send_signal(signal.SIGTERM)
        until(lambda: not successor.is_running() or successor.status() == psutil.STATUS_ZOMBIE, "it does not stop")
        matched = match(house)
        assert matched.outcomes.keys() <= SOUND, matched.outcomes
        check_sound(house)


def _has_scribe(supervisor: psutil.Process) -> bool:
    """Whether the book's writer runs under it."""
    return any("tollbook.assembly.scribe" in child.cmdline() for child in supervisor.children())


def _supervisor_of(house: House) -> psutil.Process | None:
    """The process that holds the supervisor's lock."""
    try:
        found = psutil.Process(int((house.book / "run" / "supervisor.lock").read_text()))
    except (psutil.NoSuchProcess, ValueError):
        return None
    return found if "--replace" in found.cmdline() else None


def test_nobody_to_take_over_from(tmp_path: Path) -> None:
    """Without a gateway that runs, --replace says so."""
    with House(tmp_path) as house:
        house.stop()
        refused = house.tollbook("serve", "--config", str(house.config), "--replace")
        assert refused.returncode == 2 and "leave --replace out" in refused.stderr.replace("\n", " ")
