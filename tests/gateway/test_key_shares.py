"""A vendor key's limit among tenants: never exceeded, never left unused, never taken away from who has a part in it."""

from hypothesis import given
from hypothesis import strategies as st

from tollbook.gateway.shares import HEADROOM, Demand, fits

NAMES = ("a", "b", "c", "d")


@st.composite
def demands(draw: st.DrawFn) -> dict[str, Demand]:
    used = st.builds(Demand, st.integers(0, 300), st.integers(1, 9))
    return {name: draw(used) for name in NAMES[: draw(st.integers(1, 4))]}


@given(st.integers(1, 500), st.integers(1, 20), demands())
def test_a_limit_is_never_exceeded(limit: int, amount: int, used: dict[str, Demand]) -> None:
    """Whoever asks: what is let in fits."""
    for tenant in used:
        if fits(limit, amount, tenant, used, alone=False):
            assert sum(one.used for one in used.values()) + amount <= limit


@given(st.integers(40, 500), st.lists(st.sampled_from(NAMES), max_size=800), st.integers(1, 5))
def test_who_has_a_part_in_it_gets_it(limit: int, others: list[str], weight: int) -> None:
    """However the others press, a tenant gets its part by weight once it is there, and nobody waits while it is not
    taken."""
    used = {name: Demand(0, 1) for name in NAMES[1:]} | {"a": Demand(0, weight)}
    for name in others:
        if name != "a" and fits(limit, 1, name, used, alone=False):
            used[name] = Demand(used[name].used + 1, 1)
    part = (limit - max(1, limit // HEADROOM)) * weight // (weight + 3)
    for _ in range(part):
        assert fits(limit, 1, "a", used, alone=False)
        used["a"] = Demand(used["a"].used + 1, weight)


@given(st.integers(1, 500))
def test_what_is_left_may_be_borrowed(limit: int) -> None:
    """One tenant that is there with nobody else takes all but the headroom; all of it where nobody else can come."""
    for alone, most in ((False, limit - max(1, limit // HEADROOM)), (True, limit)):
        used = {"a": Demand(0, 1)}
        while fits(limit, 1, "a", used, alone=alone):
            used["a"] = Demand(used["a"].used + 1, 1)
        assert used["a"].used >= most
