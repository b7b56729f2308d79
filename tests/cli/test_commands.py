"""The commands as people run them, against a book that a real gateway has just written."""

import asyncio
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import psutil
import pytest

from tollbook.cli import demo_traffic, main
from tollbook.cli.demo_vendors import vendors_side
from tollbook.cli.sender import Tally, send_all
from tollbook.cli.stage import Stage
from tollbook.cli.traffic import read_traffic
from tollbook.core.money import parse_amount
from tollbook.simulator import read_books

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = ROOT / "docs" / "reference" / "schemas"
COUNT = 120

pytestmark = pytest.mark.xdist_group("cli-stage")


class Served(NamedTuple):
    """A book after some traffic; its gateway has been stopped."""

    directory: Path
    book: Path
    tally: Tally


class Ran(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


def run(*arguments: str) -> Ran:
    """Run the command line in this process, as `tollbook` would."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        main.run(list(arguments))
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


def run_apart(*arguments: str, **environ: str) -> Ran:
    """Run the command line as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tollbook", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environ},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def check(name: str, document: dict[str, Any]) -> None:
    """Hold an output against its published schema."""
    jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.json").read_text()))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The demo's traffic, in small, through gateway and simulator; then everything is stopped in order."""
    keys = {tenant: f"key-of-{tenant}-{'x' * 24}" for tenant in demo_traffic.TENANTS}
    secrets = {f"DEMO_{tenant.upper()}_KEY": key for tenant, key in keys.items()}
    secrets |= {"DEMO_OPENAI_KEY": "sk-sim-canary-1", "DEMO_ANTHROPIC_KEY": "sk-sim-canary-2"}
    with tempfile.TemporaryDirectory() as name:
        with Stage(Path(name), demo_traffic.configuration(secrets), secrets) as stage:
            shots = demo_traffic.shots(COUNT, keys, seed=1)
            tally = asyncio.run(send_all(stage.gateway_url, shots, connections=8))
        yield Served(Path(name), stage.book, tally)


def story_of(served: Served) -> str:
    """The id of the request that was retried and fell back."""
    marked = ("x-tollbook-template", f"{demo_traffic.STORY}@v1")
    return next(str(one.request_id) for one in served.tally.results if marked in one.shot.headers)


def test_every_request_sent_is_reported(served: Served) -> None:
    """Gateway, journal and ledger lose nothing between the client and the report, whose rows add up to its total."""
    ran = run("report", "--book", str(served.book), "--by", "tenant,model,outcome", "--json")
    assert ran.code == 0, ran.err
    document = ran.document()
    check("report", document)
    assert document["total"]["requests"] == COUNT == len(served.tally.results)
    for name in ("requests", "attempts", "unpriced", "unsettled"):
        assert sum(row[name] for row in document["rows"]) == document["total"][name]
    assert document["total"]["unpriced"] >= 1


def test_the_demo_explains_what_the_vendors_bill_otherwise(served: Served) -> None:
    """What was reported and priced is billed to the last digit; the rest has a reason; the unknown is not zero."""
    side = vendors_side(served.book, *read_books(served.directory / "vendor"))
    rows = {row["reason"]: row for row in side["compared"]}
    assert rows["same"]["book_usd"] == rows["same"]["vendor_usd"]
    assert rows["same"]["attempts"] > COUNT / 2
    assert rows["unpriced"]["attempts"] >= 1 and rows["unpriced"]["book_usd"] is None
    assert sum(row["attempts"] for row in rows.values()) == side["received"]
    assert sum(parse_amount(row["vendor_usd"]) for row in rows.values()) == parse_amount(side["amounts"]["USD"])


def test_a_price_twice_as_high_would_have_cost_as_much_again(served: Served, tmp_path: Path) -> None:
    """`prices diff` weighs a change by the ledger: twice the price of a model is its whole cost more, to the digit."""
    sheet = tmp_path / "twice.yaml"
    sheet.write_text(
        'source: test\nretrieved: "2026-11-20"\nextends: base\nvendors:\n  openai:\n    models:\n      gpt-4o-mini:\n'
        "        prices: [{per: 1M, prices: {input: 0.3, input_cache_read: 0.15, output: 1.2}}]\n"
    )
    ran = run("prices", "diff", "base", str(sheet), "--book", str(served.book), "--json")
    document = ran.document()
    check("prices-diff", document)
    report = run("report", "--book", str(served.book), "--by", "model_served", "--json").document()
    known = [row["amounts"]["USD"] for row in report["rows"] if "gpt-4o-mini-2024-07-18" in row["dimensions"].values()]
    assert known
    assert document["impact"]["more"] == {"USD": known[0]}
    assert "would have cost" in run("prices", "diff", "base", str(sheet), "--book", str(served.book)).out


@pytest.mark.parametrize("by", ["tenant", "user", "hour", "model_asked,route", "policy,reason", "tag:team", "stream"])
def test_any_dimension_can_be_named(served: Served, by: str) -> None:
    """Reports by other dimensions have the same total, and the shape that was published."""
    document = run("report", "--book", str(served.book), "--by", by, "--tz", "Asia/Kolkata", "--json").document()
    check("report", document)
    assert document["total"]["requests"] == COUNT


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "tomorrow"], 2, "--from: found 'tomorrow'; allowed: 2026-11-01"),
        (["--from", "2026-11-24", "--to", "2026-11-23"], 2, "the period is empty"),
        (["--as-of", "soon"], 2, "--as-of: found 'soon'"),
        (["--as-of", "2020-01-01T00:00:00Z"], 1, "no position at or before"),
        (["--by", "nonsense"], 2, "no such dimension: 'nonsense'"),
        (["--tz", "Mars/Olympus"], 2, "no such time zone"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(served: Served, arguments: list[str], code: int, words: str) -> None:
    """A wrong period, position, dimension or zone is told with what was found and what is allowed."""
    ran = run("report", "--book", str(served.book), *arguments)
    assert ran.code == code
    assert words in " ".join(ran.err.split())


def test_a_day_begins_at_midnight_of_the_zone(served: Served) -> None:
    """`--from` and `--to` take days of the zone: the days around all traffic hold it, the day before holds none."""
    whole = ["report", "--book", str(served.book), "--tz", "Asia/Kolkata", "--json"]
    days = {row["dimensions"]["day"] for row in run(*whole, "--by", "day").document()["rows"]}
    assert run(*whole, "--from", min(days)).document()["total"]["requests"] == COUNT
    assert run(*whole, "--to", min(days)).document()["total"]["requests"] == 0


def test_a_position_gives_the_same_bytes(served: Served) -> None:
    """A report as of a position is the same, byte for byte, whenever it is asked for."""
    first = run("report", "--book", str(served.book), "--json")
    position = str(first.document()["provenance"]["position"]["number"])
    assert run("report", "--book", str(served.book), "--as-of", position, "--json").out == first.out


def test_a_request_tells_its_story(served: Served) -> None:
    """The request that was retried and fell back shows three attempts, its prices, and the entries that say so."""
    ran = run("trace", story_of(served), "--book", str(served.book), "--json")
    assert ran.code == 0, ran.err
    document = ran.document()
    check("trace", document)
    assert [attempt["reason"] for attempt in document["attempts"]] == ["first", "retry", "fallback"]
    assert document["request"]["amount_usd"] not in (None, "0")
    assert document["attempts"][2]["charges"]
    shown = run("trace", story_of(served)[:20], "--book", str(served.book)).out
    for words in ("fell back to the next target", "user-", "price row", "request.settled"):
        assert words in shown


def test_a_tenant_sees_its_own_side_only(served: Served) -> None:
    """The tenant's view has the published, smaller shape."""
    ran = run("trace", story_of(served), "--book", str(served.book), "--tenant-view", "--json")
    check("trace-tenant", ran.document())


def test_every_request_that_got_an_id_can_be_traced(served: Served) -> None:
    """Whatever its ending, a request's trace has the published shape."""
    from tollbook.ledger.reader import Reader
    from tollbook.ledger.trace import trace

    with Reader(served.book) as reader:
        for result in served.tally.results[::12]:
            assert result.request_id is not None
            for view, schema in (("operator", "trace"), ("tenant", "trace-tenant")):
                check(schema, trace(reader, result.request_id, view=view))


def test_anything_can_be_found(served: Served) -> None:
    """A request id, its beginning, a vendor's id, a user and an amount lead to the request; nonsense to exit code 1."""
    document = run("trace", story_of(served), "--book", str(served.book), "--json").document()
    vendor_id = document["attempts"][2]["vendor_request_id"]
    amount = document["request"]["amount"]
    user = dict(next(one for one in served.tally.results if one.request_id == story_of(served)).shot.headers)
    for text in (story_of(served), story_of(served)[:20], vendor_id, amount, user["x-tollbook-user"]):
        ran = run("find", text, "--book", str(served.book), "--json")
        check("find", ran.document())
        assert story_of(served) in {hit["request_id"] for hit in ran.document()["hits"]}, text
        assert ran.code == 0
    assert run("find", "nothing-is-called-so", "--book", str(served.book)).code == 1


def test_history_verifies_and_a_changed_byte_does_not(served: Served, tmp_path: Path) -> None:
    """An untouched book is verified with exit code 0; one changed digit in a copy gives exit code 3 and the place."""
    ran = run("verify", "--book", str(served.book), "--json")
    assert ran.code == 0, ran.out
    check("verify", ran.document())
    copy = tmp_path / "book"
    subprocess.run(["cp", "-a", str(served.book), str(copy)], check=True)
    lane = max(copy.glob("lanes/worker-*/*.jsonl"), key=lambda path: path.stat().st_size)
    lane.write_bytes(re.sub(rb'"status":200', b'"status":201', lane.read_bytes(), count=1))
    ran = run("verify", "--book", str(copy), "--json")
    assert ran.code == 3
    check("verify", ran.document())
    assert lane.parent.name in {finding["lane"] for finding in ran.document()["findings"]}


def test_a_rebuilt_ledger_is_the_same(served: Served, tmp_path: Path) -> None:
    """`rebuild` compares with the ledger in use and puts the new one in its place."""
    copy = tmp_path / "book"
    subprocess.run(["cp", "-a", str(served.book), str(copy)], check=True)
    before = run("report", "--book", str(copy), "--json")
    ran = run("rebuild", "--book", str(copy), "--json")
    assert ran.code == 0, ran.err
    check("rebuild", ran.document())
    assert ran.document()["compared"] is not None
    assert run("report", "--book", str(copy), "--as-of", _position(before), "--json").out == before.out


def _position(ran: Ran) -> str:
    return str(ran.document()["provenance"]["position"]["number"])


def test_an_erased_user_is_in_no_file(served: Served, tmp_path: Path) -> None:
    """After `erase` the value is in no file of the book, totals are as before, and history verifies."""
    copy = tmp_path / "book"
    subprocess.run(["cp", "-a", str(served.book), str(copy)], check=True)
    user = dict(served.tally.results[0].shot.headers)["x-tollbook-user"]
    tenant = user.partition("@")[2].partition(".")[0]
    assert any(user.encode() in path.read_bytes() for path in copy.rglob("*") if path.is_file())
    ran = run("erase", "--tenant", tenant, "--user", user, "--basis", "asked for", "--book", str(copy), "--json")
    assert ran.code == 0, ran.err
    check("erase", ran.document())
    assert not any(user.encode() in path.read_bytes() for path in copy.rglob("*") if path.is_file())
    assert run("verify", "--book", str(copy)).code == 0
    after = run("report", "--book", str(copy), "--json").document()
    assert after["total"] == run("report", "--book", str(served.book), "--json").document()["total"]


def test_no_secret_and_no_prompt_is_in_any_file(served: Served) -> None:
    """Vendor keys, tenant keys and prompt texts are in no file of the book and in no log."""
    needles = [b"sk-sim-canary", b"key-of-acme", b"Hello. [[sim"]
    for path in served.directory.rglob("*"):
        if path.is_file() and path.parent.name != "vendor":
            data = path.read_bytes()
            assert not [needle for needle in needles if needle in data], path


def test_doctor_looks_at_everything(served: Served) -> None:
    """Every check that is documented is made, nothing about the book is broken, and the output has its shape."""
    from tollbook.cli.health import CHECKS

    ran = run("doctor", "--config", str(served.directory / "tollbook.yaml"), "--json")
    document = ran.document()
    check("doctor", document)
    assert [one["name"] for one in document["checks"] if one["state"] == "broken"] == []
    assert {one["name"] for one in document["checks"]} == set(CHECKS)
    assert "permissions" not in {one["name"] for one in document["checks"] if one["state"] != "ok"}
    assert ran.code == (0 if document["state"] == "ok" else 1)


def test_a_book_that_others_can_read_is_a_finding(served: Served, tmp_path: Path) -> None:
    """`doctor` names files that are open to others, and says what to do."""
    copy = tmp_path / "book"
    subprocess.run(["cp", "-a", str(served.book), str(copy)], check=True)
    (copy / "book.json").chmod(0o644)
    ran = run_apart("doctor", "--book", str(copy), TOLLBOOK_CONFIG=str(tmp_path / "none.yaml"))
    assert "open to others: book.json" in ran.out
    assert "chmod" in ran.out
    assert ran.code == 1


def test_a_trace_is_replayed_and_three_sides_agree(tmp_path: Path) -> None:
    """What a recorded trace says, what the book says and what the vendor billed are the same totals."""
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    lines += [f"2023-11-16 18:15:{second:02}.6805900,{374 + second * 7},{44 + second}" for second in range(40)]
    file = tmp_path / "trace.csv"
    file.write_text("\r\n".join(lines))
    ran = run("replay", str(file), "--json")
    assert ran.code == 0, ran.err
    document = ran.document()
    check("replay", document)
    assert document["equal"]
    assert [side["side"] for side in document["sides"]] == ["file", "book", "vendor"]
    assert document["sides"][0]["tokens_input"] == sum(row.tokens_input for row in read_traffic(file))


@pytest.mark.long
def test_the_whole_recorded_hour_is_replayed() -> None:
    """An hour of recorded production traffic: the ledger's totals equal the file's exactly."""
    file = ROOT.parent / "shared" / "data" / "azure_llm_2023_conv.csv"
    if not file.exists():
        pytest.skip("the recorded traffic is not there")
    document = run("replay", str(file), "--json").document()
    assert document["equal"]
    assert document["requests"] == 19_366


def test_a_killed_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM ends the demo together with its gateway and its vendors."""
    directory = tmp_path / "demo"
    demo = subprocess.Popen(
        [sys.executable, "-m", "tollbook", "demo", "--keep", "--requests", "100", "--directory", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    assert "gateway http://" in demo.stdout.readline()
    children = psutil.Process(demo.pid).children(recursive=True)
    demo.terminate()
    demo.communicate(timeout=60)
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_prices_have_their_published_shape() -> None:
    """`prices show` and `prices explain` answer in their schemas; an unknown model is told in words, exit code 1."""
    for name in ("show", "explain"):
        ran = run("prices", name, "claude-sonnet-4-5", "--json")
        assert ran.code == 0, ran.err
        check(f"prices-{name}", ran.document())
    ran = run("prices", "show", "no-such-model")
    assert ran.code == 1
    assert "unpriced, never as zero" in ran.err


def test_init_makes_a_book_once(tmp_path: Path) -> None:
    """A new directory gets a configuration that can be read and a book; doing it again is refused and harms nothing."""
    ran = run("init", str(tmp_path / "here"), "--json")
    assert ran.code == 0, ran.err
    check("init", ran.document())
    assert (tmp_path / "here" / "book" / "book.json").is_file()
    again = run("init", str(tmp_path / "here"))
    assert again.code == 2
    assert "is a book already" in again.err
    assert run("verify", "--config", str(tmp_path / "here" / "tollbook.yaml")).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["report", "--book", "/nowhere"], 1, "tollbook serve"),
        (["verify", "--book", "/nowhere"], 2, "tollbook init"),
        (["trace", "not-an-id", "--book", "/nowhere"], 1, "/nowhere"),
        (["serve", "--config", "/nowhere/tollbook.yaml"], 2, "tollbook init"),
        (["report", "--config", "/nowhere/tollbook.yaml"], 2, "no such file"),
        (["replay", "/nowhere.csv"], 2, "/nowhere.csv"),
        (["report", "--nonsense"], 2, "--nonsense"),
        (["prices", "explain", "gpt-4o", "--at", "yesterday"], 2, "--at"),
    ],
)
def test_errors_say_what_to_do_without_a_traceback(arguments: list[str], code: int, words: str) -> None:
    """A mistake is told in words that name it; the exit code says of which sort it is."""
    ran = run_apart(*arguments) if "prices" in arguments else run(*arguments)
    assert ran.code == code, ran.err
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_secrets_missing_at_start_are_named(tmp_path: Path) -> None:
    """`serve` without its variables says which they are, and starts nothing."""
    assert run("init", str(tmp_path)).code == 0
    ran = run_apart("serve", "--config", str(tmp_path / "tollbook.yaml"))
    assert ran.code == 2
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ACME_KEY"):
        assert name in ran.err
