"""The suite finds each loss of a gateway that has some, and none in one that has none."""

import contextlib
import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from lossy_proxy import lossy

from tollbook.cli import main
from tollbook.cli.conformance import document_of, show_conformance
from tollbook.cli.stage import Stage
from tollbook.conformance.client import Client
from tollbook.conformance.printing import GATEWAYS, configuration
from tollbook.conformance.run import Result, run
from tollbook.conformance.suite import Case, cases, formats
from tollbook.core.faults import BadInput
from tollbook.simulator import Simulator

ROOT = Path(__file__).parent.parent.parent
KEY = "sk-sim-conformance"
TURNS_OF_OURS = {"plain", "embedded", "ranked", "counted", "usage_missing", "left", "failed_once", "cut", "tier"}
"""The turns asked of our own gateway in the short form: each record takes the desk a while."""

pytestmark = pytest.mark.xdist_group("conformance")


@pytest.fixture(scope="module")
def vendor() -> Iterator[Simulator]:
    with Simulator(seed=1) as running:
        yield running


def chat(*turns: str) -> list[Case]:
    """The cases of OpenAI's chat; those of some turns, or of all but the one that takes a second."""
    return [
        case
        for case in cases(["openai"])
        if case.name.startswith("openai.chat/")
        and (case.name.split("/")[1] in turns if turns else case.name.split("/")[1] != "limited")
    ]


def through(vendor: Simulator, suite: list[Case], *losses: str) -> Result:
    """What the suite says of a proxy with some losses."""
    with lossy(vendor.url, *losses) as address:
        return run(Client(address, KEY), vendor, suite)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def command(*arguments: str) -> tuple[int, str, str]:
    """Exit code and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        main.run(["conformance", *arguments])
    return int(left.value.code or 0), out.getvalue(), err.getvalue()


def test_the_vendor_agrees_with_itself(vendor: Simulator) -> None:
    """Asked twice directly, every case of the suite tells the same: what is found elsewhere is the gateway's doing."""
    suite = [case for case in cases() if case.name.split("/")[1] != "limited"]
    assert run(Client(vendor.url, KEY), vendor, suite).findings == []
    assert len(suite) > 200
    assert len({case.name for case in suite}) == len(suite)


def test_an_honest_proxy_loses_nothing(vendor: Simulator) -> None:
    """A gateway that passes everything on has no findings."""
    result = through(vendor, chat())
    assert result.findings == [], result.findings[:3]


@pytest.mark.parametrize(
    ("loss", "turn", "field"),
    [
        ("stream_usage", "plain", "chunk.usage.prompt_tokens"),
        ("stream_usage", "cached", "chunk.usage.prompt_tokens_details.cached_tokens"),
        ("stream_usage", "plain", "usage_events"),
        ("served_model", "served_model", "model"),
        ("rounded", "plain", "usage.prompt_tokens"),
        ("request_id", "plain", "header.x-request-id"),
        ("tier", "tier", "vendor.tier"),
        ("tier", "tier", "service_tier"),
        ("tools", "counted", "vendor.usage.input"),
        ("retry_after", "limited", "header.retry-after"),
        ("terminal", "plain", "ended"),
        ("twice", "plain", "vendor.calls_billed"),
        ("twice", "plain", "vendor.amount"),
        ("invented", "usage_missing", "usage.prompt_tokens"),
    ],
)
def test_each_loss_is_found(vendor: Simulator, loss: str, turn: str, field: str) -> None:
    """A proxy that drops, rounds, rewrites, doubles or makes up something is told so, by the name of the field."""
    found = {finding.field for finding in through(vendor, chat(turn), loss).findings}
    assert field in found, found


def test_a_finding_says_what_was_expected(vendor: Simulator) -> None:
    """Case, field, what the vendor told and what came; what is missing apart from what is changed."""
    document = document_of(through(vendor, chat("plain"), "rounded", "stream_usage"), {})
    schema = json.loads((ROOT / "docs" / "reference" / "schemas" / "conformance.json").read_text())
    jsonschema.validate(document, schema)
    assert {
        "case": "openai.chat/plain/whole",
        "field": "usage.prompt_tokens",
        "expected": "374",
        "got": "370",
    } in document["fields_changed"]
    assert "chunk.usage.prompt_tokens" in {line["field"] for line in document["fields_missing"]}
    assert all(line["got"] is None for line in document["fields_missing"])
    assert show_conformance(document) is not None


def test_another_vendor_is_never_asked_twice(vendor: Simulator) -> None:
    """A gateway that answers from another vendor, which may bill, ends the run after one request."""
    with Simulator() as other, lossy(other.url) as address:
        with pytest.raises(BadInput, match="may bill it"):
            run(Client(address, KEY), vendor, chat())
        assert len(other.books.received) == 1


def test_a_gateway_that_asks_nobody_is_no_finding(vendor: Simulator) -> None:
    """One that refuses the key, or knows no such model, cannot be judged: that is a usage error with its answer."""
    with (
        lossy(vendor.url, "closed") as address,
        pytest.raises(BadInput, match=r"answered 401 and asked nothing.*no such key"),
    ):
        run(Client(address, KEY), vendor, chat())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--against"),
        (("--against", "127.0.0.1"), "no address"),
        (("--against", "http://127.0.0.1:1", "--formats", "morse"), "allowed: anthropic"),
        (("--against", "http://127.0.0.1:1", "--key-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE"),
        (("--against", "http://127.0.0.1:1", "--vendor-listen", "nowhere"), "host:port"),
        (("--against", "http://127.0.0.1:1", "--vendor-listen", "127.0.0.1:0"), "nothing answers"),
        (("--print-config", "apache"), "allowed: tollbook, litellm, envoy"),
        (("--print-config", "envoy", "--against", "nonsense"), "allowed: host:port"),
    ],
)
def test_what_cannot_run_says_why(arguments: tuple[str, ...], told: str) -> None:
    """Exit 2, with the argument that is wrong and what is allowed."""
    code, _, err = command(*arguments)
    assert code == 2
    assert told in err


def test_the_command_prints_what_it_found(vendor: Simulator) -> None:
    """Exit 1 with findings, as one JSON object of the published shape; the key is in the environment only."""
    port = free_port()
    with lossy(f"http://127.0.0.1:{port}", "stream_usage") as address:
        arguments = ("--against", address, "--vendor-listen", f"127.0.0.1:{port}", "--formats", "cohere", "--json")
        code, out, err = command(*arguments)
    assert (code, err) == (1, "")
    document: dict[str, Any] = json.loads(out)
    assert document["cases"] == len(cases(["cohere"]))
    assert all(line["case"].startswith("cohere.chat/") for line in document["fields_missing"])


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_configuration_is_one(gateway: str) -> None:
    """What is printed is YAML with the addresses in it and no placeholder left."""
    text = configuration(gateway, "127.0.0.1:8099", "127.0.0.1:8098")
    assert isinstance(yaml.safe_load(text), dict)
    assert "8098" in text
    assert not re.search(r"\{(vendor|gateway)(_\w+)?\}", text)


def ours(directory: Path, port: int) -> Stage:
    """Our own gateway before a vendor at a port, configured as --print-config shows."""
    text = configuration("tollbook", "127.0.0.1:1", f"127.0.0.1:{port}").replace('"127.0.0.1:1"', '"{gateway}"')
    secrets = {"CONFORMANCE_KEY": "tb-conformance-51d0a9c2e7", "CONFORMANCE_VENDOR_KEY": KEY}
    return Stage(directory, text, secrets)


def check_ours(directory: Path, suite: list[Case]) -> None:
    with Simulator(seed=1) as vendor, ours(directory, int(vendor.url.rpartition(":")[2])) as stage:
        result = run(Client(stage.gateway_url, "tb-conformance-51d0a9c2e7"), vendor, suite)
    assert result.findings == [], result.findings[:5]


def test_our_gateway_loses_nothing(tmp_path: Path) -> None:
    """In every format: what clients learn, what vendors are asked, and what our book holds of it."""
    suite = [case for case in cases() if case.name.split("/")[1] in TURNS_OF_OURS]
    short = [case for number, case in enumerate(suite) if number % 2 or "left" in case.name or "plain" in case.name]
    assert {case.format for case in short} == set(formats())
    check_ours(tmp_path, short)


@pytest.mark.long
def test_our_gateway_loses_nothing_in_the_whole_suite(tmp_path: Path) -> None:
    """Every case."""
    check_ours(tmp_path, cases())
