"""`tollbook route explain`: the plan of a request, told from the configuration alone."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tollbook.assembly import service
from tollbook.cli import main

SCHEMA = Path(__file__).parent.parent.parent / "docs" / "reference" / "schemas" / "route-explain.json"
REQUEST = "019ab1d2-2222-7333-8444-55556666777{}"
CONFIG = """
book: ./book
vendors:
  eu:
    {format: openai, base_url: "https://eu.example/v1", region: eu,
     keys: [{name: a, secret: "env:A"}, {name: b, secret: "env:B"}]}
  us: {format: openai, base_url: "https://us.example/v1", region: us, keys: [{name: main, secret: "env:A"}]}
  own: {format: openai, base_url: "https://own.example/v1", keys: [{name: k, secret: "env:A", tenants: [denied]}]}
models:
  plain: {targets: [{vendor: us, model: gpt-4o}, {vendor: own, model: gpt-4o}], hedge: {after: 1500ms}}
  split:
    targets:
      - {vendor: eu, model: gpt-4o, weight: 3}
      - {vendor: us, model: gpt-4o, weight: 1}
      - {vendor: eu, model: gpt-4o-mini}
tenants:
  acme: {keys: [{name: k, secret: "env:K"}]}
  pinned: {keys: [{name: k, secret: "env:L"}], regions: [eu]}
  denied: {keys: [{name: k, secret: "env:M"}], deny_models: [split]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tollbook.yaml"
    path.write_text(CONFIG)
    return path


def run(config: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `route explain`; none of its secrets is needed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        main.run(["route", "explain", "--config", str(config), *arguments])
    return int(left.value.code or 0), out.getvalue(), err.getvalue()


def explained(config: Path, tenant: str, model: str, *more: str) -> dict[str, Any]:
    code, out, _ = run(config, "--tenant", tenant, "--model", model, "--json", *more)
    document: dict[str, Any] = json.loads(out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert code == (0 if document["refusal"] is None else 1)
    return document


def test_an_ordered_plan_and_who_is_left_out(config: Path) -> None:
    """Targets in order with their key; a target without a key for the tenant is named with its reason."""
    told = explained(config, "acme", "plain")
    (only,) = told["targets"]
    assert (only["vendor"], only["vendor_key"], only["share"]) == ("us", "main", None)
    assert told["left_out"] == [
        {"vendor": "own", "model": "gpt-4o", "reason": "no key of its vendor serves the tenant"}
    ]
    assert told["reason"] == "left_out:own/gpt-4o(no_key)"
    assert told["hedge_after_ms"] == 1500


def test_shares_without_a_request_and_a_draw_with_one(config: Path) -> None:
    """Without an id each target has its share; the same id gives the same plan again, and ids differ."""
    told = explained(config, "acme", "split")
    assert [target["share"] for target in told["targets"]] == ["3/4", "1/4", "0/4"]
    assert told["reason"] is None
    assert told["targets"][0]["vendor_key"] is None
    plans = [explained(config, "acme", "split", "--request-id", REQUEST.format(n)) for n in range(10)]
    assert plans[3] == explained(config, "acme", "split", "--request-id", REQUEST.format(3))
    assert {plan["targets"][0]["vendor"] for plan in plans} == {"eu", "us"}
    assert {plan["reason"] for plan in plans} == {"drawn:eu/gpt-4o", "drawn:us/gpt-4o"}
    assert {plan["targets"][-1]["vendor_key"] for plan in plans} == {"a", "b"}


def test_a_pin_and_a_refusal_are_told(config: Path) -> None:
    """Regions leave targets out by name; a denied model is refused with the gateway's own code, exit code 1."""
    pinned = explained(config, "pinned", "split")
    assert [target["vendor"] for target in pinned["targets"]] == ["eu", "eu"]
    assert "region (us) is not among those allowed (eu)" in pinned["left_out"][0]["reason"]
    assert explained(config, "denied", "split")["refusal"]["code"] == "model_not_allowed"
    assert explained(config, "pinned", "plain")["refusal"]["code"] == "region_not_allowed"


def test_the_screen_tells_the_same(config: Path) -> None:
    """Each target with its reason, what is never tried, and that health is not known here."""
    code, out, _ = run(config, "--tenant", "pinned", "--model", "split")
    assert code == 0
    assert "comes first for 3 of 3 requests" in out
    assert "never tried: us/gpt-4o" in out
    assert "health assumed well" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--tenant", "nobody", "--model", "split"), 1, "no tenant 'nobody'; it has: acme, denied, pinned"),
        (("--tenant", "acme", "--model", "none"), 1, "no model 'none'"),
        (("--tenant", "acme", "--model", "split", "--request-id", "7"), 2, "'7' is not a request id"),
    ],
)
def test_what_is_not_there_is_told_in_words(config: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """A name the configuration does not have, an id that is none."""
    found, _, err = run(config, *arguments)
    assert found == code
    assert words in " ".join(err.split())


def test_a_tenant_that_only_the_registry_has_is_known(config: Path) -> None:
    """One that was added while serving has a plan, as it has for workers; one that nobody has is told as before."""
    root = service.init(config.parent / "book").root
    service.change_registry(root, "registry.add", {"kind": "tenant", "name": "added"})
    assert explained(config, "added", "plain")["refusal"] is None
    code, _, err = run(config, "--tenant", "nobody", "--model", "plain")
    assert code == 1
    assert "no tenant 'nobody'" in err
