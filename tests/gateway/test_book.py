"""The road and the book together, as processes: what a tenant can ask afterwards, how soon, and what is never in it."""

import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from real_stage import ACME, CONFIG, GLOBEX, SEARCH, TENANT_SECRETS, VENDOR_SECRETS, RealStage
from small_road import request_bytes

from tollbook.core.faults import NotFound
from tollbook.core.identity import new_request_id
from tollbook.core.money import parse_amount
from tollbook.journal.entry import RequestEntry, decode_request
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.ledger.reader import Reader
from tollbook.ledger.report import report
from tollbook.ledger.trace import trace

pytestmark = pytest.mark.xdist_group("gateway-stage")

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def ask(stage: RealStage, model: str = "gpt-4o-mini", text: str = "Hi.", *, key: str = ACME, **options: Any) -> str:
    """Send one request and read its answer; its id."""
    return _ask(stage, model, text, key, **options)[1]["x-tollbook-request-id"]


def _ask(
    stage: RealStage, model: str, text: str, key: str, headers: dict[str, str] | None = None, **members: Any
) -> tuple[int, dict[str, str], bytes]:
    path = MESSAGES if model.startswith("claude") else CHAT
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 4096}
    sent = {"x-api-key": key, "anthropic-version": "2023-06-01", **(headers or {})}
    connection = stage.connect()
    try:
        connection.request("POST", path, json.dumps(body | members), sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def leave(stage: RealStage, data: bytes, after: int) -> None:
    """Send a request and hang up after so many bytes of its answer."""
    host, _, port = stage.gateway_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(data)
        seen = 0
        while seen < after and (part := connection.recv(4096)):
            seen += len(part)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def settled(stage: RealStage) -> list[RequestEntry]:
    """The settled requests of all lanes."""
    lines = [line for lane in lane_directories(stage.book) for line in read_lane(lane)]
    return [decode_request(line.bytes) for line in lines if line.kind == "request.settled"]


def test_a_tenant_reads_its_own_request(stage: RealStage) -> None:
    """The trace in the tenant's view: what it pays, and no vendor key, price row, raw usage or expected amount."""
    request_id = ask(stage, "smart", "[[sim input=10 output=5]] [[sim fault=503 times=1]]")
    stage.find(request_id)
    status, found = stage.get(f"/tollbook/v1/requests/{request_id}", ACME)
    assert status == 200
    request, attempts = found["request"], found["attempts"]
    assert (request["id"], request["tenant"], request["outcome"]) == (request_id, "acme", "ok")
    assert request["amounts"] == {"recharge": request["amount"]}
    assert request["amount_usd"] == request["amount"]
    assert [attempt["outcome"] for attempt in attempts] == ["vendor_error", "ok"]
    assert [attempt["reason"] for attempt in attempts] == ["first", "retry"]
    text = json.dumps(found)
    for withheld in ("vendor_key", "usage_raw", "unit_price", "price_row", "price_book", "expected", "key_1"):
        assert f'"{withheld}' not in text
    assert [charge["class"] for charge in attempts[1]["charges"]] == ["input", "output"]


def test_another_tenants_request_does_not_exist(stage: RealStage) -> None:
    """Foreign, unknown and malformed ids are the same 404; no key is 401; another method is no way around."""
    request_id = ask(stage)
    stage.find(request_id)
    path = f"/tollbook/v1/requests/{request_id}"
    assert stage.get(path, ACME)[0] == 200
    foreign = stage.get(path, GLOBEX)
    unknown = stage.get("/tollbook/v1/requests/01800000-0000-7000-8000-000000000001", ACME)
    assert unknown[0] == 404
    assert unknown[1]["error"]["code"] == "request_unknown"
    assert foreign[0] in (202, 404)
    assert foreign[0] == stage.get(f"/tollbook/v1/requests/{new_request_id()}", GLOBEX)[0]
    assert request_id not in json.dumps(foreign[1]).replace(f'"id": "{request_id}"', "")
    assert stage.get("/tollbook/v1/requests/nonsense", ACME)[0] == 404
    assert stage.get(path, "nobody")[0] == 401
    assert stage.get("/tollbook/v1/else", ACME)[0] == 404


def test_a_key_limited_to_workloads_sees_only_theirs(stage: RealStage) -> None:
    """Of one tenant's requests a limited key reads its own workload's; a header does not widen it."""
    search = ask(stage, headers={"x-tollbook-workload": "search"})
    support = ask(stage, headers={"x-tollbook-workload": "support"})
    stage.find(search)
    stage.find(support)
    assert stage.get(f"/tollbook/v1/requests/{search}", SEARCH)[0] == 200
    assert stage.get(f"/tollbook/v1/requests/{support}", SEARCH)[0] != 200
    assert stage.get(f"/tollbook/v1/requests/{support}", ACME)[0] == 200


def test_a_request_the_book_has_not_reached_is_waited_for(stage: RealStage) -> None:
    """An id minted a moment ago is 202 `pending` after a second, not 404."""
    began = time.monotonic()
    status, found = stage.get(f"/tollbook/v1/requests/{new_request_id()}", ACME)
    assert (status, found["state"]) == (202, "pending")
    assert time.monotonic() - began >= 0.9
    fresh = ask(stage)
    assert stage.get(f"/tollbook/v1/requests/{fresh}", ACME)[0] in (200, 202)


def test_without_the_desk_traffic_goes_on(stage: RealStage) -> None:
    """While it is stopped its routes are 503 `book_behind`; requests are answered and recorded as ever."""
    desk = stage.child("desk")
    desk.kill()
    status, found = stage.get(f"/tollbook/v1/requests/{new_request_id()}", ACME)
    assert (status, found["error"]["code"]) == (503, "book_behind")
    request_id = ask(stage)
    assert stage.find(request_id)["request"]["outcome"] == "ok"
    until = time.monotonic() + 20
    while (status := stage.get(f"/tollbook/v1/requests/{request_id}", ACME)[0]) == 503 and time.monotonic() < until:
        time.sleep(0.2)
    assert status == 200


def test_a_request_shows_soon_after_its_end(stage: RealStage) -> None:
    """Under modest load a request is in `trace` about a second after its end (the figure is printed)."""
    reader, waits = Reader(stage.book), []
    chance = random.Random(1)

    def one(number: int) -> tuple[str, float]:
        time.sleep(chance.random() * 3)
        return ask(stage, text=f"fresh {number}"), time.monotonic()

    with ThreadPoolExecutor(8) as threads:
        pending = dict(threads.map(one, range(60)))
        for request_id, ended in pending.items():
            while True:
                try:
                    trace(reader, request_id)
                except NotFound:
                    time.sleep(0.01)
                else:
                    break
            waits.append(time.monotonic() - ended)
    probes = []
    for number in range(20):
        request_id, ended = ask(stage, text=f"probe {number}"), time.monotonic()
        while True:
            try:
                trace(reader, request_id)
                break
            except NotFound:
                assert time.monotonic() - ended < 20
                time.sleep(0.02)
        probes.append(time.monotonic() - ended)
    print(f"\nseconds until a request shows: median {statistics.median(probes):.2f}, longest {max(probes):.2f}")  # noqa: T201
    assert statistics.median(probes) <= 1.5


def test_totals_are_their_rows(stage: RealStage) -> None:
    """A report's total is the sum of the requests' amounts, and of the vendor's own bill (L1, L17)."""
    ids = [ask(stage, "claude-haiku-4-5", f"row {n} [[sim input={n + 5} output=3]]", key=GLOBEX) for n in range(20)]
    rows = [stage.find(request_id) for request_id in ids]
    total = sum(parse_amount(row["request"]["amounts"]["expected"]) for row in rows)
    assert total == sum(parse_amount(stage.vendor_record(request_id)[1][0].amount) for request_id in ids)
    found = report(Reader(stage.book), by=["tenant", "model"])
    assert parse_amount(found["total"]["amount_usd"]) == sum(parse_amount(row["amount_usd"]) for row in found["rows"])
    assert all(row["request"]["occurred_at"].endswith("Z") for row in rows)


CANARY = "canary-of-the-prompt-e83b"
PERSON = "ann.canary@example.com"


def busy(stage: RealStage) -> None:
    """Every kind of ending, each with the canaries in it."""
    headers = {"x-tollbook-user": PERSON, "x-request-id": "canary-caller-id", "x-tollbook-tags": "ticket=canary-tag"}
    faults = ["", "400", "401", "429 retry_after=0", "500", "drop", "usage_missing", "cut after=2", "error_event after=2",
              "clean_end after=1", "served_model"]  # fmt: skip
    for model in ("gpt-4o-mini", "claude-haiku-4-5", "smart", f"unknown-{CANARY}"):
        for fault in faults:
            for stream in (False, True):
                text = f"{CANARY} [[sim fault={fault}]]" if fault else CANARY
                try:
                    _ask(stage, model, text, ACME, headers, stream=stream)
                except (OSError, ValueError, EOFError, subprocess.SubprocessError):
                    continue
                except Exception as fault_of_http:
                    assert "IncompleteRead" in type(fault_of_http).__name__
    for number in range(10):
        data = request_bytes(text=f"{CANARY} [[sim output=60 chunk_ms=5]]", key=ACME, headers=headers, stream=True)
        leave(stage, data, 600 + 50 * number)
    leave(stage, b"POST /v1/messages HTTP/1.1\r\n" + CANARY.encode() + b"\r\n\r\n", 1)
    _ask(stage, "gpt-4o-mini", CANARY, f"{CANARY}-wrong-key")
    _ask(stage, "gpt-4o-mini", CANARY, ACME, headers | {"idempotency-key": f"key-{CANARY}"})


def test_no_secret_and_no_word_of_a_prompt_is_written_anywhere(tmp_path: Path) -> None:
    """After a busy run and an end, no file of the book and no log holds secret, prompt, answer or a person's name."""
    with RealStage(tmp_path) as stage:
        status, _, body = _ask(stage, "gpt-4o-mini", f"{CANARY} [[sim output=40]]", ACME)
        assert status == 200
        answer = json.loads(body)["choices"][0]["message"]["content"]
        busy(stage)
        last = ask(stage)
        stage.find(last)
    words = [*VENDOR_SECRETS.values(), *TENANT_SECRETS.values(), CANARY, answer, answer[20:60]]
    personal = [PERSON, "canary-caller-id", "canary-tag"]
    files = [path for path in stage.book.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        data = path.read_bytes()
        where = path.relative_to(stage.book)
        assert not [word for word in words if word.encode() in data], where
        if where.parts[0] != "personal":
            assert not [word for word in personal if word.encode() in data], where
    logs = stage.logs()
    assert logs
    assert not [word for word in words + personal if word in logs]


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGKILL])
def test_no_row_is_lost_when_a_worker_ends(tmp_path: Path, name: signal.Signals) -> None:
    """A worker is stopped or killed under load: every attempt the vendor saw is in the book exactly once (L12)."""
    with RealStage(tmp_path, CONFIG.replace("shutdown_grace: 5s", "shutdown_grace: 2s")) as stage:
        with ThreadPoolExecutor(16) as threads:
            running = [threads.submit(_try, stage, number) for number in range(300)]
            for _ in range(3):
                time.sleep(0.4)
                stage.child("worker").send_signal(name)
            answered = [one.result() for one in running]
        last = next(request_id for request_id in (_try(stage, 0) for _ in range(200)) if request_id)
        stage.find(last)
    lines = [line for lane in lane_directories(stage.book) for line in read_lane(lane)]
    ends = ("request.settled", "attempt.settled", "attempt.unsettled")
    entries = [decode_request(line.bytes) for line in lines if line.kind in ends]
    known = [f"{entry.request.id}.{entry.attempt.number}" for entry in entries if entry.attempt]
    received = [line["attempt_id"] for line in map(json.loads, (stage.vendor_books / "received.jsonl").open())]
    assert len(known) == len(set(known))
    assert set(received) <= set(known)
    assert {request_id for request_id in answered if request_id} <= {entry.request.id for entry in entries}
    assert len(received) >= 100
    for entry in entries:
        if entry.rating is not None and f"{entry.request.id}.{entry.attempt and entry.attempt.number}" not in received:
            assert entry.rating.charges == [] or (entry.settlement is not None and entry.settlement.billable is None)


def _try(stage: RealStage, number: int) -> str | None:
    try:
        status, headers, _ = _ask(stage, "gpt-4o-mini", f"n {number} [[sim first_byte_ms=20]]", ACME)
    except (OSError, ValueError):
        time.sleep(0.05)
        return None
    except Exception as fault:
        assert type(fault).__name__ in ("IncompleteRead", "RemoteDisconnected", "BadStatusLine")
        return None
    return headers["x-tollbook-request-id"] if status == 200 else None


def test_a_worker_loads_no_database_and_no_cryptography(stage: RealStage) -> None:
    """What parses clients' bytes holds neither the ledger's engine nor the book's signing library, and stays small."""
    heavy = [
        "duckdb",
        "pyarrow",
        "sqlalchemy",
        "cryptography",
        "pydantic",
        "starlette",
        "uvicorn",
        "typer",
        "rich",
        "yaml",
    ]
    code = f"import sys, tollbook.assembly.worker; print([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
    ask(stage)
    mapped = {Path(region.path).name for region in stage.child("worker").memory_maps()}
    assert not [name for name in mapped if "duckdb" in name or "arrow" in name or "cryptography" in name]
    resident = stage.child("worker").memory_info().rss / 2**20
    print(f"\nresident memory of a worker: {resident:.0f} MiB")  # noqa: T201
    assert resident < 120
