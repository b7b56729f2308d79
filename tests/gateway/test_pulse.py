"""What `top` shows of a gateway that runs: real processes, real requests, and a process that is gone."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from real_stage import ACME, GLOBEX, RealStage

from tollbook import config
from tollbook.assembly import gauges, service
from tollbook.cli.top import look
from tollbook.cli.top_screen import show_top
from tollbook.core.clock import now
from tollbook.core.faults import BadInput
from tollbook.ledger.reader import Reader

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "top.json").read_text())
PATIENCE = 20.0

pytestmark = pytest.mark.xdist_group("gateway-stage")


def ask(stage: RealStage, key: str, text: str) -> int:
    """The status of a chat."""
    connection = stage.connect()
    try:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body),
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def allow(stage: RealStage, requests: int | None) -> None:
    """Let globex make so many requests a minute."""
    nothing = dict.fromkeys(("workload", "key", "model", "tokens_per_minute", "streams", "reason"))
    service.change_registry(stage.book, "limit.set", {"tenant": "globex", "requests_per_minute": requests, **nothing})


def look_until(stage: RealStage, wanted: Any) -> dict[str, Any]:
    """A look in which something is so; the last one when it never is."""
    settings = config.load(stage.config)
    until = time.monotonic() + PATIENCE
    with Reader(stage.book) as reader:
        while True:
            found = look(stage.book, settings, reader)
            if wanted(found) or time.monotonic() > until:
                return found
            time.sleep(0.1)


def tenant(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next((one for one in document["tenants"] if one["tenant"] == name), {"requests": 0, "failed": 0})


def test_a_look_counts_what_was_asked(stage: RealStage) -> None:
    """Requests per tenant, failures, money and limits are those of the last minute, in the published shape."""
    allow(stage, 4)
    before = tenant(look_until(stage, lambda _: True), "globex")["requests"]
    time.sleep(2)  # until workers keep the limit
    statuses = [ask(stage, GLOBEX, "[[sim input=1000 output=50]]") for _ in range(6)]
    assert statuses.count(200) <= 4 and 429 in statuses
    assert ask(stage, ACME, "[[sim fault=500]]") == 500
    found = look_until(
        stage, lambda one: tenant(one, "globex")["requests"] >= before + 6 and tenant(one, "acme")["failed"]
    )
    jsonschema.validate(found, SCHEMA)
    globex = tenant(found, "globex")
    assert globex["requests"] >= before + 6
    assert globex["refused"] >= statuses.count(429)
    assert "USD" in globex["amounts"]
    assert globex["answer_us"]["p99"] >= globex["first_byte_us"]["p50"] > 0
    (limit,) = [one for one in found["limits"] if one["tenant"] == "globex"]
    assert (limit["limit"], limit["most"], limit["percent"]) == ("requests_per_minute", 4, limit["used"] * 25)
    assert limit["used"] >= statuses.count(200)
    assert any("requests per minute" in problem for problem in found["problems"])
    assert found["processes"]["workers"] == 1
    assert show_top(found, 80) is not None
    allow(stage, None)
    until = time.monotonic() + PATIENCE
    while ask(stage, GLOBEX, "again") != 200:  # other tests meet no limit
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_desk_that_is_gone_is_said(stage: RealStage) -> None:
    """While the desk is stopped, `top` shows everything, and says that it is."""
    desk = stage.child("desk")
    os.kill(desk.pid, signal.SIGKILL)
    found = look_until(stage, lambda one: not one["processes"]["desk"])
    assert any("the desk is down" in problem for problem in found["problems"])
    assert found["traffic"] is not None
    found = look_until(stage, lambda one: one["processes"]["desk"])
    assert not any("the desk" in problem for problem in found["problems"])


def test_without_a_book_nothing_is_shown(tmp_path: Path) -> None:
    """A directory that is no book is an error that names it."""
    with Reader(tmp_path) as reader, pytest.raises(BadInput, match="no book"):
        look(tmp_path, None, reader)


def test_a_book_that_was_never_served_has_problems(tmp_path: Path) -> None:
    """No processes, no ledger, no counters: each is said, nothing is a zero."""
    service.init(tmp_path / "book")
    with Reader(tmp_path / "book") as reader:
        found = look(tmp_path / "book", None, reader)
    jsonschema.validate(found, SCHEMA)
    assert found["traffic"] is None
    assert found["open"] is None
    assert len(found["problems"]) == 4
    assert gauges.limits(tmp_path / "book", None, now()) == []
