"""Agreement with the package that the base book is made from, for plain usage of every model."""

from tests.reference.agreement import REASONS, compare


def test_every_difference_from_the_source_has_a_reason() -> None:
    """Every model at two instants: equal, or different on purpose for one of the published reasons."""
    count, found = compare()
    assert count > 4600
    assert [difference for difference in found if difference.reason is None] == []
    assert {difference.reason for difference in found} == set(REASONS)
    assert len(found) < count / 6
