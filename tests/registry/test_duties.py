"""The duties table: what it says is kept to, with every way around it that we could think of."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.registry.duties import (
    BARRED,
    CONDITIONS,
    Duty,
    NotAllowed,
    Wish,
    check_approver,
    duties,
    needs_second,
)
from tollbook.registry.identities import Deed, Grant, Identity
from tollbook.registry.registry import EVER

AT = 1_795_436_400_000_000
MONTH = 31 * 86_400 * 1_000_000


def person(name: str, *roles: str, tenant: str | None = None, until: int = EVER, of: str | None = None) -> Identity:
    grants = tuple(Grant(role, of, until) for role in roles)
    return Identity(name=name, service=False, tenant=tenant, since=0, grants=grants, method="password")


def wish(act: str, tenant: str | None = "acme", subject: str | None = None, **more: object) -> Wish:
    effective, amounts = more.get("effective"), more.get("amounts", {})
    return Wish(act, tenant, subject, effective, amounts)  # type: ignore[arg-type]


def test_the_table_speaks_known_words_only() -> None:
    """Roles, conditions and bars are those of the code; what needs a second person says who that may be."""
    table = duties()
    for name, duty in table.duties.items():
        assert set(duty.does) | set(duty.approves) <= set(table.roles), name
        assert set(duty.second) <= set(CONDITIONS) and set(duty.may_not_be) <= set(BARRED), name
        assert bool(duty.second) == bool(duty.approves), name
        assert not duty.second or "proposer" in duty.may_not_be, name
        assert ("above" in duty.second) == bool(duty.alone_up_to), name
        assert "service" not in duty.approves and "auditor" not in duty.approves, name
        assert all(Decimal(amount) > 0 for amount in duty.alone_up_to.values()), name


@pytest.mark.parametrize("act", sorted(duties().duties))
def test_nobody_approves_his_own_act(act: str) -> None:
    """Whatever it is and whatever roles one has: who proposed it does not approve it."""
    duty = duties().duties[act]
    if not duty.second:
        pytest.skip("needs nobody else")
    everyone = person("kim", *duties().roles)
    with pytest.raises(NotAllowed, match="his own act"):
        check_approver(duty, wish(act), "kim", everyone, AT)
    check_approver(duty, wish(act), "lee", everyone, AT)


def test_nobody_approves_what_benefits_his_own_tenant_or_himself() -> None:
    """The tenant one belongs to, and a role of one's own, are somebody else's to approve."""
    move, grant = duties().duties["registry.move"], duties().duties["identity.grant"]
    of_acme = person("lee", "finance", tenant="acme")
    with pytest.raises(NotAllowed, match="tenant acme, to which lee belongs"):
        check_approver(move, wish("registry.move"), "kim", of_acme, AT)
    check_approver(move, wish("registry.move", "other"), "kim", of_acme, AT)
    with pytest.raises(NotAllowed, match="about himself"):
        check_approver(grant, wish("identity.grant", None, "lee"), "kim", person("lee", "admin"), AT)


def test_a_role_ends_and_is_for_its_tenant() -> None:
    """A stand-in's role ends by itself; a role for one tenant is none for another; a service approves nothing."""
    limit = duties().duties["limit.set"]
    stand_in = person("lee", "engineer", until=AT)
    assert needs_second(limit, wish("limit.set"), stand_in, [], AT - 1) is None
    with pytest.raises(NotAllowed, match="no role here"):
        needs_second(limit, wish("limit.set"), stand_in, [], AT)
    narrow = person("lee", "engineer", of="acme")
    assert needs_second(limit, wish("limit.set", "acme"), narrow, [], AT) is None
    with pytest.raises(NotAllowed):
        needs_second(limit, wish("limit.set", "other"), narrow, [], AT)
    service = Identity(name="ci", service=True, tenant=None, since=0, grants=(Grant("finance", None, EVER),))
    with pytest.raises(NotAllowed, match="service approves nothing"):
        check_approver(duties().duties["registry.move"], wish("registry.move"), "kim", service, AT)
    assert needs_second(limit, wish("limit.set"), service, [], AT) is None


def test_each_condition_holds_when_it_says_so() -> None:
    """Backdated, of another tenant, another's credential: these wait, and the plain form of the same act does not."""
    table = duties().duties
    kim, of_acme = person("kim", "admin"), person("ann", "engineer", tenant="acme")
    assert needs_second(table["registry.move"], wish("registry.move", effective=AT), kim, [], AT) is None
    assert needs_second(table["registry.move"], wish("registry.move", effective=AT - 1), kim, [], AT)
    assert needs_second(table["key.add"], wish("key.add"), of_acme, [], AT) is None
    assert needs_second(table["key.add"], wish("key.add", "other"), of_acme, [], AT)
    own = wish("identity.credential", None, "kim")
    assert needs_second(table["identity.credential"], own, kim, [], AT) is None
    assert needs_second(table["identity.credential"], own, person("lee", "admin"), [], AT)
    assert needs_second(table["erase"], wish("erase"), kim, [], AT)


def test_ten_small_steps_are_one_large_one() -> None:
    """Ten transfers of 99 under a limit of 100: the first is done alone, each further one waits."""
    duty, kim = duties().duties["key.transfer"], person("kim", "finance")
    alone: list[Deed] = []
    waited = 0
    for number in range(10):
        one = wish("key.transfer", amounts={"USD": "99"})
        if needs_second(duty, one, kim, alone, AT + number) is None:
            alone.append(Deed("kim", "key.transfer", "acme", "99", "USD", AT + number))
        else:
            waited += 1
    assert (len(alone), waited) == (1, 9)
    assert needs_second(duty, wish("key.transfer", amounts={"USD": "99"}), kim, alone, AT + MONTH) is None
    assert needs_second(duty, wish("key.transfer", amounts={"EUR": "0.01"}), kim, [], AT)
    assert needs_second(duty, wish("key.transfer", amounts=None), kim, [], AT)


@given(st.lists(st.integers(1, 150), max_size=30))
def test_what_one_moves_alone_never_exceeds_the_limit(amounts: list[int]) -> None:
    """However amounts are split, the sum of what is done alone in a month stays within the limit."""
    duty, kim = Duty(title="", does=["finance"], second=["above"], alone_up_to={"USD": "100"}), person("kim", "finance")
    alone: list[Deed] = []
    for amount in amounts:
        if needs_second(duty, wish("x", amounts={"USD": str(amount)}), kim, alone, AT) is None:
            alone.append(Deed("kim", "x", "acme", str(amount), "USD", AT))
    assert sum(int(deed.amount or 0) for deed in alone) <= 100
