"""The registry as folded: looked up at two instants, whatever came when."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.faults import BadInput, NotFound
from tollbook.journal.registration import Added, Ended, KeyAdded, KeyRevoked, KeyRotated, Moved, RegistryChanged
from tollbook.registry import decisions, seeding, snapshot
from tollbook.registry.decisions import Facts, KeyFacts
from tollbook.registry.registry import EVER, Place, Registry
from tollbook.registry.secret import hash_of, is_secret, kept_form, new_secret, unseal
from tollbook.registry.seeding import SeedKey, SeedTenant

KEY = b"k" * 32
SECRET = "tb-a-secret-0123456789"


def told(registry: Registry, *changes: Any, at: int, effective: int | None = None, configuration: str | None = None):  # type: ignore[no-untyped-def]
    entry = RegistryChanged(changes=list(changes), actor="a", effective=effective, configuration=configuration)
    return registry.add(entry, at, f"{len(registry.entries):064x}")


def company() -> Registry:
    """Two entities, two units, two tenants, a workload; all of it at instant 10."""
    registry = Registry()
    told(
        registry,
        Added(kind="entity", name="gmbh", cost_centre="1000"),
        Added(kind="entity", name="inc"),
        Added(kind="unit", name="research", parent="gmbh"),
        Added(kind="unit", name="sales", parent="inc", cost_centre="2000"),
        Added(kind="tenant", name="acme", parent="research"),
        Added(kind="tenant", name="globex", parent="sales"),
        Added(kind="workload", name="acme/search", parent="acme"),
        at=10,
    )
    return registry


def test_usage_has_its_place_and_inherits_its_cost_centre() -> None:
    """A workload without a cost centre has its tenant's, unit's or entity's, whichever is nearest."""
    registry = company()
    assert registry.place("acme", "search", 10) == Place("acme", "research", "gmbh", "1000")
    assert registry.place("globex", None, 10) == Place("globex", "sales", "inc", "2000")
    assert registry.place("nobody", "x", 10) == Place("nobody")


def test_a_backdated_move_changes_what_is_known_now_and_not_what_was_known() -> None:
    """Two instants: where it is held to have been, and what was known of that by then."""
    registry = company()
    told(registry, Moved(kind="workload", name="acme/search", parent="globex"), at=200, effective=100)
    assert registry.place("acme", "search", 150).tenant == "globex"
    assert registry.place("acme", "search", 99).tenant == "acme"
    assert registry.place("acme", "search", 150, known=1) == Place("acme", "research", "gmbh", "1000")


def test_a_move_before_another_holds_until_that_other() -> None:
    """What took effect last decides, not what was said last."""
    registry = company()
    told(registry, Moved(kind="tenant", name="acme", parent="sales"), at=200)
    told(registry, Moved(kind="tenant", name="acme", cost_centre="77"), at=300, effective=50)
    assert registry.place("acme", None, 60) == Place("acme", "research", "gmbh", "77")
    assert registry.place("acme", None, 250) == Place("acme", "sales", "inc", "77")


@given(
    st.lists(st.tuples(st.integers(11, 99), st.sampled_from(["research", "sales"])), max_size=8), st.integers(10, 99)
)
def test_a_look_up_is_the_last_effective_of_what_was_known(moves: list[tuple[int, str]], at: int) -> None:
    """For any moves told in any order, the parent is that of the greatest effective instant, the later told of two."""
    registry = company()
    for index, (effective, unit) in enumerate(moves):
        told(registry, Moved(kind="tenant", name="acme", parent=unit), at=1000 + index, effective=effective)
    for known in range(len(moves) + 1):
        past = [(effective, index, unit) for index, (effective, unit) in enumerate(moves[:known]) if effective <= at]
        found = registry.find("tenant", "acme", at, known + 1)
        assert found is not None
        assert found.parent == max(past, default=(0, 0, "research"))[2]


def test_names_are_never_used_again() -> None:
    """Neither of what there is, nor of what has ended."""
    registry = company()
    told(registry, Ended(kind="tenant", name="acme"), at=20)
    with pytest.raises(BadInput, match="there is, or was, a tenant 'acme' already"):
        decisions.add(registry, "tenant", "acme", Facts(), 30)
    with pytest.raises(BadInput, match="has ended at"):
        decisions.end(registry, "tenant", "acme", 30)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(parent="nowhere"), "there is no unit 'nowhere'"),
        (Facts(mode="free"), "no such mode: 'free'"),
        (Facts(), "nothing is to change"),
        (Facts(parent="research"), "is so already"),
        (Facts(owner="\x1b[31m"), "printable"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(facts: Facts, words: str) -> None:
    """With words that say what to do."""
    with pytest.raises((BadInput, NotFound), match=words):
        decisions.move(company(), "tenant", "acme", facts, 30)


def test_a_unit_ends_only_when_it_is_empty() -> None:
    """Else its tenants would belong to what is no more."""
    registry = company()
    with pytest.raises(BadInput, match="unit 'research' still has tenants: acme"):
        decisions.end(registry, "unit", "research", 30)
    told(registry, Ended(kind="tenant", name="acme"), at=20)
    assert decisions.end(registry, "unit", "research", 30) == Ended(kind="unit", name="research")


def credentials(registry: Registry, at: int) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    return {one.hash: (one.since, one.until, one.workloads) for one in snapshot.credentials(registry, at)}


def test_a_key_opens_from_its_making_to_its_end() -> None:
    """Expiry, rotation, revocation, the end of its workload and of its tenant each end it."""
    registry = company()
    first, second = kept_form(KEY, "first"), kept_form(KEY, "second")
    told(registry, KeyAdded(tenant="acme", name="k", secret=first, expires=900), at=20)
    assert credentials(registry, 30) == {first.hash: (20, 900, ("search",))}
    told(registry, KeyRotated(tenant="acme", name="k", secret=second, until=100), at=40)
    assert credentials(registry, 50) == {first.hash: (20, 100, ("search",)), second.hash: (40, 900, ("search",))}
    assert credentials(registry, 100) == {second.hash: (40, 900, ("search",))}
    assert snapshot.next_change(registry, 50) == 100
    assert snapshot.next_change(registry, 901) == EVER
    told(registry, Ended(kind="workload", name="acme/search"), at=110)
    assert credentials(registry, 120) == {second.hash: (40, 900, ())}
    told(registry, Ended(kind="tenant", name="acme"), at=130, effective=500)
    assert credentials(registry, 140) == {second.hash: (40, 500, ())}
    told(registry, KeyRevoked(tenant="acme", name="k"), at=150)
    assert credentials(registry, 150) == {}


def test_a_key_whose_workloads_have_all_ended_opens_nothing() -> None:
    """It was made for them, and must not act for all others instead."""
    registry = company()
    told(registry, KeyAdded(tenant="acme", name="k", secret=kept_form(KEY, "s"), workloads=["search"]), at=20)
    told(registry, Ended(kind="workload", name="acme/search"), at=30)
    assert credentials(registry, 40) == {}


def test_a_second_rotation_does_not_lengthen_the_first_overlap() -> None:
    """A former secret ends when it was said to end, or earlier."""
    registry = company()
    secrets = [kept_form(KEY, text) for text in "abc"]
    told(registry, KeyAdded(tenant="acme", name="k", secret=secrets[0]), at=20)
    told(registry, KeyRotated(tenant="acme", name="k", secret=secrets[1], until=50), at=30)
    told(registry, KeyRotated(tenant="acme", name="k", secret=secrets[2], until=400), at=40)
    assert {one.secret.hash: one.until for one in registry.keys["acme", "k"].secrets} == {
        secrets[0].hash: 50,
        secrets[1].hash: 400,
        secrets[2].hash: EVER,
    }


def test_secrets_have_a_form_that_scanners_tell_and_no_two_are_alike() -> None:
    """Prefix and checksum; one letter changed is no secret of ours."""
    made = {new_secret() for _ in range(200)}
    assert len(made) == 200
    for secret in made:
        assert is_secret(secret) and len(secret) == 50
        assert not is_secret(secret[:-1] + ("0" if secret[-1] != "0" else "1"))
        assert not is_secret(secret[:10] + ("0" if secret[10] != "0" else "1") + secret[11:])


def test_what_is_kept_of_a_secret_does_not_tell_it() -> None:
    """A keyed hash; sealed for signers, and opened with the right key and id only."""
    kept = kept_form(KEY, SECRET, "TBKID")
    assert SECRET not in str(kept) and kept.hash == hash_of(KEY, SECRET) != hash_of(b"x" * 32, SECRET)
    assert kept.sealed is not None and unseal(KEY, "TBKID", kept.sealed) == SECRET
    for key, access_key_id in ((b"x" * 32, "TBKID"), (KEY, "OTHER")):
        with pytest.raises(BadInput, match="does not open"):
            unseal(key, access_key_id, kept.sealed)
    assert kept_form(KEY, SECRET).sealed is None


def test_keys_are_named_alone_or_with_their_tenant() -> None:
    """A name that two tenants use must be told apart."""
    registry = company()
    for tenant in ("acme", "globex"):
        told(registry, KeyAdded(tenant=tenant, name="main", secret=kept_form(KEY, tenant)), at=20)
    with pytest.raises(BadInput, match="acme/main, globex/main"):
        decisions.key_named(registry, "main")
    assert decisions.key_named(registry, "globex/main").tenant == "globex"
    with pytest.raises(NotFound, match="there is no key 'other'"):
        decisions.key_named(registry, "other")


def test_a_secret_is_given_out_once() -> None:
    """Two keys with one secret would leave open who is charged; also when the first is revoked."""
    registry = company()
    told(registry, KeyAdded(tenant="acme", name="k", secret=kept_form(KEY, SECRET, "ID1")), at=20)
    told(registry, KeyRevoked(tenant="acme", name="k"), at=30)
    for secret in (kept_form(KEY, SECRET), kept_form(KEY, "other", "ID1")):
        with pytest.raises(BadInput, match="is, or was, that of another key"):
            decisions.add_key(registry, "globex", KeyFacts(name="n"), secret, 40)


def seed(*keys: tuple[str, str], workloads: tuple[str, ...] = (), name: str = "acme") -> SeedTenant:
    made = tuple(SeedKey(name=key, secret=kept_form(KEY, secret)) for key, secret in keys)
    return SeedTenant(name=name, workloads=workloads, keys=made)


def test_a_configuration_enters_once() -> None:
    """What is new enters; the second time nothing does; what is added to the file later does."""
    registry = Registry()
    first = seed(("k", "s"), workloads=("w",))
    told(registry, *seeding.new_changes(registry, first, 10), at=10, configuration="c")
    assert (registry.names("tenant"), registry.names("workload")) == (["acme"], ["acme/w"])
    assert seeding.new_changes(registry, first, 20) == [] == seeding.differences(registry, [first], 20)
    more = seed(("k", "s"), ("l", "t"), workloads=("w", "v"))
    assert [type(one) for one in seeding.new_changes(registry, more, 20)] == [Added, KeyAdded]


@pytest.mark.parametrize(
    ("tenants", "name", "words"),
    [
        ([], "acme", "is not in the file any more"),
        ([seed(("l", "t"), workloads=("w",))], "acme/k", "still opens; revoke it"),
        ([seed(("k", "other"), workloads=("w",))], "acme/k", "the registry does not know"),
        ([seed(("k", "s"), workloads=("v",))], "acme/w", "is not in the file any more"),
        ([seed(("k", "s"), ("l", "s"), workloads=("w",))], "acme/l", "has the secret of key acme/k"),
    ],
)
def test_what_a_file_says_otherwise_is_told_and_not_done(tenants: list[SeedTenant], name: str, words: str) -> None:
    """A key, tenant or workload taken out goes on; another secret opens nothing."""
    registry = Registry()
    told(registry, *seeding.new_changes(registry, seed(("k", "s"), workloads=("w",)), 10), at=10, configuration="c")
    before = credentials(registry, 15)
    found = {one.name: one.text for one in seeding.differences(registry, tenants, 20)}
    assert words in found[name]
    for tenant in tenants:
        told(registry, *seeding.new_changes(registry, tenant, 20), at=20, configuration="d")
    assert before.keys() <= credentials(registry, 30).keys()


def test_what_has_ended_does_not_come_back_by_the_file() -> None:
    """Neither a revoked key nor an ended tenant."""
    registry = Registry()
    file = seed(("k", "s"), workloads=("w",))
    told(registry, *seeding.new_changes(registry, file, 10), at=10, configuration="c")
    told(registry, KeyRevoked(tenant="acme", name="k"), at=20)
    assert seeding.new_changes(registry, file, 30) == []
    assert [one.text for one in seeding.differences(registry, [file], 30)] == [
        "is revoked, but is in the file; take it out"
    ]
    told(registry, Ended(kind="tenant", name="acme"), at=40)
    assert seeding.new_changes(registry, seed(("l", "t")), 50) == []


def test_a_list_that_the_file_leaves_out_is_not_compared() -> None:
    """Who hands keys over to the registry takes them out of the file, and is left alone."""
    registry = Registry()
    told(registry, *seeding.new_changes(registry, seed(("k", "s"), workloads=("w",)), 10), at=10, configuration="c")
    assert seeding.differences(registry, [seed()], 20) == []
