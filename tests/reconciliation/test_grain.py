"""The grain that both books share: dimensions, classes, slots."""

import pytest

from tollbook.reconciliation.cell import Bucket, Scope
from tollbook.reconciliation.grain import Grain, shared, slot_of
from tollbook.reconciliation.ours import DAY, Place
from tollbook.reconciliation.theirs import Line, tier_of


def line(class_: str = "input", **told: str | None) -> Line:
    known = {"key": None, "project": None, "region": None, "tier": "standard"} | told
    return Line(
        type="usage_export", kind="usage", bucket=Bucket(0, DAY), model="m", class_=class_, quantity=1, amount=None,
        lines=1, unit=0, maturity="final", **known,
    )  # type: ignore[arg-type]  # fmt: skip


def place(key: str | None = None, project: str | None = None, region: str | None = None) -> Place:
    return Place(key, project, "m", region, "standard")


def test_a_dimension_that_only_the_vendor_tells_does_not_divide() -> None:
    """It is said instead, with what to do; one that both tell does; one that a part of ours tells is said too."""
    told = [line(key="key_a", region="us")]
    grain = shared(told, {place()})
    assert not grain.by_key and not grain.by_region
    assert any("give each vendor key its `id:`" in note for note in grain.notes)
    grain = shared(told, {place("key_a", region="us")})
    assert grain.by_key and grain.by_region and grain.notes == ()
    assert grain.scope(place("key_a", region="us")) == grain.scope(told[0]) == Scope("m", "key_a", None, "us")
    (note,) = shared([line(key="key_a")], {place("key_a"), place()}).notes
    assert note.startswith("some attempts of ours have no key")


def test_projects_divide_where_keys_do_not() -> None:
    """A vendor that tells projects only is compared by project."""
    grain = shared([line(project="proj_a")], {place(project="proj_a")})
    assert (grain.by_key, grain.by_project) == (False, True)
    assert grain.scope(place(project="proj_a")).vendor_key == "proj_a"


@pytest.mark.parametrize(
    ("ours", "told", "cell"),
    [
        ("output_reasoning", {"output"}, "output"),
        ("output_reasoning", {"output", "output_reasoning"}, "output_reasoning"),
        ("input_cache_write_5m", {"input_cache_write"}, "input_cache_write"),
        ("input_cache_write_1h", {"input_cache_write_1h"}, "input_cache_write_1h"),
        ("input.audio", {"input"}, "input"),
        ("input.audio", {"output"}, "input.audio"),
    ],
)
def test_a_class_stands_where_the_vendor_counts_it(ours: str, told: set[str], cell: str) -> None:
    """The nearest class that the vendor tells; its own cell where none does."""
    assert Grain(False, False, False, False, frozenset(told), ()).class_of(ours) == cell


def test_slots_meet_the_edges_of_buckets() -> None:
    """Days, hours, quarters of an hour: the widest that all edges are multiples of."""
    hour = DAY // 24
    assert slot_of([Bucket(0, DAY)]) == DAY
    assert slot_of([Bucket(0, DAY), Bucket(hour, 2 * hour)]) == hour
    assert slot_of([Bucket(hour // 2, 3 * hour)]) == hour // 4


def test_tiers_have_one_name_in_both_books() -> None:
    """Default, on demand and none are one; a batch is a tier of its own."""
    assert {tier_of(None, None), tier_of("default", None), tier_of("on_demand", None)} == {"standard"}
    assert tier_of("default", "batch") == tier_of("batch", None) == "batch"
    assert tier_of("priority", None) == "priority"
