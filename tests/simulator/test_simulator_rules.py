"""Rules and dictation: who meets which fault, how often; and that nothing misspelt passes unseen."""

import json
import pathlib
from typing import Any

import pytest

from tollbook.core.faults import BadInput
from tollbook.simulator import FAULTS, Rule, Simulator, account_of, load_rules
from tollbook.simulator.__main__ import _parser
from tollbook.simulator.dictation import PACE_NAMES, USAGE_NAMES, read_dictation
from tollbook.simulator.pricelist import MODELS
from tollbook.simulator.rulebook import Rulebook, Scene


def scene(**members: Any) -> Scene:
    usual = {
        "vendor": "openai",
        "path": "/v1/chat/completions",
        "model": "gpt-4o",
        "key": "sk-sim-a",
        "account": account_of("sk-sim-a"),
        "stream": False,
        "attempt": 1,
        "scope": "one",
        "body": 1,
    }
    return Scene(**(usual | members))


@pytest.mark.parametrize(
    ("when", "other"),
    [
        ({"model": "gpt-4o"}, {"model": "gpt-4o-mini"}),
        ({"vendor": "openai"}, {"vendor": "anthropic"}),
        ({"path": "/v1/chat/completions"}, {"path": "/v1/messages"}),
        ({"key": "sk-sim-a"}, {"key": "sk-sim-b", "account": account_of("sk-sim-b")}),
        ({"key": account_of("sk-sim-a")}, {"key": "sk-sim-b", "account": account_of("sk-sim-b")}),
        ({"attempt": 1}, {"attempt": 2}),
        ({"attempt": [1, 3]}, {"attempt": 2}),
        ({"stream": False}, {"stream": True}),
    ],
)
def test_a_rule_acts_only_on_what_it_names(when: dict[str, Any], other: dict[str, Any]) -> None:
    """Each condition lets its own request through to the fault and no other."""
    rules = Simulator([{"do": "500", "when": when}])._rulebook.rules
    book = Rulebook(0, rules)
    assert "500" in book.choose(scene(), [])
    assert "500" not in book.choose(scene(**other), [])


def test_an_installed_rule_counts_all_requests(ask: Any, simulator: Simulator) -> None:
    """`times: 2` of an installed rule: the first two requests of anybody, then no more; `reset` starts again."""
    simulator.install([{"do": 429, "times": 2}])
    assert [ask(text).status for text in ("a", "b", "c")] == [429, 429, 200]
    simulator.install([{"do": 429, "times": 2}])
    assert ask("a").status == 429
    simulator.reset()
    assert ask("a").status == 200 and len(simulator.books.received) == 1


def test_a_dictated_rule_counts_the_attempts_of_one_request(ask: Any) -> None:
    """`times=1` inside a request: each gateway request meets it once, whatever model its attempts go to."""

    def attempt(request: str, number: int, model: str) -> int:
        headers = {"x-tollbook-attempt-id": f"{request}.{number}"}
        return int(ask("[[sim fault=500 times=1]]", headers=headers, model=model).status)

    assert [attempt("r1", 1, "gpt-4o"), attempt("r1", 2, "gpt-4o-mini")] == [500, 200]
    assert [attempt("r2", 1, "gpt-4o"), attempt("r2", 2, "gpt-4o")] == [500, 200]


def test_a_dictated_rule_can_be_for_one_model_or_attempt(ask: Any) -> None:
    """The first target fails for good, the second answers: a fallback can be planned from inside the body."""
    text = "[[sim fault=503 model=gpt-4o]] [[sim fault=429 attempt=3]]"
    headers = {"x-tollbook-attempt-id": "r1.3"}
    assert ask(text).status == 503
    assert ask(text, model="gpt-4o-mini").status == 200
    assert ask(text, model="gpt-4o-mini", headers=headers).status == 429


def test_headers_dictate_as_messages_do(ask: Any) -> None:
    """Counts and faults in headers, for those who speak to the vendor directly."""
    usage = ask(headers={"x-simulator-usage": "input=374,output=44,cache_read=6"}).json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (380, 44)
    answer = ask(headers={"x-simulator-fault": "fault=cut,after=1; fault=usage_missing"}, stream=True)
    assert answer.end == "reset" and b"usage" not in answer.body


def test_dictation_is_found_wherever_a_text_stands(ask: Any) -> None:
    """System prompt, content parts, any message; several commands add up."""
    messages = [
        {"role": "system", "content": "[[sim input=1]]"},
        {"role": "user", "content": [{"type": "text", "text": "[[sim output=2]] and [[sim reasoning=3]]"}]},
    ]
    usage = ask(messages=messages).json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1, 5)
    usage = ask(vendor="anthropic", system=[{"type": "text", "text": "[[sim input=77]]"}]).json["usage"]
    assert usage["input_tokens"] == 77


def test_probability_depends_on_seed_and_body_alone() -> None:
    """The same bodies fail whatever the order of arrival, another seed gives others, and the share is as told."""
    rules = [Rule(do="500", probability=0.3)]

    def failing(seed: int, bodies: list[int]) -> set[int]:
        book = Rulebook(seed, rules)
        return {body for body in bodies if book.choose(scene(body=body), [])}

    bodies = list(range(2000))
    assert failing(1, bodies) == failing(1, bodies[::-1]) != failing(2, bodies)
    assert 500 < len(failing(1, bodies)) < 700


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"do": "explode"}, "unknown fault 'explode'; known: 400"),
        ({"do": "cut", "ms": 5}, "fault 'cut' has no option 'ms'; its options: after"),
        ({"do": "cut", "after": -1}, "'after' of fault 'cut' is below zero"),
        ({"do": "cut", "afterwards": 1}, "unknown field `afterwards`"),
        ({"do": "cut", "when": {"modle": "x"}}, "unknown field `modle`"),
        ({"do": "cut", "probability": 2}, "between 0 and 1"),
        ({"do": "refuse", "when": {"model": "x"}}, "can have no 'when'"),
        ({}, "missing required field `do`"),
        ("cut", "Expected `object`"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(rule: Any, complaint: str, simulator: Simulator) -> None:
    """The message says which rule, what is wrong and what is allowed; nothing is installed."""
    with pytest.raises(BadInput, match="rule 2: ") as error:
        simulator.install([{"do": "500"}, rule])
    assert complaint in str(error.value)
    assert simulator._rulebook.rules == ()


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("inptu=3", "unknown name 'inptu'; known: input"),
        ("input", "'input' is not name=value"),
        ("input=", "'input=' is not name=value"),
        ("input=-3", "not a whole number"),
        ("input=3.5", "not a whole number"),
        ("input=99999999999", "not a whole number"),
        ("after=3", "options without fault="),
        ("fault=cutt", "unknown fault 'cutt'"),
        ("fault=429 after=3", "has no option 'after'"),
        ("fault=refuse", "install it as a rule"),
        ("fault=cut after=x", "$.after"),
    ],
)
def test_a_wrong_command_is_refused_by_name(ask: Any, command: str, complaint: str) -> None:
    """A misspelt command is a 400 that quotes it: a fault that silently does not happen proves nothing."""
    with pytest.raises(BadInput) as error:
        read_dictation([f"[[sim {command}]]"])
    assert complaint in str(error.value)
    answer = ask(f"[[sim {command}]]")
    assert answer.status == 400 and command.split()[0] in answer.json["error"]["message"]


def test_rules_come_from_a_file(tmp_path: pathlib.Path) -> None:
    """YAML and JSON say the same; a bad file is named with its rule."""
    yaml, broken = tmp_path / "rules.yaml", tmp_path / "broken.yaml"
    yaml.write_text("rules:\n- {do: 429, times: 2, when: {model: gpt-4o, attempt: [1, 2]}}\n- {do: cut, after: 3}\n")
    same = tmp_path / "rules.json"
    same.write_text(
        json.dumps(
            [{"do": "429", "times": 2, "when": {"model": "gpt-4o", "attempt": [1, 2]}}, {"do": "cut", "after": 3}]
        )
    )
    assert load_rules(yaml) == load_rules(same)
    assert len(load_rules(yaml)) == 2
    for text in ("rules: 3", "- {do: cut", "- {do: cute}"):
        broken.write_text(text)
        with pytest.raises(BadInput, match=r"broken\.yaml"):
            load_rules(broken)
    with pytest.raises(BadInput, match=r"absent\.yaml: cannot be read"):
        load_rules(tmp_path / "absent.yaml")


MANUAL = pathlib.Path(__file__).parent.parent.parent / "docs" / "simulator.md"


def test_the_manual_lists_every_fault() -> None:
    """`docs/simulator.md` has one row for each fault: its options and what it does as the code says."""
    section = MANUAL.read_text(encoding="utf-8").split("\n## Faults\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in section.splitlines() if line.startswith("| `")]
    listed = [(name.strip("| `"), options, meaning.removesuffix(" |")) for name, options, meaning in rows]
    known = [
        (name, ", ".join(f"`{option}`" for option in fault.options), fault.meaning) for name, fault in FAULTS.items()
    ]
    assert listed == known


def test_the_manual_lists_every_setting_and_model() -> None:
    """All options of the command, all names of a command and all models sold stand in `docs/simulator.md`."""
    manual = MANUAL.read_text(encoding="utf-8")
    options = [name for action in _parser()._actions for name in action.option_strings if name not in ("-h", "--help")]
    sold = [model.alias for model in MODELS]
    missing = [name for name in [*options, *USAGE_NAMES, *PACE_NAMES, *sold] if name not in manual]
    assert missing == []
