"""Batches end to end: made by the official clients, followed by the desk, every line settled once, by the vendor's own
books."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from real_stage import ACME, GLOBEX, PATIENCE, RealStage

from tollbook.cli.ledger_health import check_ledger
from tollbook.core.faults import NotFound
from tollbook.core.money import parse_amount
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.ledger.items import open_items
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace
from tollbook.simulator import Billed, read_books

pytestmark = pytest.mark.xdist_group("gateway-stage")

Row = dict[str, Any]


def gpt(stage: RealStage, key: str = ACME) -> openai.OpenAI:
    return openai.OpenAI(base_url=stage.openai_url, api_key=key, max_retries=0)


def chat(name: str, text: str, model: str = "gpt-4o") -> Row:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def batch_of(client: openai.OpenAI, lines: list[Row]) -> tuple[str, str]:
    """A batch made of some lines: the vendor's id, and that of the request that made it."""
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    raw = client.batches.with_raw_response.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    return raw.parse().id, raw.headers["x-tollbook-request-id"]


def closed(stage: RealStage, request: str, patience: float = PATIENCE) -> Row:
    """The row of a batch that the book has closed."""
    until = time.monotonic() + patience
    stage.find(request)
    while time.monotonic() < until:
        rows = stage.reader.read(
            lambda lake: lake.dicts("SELECT * FROM batches WHERE request_id = $1 AND status IS NOT NULL", [request])
        )
        if rows:
            assert len(rows) == 1
            return rows[0]
        time.sleep(0.1)
    raise AssertionError(f"the batch of {request} was not closed: {stage.logs()[-2000:]}")


def lines_of(stage: RealStage, request: str) -> list[Row]:
    """The settled lines of a batch, as the book has them."""
    sql = "SELECT * FROM attempts WHERE kind = 'line.settled' AND parent_request_id = $1 ORDER BY request_id"
    found: list[Row] = stage.reader.read(lambda lake: lake.dicts(sql, [request]))
    return found


def billed_of(stage: RealStage, batch: str) -> list[Billed]:
    """What the vendor billed for a batch, by its own books."""
    return [line for line in read_books(stage.vendor_books)[1] if line.batch_id == batch]


def agrees(stage: RealStage, batch: str, request: str) -> list[Row]:
    """The book and the vendor's own books say the same of a batch; its lines."""
    lines = lines_of(stage, request)
    billed = {line.response_id: parse_amount(line.amount) for line in billed_of(stage, batch)}
    ours = {
        line["response_id"]: int(line["amount_expected"].scaleb(12))
        for line in lines
        if line["response_id"] is not None
    }
    assert ours == billed
    assert {line["processing"] for line in lines} <= {"batch"}
    assert check_totals(stage.book).different == []
    return lines


def test_a_batch_of_openai_is_settled_line_by_line(stage: RealStage) -> None:
    """Nobody asks after it; each line is a request at half price below the one that made it; errors cost nothing."""
    lines = [chat(f"line {n}", f"[[sim input={100 + n} output={n + 1}]]") for n in range(5)]
    batch, request = batch_of(gpt(stage), [*lines, chat("bad", "hello", model="no-such-model")])
    row = closed(stage, request)
    assert (row["status"], row["differs"], row["problem"]) == ("completed", None, None)
    assert row["told"]["lines"] == row["settled"]["lines"] == 6
    settled = agrees(stage, batch, request)
    assert sorted((line["outcome"], line["input"]) for line in settled) == [
        ("client_error", None), *(("ok", 100 + n) for n in range(5)),
    ]  # fmt: skip
    (bad,) = [line for line in settled if line["outcome"] == "client_error"]
    assert (bad["billable"], bad["amount_expected"]) == (False, 0)
    assert len({line["line"] for line in settled}) == 6 and all(line["unpriced"] is None for line in settled)
    assert {line["tenant"] for line in settled} == {"acme"}


def test_a_batch_of_anthropic_is_settled_line_by_line(stage: RealStage) -> None:
    """The same of message batches, whose results have no time of their own: the batch's end is theirs."""
    claude = anthropic.Anthropic(base_url=stage.gateway_url, api_key=ACME, max_retries=0)
    asked: list[Any] = [
        {
            "custom_id": f"r{n}",
            "params": {
                "model": "claude-haiku-4-5",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": f"[[sim input={n + 1} output=7]]"}],
            },
        }
        for n in range(3)
    ]
    raw = claude.messages.batches.with_raw_response.create(requests=asked)
    request = raw.headers["x-tollbook-request-id"]
    row = closed(stage, request)
    assert (row["differs"], row["told"]) == (None, {"completed": 3, "failed": 0, "lines": 3})
    settled = agrees(stage, raw.parse().id, request)
    assert len(settled) == 3 and {line["occurred"] for line in settled} == {row["ended"]}


def state_of(stage: RealStage, sql: str) -> list[tuple[Any, ...]]:
    """What the state database says."""
    database = sqlite3.connect(f"file:{stage.book}/state.sqlite?mode=ro", uri=True, timeout=5)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def test_what_was_not_done_costs_nothing(stage: RealStage) -> None:
    """A batch that expired settles what was done; what was not is told and free. Results come in any order, some twice,
    and are settled once."""
    lines = [chat(f"done {n}", f"[[sim input={n + 1} output=3 fault=batch_shuffled]]") for n in range(6)]
    lines += [chat(f"late {n}", "[[sim fault=batch_expired]]") for n in range(2)]
    lines += [chat("again", "[[sim input=50 output=5 fault=batch_repeated]]")]
    batch, request = batch_of(gpt(stage), lines)
    row = closed(stage, request)
    assert (row["status"], row["differs"], row["problem"]) == ("expired", None, None)
    settled = agrees(stage, batch, request)
    outcomes = sorted((line["outcome"], line["error"]) for line in settled)
    assert outcomes == [*[("ok", None)] * 7, *[("timeout", "batch_expired")] * 2]
    assert {line["amount_expected"] for line in settled if line["outcome"] == "timeout"} == {0}


def test_a_cancelled_batch_settles_what_was_done(stage: RealStage) -> None:
    """Cancelled in the middle: the lines done before are paid for, the others are not."""
    lines = [chat("one", "[[sim input=11 output=2]]"), chat("two", "[[sim fault=batch_cancelled]]")]
    batch, request = batch_of(gpt(stage), lines)
    row = closed(stage, request)
    assert (row["status"], row["differs"]) == ("cancelled", None)
    assert sorted(line["outcome"] for line in agrees(stage, batch, request)) == ["cancelled", "ok"]


def test_a_total_that_does_not_add_up_is_a_finding(stage: RealStage) -> None:
    """What the vendor tells of the whole is held against its lines: a token too many is shown, never silent."""
    _, request = batch_of(gpt(stage), [chat("one", "[[sim input=10 output=1 fault=batch_total]]")])
    row = closed(stage, request)
    assert row["differs"] == ["input"]
    (item,) = [one for one in open_items(stage.book)["batches"] if one["request_id"] == request]
    assert (item["state"], item["told"]["input"], item["settled"]["input"]) == ("batch_differs", 11, 10)
    (check,) = [one for one in check_ledger(stage.book)[0] if one.name == "batches"]
    assert check.state == "warning" and request in check.message
    told = stage.find(request)["batch"]
    assert (told["state"], told["differs"], told["line_count"]) == ("closed", ["input"], 1)


def test_a_model_without_a_price_is_visible(stage: RealStage) -> None:
    """An unknown model in a line leaves that line unpriced, an open item, and the others priced."""
    lines = [chat("known", "[[sim input=10 output=1]]"), chat("unknown", "[[sim output=2]]", model="sim-unlisted")]
    _, request = batch_of(gpt(stage), lines)
    closed(stage, request)
    (unpriced,) = [line for line in lines_of(stage, request) if line["amount_expected"] is None]
    assert unpriced["model"].startswith("sim-unlisted") and unpriced["unpriced"] is not None
    assert unpriced["request_id"] in [item["request_id"] for item in open_items(stage.book)["unpriced"]]
    batch = stage.find(request)["batch"]
    assert batch["amounts"] == {"USD": None} and batch["left_out"] == 0


def test_a_trace_of_a_batch_is_bounded(stage: RealStage) -> None:
    """The first lines and what all come to; how many are left out is said. A line tells its own story by its id."""
    _, request = batch_of(gpt(stage), [chat(f"n{n}", "[[sim input=1000 output=1]]") for n in range(30)])
    closed(stage, request)
    whole = trace(stage.book, request, lines=7)["batch"]
    assert (whole["line_count"], len(whole["lines"]), whole["left_out"]) == (30, 7, 23)
    total = sum(parse_amount(line["amount"]) for line in trace(stage.book, request, lines=30)["batch"]["lines"])
    assert parse_amount(whole["amounts"]["USD"]) == total
    line = trace(stage.book, whole["lines"][0]["request_id"])
    assert line["request"]["parent_request_id"] == request and line["attempts"][0]["processing"] == "batch"
    assert line["request"]["endpoint"] == "openai.chat" and line["batch"] is None
    assert line["request"]["amount"] == whole["lines"][0]["amount"]


def test_two_tenants_name_their_lines_alike(stage: RealStage) -> None:
    """The same custom ids in two tenants' batches are four lines, each its tenant's, under a digest of its own."""
    made = [batch_of(gpt(stage, key), [chat("a", "one"), chat("b", "two")]) for key in (ACME, GLOBEX)]
    rows = []
    for batch, request in made:
        closed(stage, request)
        rows.append(agrees(stage, batch, request))
    assert [{line["tenant"] for line in lines} for lines in rows] == [{"acme"}, {"globex"}]
    assert len({line["line"] for lines in rows for line in lines}) == 4
    with pytest.raises(NotFound):
        trace(stage.book, rows[0][0]["request_id"], tenant="globex")


def test_kills_and_breaks_in_the_middle_leave_each_line_once(stage: RealStage) -> None:
    """The desk is killed while it reads the output, then the scribe while it takes lines over; a client downloads the
    file meanwhile. Each line is settled once, in the journal too."""
    count = 4000
    lines = [chat(f"line {n}", f"[[sim input={n % 97 + 1} output=1]]") for n in range(count)]
    client = gpt(stage)
    batch, request = batch_of(client, lines)
    tell = "select count(*) from batch_lines"
    wait_for(lambda: state_of(stage, tell)[0][0] > 0, stage)
    os.kill(stage.child("desk").pid, signal.SIGKILL)
    interrupted = state_of(stage, tell)[0][0]
    assert interrupted < count
    file = client.batches.retrieve(batch).output_file_id
    assert file is not None and client.files.content(file).content.count(b"\n") == count
    wait_for(lambda: state_of(stage, "select count(*) from batch_lines where payload is null")[0][0] > 0, stage)
    os.kill(stage.child("scribe").pid, signal.SIGKILL)
    row = closed(stage, request, 90)
    assert row["differs"] is None and row["settled"]["lines"] == count, (row, interrupted)
    assert len(agrees(stage, batch, request)) == count
    assert len(journal_lines(stage.book, request)) == len(set(journal_lines(stage.book, request))) == count
    assert state_of(stage, tell) == [(0,)]


def journal_lines(book: Path, request: str) -> list[str]:
    """The ids of the lines of a batch, as often as the journal has them."""
    found = []
    for directory in lane_directories(book):
        for line in read_lane(directory):
            if line.kind == "line.settled" and request.encode() in line.bytes:
                found.append(json.loads(line.bytes)["request"]["id"])
    return found


def wait_for(what: Callable[[], bool], stage: RealStage) -> None:
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, stage.logs()[-2000:]
        time.sleep(0.01)


def test_background_work_nobody_fetches_is_settled(stage: RealStage) -> None:
    """The desk asks how it went."""
    raw = gpt(stage).responses.with_raw_response.create(
        model="gpt-4o", input="[[sim input=20 output=7 later_ms=300]]", background=True
    )
    request = raw.headers["x-tollbook-request-id"]
    wait_for(lambda: stage.find(request)["attempts"][0]["usage"] == {"input": 20, "output": 7}, stage)
    assert raw.parse().id not in [item["response_id"] for item in open_items(stage.book)["background"]]


def test_nothing_of_what_was_asked_or_answered_is_kept(stage: RealStage) -> None:
    """Neither the journal nor the state database holds a word of it, nor what the client called a line."""
    name, secret = "patient-4711-canary", "the-question-canary-0815"
    _, request = batch_of(gpt(stage), [chat(name, secret)])
    closed(stage, request)
    files = [path for path in stage.book.rglob("*") if path.is_file()]
    for word in (name.encode(), secret.encode()):
        assert not [path for path in files if word in path.read_bytes()]
