"""The road and the book together, as processes: what a tenant can ask afterwards, how soon, and what is never in it."""

import http.client
import json
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from real_stage import ACME, CONFIG, GLOBEX, SEARCH, TENANT_SECRETS, VENDOR_SECRETS, RealStage
from small_road import request_bytes

from tollbook.core.identity import new_request_id
from tollbook.core.money import parse_amount
from tollbook.journal.entry import RequestEntry, decode_request
from tollbook.journal.tail import lane_directories, read_lane
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
    stage.find(ask(stage))
    count, pause = 300, 0.02
    ended: dict[str, float] = {}
    shown: dict[str, float] = {}

    def send() -> None:
        for number in range(count):
            request_id = ask(stage, text=f"fresh {number}")
            ended[request_id] = time.monotonic()
            time.sleep(pause)

    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(send)
        while len(shown) < count:
            visible, at = stage.visible(), time.monotonic()
            for request_id in set(ended) & visible - set(shown):
                shown[request_id] = at
            assert not sending.done() or at - max(ended.values()) < 20
            time.sleep(0.02)
    waits = sorted(shown[request_id] - ended[request_id] for request_id in ended)
    middle, late = statistics.median(waits), waits[count * 99 // 100]
    print(f"\nseconds until a request shows, of {count}: median {middle:.2f}, p99 {late:.2f}")  # noqa: T201
    assert middle <= 1.5


def test_totals_are_their_rows(stage: RealStage) -> None:
    """A report's total is the sum of the requests' amounts, and of the vendor's own bill (L1, L17)."""
    ids = [ask(stage, "claude-haiku-4-5", f"row {n} [[sim input={n + 5} output=3]]", key=GLOBEX) for n in range(20)]
    stage.find(ids[-1])
    rows = [trace(stage.reader, request_id) for request_id in ids]
    total = sum(parse_amount(row["request"]["amounts"]["expected"]) for row in rows)
    assert total == sum(parse_amount(stage.vendor_record(request_id)[1][0].amount) for request_id in ids)
    found = report(stage.reader, by=["tenant", "model"])
    assert parse_amount(found["total"]["amount_usd"]) == sum(parse_amount(row["amount_usd"]) for row in found["rows"])
    assert all(row["request"]["occurred_at"].endswith("Z") for row in rows)


CANARY = "canary-of-the-prompt-e83b"
PERSON = "ann.canary@example.com"


def busy(stage: RealStage) -> None:
    """Every kind of ending, each with the canaries in it."""
    headers = {"x-tollbook-user": PERSON, "x-request-id": "canary-caller-id", "x-tollbook-tags": "ticket=canary-tag"}
    faults = ["", "400", "401", "429 retry_after=0", "500", "drop", "usage_missing", "cut after=2",
              "error_event after=2", "clean_end after=1", "served_model"]  # fmt: skip
    for model in ("gpt-4o-mini", "claude-haiku-4-5", "smart", f"unknown-{CANARY}"):
        for fault in faults:
            for stream in (False, True):
                text = f"{CANARY} [[sim fault={fault}]]" if fault else CANARY
                try:
                    _ask(stage, model, text, ACME, headers, stream=stream)
                except http.client.IncompleteRead:
                    continue
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


def test_no_row_is_lost_when_a_worker_ends(tmp_path: Path) -> None:
    """Workers are stopped and killed under load: every attempt the vendor saw is in the book exactly once (L12)."""
    with RealStage(tmp_path, CONFIG.replace("shutdown_grace: 5s", "shutdown_grace: 2s")) as stage:
        with ThreadPoolExecutor(16) as threads:
            running = [threads.submit(_try, stage, number) for number in range(300)]
            for name in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
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
    except (OSError, http.client.HTTPException):
        time.sleep(0.05)
        return None
    return headers["x-tollbook-request-id"] if status == 200 else None


def test_two_workers_share_claims_and_sync_before_they_forward(tmp_path: Path) -> None:
    """One of many requests with one Idempotency-Key is forwarded, whichever worker each meets; all rows are there."""
    config = CONFIG.replace('listen: "{gateway}"', 'listen: "{gateway}", workers: 2').replace(
        "vendors:", "journal: {sync: before_forward}\nvendors:", 1
    )
    with RealStage(tmp_path, config) as stage, ThreadPoolExecutor(8) as threads:
        key = {"idempotency-key": "once"}
        asked = [threads.submit(_ask, stage, "gpt-4o", "[[sim first_byte_ms=300]]", ACME, key) for _ in range(24)]
        plain = [threads.submit(ask, stage, text=f"plain {number}") for number in range(100)]
        statuses = [one.result()[0] for one in asked]
        ids = {one.result() for one in plain}
        stage.find(ask(stage))
        received = [line.model_asked for line in stage.vendor_record_of_all()]
    assert received.count("gpt-4o") == 1
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert ids <= {entry.request.id for entry in settled(stage)}
    lanes = {path.name for path in lane_directories(stage.book) if path.name.startswith("worker-")}
    assert len(lanes) == 2


def test_a_worker_loads_no_database_and_no_cryptography(stage: RealStage) -> None:
    """What parses clients' bytes holds neither the ledger's engine nor, but to open the secrets of clients that sign
    their requests, a library of cryptography; and it stays small."""
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
    assert not [name for name in mapped if "duckdb" in name or "arrow" in name]
    resident = stage.child("worker").memory_info().rss / 2**20
    print(f"\nresident memory of a worker: {resident:.0f} MiB")  # noqa: T201
    assert resident < 120


def test_a_tenant_disputes_its_own_request_and_no_others(stage: RealStage) -> None:
    """Through worker, desk and scribe: the case is opened by the key that was shown; to others there is none."""
    request_id = ask(stage)
    stage.find(request_id)

    def post(key: str) -> tuple[int, Any]:
        body = json.dumps({"requests": [request_id], "claim": "we did not send this"}).encode()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        wanted = urllib.request.Request(f"{stage.gateway_url}/tollbook/v1/disputes", data=body, headers=headers)
        try:
            with urllib.request.urlopen(wanted, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as fault:
            return fault.code, json.loads(fault.read())

    status, made = post(ACME)
    assert (status, made["state"], made["requests"]) == (201, "open", [request_id])
    assert stage.get(f"/tollbook/v1/disputes/{made['case']}", ACME)[0] == 200
    foreign = stage.get(f"/tollbook/v1/disputes/{made['case']}", GLOBEX)
    assert (foreign[0], foreign[1]["error"]["code"]) == (404, "case_unknown")
    assert post(GLOBEX)[0] == 404 and post("nobody")[0] == 401
