"""Keys and tenants while the gateway serves, by real processes and commands: no restart, every worker, within 5 s."""

import contextlib
import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from real_stage import ACME, CONFIG, TENANT_SECRETS, RealStage

from tollbook.assembly import service
from tollbook.assembly.acts import NoAnswer
from tollbook.cli import doctor, main
from tollbook.core.clock import SECOND, format_instant, now
from tollbook.core.faults import BadInput, BookLocked
from tollbook.journal.verify import verify
from tollbook.ledger.report import report
from tollbook.ledger.transfers import transfers
from tollbook.registry import snapshot
from tollbook.registry.organisation import Organisation, from_rows

pytestmark = pytest.mark.xdist_group("keys-live")

WITHIN = 5.0
BODY = {"messages": [{"role": "user", "content": "[[sim input=5 output=3]]"}]}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStage]:
    """Two workers, so that each must learn of everything."""
    config = CONFIG.replace("gateway: {", "gateway: {workers: 2, ")
    with RealStage(tmp_path_factory.mktemp("keys"), config) as running:
        yield running


def change(stage: RealStage, act: str, **wanted: Any) -> dict[str, Any]:
    return service.change_registry(stage.book, act, wanted)


def new_key(stage: RealStage, name: str, tenant: str = "acme", **facts: Any) -> str:
    return str(change(stage, "key.add", tenant=tenant, facts={"name": name, **facts})["secret"])


def ask(stage: RealStage, key: str, model: str = "gpt-4o-mini", connection: Any = None) -> tuple[int, dict[str, Any]]:
    """One request on a connection of its own, so that any worker may get it."""
    own = connection is None
    connection = connection or stage.connect()
    try:
        body = json.dumps({"model": model, **BODY})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        return answer.status, {**told, "id": answer.headers["x-tollbook-request-id"]}
    finally:
        if own:
            connection.close()


def within(seconds: float, true: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def accepted(stage: RealStage, key: str, model: str = "gpt-4o-mini") -> str:
    """The id of a request that was let in: a worker that has not learnt of the key yet refuses, and records nothing."""
    told: list[str] = []

    def let_in() -> bool:
        status, answer = ask(stage, key, model)
        if status == 200:
            told.append(answer["id"])
        return bool(told)

    within(WITHIN, let_in)
    return told[0]


def all_say(stage: RealStage, key: str, status: int, model: str = "gpt-4o-mini") -> bool:
    """Whether many connections, which the workers share, all give one status."""
    return {ask(stage, key, model)[0] for _ in range(12)} == {status}


class Load:
    """Clients that ask over and over with one key, each on one connection that stays."""

    def __init__(self, stage: RealStage, key: str, clients: int = 6) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self._stop = threading.Event()
        self._stage, self._key = stage, key
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Load":
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
            began = time.monotonic()
            status, _ = ask(self._stage, self._key, connection=connection)
            assert status in (200, 401)
            (self.accepted if status == 200 else self.refused).append(began)
            time.sleep(0.005)
        connection.close()


def test_a_team_comes_on_board_with_one_command(stage: RealStage) -> None:
    """Tenant, workload and key in one act and one entry; known to every worker; what it does is recorded as its own and
    nobody else sees it."""
    wanted = {"kind": "tenant", "name": "team-x", "workloads": ["search"], "key": {"name": "team-x-prod"}}
    facts = {"owner": "kim", "cost_centre": "4711"}
    secret = change(stage, "registry.add", **wanted, facts=facts)["key"]["secret"]
    within(WITHIN, lambda: all_say(stage, secret, 200))
    told = accepted(stage, secret)
    request = stage.find(told)["request"]
    assert (request["tenant"], request["key"], request["workload"]) == ("team-x", "team-x-prod", "search")
    path = f"/tollbook/v1/requests/{told}"
    assert stage.get(path, ACME)[0] != 200
    assert stage.get(path, secret)[0] == 200
    other = new_key(stage, "team-x-other", tenant="team-x")
    change(stage, "registry.add", kind="workload", name="more", facts={"parent": "team-x"})
    limited = new_key(stage, "team-x-more", tenant="team-x", workloads=["more"])
    within(WITHIN, lambda: all_say(stage, limited, 200))
    assert (stage.get(path, other)[0], stage.get(path, limited)[0] == 200) == (200, False)


def test_a_key_revoked_under_load_is_refused_by_every_worker(stage: RealStage) -> None:
    """The last request that is accepted began less than 5 s after the command returned, on connections that stay."""
    secret = new_key(stage, "leaky")
    within(WITHIN, lambda: all_say(stage, secret, 200))
    with Load(stage, secret) as load:
        within(WITHIN, lambda: len(load.accepted) > 50)
        change(stage, "key.revoke", name="leaky", reason="found in a repository")
        returned = time.monotonic()
        time.sleep(WITHIN)
        before = len(load.accepted)
        time.sleep(1.0)
        assert len(load.accepted) == before
    assert max(load.accepted) - returned < WITHIN
    assert len(load.refused) > 50
    assert all_say(stage, secret, 401) and all_say(stage, ACME, 200)


def test_both_secrets_work_until_the_overlap_ends(stage: RealStage) -> None:
    """Clients change over without an interruption; then the former secret opens nothing."""
    former = new_key(stage, "turning")
    within(WITHIN, lambda: all_say(stage, former, 200))
    secret = str(change(stage, "key.rotate", name="turning", overlap=4)["secret"])
    until = time.monotonic() + 4
    within(3.5, lambda: all_say(stage, secret, 200))
    assert time.monotonic() > until or ask(stage, former)[0] == 200
    within(until - time.monotonic() + WITHIN, lambda: all_say(stage, former, 401))
    assert all_say(stage, secret, 200)


def test_an_expired_key_is_refused(stage: RealStage) -> None:
    """By every worker, without anybody doing anything."""
    secret = new_key(stage, "short", expires=now() + 3 * SECOND)
    within(2.5, lambda: all_say(stage, secret, 200))
    within(1 + WITHIN, lambda: all_say(stage, secret, 401))


def test_a_key_of_some_models_and_workloads_is_held_to_them(stage: RealStage) -> None:
    """Other models are 403; the one workload is recorded unasked."""
    secret = new_key(stage, "narrow", models=["gpt-4o"], workloads=["search"])
    within(WITHIN, lambda: all_say(stage, secret, 200, "gpt-4o"))
    status, told = ask(stage, secret, "gpt-4o-mini")
    assert (status, told["error"]["code"]) == (403, "model_not_allowed")
    assert stage.find(accepted(stage, secret, "gpt-4o"))["request"]["workload"] == "search"


def test_a_tenant_that_ends_takes_its_keys_with_it(stage: RealStage) -> None:
    """Within 5 s, and a workload that ends is named by no key."""
    wanted = {"kind": "tenant", "name": "shortlived", "key": {"name": "k"}}
    secret = change(stage, "registry.add", **wanted)["key"]["secret"]
    within(WITHIN, lambda: all_say(stage, secret, 200))
    change(stage, "registry.end", kind="tenant", name="shortlived")
    within(WITHIN, lambda: all_say(stage, secret, 401))


def test_a_change_is_whole_or_not_at_all_when_the_scribe_is_killed(stage: RealStage) -> None:
    """What was answered is there after kill -9; what was not answered is there whole or absent; the chain holds."""
    answered: dict[str, str] = {}
    unsure: list[str] = []
    for turn in range(4):
        killer = threading.Timer(0.05 + 0.02 * turn, lambda: os.kill(stage.child("scribe").pid, signal.SIGKILL))
        killer.start()
        for number in range(12):
            name = f"storm-{turn}-{number}"
            wanted = {"kind": "tenant", "name": name, "workloads": ["a", "b"], "key": {"name": f"{name}-key"}}
            try:
                answered[name] = change(stage, "registry.add", **wanted)["key"]["secret"]
            except (NoAnswer, BookLocked, OSError):
                unsure.append(name)
                time.sleep(0.1)
        killer.join()
        within(20, lambda: _answers(stage))  # a command may have held the book meanwhile: then a scribe tries once more
    registry = service.read_registry(stage.book)
    for name in [*answered, *unsure]:
        there = {registry.find("tenant", name, now()) is not None, (name, f"{name}-key") in registry.keys}
        there |= {registry.find("workload", f"{name}/{one}", now()) is not None for one in "ab"}
        assert len(there) == 1 and (name not in answered or there == {True})
    last = list(answered.values())[-1]
    within(WITHIN, lambda: all_say(stage, last, 200))


def _answers(stage: RealStage) -> bool:
    try:
        return bool(service.read_registry(stage.book).entries)
    except (NoAnswer, OSError):
        return False


def test_nobody_is_let_in_when_nobody_vouches_for_the_registry(stage: RealStage) -> None:
    """A scribe that stands still lets the snapshot grow old: 503 in the client's format, until it is back."""
    within(20, lambda: _answers(stage))
    scribe = stage.child("scribe")
    scribe.suspend()
    try:
        path = snapshot.path_of(stage.book)
        assert ask(stage, ACME)[0] == 200
        os.utime(path, (time.time() - 25, time.time() - 25))
        time.sleep(1.2)
        assert ask(stage, ACME)[0] == 200
        os.utime(path, (time.time() - 31, time.time() - 31))
        within(WITHIN, lambda: all_say(stage, ACME, 503))
        assert ask(stage, ACME)[1]["error"]["code"] == "registry_stale"
    finally:
        scribe.resume()
    within(10, lambda: all_say(stage, ACME, 200))


def test_the_file_is_compared_with_the_registry_and_holds_nothing_by_itself(stage: RealStage) -> None:
    """A key taken out of the file opens on, a new one enters with a reload; doctor tells the difference."""
    text = stage.config.read_text()
    os.environ.update(TENANT_SECRETS)
    try:
        assert _registry_check(stage) == ("ok", None), _registry_check(stage)[1]
        changed = "\n".join(line for line in text.splitlines() if "acme-prod" not in line)
        stage.config.write_text(changed.replace("workloads: [mail]", "workloads: [mail, chat]"))
        state, told = _registry_check(stage)
        assert state == "warning" and told is not None
        assert "key acme/acme-prod is not in the file any more, but still opens" in told
        assert "workload globex/chat is new" in told
        stage.supervisor.send_signal(signal.SIGHUP)
        within(WITHIN, lambda: "globex/chat" in service.read_registry(stage.book).names("workload"))
        assert all_say(stage, ACME, 200)
        assert "says otherwise than the registry" in stage.logs()
    finally:
        stage.config.write_text(text)
        for name in TENANT_SECRETS:
            os.environ.pop(name)
        stage.supervisor.send_signal(signal.SIGHUP)


def _registry_check(stage: RealStage) -> tuple[str, str | None]:
    (found,) = [check for check in doctor.examine(stage.config, None) if check.name == "registry"]
    return found.state, found.message if found.state != "ok" else None


def test_two_acts_that_contradict_each_other_do_not_both_happen(stage: RealStage) -> None:
    """The one writer judges each by what the one before left."""
    results: list[object] = []

    def add() -> None:
        try:
            results.append(change(stage, "registry.add", kind="unit", name="contested"))
        except BadInput as fault:
            results.append(str(fault))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, dict) for one in results) == 1


def test_secrets_are_in_no_file_and_no_log(stage: RealStage) -> None:
    """Neither those of the file nor those that were made: not in the journal, the ledger, the snapshot, the logs."""
    made = new_key(stage, "canary", tenant="globex")
    done = change(stage, "key.add", tenant="globex", facts={"name": "canary-signs"}, signs=True)
    secrets = [secret.encode() for secret in (made, done["secret"], *TENANT_SECRETS.values())]
    within(WITHIN, lambda: all_say(stage, made, 200))
    for path in (path for path in stage.directory.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret in data], path
        if path.is_relative_to(stage.book):
            assert not re.search(rb"tbk_[0-9A-Za-z]{46}", data), path
    assert oct((stage.book / "keys" / "registry.key").stat().st_mode & 0o777) == "0o600"
    assert oct(snapshot.path_of(stage.book).stat().st_mode & 0o777) == "0o600"


def test_a_backdated_move_while_serving_ties_out_and_leaves_as_was_alone(stage: RealStage) -> None:
    """Told after the usage, from before it on: carried over within seconds; the report of before is the same."""
    for name, centre in (("north", "100"), ("south", "200")):
        change(stage, "registry.add", kind="unit", name=name, facts={"cost_centre": centre})
    wanted = {"kind": "tenant", "name": "mover", "facts": {"parent": "north"}, "key": {"name": "k"}}
    secret = change(stage, "registry.add", **wanted)["key"]["secret"]
    within(WITHIN, lambda: all_say(stage, secret, 200))
    last = accepted(stage, secret)
    stage.find(last)
    before = units(stage)
    done = change(
        stage, "registry.move", kind="tenant", name="mover", facts={"parent": "south"}, effective=now() - 3600 * SECOND
    )
    os.kill(stage.child("scribe").pid, signal.SIGKILL)
    posted = None
    for _ in range(3):
        posted = posted or service.transfer_of(stage.book, done["entry"]["digest"], 20)
    assert posted is not None
    (leg,) = [leg for leg in posted.legs if leg.currency == "USD"]
    assert (leg.source.unit, leg.target.unit, leg.requests) == ("north", "south", before["north"]["requests"])
    assert leg.expected == before["north"]["amounts"]["USD"]
    assert units(stage)["north"] == before["north"]
    found = accepted(stage, secret)
    stage.find(found)
    assert units(stage)["south"]["requests"] == 1
    within(10, lambda: len(transfers(stage.reader)["transfers"]) == 1)


def units(stage: RealStage) -> dict[str, Any]:
    rows = report(stage.reader, ["unit"], org="as-was", organise=lambda rows: Organisation(from_rows(rows)))["rows"]
    return {row["dimensions"]["unit"]: {name: row[name] for name in ("requests", "amounts")} for row in rows}


def test_a_suspected_key_is_looked_at_and_its_money_moved(stage: RealStage) -> None:
    """By the command, while the gateway serves: what is new since the instant, and a transfer to a cost centre."""
    secret = new_key(stage, "suspected", tenant="globex")
    within(WITHIN, lambda: all_say(stage, secret, 200))
    stage.find(accepted(stage, secret))
    since = now()
    for _ in range(3):
        last = accepted(stage, secret, "gpt-4o")
    stage.find(last)
    time.sleep(1)
    arguments = ["key", "suspect", "suspected", "--since", format_instant(since), "--move-to", "6666", "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as left:
        main.run([*arguments, "--book", str(stage.book)])
    document = json.loads(out.getvalue())
    schema = Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "key-suspect.json"
    jsonschema.validate(document, json.loads(schema.read_text()))
    assert left.value.code == 0 and document["after"]["requests"] == 3 and document["before"]["requests"] >= 1
    assert [one["new"] for one in document["models"]] == [True]
    assert {leg["to"]["cost_centre"] for leg in document["moved"]["legs"]} == {"6666"}
    assert sum(leg["requests"] for leg in document["moved"]["legs"]) == 3


def test_the_chain_holds_after_all_that(stage: RealStage) -> None:
    """The journal of everything above verifies; a former secret of nobody opens nothing."""
    assert ask(stage, "tbk_" + "0" * 46)[0] == 401
    found = verify(Path(stage.book))
    assert not [one for one in found.findings if one.code != "no_checkpoint"], found.findings


def test_a_limit_holds_in_every_worker_at_once(stage: RealStage) -> None:
    """Set while they serve: within seconds it holds over both workers together; lifted, it is gone."""
    change(stage, "registry.add", kind="tenant", name="burst")
    secret = new_key(stage, "burst-key", tenant="burst")
    within(WITHIN, lambda: ask(stage, secret)[0] == 200)
    change(stage, "limit.set", tenant="burst", requests_per_minute=1)
    within(WITHIN, lambda: all(ask(stage, secret)[0] == 429 for _ in range(10)))
    assert ask(stage, secret)[1]["error"]["code"] == "limit_requests"
    change(stage, "limit.set", tenant="burst")
    within(WITHIN, lambda: all(ask(stage, secret)[0] == 200 for _ in range(10)))
