"""The configuration file: read by its types, every problem at once."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook import config
from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Hedge, OwnTimeouts, Settings, recorded_form

CONTRACT = """\
book: ./book
gateway: {listen: "127.0.0.1:8080", workers: 1, client_gone: drain}
journal: {sync: periodic}
vendors:
  openai: {format: openai, base_url: "https://api.openai.com/v1", keys: [{name: main, secret: "env:OPENAI_API_KEY"}]}
  claude:
    format: anthropic
    base_url: "https://api.anthropic.com"
    keys: [{name: main, secret: "env:ANTHROPIC_API_KEY"}]
models:
  gpt-4o-mini: {targets: [{vendor: openai, model: gpt-4o-mini}]}
  fast:
    targets: [{vendor: openai, model: gpt-4o-mini}, {vendor: openai, model: gpt-4o}]
    retry: {attempts: 3, on: [connect, timeout, "429", 5xx]}
tenants:
  acme: {keys: [{name: acme-prod, secret: "env:ACME_KEY"}], workloads: [search, support]}
"""

ENVIRONMENT = {"OPENAI_API_KEY": "sk-canary-openai", "ANTHROPIC_API_KEY": "sk-canary-claude", "ACME_KEY": "acme-canary"}


def problems_of(text: str) -> list[str]:
    """The lines of the error that a text gives, without its first."""
    with pytest.raises(BadConfiguration) as caught:
        config.parse(text)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def only_problem_of(text: str) -> str:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    return problems[0]


def test_the_published_example_is_read_as_written() -> None:
    """The example of the contract gives the values it names, and defaults for the rest."""
    settings = config.parse(CONTRACT)
    assert settings.models["fast"].retry.attempts == 3
    assert settings.models["fast"].retry.on == ("connect", "timeout", "429", "5xx")
    assert settings.models["gpt-4o-mini"].retry.attempts == 2
    assert settings.vendors["claude"].billing == "anthropic"
    assert settings.gateway.listen == "127.0.0.1:8080"
    assert settings.gateway.drain.seconds == 600
    assert settings.gateway.drain.bytes == 64 * 1024 * 1024
    assert settings.models["fast"].name == "fast"
    assert settings.tenants["acme"].workloads == ("search", "support")


def test_units_become_seconds_and_bytes() -> None:
    """Durations and sizes are written with a unit; a bare number is refused, since its unit would be a guess."""
    settings = config.parse("book: b\ngateway: {timeouts: {connect: 500ms, idle: 2m}, body_limit: 4 MiB}")
    assert (settings.gateway.timeouts.connect, settings.gateway.timeouts.idle) == (0.5, 120.0)
    assert settings.gateway.body_limit == 4 * 1024 * 1024
    assert "found '5'; allowed: a duration such as" in only_problem_of("book: b\ngateway: {timeouts: {connect: 5}}")


def test_every_problem_is_told_at_once_with_its_line() -> None:
    """A file with several mistakes gives one error that names each: line, place, what was found, what is allowed."""
    text = CONTRACT.replace("workers: 1", "workers: 0").replace("client_gone: drain", "client_gone: drop")
    text = text.replace("vendor: openai, model: gpt-4o}", "vendor: opnai, model: gpt-4o}") + "gatway: {}\n"
    assert problems_of(text) == [
        "line 2: gateway.client_gone: found 'drop'; allowed: cancel, drain",
        "line 2: gateway.workers: found '0'; allowed: an integer from 1 to 64",
        "line 13: models.fast.targets[1].vendor: found 'opnai', an unknown vendor; allowed: claude, openai; "
        "did you mean openai?",
        "line 17: gatway: found 'gatway', an unknown setting; allowed: book, charging, estimates, following, gateway, "
        "ingest, journal, models, tenants, vendors; did you mean gateway?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gateway: {}", "line 1: the file: book is missing"),
        ("book: a\nbook: b", "line 2: book: written twice, first in line 1"),
        ("book:", "line 1: book: found nothing"),
        ("book: [a]", "line 1: book: found a list"),
        ("book: a\ngateway: 7", "line 2: gateway: found '7'; allowed: a mapping"),
        ("book: a\njournal: {sync: off}", "line 2: journal.sync: found 'off', which loses entries"),
        ("book: a\ngateway: {listen: 'localhost'}", "line 2: gateway.listen: found 'localhost'; allowed: host:port"),
        ("book: a\ngateway: {listen: 'localhost:70000'}", "found port 70000"),
        ("book: a\ntenants: {'a/b': {keys: [{name: k, secret: s}]}}", "found 'a/b' as a name"),
        (
            "book: a\nvendors: {v: {format: openai, base_url: 'https://v', keys: []}}",
            "line 2: vendors.v.keys: found 0 in the list; allowed: 1 or more",
        ),
        ("book: a\ntenants: {t: {keys: [{name: k, secret: s}], models: [x]}}", "an unknown model; allowed: none"),
        ("book: a\njournal: {segment_age: 1500ms}", "found '1500ms'; allowed: a duration such as"),
        ("book: a\ngateway: {timeouts: {idle: 0s}}", "found '0s'; allowed: a duration such as"),
        (
            "book: a\nvendors: {v: {name: w, format: openai, base_url: 'https://x', keys: [{name: k, secret: s}]}}",
            "found 'name', an unknown setting",
        ),
        (
            "book: a\nvendors: {v: {format: openai, base_url: 'https://x', keys: [{name: k, secret: s, from: x}]}}",
            "line 2: vendors.v.keys[0].from: found 'x'; allowed: a day such as",
        ),
    ],
)
def test_bad_input_names_the_place_and_what_is_allowed(text: str, message: str) -> None:
    """Each kind of mistake is told in words that let one repair it."""
    assert message in only_problem_of(text)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "ftp://127.0.0.1/x",
        "api.openai.com",
        "https://user:word@api.openai.com",
        "https://api.openai.com/v1?key=1",
        "https://:443/v1",
        "https://api.openai.com:99999",
    ],
)
def test_a_vendor_secret_never_travels_in_clear(url: str) -> None:
    """A vendor is reached by https; http is for this very machine, and no address carries a credential."""
    text = f"book: b\nvendors: {{v: {{format: openai, base_url: '{url}', keys: [{{name: k, secret: s}}]}}}}"
    problem = only_problem_of(text)
    assert problem.startswith("line 2: vendors.v.base_url: ")
    assert "word" not in problem.replace("password", "")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081/v1", "http://localhost:9", "http://[::1]:9/v1", "https://x.y/v1"]
)
def test_this_machine_may_be_reached_by_http(url: str) -> None:
    """A simulator on this machine needs no certificate."""
    config.parse(f"book: b\nvendors: {{v: {{format: openai, base_url: '{url}', keys: [{{name: k, secret: s}}]}}}}")


def test_a_route_has_one_wire_format() -> None:
    """Bodies are not translated, so a route over two formats could not keep its promise."""
    text = CONTRACT.replace("{vendor: openai, model: gpt-4o}", "{vendor: claude, model: claude-haiku-4-5}")
    assert "targets of several wire formats: openai (openai), claude (anthropic)" in only_problem_of(text)


def test_not_yaml_is_told_with_its_line() -> None:
    """A syntax error names the line."""
    with pytest.raises(BadConfiguration, match="line 2: not YAML"):
        config.parse("book: a\n: : [")


@pytest.mark.parametrize(
    "text", ["", "just a word", "[]", "[" * 5000, "a: &x [*x]\nbook: *x", "\x00", "!!python/object:os.system {}"]
)
def test_what_is_no_configuration_is_refused_in_words(text: str) -> None:
    """Nothing but a mapping of settings is read, and no tag makes an object."""
    with pytest.raises(BadConfiguration):
        config.parse(text)


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    """Whatever a file holds, the answer is settings or a BadConfiguration."""
    for candidate in (text, f"book: {text}", f"book: a\ngateway: {{workers: {text}}}", f"book: a\n{text}: {text}"):
        try:
            assert isinstance(config.parse(candidate), Settings)
        except BadConfiguration as fault:
            assert "tollbook.yaml" in str(fault)


def test_secrets_come_from_environment_and_files(tmp_path: Path) -> None:
    """Each reference becomes its secret, by owner and key name; a file's last line break is not part of it."""
    secret_file = tmp_path / "acme.key"
    secret_file.write_text("acme-from-file\n")
    secret_file.chmod(0o600)
    settings = config.parse(CONTRACT.replace("env:ACME_KEY", "file:acme.key"))
    secrets = config.resolve(settings, tmp_path, ENVIRONMENT)
    assert secrets.vendors == {"openai": {"main": "sk-canary-openai"}, "claude": {"main": "sk-canary-claude"}}
    assert secrets.tenants == {"acme": {"acme-prod": "acme-from-file"}}
    assert "canary" not in repr(secrets)


def test_missing_secrets_are_all_named_and_no_value_is_shown(tmp_path: Path) -> None:
    """Serving without a variable says which; files that others can read, empty and unusable values are refused."""
    open_file = tmp_path / "open.key"
    open_file.write_text("canary-in-open-file")
    open_file.chmod(0o644)
    text = CONTRACT.replace("env:ACME_KEY", "file:open.key")
    with pytest.raises(BadConfiguration) as caught:
        config.resolve(config.parse(text), tmp_path, {"OPENAI_API_KEY": "canary\nheader: x"})
    message = str(caught.value)
    assert "vendors.openai.keys.main: the environment variable OPENAI_API_KEY holds a space, a line break" in message
    assert "vendors.claude.keys.main: the environment variable ANTHROPIC_API_KEY is not set" in message
    assert "open.key can be read by others; do: chmod 600" in message
    assert "canary" not in message


def test_one_secret_for_two_tenant_keys_is_refused(tmp_path: Path) -> None:
    """Who is charged must follow from the key alone, also when two references hold the same value."""
    text = CONTRACT + '  globex: {keys: [{name: prod, secret: "env:GLOBEX_KEY"}]}\n'
    with pytest.raises(
        BadConfiguration, match=r"tenants.globex.keys.prod: the same secret as tenants.acme.keys.acme-prod"
    ):
        config.resolve(config.parse(text), tmp_path, {**ENVIRONMENT, "GLOBEX_KEY": "acme-canary"})
    assert "the same secret as" in only_problem_of(text.replace("env:GLOBEX_KEY", "env:ACME_KEY"))


def test_the_digest_holds_no_secret_and_follows_every_change() -> None:
    """Two files that differ in a setting differ in digest; a literal secret leaves no trace in document or words."""
    literal = CONTRACT.replace("env:ACME_KEY", "acme-canary")
    settings = config.parse(literal)
    assert "canary" not in str(recorded_form(settings))
    assert sha256_hex(canonical_json(recorded_form(settings))) == settings.digest
    assert "canary" not in repr(settings)
    assert settings.digest == config.parse(literal.replace("acme-canary", "acme-canary-2")).digest
    assert settings.digest != config.parse(literal.replace("workers: 1", "workers: 2")).digest


def test_a_policy_version_names_one_text() -> None:
    """Changing a route changes its version and no other's; a default written out is the same policy."""
    before, after = config.parse(CONTRACT), config.parse(CONTRACT.replace("attempts: 3", "attempts: 4"))
    assert before.models["fast"].version != after.models["fast"].version
    assert before.models["gpt-4o-mini"].version == after.models["gpt-4o-mini"].version
    assert len(before.models["fast"].version) == 12
    written_out = CONTRACT.replace("gpt-4o-mini}]}\n", "gpt-4o-mini}], retry: {attempts: 2, backoff: 200ms}}\n", 1)
    assert config.parse(written_out).models["gpt-4o-mini"].version == before.models["gpt-4o-mini"].version


def test_settings_come_back_whole_from_bytes() -> None:
    """What a worker is handed as bytes equals what was read."""
    settings = config.parse(CONTRACT)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(settings), type=Settings) == settings


def test_the_file_is_found_by_argument_variable_or_name() -> None:
    """The argument comes first, then the variable, then the usual name."""
    assert config.find_path(Path("a.yaml"), {"TOLLBOOK_CONFIG": "b.yaml"}) == Path("a.yaml")
    assert config.find_path(None, {"TOLLBOOK_CONFIG": "b.yaml"}) == Path("b.yaml")
    assert config.find_path(None, {}) == Path("tollbook.yaml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A book is found from any working directory; where it lies is no part of the configuration's digest."""
    (tmp_path / "tollbook.yaml").write_text(CONTRACT)
    settings = config.load(tmp_path / "tollbook.yaml")
    assert settings.book == str(tmp_path / "book")
    assert settings.digest == config.parse(CONTRACT).digest


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """The first error a stranger meets says what to do."""
    with pytest.raises(BadConfiguration, match="tollbook init"):
        config.load(tmp_path / "tollbook.yaml")
    assert list(tmp_path.iterdir()) == []


def test_policies_are_read_as_written() -> None:
    """Weights, regions, time limits and denied models stand where they belong, and mean what they say."""
    text = CONTRACT.replace("{vendor: openai, model: gpt-4o}", "{vendor: openai, model: gpt-4o, weight: 3}")
    text = text.replace(
        "    retry: {attempts: 3,", "    regions: [eu]\n    timeouts: {idle: 5s}\n    retry: {attempts: 3,"
    )
    text = text.replace(
        "workloads: [search, support]", "workloads: [search, support], deny_models: [fast], regions: [eu]"
    )
    settings = config.parse(text.replace("format: anthropic", "format: anthropic\n    region: eu"))
    fast = settings.models["fast"]
    assert [target.weight for target in fast.targets] == [None, 3]
    assert (fast.regions, fast.timeouts) == (("eu",), OwnTimeouts(idle=5.0))
    assert settings.vendors["claude"].region == "eu"
    assert (settings.tenants["acme"].deny_models, settings.tenants["acme"].regions) == (("fast",), ("eu",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: gpt-4o}", "model: gpt-4o, weight: 0}", "weight: found '0'; allowed: an integer from 1 to 1000000"),
        ("model: gpt-4o}", "model: gpt-4o-mini}", "targets[1]: the name openai/gpt-4o-mini is used twice"),
        (
            "    retry: {attempts: 3,",
            "    timeouts: {idle: 0s}\n    retry: {attempts: 3,",
            "idle: found '0s'; allowed: a dur",
        ),
        ("workloads: [search, support]", "deny_models: [slow]", "deny_models[0]: found 'slow', an unknown model"),
        (
            "workloads: [search, support]",
            "limits: {models: {slow: {streams: 1}}}",
            "limits.models.slow: found 'slow', an unknown model",
        ),
    ],
)
def test_bad_policies_are_refused_where_they_are_written(old: str, new: str, message: str) -> None:
    """Each mistake in a policy is told with its place."""
    assert message in only_problem_of(CONTRACT.replace(old, new))


def test_a_hedge_needs_another_target_and_another_attempt() -> None:
    """A policy that could never make its second attempt is refused where it is written."""
    text = CONTRACT.replace("    retry: {attempts: 3,", "    hedge: {after: 2s}\n    retry: {attempts: 3,")
    assert config.parse(text).models["fast"].hedge == Hedge(after=2.0)
    alone = CONTRACT.replace("model: gpt-4o-mini}]}\n", "model: gpt-4o-mini}], hedge: {after: 2s}}\n", 1)
    assert "models.gpt-4o-mini.hedge: has no second attempt" in only_problem_of(alone)
    assert "models.fast.hedge: has no second" in only_problem_of(text.replace("attempts: 3", "attempts: 1"))
