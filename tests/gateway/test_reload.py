"""Another configuration while the gateway serves: from the next request on, on record, and with no request lost."""

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_stage import ACME, CONFIG, GLOBEX, RealStage

from tollbook.assembly.reloading import check_change
from tollbook.config import parse
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Gateway, Journal, Settings
from tollbook.gateway.upstream import Pool
from tollbook.journal.tail import lane_directories, read_lane

ROUTE = "/tollbook/operator/v1/reload"
PATIENCE = 20.0
QUICK = "[[sim input=5 output=3]]"
SLOW = "[[sim input=5 output=3 first_byte_ms=2000]]"


@pytest.fixture(scope="module")
def own_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStage]:
    """A stage whose configuration these tests change."""
    with RealStage(
        tmp_path_factory.mktemp("reload"), CONFIG.replace("gateway: {", "gateway: {workers: 2, ")
    ) as running:
        yield running


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("desk", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def operate(stage: RealStage, **headers: str) -> tuple[int, Any]:
    """Ask for a reload over the desk's socket."""
    connection = _Unix(stage.book / "run" / "desk.sock")
    try:
        connection.request("POST", ROUTE, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ask(
    connection: http.client.HTTPConnection, key: str = ACME, model: str = "gpt-4o-mini", text: str = QUICK
) -> tuple[int, str]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})
    connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["x-tollbook-request-id"]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.05)


def loaded(stage: RealStage) -> list[str]:
    """The digests of the configurations on record, in order."""
    lines = [
        line
        for path in lane_directories(stage.book)
        if path.name.startswith("supervisor-")
        for line in read_lane(path)
        if line.kind == "configuration.loaded"
    ]
    return [json.loads(line.bytes)["digest"] for line in sorted(lines, key=lambda line: line.recorded)]


class Traffic:
    """Clients that ask over and over on connections of their own, until told to stop."""

    def __init__(self, stage: RealStage, clients: int) -> None:
        self.answers: list[tuple[int, str]] = []
        self._stage = stage
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = self._stage.connect()
        while not self._stop.is_set():
            self.answers.append(ask(connection))
            time.sleep(0.005)
        connection.close()


@pytest.mark.xdist_group("reload")
def test_a_policy_changes_under_traffic_and_no_request_is_lost(own_stage: RealStage) -> None:
    """Every request is answered over connections that stay; both versions of the policy are in the book."""
    stage = own_stage
    before = loaded(stage)
    text = stage.config.read_text()
    with Traffic(stage, 4) as traffic:
        until(lambda: len(traffic.answers) > 20)
        stage.config.write_text(text.replace("retry: {attempts: 1}}", "retry: {attempts: 3}}", 1))
        status, done = operate(stage)
        count = len(traffic.answers)
        until(lambda: len(traffic.answers) > count + 40)
    assert status == 200
    assert (done["changed"], done["workers"], done["waiting"]) == (True, 2, 0)
    assert {status for status, _ in traffic.answers} == {200}
    assert loaded(stage) == [*before, done["digest"]]
    first, last = traffic.answers[0][1], traffic.answers[-1][1]
    policies = [stage.find(request_id)["request"]["policy"] for request_id in (first, last)]
    assert policies[0] != policies[1]
    assert operate(stage) == (200, {"digest": done["digest"], "changed": False, "workers": 2, "waiting": 0})
    assert loaded(stage) == [*before, done["digest"]]


@pytest.mark.xdist_group("reload")
def test_sighup_does_the_same_and_new_tenants_enter(own_stage: RealStage) -> None:
    """A tenant that is put in the file is known; one that is taken out goes on, since the registry holds."""
    stage, hooli = own_stage, "tb-hooli-0123456789abcdef"
    text, before = stage.config.read_text(), loaded(stage)
    connection = stage.connect()
    assert ask(connection, hooli)[0] == 401
    changed = "\n".join(line for line in text.splitlines() if "globex" not in line)
    stage.config.write_text(f"{changed}\n  hooli: {{keys: [{{name: hooli-prod, secret: {hooli}}}]}}\n")
    os.kill(stage.supervisor.pid, signal.SIGHUP)
    until(lambda: len(loaded(stage)) > len(before))
    until(lambda: ask(connection, hooli)[0] == 200)
    assert stage.find(ask(connection, hooli)[1])["request"]["tenant"] == "hooli"
    assert ask(connection, GLOBEX)[0] == 200
    stage.config.write_text(text)
    assert operate(stage)[0] == 200
    assert {ask(connection, key)[0] for key in (hooli, GLOBEX, ACME)} == {200}


@pytest.mark.xdist_group("reload")
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("attempts: 3,", "attempts: 99,", "attempts: found '99'; allowed: an integer from 1 to 10"),
        ("env:ROAD_ACME", "env:ROAD_NOBODY", "the environment variable ROAD_NOBODY is not set"),
        ("workers: 2", "workers: 1", "cannot be changed while serving: gateway.workers"),
        ("book: ./book", "book: ./other", "cannot be changed while serving: book"),
    ],
)
def test_a_wrong_file_changes_nothing(own_stage: RealStage, old: str, new: str, words: str) -> None:
    """It is refused with the words that a start would give; what is in force stays, and nothing is on record."""
    stage = own_stage
    text, before = stage.config.read_text(), loaded(stage)
    assert old in text
    stage.config.write_text(text.replace(old, new, 1))
    try:
        status, answer = operate(stage)
    finally:
        stage.config.write_text(text)
    assert status == 422
    assert words in answer["error"]["message"]
    assert loaded(stage) == before
    assert ask(stage.connect())[0] == 200


@pytest.mark.xdist_group("reload")
def test_a_worker_that_is_started_later_goes_by_the_new_policy(own_stage: RealStage) -> None:
    """What the supervisor hands to a new worker is what is in force."""
    stage = own_stage
    text = stage.config.read_text()
    stage.config.write_text(text.replace("  gpt-4o:", "  renamed:", 1))
    assert operate(stage)[1]["changed"] is True
    former = stage.child("worker").pid
    os.kill(former, signal.SIGKILL)
    until(lambda: stage.child("worker").pid != former)
    connection = stage.connect()
    assert {ask(connection, model="renamed")[0] for _ in range(10)} == {200}
    assert ask(connection, model="gpt-4o")[0] == 404
    stage.config.write_text(text)
    assert operate(stage)[0] == 200


@pytest.mark.xdist_group("reload")
def test_a_request_under_way_ends_by_what_it_began_with(own_stage: RealStage) -> None:
    """Its model is gone, its vendor has another address: it is answered and recorded."""
    stage = own_stage
    text, answers = stage.config.read_text(), []
    slow = threading.Thread(target=lambda: answers.append(ask(stage.connect(), text=SLOW)))
    slow.start()
    time.sleep(0.4)
    stage.config.write_text(text.replace("  gpt-4o-mini:", "  renamed:", 1).replace('/v1"', '/v1/"'))
    assert operate(stage)[1]["changed"] is True
    assert answers == []
    slow.join()
    stage.config.write_text(text)
    assert operate(stage)[0] == 200
    ((status, request_id),) = answers
    assert status == 200
    assert stage.find(request_id)["request"]["outcome"] == "ok"


@pytest.mark.xdist_group("reload")
def test_no_client_of_the_listener_reaches_the_operator_s_routes(own_stage: RealStage) -> None:
    """They are not passed on; and what names a tenant is no operator even at the desk's own socket."""
    stage = own_stage
    for path in (ROUTE, "/tollbook/v1/../operator/v1/reload", "/tollbook/v1/%2e%2e/operator/v1/reload"):
        connection = stage.connect()
        connection.request("POST", path, headers={"authorization": f"Bearer {ACME}"})
        assert connection.getresponse().status == 404
        connection.close()
    assert operate(stage, **{"x-tollbook-tenant": "acme"})[0] == 404


def test_what_only_a_restart_changes_is_refused_by_name() -> None:
    """Each is named; everything else may change."""
    old = Settings(book="b")
    new = Settings(book="c", gateway=Gateway(listen="127.0.0.1:1", workers=2), journal=Journal(sync="before_forward"))
    with pytest.raises(BadConfiguration, match=r"book, gateway\.listen, gateway\.workers, journal;"):
        check_change(old, new)
    check_change(old, Settings(book="b", gateway=Gateway(client_gone="cancel", shutdown_grace=1)))


def test_certificates_are_looked_at_when_the_file_is_read(tmp_path: Path) -> None:
    """A running gateway would otherwise meet them first, and end."""
    vendor = "v: {format: openai, base_url: 'https://x', ca_file: ca.pem, keys: [{name: k, secret: s}]}"
    for _ in range(2):
        with pytest.raises(BadConfiguration, match=r"vendors\.v\.ca_file: .*ca\.pem: no certificates"):
            parse(f"book: b\nvendors: {{{vendor}}}", base=tmp_path)
        (tmp_path / "ca.pem").write_text("nothing")


async def test_a_retired_pool_keeps_no_connection() -> None:
    """What is free is closed at once, what is in use once it is given back."""

    class Connection:
        closed = False
        idle_since = 0.0

        def abandon(self) -> None:
            self.closed = True

    pool = Pool(object())  # type: ignore[arg-type]
    free, used = Connection(), Connection()
    pool.release(free)  # type: ignore[arg-type]
    pool.retire()
    assert (free.closed, used.closed) == (True, False)
    pool.release(used)  # type: ignore[arg-type]
    assert used.closed
    await asyncio.sleep(0)
