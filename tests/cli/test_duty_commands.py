"""Logging in, and acts that need a second person, as people type them on a book that nobody serves."""

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from test_commands import SCHEMAS, Ran, run

from tollbook.assembly import login, service
from tollbook.assembly.authorising import Authorising
from tollbook.assembly.logins import Logins
from tollbook.core.clock import now
from tollbook.core.faults import BadInput
from tollbook.journal.book import Book
from tollbook.journal.heads import book_lines
from tollbook.journal.verify import verify
from tollbook.registry.duties import duties

PASSWORDS = {"kim": "correct horse battery", "lee": "staple of the harbour", "ann": "a third way to come in"}


class House:
    """A book, and people who type commands, each with a login of his own."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = directory / "book"
        self.directory = directory
        self._patch = patch
        service.init(self.root)

    def type(self, who: str, command: str, typed: str = "") -> Ran:
        """What a command of somebody gives."""
        self._patch.setenv("XDG_CONFIG_HOME", str(self.directory / who))
        self._patch.setattr(sys, "stdin", io.StringIO(typed))
        return run(*command.split(), "--book", str(self.root))

    def told(self, who: str, command: str, typed: str = "") -> dict[str, Any]:
        """The JSON form of a command, held against its schema."""
        ran = self.type(who, f"{command} --json", typed)
        assert ran.code == 0, ran.err
        words = command.split()
        name = words[0] if words[0] in ("login", "logout", "whoami") else f"{words[0]}-{words[1]}"
        document = ran.document()
        jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.json").read_text()))
        return document

    def log_in(self, who: str) -> None:
        self.told(who, f"login {who} --stdin", PASSWORDS[who])

    def proposed(self, who: str, command: str) -> str:
        """The proposal that a command makes instead of being done."""
        ran = self.type(who, command)
        assert ran.code == 1 and "not done yet" in ran.err, (ran.out, ran.err)
        return ran.err.rpartition(" ")[2].strip()

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(line.bytes) for line in book_lines(self.root) if line.kind == kind]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A book with two administrators, kim and lee, and ann of tenant acme, an engineer; kim and lee are logged in."""
    house = House(tmp_path, monkeypatch)
    for command in ("tenant add acme", "tenant add other", "identity add kim", "identity add lee"):
        assert house.type("root", command).code == 0
    assert house.type("root", "identity add ann --tenant acme").code == 0
    for name, password in PASSWORDS.items():
        house.told("root", f"identity password {name} --stdin", password)
    house.told("root", "identity grant ann engineer")
    house.told("root", "identity grant lee admin --reason first")
    house.log_in("lee")
    name = house.proposed("lee", "identity grant kim admin")
    house.told("lee", f"proposal emergency {name} --reason bootstrap")
    house.log_in("kim")
    yield house
    assert verify(house.root).findings == []


def test_every_act_has_its_duty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the book's writer can do and what the table names are the same: a new act cannot be forgotten."""
    seen: list[list[str]] = []
    do = Authorising.do
    monkeypatch.setattr(Authorising, "do", lambda self, act, peer: (seen.append(self.acts), do(self, act, peer))[1])
    house = House(tmp_path, monkeypatch)
    house.told("root", "whoami")
    assert sorted(seen[0]) == sorted(duties().duties)


def test_acts_are_of_whoever_logged_in(house: House) -> None:
    """The entry names the identity and the method; without a login nothing is done but proposed."""
    assert house.told("kim", "whoami")["identity"]["name"] == "kim"
    assert house.type("kim", "entity add gmbh").code == 0
    assert house.entries("registry.changed")[-1]["actor"] == "kim, by password"
    assert house.entries("act.authorised")[-1]["authority"]["name"] == "kim"
    name = house.proposed("root", "entity add ltd")
    assert "unauthenticated" in house.told("kim", f"proposal show {name}")["proposed_by"]
    house.told("kim", f"proposal approve {name}")
    assert house.entries("registry.changed")[-1]["actor"].endswith(f"approved by kim, by password [{name}]")


def test_nobody_approves_what_he_proposed(house: House) -> None:
    """Erasing a person takes two; the second sees what exactly, and only then it is done, once."""
    name = house.proposed("kim", "erase --tenant acme --user bob@example.com --basis request-4711")
    assert house.entries("personal.erased") == []
    assert "his own act" in house.type("kim", f"proposal approve {name}").err
    assert "logged in" in house.type("root", f"proposal approve {name}").err
    assert "may not approve" in (house.log_in("ann"), house.type("ann", f"proposal approve {name}"))[1].err
    shown = house.told("lee", f"proposal show {name}")
    assert shown["arguments"]["user"] == "bob@example.com" and shown["state"] == "open"
    house.told("lee", f"proposal approve {name} --reason seen")
    assert len(house.entries("personal.erased")) == 1
    again = house.type("lee", f"proposal approve {name}")
    assert again.code == 2 and "done" in again.err
    assert len(house.entries("personal.erased")) == 1
    under = [path for path in house.root.rglob("*") if path.is_file() and b"bob@example.com" in path.read_bytes()]
    assert under == []


def test_a_proposal_is_rejected_withdrawn_or_expires(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends it: nothing can be approved after, and its words are gone."""
    names = [house.proposed("kim", f"erase --tenant acme --user u{number} --basis b") for number in range(3)]
    house.told("lee", f"proposal reject {names[0]} --reason no")
    house.told("kim", f"proposal withdraw {names[1]}")
    assert "only who proposed" in house.type("lee", f"proposal withdraw {names[2]}").err
    began = Authorising.__init__

    def in_eight_days() -> int:
        return now() + 8 * 86_400 * 1_000_000

    def begin(self: Authorising, *given: Any) -> None:
        began(self, *given, clock=in_eight_days)

    monkeypatch.setattr(Authorising, "__init__", begin)
    monkeypatch.setattr(service, "now", in_eight_days)
    ran = house.type("lee", "proposal list --all --json")
    assert ran.code == 1  # the emergency that began this book is overdue by now
    told = {one["proposal"]: one["state"] for one in ran.document()["proposals"]}
    assert [told[name] for name in names] == ["rejected", "withdrawn", "expired"]
    for name in names:
        assert "nothing to approve" in house.type("lee", f"proposal approve {name}").err
    assert house.entries("personal.erased") == []
    assert not (house.root / "proposals" / f"{names[0]}.json").exists()


def test_what_was_proposed_is_what_is_done(house: House) -> None:
    """Words changed under the approver's hands are not done: the entry binds them."""
    name = house.proposed("kim", "erase --tenant acme --user bob --basis b")
    path = house.root / "proposals" / f"{name}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(path.read_bytes().replace(b'"bob"', b'"eve"'))
    ran = house.type("lee", f"proposal approve {name}")
    assert ran.code == 2 and "not what was proposed" in ran.err
    assert house.entries("personal.erased") == []


def test_an_emergency_is_done_marked_and_listed(house: House) -> None:
    """It does not wait, it says why, it stays on the list until somebody else approves it."""
    name = house.proposed("kim", "erase --tenant acme --user bob --basis b")
    assert "only who proposed" in house.type("lee", f"proposal emergency {name} --reason now").err
    house.told("kim", f"proposal emergency {name} --reason regulator-at-the-door")
    assert house.entries("personal.erased")[0]["actor"] == f"kim, by password, in an emergency [{name}]"
    listed = [one["proposal"] for one in house.told("lee", "proposal list --emergency")["proposals"]]
    assert name in listed
    assert "his own act" in house.type("kim", f"proposal approve {name}").err
    house.told("lee", f"proposal approve {name}")
    listed = [one["proposal"] for one in house.told("lee", "proposal list --emergency")["proposals"]]
    assert name not in listed and len(house.entries("personal.erased")) == 1


def test_an_approval_that_broke_off_is_finished_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the decision, or after the act: asked again, the act is done exactly once."""
    for number, broken in enumerate(("_was_done", "_write")):
        name = house.proposed("kim", f"erase --tenant acme --user u{number} --basis b")
        write = Authorising._write

        def die(self: Authorising, *given: Any, broken: str = broken, write: Any = write) -> Any:
            if broken == "_write" and given[0] != "proposal.carried":
                return write(self, *given)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt, AssertionError):
            patch.setattr(Authorising, broken, die)
            house.type("lee", f"proposal approve {name}")
        assert house.told("lee", f"proposal show {name}")["state"] == "approved"
        house.told("lee", f"proposal approve {name}")
        assert house.told("lee", f"proposal show {name}")["state"] == "done"
        assert len(house.entries("personal.erased")) == number + 1


@pytest.mark.parametrize(
    "variable", ["USER", "LOGNAME", "USERNAME", "SUDO_USER", "TOLLBOOK_ACTOR", "TOLLBOOK_USER", "HOME"]
)
def test_no_environment_makes_an_actor(house: House, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Names in the environment are nobody's word: the act is that of the session, or of nobody."""
    monkeypatch.setenv(variable, str(house.directory) if variable == "HOME" else "lee")
    assert house.told("kim", "whoami")["actor"] == "kim, by password"
    assert "unauthenticated" in house.told("nobody", "whoami")["actor"]


def test_no_file_makes_an_actor(house: House) -> None:
    """A login that somebody wrote by hand, one that others can read, and one of another book's are refused."""
    book = Book.open(house.root).id
    path = house.directory / "eve" / "tollbook" / f"{book}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"session": "tbs_" + "x" * 43, "name": "kim"}))
    path.chmod(0o600)
    assert "login has ended" in house.type("eve", "entity add gmbh").err
    kept = house.directory / "kim" / "tollbook" / f"{book}.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.chmod(0o644)
    assert "yours alone" in house.type("kim", "entity add gmbh").err
    kept.chmod(0o600)
    assert house.entries("registry.changed")[-1]["actor"] != "kim, by password"


def test_no_argument_makes_an_actor(house: House) -> None:
    """The arguments of an act may hold whatever: the entry's actor is not among them."""
    house.told("kim", "whoami")
    service.ask_book(house.root, "registry.add", {"kind": "entity", "name": "gmbh", "actor": "lee", "peer": "lee"})
    assert house.entries("registry.changed")[-1]["actor"] == "kim, by password"
    assert house.type("kim", "entity add ltd --actor lee").code == 2
    assert house.type("kim", "entity add ltd --by lee").code == 2


def test_a_session_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By logout, by another password, by the end of the identity, and by itself; its token is kept nowhere."""
    token = login.kept(Book.open(house.root).id)
    assert token is not None
    for path in house.root.rglob("*"):
        assert not path.is_file() or token.session.encode() not in path.read_bytes()
    house.told("kim", "logout")
    assert house.told("kim", "logout")["closed"] is False
    house.log_in("kim")
    house.told("kim", "identity password kim --stdin", "another long password")
    assert "login has ended" in house.type("kim", "whoami").err
    house.type("kim", "logout")
    house.told("kim", "login kim --stdin", "another long password")
    house.told("lee", "identity end kim --reason left")
    assert "login has ended" in house.type("kim", "whoami").err
    assert house.type("kim", "login kim --stdin", "another long password").code == 2
    clock = [0]
    logins = Logins(house.root, lambda: clock[0])
    mine, _ = logins.open("lee", "password")
    assert logins.session(mine) is not None
    clock[0] += 8 * 3600 * 1_000_000
    assert logins.session(mine) is None


def test_passwords_are_hashed_bounded_and_slow_to_guess(house: House) -> None:
    """No password under the book; the file is the owner's alone; after five wrong ones it waits, right or not."""
    for path in house.root.rglob("*"):
        assert not path.is_file() or not any(one.encode() in path.read_bytes() for one in PASSWORDS.values())
    kept = house.root / "keys" / "logins.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and b"argon2id" in kept.read_bytes()
    assert "12 to 1024" in house.type("kim", "identity password kim --stdin", "short").err
    logins = Logins(house.root)
    for name in ("kim", "nobody"):
        for _ in range(5):
            with pytest.raises(BadInput, match="name or the password"):
                logins.check_password(name, "wrong password here")
        with pytest.raises(BadInput, match="wait a minute"):
            logins.check_password(name, PASSWORDS["kim"])


def test_a_personal_key_signs_each_act(house: House, tmp_path: Path) -> None:
    """Acts of one who has a personal key are signed; `verify` names the first that is not, and a signature is used
    once."""
    private = Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (tmp_path / "key.pub").write_bytes(public)
    house.told("kim", f"identity key kim --public {tmp_path / 'key.pub'}")
    house.type("kim", "logout")
    assert house.type("kim", "login kim --stdin", PASSWORDS["kim"]).code == 2
    house.told("kim", f"login kim --key {tmp_path / 'key'}")
    assert house.type("kim", "entity add gmbh").code == 0
    authority = house.entries("act.authorised")[-1]["authority"]
    assert authority["signature"] and house.entries("registry.changed")[-1]["actor"] == "kim, by key"
    name = house.proposed("kim", "erase --tenant acme --user bob --basis b")
    house.told("lee", f"proposal approve {name}")
    house.told("kim", "whoami")
    arguments = {"kind": "entity", "name": "twice"}
    proof = login.prove(house.root, "registry.add", arguments)
    service.do_as(house.root, "registry.add", arguments, proof)
    with pytest.raises(Exception, match="used before"):
        service.do_as(house.root, "registry.add", arguments, proof)
    with pytest.raises(Exception, match="other words than were signed"):
        fresh = login.prove(house.root, "registry.add", arguments)
        service.do_as(house.root, "registry.add", {"kind": "entity", "name": "third"}, fresh)


def test_a_service_acts_by_its_token(house: House) -> None:
    """Its token is shown once, opens a session, and approves nothing; another one ends the first."""
    house.told("kim", "identity add ci --service")
    token = house.told("kim", "identity token ci")["token"]
    for path in house.root.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()
    name = house.proposed("kim", "identity grant ci engineer")
    house.told("lee", f"proposal approve {name}")
    house.told("ci", "login --token", token)
    assert house.type("ci", "key add --tenant acme --name from-ci").code == 0
    assert (
        house.type("ci", f"proposal approve {house.proposed('kim', 'erase --tenant acme --user b --basis b')}").code
        == 1
    )
    name = house.proposed("kim", "identity token ci")
    told = house.told("lee", f"proposal approve {name}")
    assert house.type("again", "login --token", token).code == 2
    house.told("again", "login --token", told["result"]["token"])


def test_a_secret_cannot_wait(house: House) -> None:
    """What holds a secret is never kept as a proposal."""
    os.environ["CANARY_SECRET"] = "canary-of-a-waiting-secret"
    ran = house.type("nobody", "key add --tenant acme --name k --secret-from env:CANARY_SECRET")
    assert ran.code == 1 and "cannot wait" in ran.err
    for path in house.root.rglob("*"):
        assert not path.is_file() or b"canary-of-a-waiting-secret" not in path.read_bytes()


def test_one_of_a_tenant_touches_another_only_with_a_second(house: House) -> None:
    """A key of another tenant: proposed, not made; one's own is made at once."""
    house.log_in("ann")
    assert house.type("ann", "key add --tenant acme --name mine").code == 0
    name = house.proposed("ann", "key add --tenant other --name theirs")
    result = house.told("kim", f"proposal approve {name}")["result"]
    assert result["key"] == "theirs" and result["secret"].startswith("tbk_")
    assert "may not do this" in house.type("ann", "tenant end other").err


def test_verify_names_an_act_that_nobody_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes the book without going through its writer can name anybody, but not sign for one with a key."""
    from tollbook.journal.authority import ActAuthorised, Authority, CredentialSet, IdentityAdded, IdentityChanged
    from tollbook.journal.recording import BookLane

    house = House(tmp_path, monkeypatch)
    lane = BookLane.open(Book.open(house.root), release="test")
    changes = [IdentityAdded(name="kim"), CredentialSet(name="kim", method="key", key="A" * 43 + "=")]
    lane.append("identity.changed", IdentityChanged(changes=changes, actor="root"))
    forged = Authority(actor="kim, by key", act="erase", content="0" * 64, name="kim", method="key")
    sequence, _ = lane.append("act.authorised", ActAuthorised(authority=forged))
    lane.advance(lane.keeper())
    lane.close("done")
    (found,) = verify(house.root).findings
    assert (found.code, found.lane, found.sequence) == ("actor_not_proven", lane.name, sequence)


def test_help_of_each_command_says_what_it_does() -> None:
    """The commands explain themselves."""
    for command in ("identity", "proposal", "login"):
        done = subprocess.run([sys.executable, "-m", "tollbook", command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and len(done.stdout) > 200
