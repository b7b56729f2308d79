"""What a worker makes of the registry's snapshot: whom it lets in, at which instant, and when it lets nobody in."""

import os
from pathlib import Path

import pytest

from tollbook.assembly.credentials import STALE, Credentials
from tollbook.core.clock import SECOND, now
from tollbook.core.settings import Gateway, Settings, Tenant
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.routing import may_use
from tollbook.registry import snapshot
from tollbook.registry.secret import hash_of, kept_form, make_key, read_key
from tollbook.registry.snapshot import Credential, Snapshot, Told

SETTINGS = Settings(book="b", tenants={"acme": Tenant(name="acme", models=("fast", "smart"), deny_models=("old",))})


class Door:
    """A book's directory with a snapshot, and one worker's look at it."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, now()
        for place in ("keys", "run"):
            (root / place).mkdir(parents=True)
        make_key(root)
        self.credentials = Credentials(root, lambda tenant, value, kind: value, lambda: self.now)

    def tell(self, *told: Credential) -> None:
        snapshot.write(self.root, Snapshot("c", Told(list(told))))

    def credential(self, secret: str, **facts: object) -> Credential:
        known = {"tenant": "acme", "key": "k", "workloads": ("w",)} | facts
        return Credential(hash=hash_of(read_key(self.root), secret), **known)  # type: ignore[arg-type]

    def age(self, seconds: float) -> None:
        at = self.now / SECOND - seconds
        os.utime(snapshot.path_of(self.root), (at, at))

    def ask(self, secret: str, settings: Settings = SETTINGS) -> str:
        """Who is let in by that secret: the key's name; or the code of the refusal."""
        self.credentials.look(settings)
        return self.judged(secret, settings)

    def judged(self, secret: str, settings: Settings = SETTINGS) -> str:
        header = (b"authorization", b"Bearer " + secret.encode())
        request = ClientRequest(b"POST", b"/", b"", [header], b"", True)
        try:
            return self.credentials.admission(settings).caller(request).key
        except Refusal as refusal:
            return f"{refusal.status} {refusal.reason}"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "book")


def test_nobody_is_let_in_before_anything_is_known(door: Door) -> None:
    """And who is known is let in from the next look on."""
    assert door.ask("s") == "503 registry_stale"
    door.tell(door.credential("s"))
    assert door.ask("s") == "k"
    assert door.ask("other") == "401 credential_unknown"
    door.tell()
    assert door.ask("s") == "401 credential_unknown"


def test_a_look_says_whether_anything_is_new(door: Door) -> None:
    """A snapshot that was only touched costs no new admission; an instant that passes does."""
    door.tell(door.credential("s", since=door.now + SECOND, until=door.now + 2 * SECOND))
    assert door.credentials.look(SETTINGS) and door.judged("s") == "401 credential_unknown"
    snapshot.touch(door.root)
    assert not door.credentials.look(SETTINGS)
    door.now += SECOND
    assert door.credentials.look(SETTINGS) and door.judged("s") == "k"
    door.now += SECOND
    assert door.credentials.look(SETTINGS) and door.judged("s") == "401 credential_unknown"
    assert not door.credentials.look(SETTINGS)


def test_an_old_snapshot_lets_nobody_in_unless_it_is_said_so(door: Door) -> None:
    """30 s of age by the file's time; and a fresh one opens again."""
    door.tell(door.credential("s"))
    door.age(STALE / SECOND - 1)
    assert door.ask("s") == "k"
    door.age(STALE / SECOND + 1)
    assert door.ask("s") == "503 registry_stale"
    going_on = Settings(book="b", gateway=Gateway(stale_registry="continue"), tenants=SETTINGS.tenants)
    assert door.ask("s", going_on) == "k"
    assert door.ask("s") == "503 registry_stale"
    door.age(0)
    assert door.ask("s") == "k"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"digest":"0","configuration":null}\n[]\n'])
def test_a_damaged_snapshot_changes_nothing(door: Door, damage: bytes) -> None:
    """What was known holds until it is too old; it is said, and the next whole one is taken."""
    door.tell(door.credential("s"))
    assert door.ask("s") == "k"
    snapshot.path_of(door.root).write_bytes(damage)
    assert door.ask("s") == "k"
    door.tell(door.credential("t"))
    assert (door.ask("s"), door.ask("t")) == ("401 credential_unknown", "k")


def test_a_key_narrows_what_its_tenant_may_use(door: Door) -> None:
    """Never widens it: of the key's models those that the tenant may ask for, too."""
    for models, allowed in (((), {"fast", "smart"}), (("fast", "other"), {"fast"}), (("other", "old"), set())):
        door.tell(door.credential("s", models=models))
        door.credentials.look(SETTINGS)
        request = ClientRequest(b"POST", b"/", b"", [(b"x-api-key", b"s")], b"", True)
        tenant = door.credentials.admission(SETTINGS).caller(request).tenant
        assert {name for name in ("fast", "smart", "other", "old") if may_use(tenant, name)} == allowed


def test_a_tenant_without_policy_has_the_default_one(door: Door) -> None:
    """One that only the registry knows."""
    door.tell(door.credential("s", tenant="new"))
    door.credentials.look(SETTINGS)
    request = ClientRequest(b"POST", b"/", b"", [(b"api-key", b"s")], b"", True)
    caller = door.credentials.admission(SETTINGS).caller(request)
    assert (caller.tenant.name, may_use(caller.tenant, "anything")) == ("new", True)


@pytest.mark.parametrize("workloads", [(), ("w",), ("w", "v")])
def test_only_a_key_made_for_some_workloads_is_limited_to_them(door: Door, workloads: tuple[str, ...]) -> None:
    """Whatever the file says of the tenant's workloads: the desk tells the two apart by this."""
    settings = Settings(book="b", tenants={"acme": Tenant(name="acme", workloads=("w", "old"))})
    for limited in (False, True) if workloads else (False,):
        door.tell(door.credential("s", workloads=workloads, limited=limited))
        door.credentials.look(settings)
        request = ClientRequest(b"POST", b"/", b"", [(b"api-key", b"s")], b"", True)
        caller = door.credentials.admission(settings).caller(request)
        assert (caller.workloads != caller.tenant.workloads) is limited


def test_one_signer_that_cannot_be_opened_closes_the_door_to_nobody_else(door: Door) -> None:
    """It is said, and the others come in."""
    kept = kept_form(b"x" * 32, "sealed-under-another-key", "TBKOTHER")
    bad = Credential(
        hash=kept.hash, tenant="acme", key="signs", workloads=(), access_key_id="TBKOTHER", sealed=kept.sealed
    )
    door.tell(bad, door.credential("s"))
    assert door.ask("s") == "k"


def test_without_the_registry_s_key_nobody_is_recognised(door: Door) -> None:
    """And it is no fault of the request: 503, until the file is back."""
    door.tell(door.credential("s"))
    path = door.root / "keys" / "registry.key"
    kept = path.read_bytes()
    path.unlink()
    assert door.ask("s") == "503 registry_stale"
    path.write_bytes(kept)
    assert door.credentials.look(SETTINGS) and door.judged("s") == "k"
