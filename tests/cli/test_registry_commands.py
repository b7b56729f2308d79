"""The commands of the registry as people type them, on a book that nobody serves: output, shapes, words, exit codes."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_commands import SCHEMAS, run

from tollbook.assembly import service
from tollbook.cli import screen
from tollbook.registry.secret import hash_of, is_secret, read_key

pytestmark = pytest.mark.xdist_group("registry-commands")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book with an entity, a unit, a tenant, two workloads and a key."""
    root = tmp_path_factory.mktemp("registry") / "book"
    service.init(root)
    for command in (
        "entity add gmbh --owner cfo --cost-centre 1000",
        "unit add research --entity gmbh",
        "unit add sales --entity gmbh --mode chargeback --cost-centre 2000",
        "tenant add acme --unit research --owner kim --workload search --workload mail --key prod",
    ):
        ran = run(*command.split(), "--book", str(root))
        assert ran.code == 0, ran.err
    return root


def told(book: Path, command: str) -> dict[str, Any]:
    """The JSON form of a command, held against its schema."""
    words = command.split()
    ran = run(*words, "--book", str(book), "--json")
    assert ran.code == 0, ran.err
    document = ran.document()
    jsonschema.validate(document, json.loads((SCHEMAS / f"{words[0]}-{words[1]}.json").read_text()))
    return document


def test_what_is_not_said_is_inherited(book: Path) -> None:
    """Cost centre and mode come from what one belongs to; the screen and the JSON say the same."""
    told(book, "tenant add newco --unit sales")
    rows = {row["name"]: row for row in told(book, "tenant list")["tenants"]}
    assert (rows["newco"]["cost_centre"], rows["newco"]["mode"]) == ("2000", "chargeback")
    assert (rows["acme"]["cost_centre"], rows["acme"]["mode"], rows["acme"]["owner"]) == ("1000", "showback", "kim")
    assert [row["name"] for row in told(book, "workload list")["workloads"]] == ["acme/mail", "acme/search"]
    out = run("tenant", "list", "--book", str(book)).out
    assert "newco" in out and "chargeback" in out


def test_one_is_shown_with_its_place_and_history(book: Path) -> None:
    """What it belongs to from the inside out, what it holds, every change with who made it."""
    document = told(book, "tenant show acme")
    assert [one["name"] for one in document["belongs_to"]] == ["research", "gmbh"]
    assert document["holds"] == ["acme/mail", "acme/search"] and document["keys"] == ["prod"]
    told(book, "workload move mail --owner lee --reason maternity")
    history = told(book, "workload show acme/mail")["history"]
    assert [one["act"] for one in history] == ["added", "moved"]
    assert history[1]["reason"] == "maternity" and "unauthenticated" in history[1]["actor"]
    assert "belongs to" in run("workload", "show", "mail", "--book", str(book)).out


@pytest.mark.parametrize("kind", ["entity", "unit", "tenant", "workload"])
def test_each_kind_is_added_moved_and_ended(book: Path, kind: str) -> None:
    """The same commands for each, in the shapes that are published."""
    parent = {"entity": "", "unit": "--entity gmbh", "tenant": "--unit sales", "workload": "--tenant acme"}[kind]
    told(book, f"{kind} add temp-{kind} {parent}")
    told(book, f"{kind} move temp-{kind} --owner somebody")
    done = told(book, f"{kind} end temp-{kind} --effective 2030-01-01")
    assert done["effective"] == "2030-01-01T00:00:00.000000Z"
    assert told(book, f"{kind} show temp-{kind}")["state"] == "active"
    told(book, f"{kind} list")


def test_a_key_s_life(book: Path) -> None:
    """Made, listed, turned, revoked; its secret is told once and kept as a hash."""
    made = told(book, "key add --tenant acme --workload search --name batch --models gpt-4o,fast --expires 2030-01-01")
    assert is_secret(made["secret"]) and (made["tenant"], made["workload"]) == ("acme", "search")
    assert made["expires_at"] == "2030-01-01T00:00:00.000000Z"
    turned = told(book, "key rotate batch --overlap 30m")
    assert turned["secret"] != made["secret"] and turned["former_until"] > turned["effective"]
    (row,) = [row for row in told(book, "key list")["keys"] if row["key"] == "batch"]
    assert (row["state"], row["models"], row["former_until"]) == ("active", ["gpt-4o", "fast"], turned["former_until"])
    told(book, "key revoke acme/batch --reason leaked")
    (row,) = [row for row in told(book, "key list --tenant acme")["keys"] if row["key"] == "batch"]
    assert (row["state"], row["former_until"], row["last_used_at"]) == ("revoked", None, None)
    assert made["secret"] not in run("key", "list", "--book", str(book)).out


def test_limits_are_set_and_listed(book: Path) -> None:
    """For a tenant, or one of its workloads, keys or models: the last word stands, what is not named has no limit."""
    done = told(book, "limit set --tenant acme --requests-per-minute 600 --streams 20 --reason launch")
    assert (done["requests_per_minute"], done["tokens_per_minute"], done["reason"]) == (600, None, "launch")
    told(book, "limit set --tenant acme --workload search --tokens-per-minute 1000")
    told(book, "limit set --tenant acme --key prod --tokens-per-minute 5")
    told(book, "limit set --tenant acme --key prod")
    told(book, "limit set --tenant acme --model gpt-4o --streams 1")
    rows = {
        (row["workload"], row["key"], row["model"]): row for row in told(book, "limit list --tenant acme")["limits"]
    }
    assert set(rows) == {(None, None, None), ("search", None, None), (None, "prod", None), (None, None, "gpt-4o")}
    assert rows[None, "prod", None]["tokens_per_minute"] is None
    out = run("limit", "list", "--book", str(book)).out
    assert "workload search of tenant acme" in out and "1,000" in out


def test_a_secret_is_read_from_the_environment_or_standard_input(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never from the command line, where every process of the machine could read it."""
    monkeypatch.setenv("OLD_KEY", "tb-old-secret-0123456789")
    made = told(book, "key add --tenant acme --name taken --secret-from env:OLD_KEY")
    assert made["secret"] == "tb-old-secret-0123456789"
    monkeypatch.setattr(sys, "stdin", StringIO("tb-piped-secret-0123456789\n"))
    told(book, "key add --tenant acme --name piped --secret-from -")
    key = service.read_registry(book).keys["acme", "piped"]
    assert key.secrets[0].secret.hash == hash_of(read_key(book), "tb-piped-secret-0123456789")
    ran = run("key", "add", "--tenant", "acme", "--name", "x", "--secret-from", "tb-plain", "--book", str(book))
    assert ran.code == 2 and "not the secret itself" in ran.err


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("limit set --tenant nobody --streams 1", 1, "there is no tenant 'nobody'"),
        ("limit set --tenant acme --workload nothing --streams 1", 1, "there is no workload"),
        ("limit set --tenant acme --key nothing --streams 1", 1, "there is no key 'nothing'"),
        ("limit set --tenant acme --key prod --model m --streams 1", 2, "limits belong to one of them"),
        ("limit set --tenant acme --streams 0", 2, "streams"),
        ("key add --tenant nobody --name k", 1, "there is no tenant 'nobody'; see: tollbook tenant list"),
        ("key add --tenant acme --name k --workload chess", 1, "there is no workload 'acme/chess'"),
        ("key add --tenant acme --name prod", 2, "has, or had, a key 'prod' already"),
        ("key add --tenant acme --name k --expires 2020-01-01", 2, "would have expired at 2020-01-01"),
        ("key add --tenant acme --name k --expires soon", 2, "--expires: found 'soon'; allowed: 2026-11-01"),
        ("key rotate prod --overlap long", 2, "--overlap: found 'long'; allowed: a duration such as 30m"),
        ("key revoke nothing --reason x", 1, "there is no key 'nothing'"),
        ("tenant add acme", 2, "there is, or was, a tenant 'acme' already"),
        ("tenant add a/b", 2, "cannot be done so"),
        ("workload add lonely", 2, "name it with --tenant"),
        ("tenant move acme --to nowhere", 1, "there is no unit 'nowhere'"),
        ("entity end gmbh", 2, "still has units: research, sales"),
        ("unit show nothing", 1, "there is no unit 'nothing'; see: tollbook unit list"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(book: Path, command: str, code: int, words: str) -> None:
    """With what to do next, the exit code that is published, and nothing done."""
    before = len(service.read_registry(book).entries)
    ran = run(*command.split(), "--book", str(book))
    assert (ran.code, words in ran.err) == (code, True), ran.err
    assert len(service.read_registry(book).entries) == before


def test_words_from_outside_are_shown_harmless(book: Path) -> None:
    """A reason with control characters is a reason, not a command to the terminal."""
    run("unit", "move", "sales", "--owner", "x", "--reason", "\x1b[2J", "--book", str(book))
    out = run("unit", "show", "sales", "--book", str(book)).out
    assert "\x1b" not in out and screen.escape("\x1b[2J") in out


def test_a_lost_registry_key_is_told_and_not_made_anew(book: Path) -> None:
    """A new one would lock out every client without a word."""
    path = book / "keys" / "registry.key"
    kept = path.read_bytes()
    path.unlink()
    try:
        ran = run("key", "add", "--tenant", "acme", "--name", "k", "--book", str(book))
        assert ran.code == 2 and "restore it from a backup" in ran.err
        assert not path.exists()
    finally:
        path.write_bytes(kept)
        path.chmod(0o600)


def test_a_move_with_nothing_on_record_says_so(book: Path) -> None:
    """Backdated, too; and one that another takes the place of says until when it holds."""
    told(book, "tenant add mover --unit sales")
    assert told(book, "tenant move mover --to research --effective 2026-01-10")["transfers"] == []
    document = told(book, "tenant move mover --cost-centre 5 --effective 2026-01-05")
    assert document["until"] == "2026-01-10T00:00:00.000000Z"
    out = run("tenant", "move", "mover", "--to", "research", "--effective", "2026-01-02", "--book", str(book)).out
    assert "nothing on record had to be carried over" in out and "when it moves again" in out
    assert "nothing was carried over" in run("transfer", "list", "--book", str(book)).out
    told(book, "transfer list")


@pytest.mark.parametrize("org", ["as-of", "as-was 2026-01-01", "yesterday"])
def test_a_structure_that_is_none_is_refused(book: Path, org: str) -> None:
    """With the three that there are."""
    ran = run("report", "--book", str(book), "--org", *org.split())
    assert ran.code == 2 and "allowed: as-was, restated, or as-of 2026-11-01" in ran.err
