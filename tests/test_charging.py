"""Charging rules: a file of their own, whole or refused, the same wherever it is asked for."""

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from tollbook import config
from tollbook.cli.main import app
from tollbook.config.charging import load_charging, parse_charging
from tollbook.core.charging import ENDINGS
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import recorded_form
from tollbook.core.vocabulary import CAUSES

OWN = """\
name: ours
version: 3
rules:
- {outcomes: [truncated], causes: [vendor], bears: vendor_claim}
- {bears: platform}
"""
SCHEMA = json.loads((Path(__file__).parent.parent / "docs/reference/schemas/charging-show.json").read_text())


def test_the_packaged_rules_are_those_of_the_design() -> None:
    """The tenant pays for what it asked and received; the platform for its retries, hedges and faults."""
    rules = load_charging(None)
    bearers = rules.bearers()
    assert rules.id.startswith("default/1@")
    assert set(bearers) == {(outcome, cause) for outcome in ENDINGS for cause in CAUSES}
    assert bearers["ok", "asked"] == bearers["client_gone", "client"] == bearers["truncated", "asked"] == "tenant"
    assert bearers["ok", "repeated"] == bearers["ok", "hedged"] == bearers["cancelled", "gateway"] == "platform"
    assert bearers["truncated", "vendor"] == "platform"
    assert bearers["vendor_error", "vendor"] == bearers["timeout", "vendor"] == "platform"


def test_a_file_of_rules_is_part_of_the_configuration(tmp_path: Path) -> None:
    """Named in tollbook.yaml, read beside it, and in the recorded form: another rule is another configuration."""
    (tmp_path / "own.yaml").write_text(OWN)
    plain = config.parse("book: b", base=tmp_path)
    own = config.parse("book: b\ncharging: own.yaml", base=tmp_path)
    assert own.charging_rules.bearers()["truncated", "vendor"] == "vendor_claim"
    assert own.charging_rules.bearers()["ok", "asked"] == "platform"
    assert own.digest != plain.digest
    assert recorded_form(own)["charging_rules"]["name"] == "ours"
    (tmp_path / "own.yaml").write_text(OWN.replace("version: 3", "version: 4"))
    assert config.parse("book: b\ncharging: own.yaml", base=tmp_path).digest != own.digest


def test_what_is_wrong_with_rules_is_told_at_once() -> None:
    """Unknown words and settings, each with its line, what was found and what is allowed."""
    text = OWN.replace("truncated", "truncatd").replace("bears: platform", "bears: nobody").replace("name:", "nam:")
    with pytest.raises(BadConfiguration) as caught:
        parse_charging(text, "own.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "own.yaml has 3 problems:"
    assert "line 1: nam: found 'nam', an unknown setting; allowed: name, rules, version" in lines[1]
    assert "line 4: rules[0].outcomes[0]: found 'truncatd', an unknown outcome" in lines[2]
    assert "did you mean truncated?" in lines[2]
    assert "line 5: rules[1].bears: found 'nobody', an unknown bearer" in lines[3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nversion: 1", "nothing decides ok by asked, ok by client"),
        (OWN.replace("- {bears: platform}\n", ""), "nothing decides ok by asked"),
        (OWN + "- {causes: [vendor], bears: tenant}\n", "rules[2]: never decides"),
        ("name: a\nversion: 0\nrules: [{bears: tenant}]", "version: found '0'; allowed: an integer of at least 1"),
        ("name: a\nrules: [{bears: tenant}]\nrules: []", "rules: written twice"),
        ("- 1", "holds no settings"),
    ],
)
def test_rules_are_whole(text: str, message: str) -> None:
    """No pair is left open and no rule is idle: either would be a surprise in somebody's bill."""
    with pytest.raises(BadConfiguration, match=message.replace("[", r"\[").replace("]", r"\]")):
        parse_charging(text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The path in the configuration is named."""
    with pytest.raises(BadConfiguration, match="cannot be read"):
        config.parse("book: b\ncharging: nowhere.yaml", base=tmp_path)


def test_the_rules_in_force_can_be_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`charging show` says every decision, of the configuration or as packaged; its JSON has the published shape."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(config.ENVIRONMENT_VARIABLE, raising=False)
    packaged = json.loads(CliRunner().invoke(app, ["charging", "show", "--json"]).stdout)
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "tollbook.yaml").write_text("book: b\ncharging: own.yaml\n")
    own = json.loads(CliRunner().invoke(app, ["charging", "show", "--json"]).stdout)
    for document in (packaged, own):
        jsonschema.validate(document, SCHEMA)
        assert len(document["decisions"]) == len(ENDINGS) * len(CAUSES)
    assert (packaged["source"], packaged["name"]) == ("packaged", "default")
    assert (own["source"], own["version"]) == (str(tmp_path / "own.yaml"), 3)
    screen = CliRunner().invoke(app, ["charging", "show"]).stdout
    assert "vendor_claim" in screen
    assert own["digest"] in screen
