"""`statement pull`: the vendor's own reports, day by day, from its admin API into the book."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_commands import check, run
from test_simulator_reports import post

from tollbook.assembly import service
from tollbook.core.clock import format_instant, now
from tollbook.simulator import Simulator

DAY = 86_400_000_000
CONFIG = """\
book: {book}
gateway: {{listen: "127.0.0.1:0"}}
vendors:
  openai:
    format: openai
    base_url: "{url}/v1"
    keys: [{{name: main, secret: sk-sim-one}}]
    statements: {{secret: "env:PULL_KEY", url: "{url}"}}
  claude:
    format: anthropic
    base_url: "{url}"
    keys: [{{name: main, secret: sk-sim-two}}]
    statements: {{secret: "env:PULL_KEY", url: "{url}"}}
  plain: {{format: openai, base_url: "{url}/v1", keys: [{{name: main, secret: sk-sim-three}}]}}
models:
  gpt-4o-mini: {{targets: [{{vendor: openai, model: gpt-4o-mini}}]}}
tenants:
  acme: {{keys: [{{name: prod, secret: key-of-acme-000000000000000000}}]}}
"""


class World:
    def __init__(self, directory: Path, vendor: Simulator) -> None:
        self.root = directory / "book"
        self.config = directory / "tollbook.yaml"
        self.config.write_text(CONFIG.format(book=self.root, url=vendor.url))
        service.init(self.root)
        today = now() // DAY * DAY
        self.days = (format_instant(today - DAY)[:10], format_instant(today + DAY)[:10])

    def pull(self, vendor: str = "openai", *words: str) -> Any:
        since, until = self.days
        asked = ("--from", since, "--to", until, *words, "--config", str(self.config))
        return run("statement", "pull", vendor, *asked)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PULL_KEY", "sk-admin-sim-secret")
    with Simulator() as vendor:
        post(vendor, "/v1/chat/completions", "sk-sim-one", model="gpt-4o-mini")
        post(vendor, "/v1/messages", "sk-sim-two", model="claude-haiku-4-5", max_tokens=99)
        yield World(tmp_path, vendor), vendor


def test_reports_come_in_as_statements(world: tuple[World, Simulator]) -> None:
    """Each report of each day is one statement of grade `pulled`, with its address and without the key; its total is
    the vendor's book. The same again changes nothing; a day that was told otherwise replaces what was told."""
    here, vendor = world
    ran = here.pull("openai", "--json")
    assert ran.code == 0, ran.out + ran.err
    check("statement-pull", ran.document())
    usage, costs = (one for one in ran.document()["statements"] if one["import_id"])
    billed = sum(Decimal(one.amount) for one in vendor.books.billed if one.vendor == "openai")
    assert Decimal(costs["totals"]["USD"]) == billed
    assert (usage["kind"], costs["kind"]) == ("openai_usage", "openai_costs")
    assert run("rebuild", "--book", str(here.root)).code == 0
    listed = run("statement", "list", "--book", str(here.root), "--json").document()["statements"]
    assert {(one["grade"], one["vendor"]) for one in listed} == {("pulled", "openai")}
    assert listed[1]["origin"].startswith(f"{vendor.url}/v1/organization/costs?start_time=")
    again = here.pull("openai", "--json").document()
    assert [one["duplicate"] for one in again["statements"] if one["import_id"]] == [True, True]
    post(vendor, "/v1/chat/completions", "sk-sim-one", model="gpt-4o-mini")
    later = here.pull("openai", "--json").document()
    assert [one["revises"] for one in later["statements"] if one["import_id"]] == [["S-1"], ["S-2"]]
    assert (later["new"], later["replaced"]) == (2, 2)
    assert "0 new" in here.pull().out
    assert "sk-admin-sim" not in "".join(
        path.read_text(errors="replace") for path in here.root.rglob("*.jsonl") if path.is_file()
    )


def test_anthropic_is_pulled_under_the_vendors_own_name(world: tuple[World, Simulator]) -> None:
    """The statement's vendor is the one of the configuration; amounts in cents become dollars."""
    here, vendor = world
    ran = here.pull("claude", "--json")
    assert ran.code == 0, ran.err
    _, costs = (one for one in ran.document()["statements"] if one["import_id"])
    (billed,) = (Decimal(one.amount) for one in vendor.books.billed if one.vendor == "anthropic")
    assert Decimal(costs["totals"]["USD"]) == billed


def test_what_cannot_be_pulled_is_told(world: tuple[World, Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor without reports, parts of days, a key that is no admin key: what, where, what to do; never the key."""
    here, _ = world
    assert "allowed: openai, claude" in here.pull("plain").err
    half = run(
        "statement",
        "pull",
        "openai",
        "--from",
        "2026-11-01T12:00:00Z",
        "--to",
        "2026-11-02",
        "--config",
        str(here.config),
    )
    assert half.code == 2 and "whole UTC days" in half.err
    monkeypatch.setenv("PULL_KEY", "sk-sim-one")
    refused = here.pull()
    assert refused.code == 1 and "answered 401" in refused.err and "admin key" in refused.err
    assert "sk-sim-one" not in refused.err
