"""What a tolerance lets pass is summed, and told when it is one-sided."""

from fractions import Fraction

from planted import BUCKETS, SCOPES, Month, month, question

from tollbook.reconciliation.causes import WITHIN_TOLERANCE
from tollbook.reconciliation.diagnosis import Tolerance, diagnose
from tollbook.reconciliation.drift import passed
from tollbook.reconciliation.finding import Finding, tie

ONE_PERCENT = Tolerance(Fraction(1, 100))


def found(of: Month) -> list[Finding]:
    return diagnose(question(of)._replace(tolerance=ONE_PERCENT))


def test_nine_tenths_of_a_percent_in_every_cell_is_a_drift() -> None:
    """Each cell passes; the series is told, with all its money; the books tie."""
    of = month(1)
    for bucket in BUCKETS:
        place = (SCOPES[0], bucket, "output")
        of.theirs[place] = of.theirs[place] * 1009 // 1000
    findings = found(of)
    sums = tie(findings)
    (one,) = [series for series in passed(findings) if series.drifts]
    assert (one.scope, one.class_, one.above, one.below) == (SCOPES[0], "output", len(BUCKETS), 0)
    assert one.amount == sums["theirs"] - sums["ours"] == sums["explained"]
    assert {share.cause for finding in findings for share in finding.shares} == {WITHIN_TOLERANCE}


def test_differences_on_both_sides_are_none() -> None:
    """Half above and half below: summed, and no drift."""
    of = month(2)
    for number, bucket in enumerate(BUCKETS):
        place = (SCOPES[0], bucket, "output")
        of.theirs[place] = of.theirs[place] * (1005 if number % 2 else 995) // 1000
    (one,) = passed(found(of))
    assert not one.drifts
    assert one.above == one.below == len(BUCKETS) // 2


def test_too_few_cells_tell_nothing() -> None:
    """Seven cells on one side may be chance."""
    of = month(3)
    for bucket in BUCKETS[:7]:
        place = (SCOPES[0], bucket, "output")
        of.theirs[place] = of.theirs[place] * 1005 // 1000
    assert not any(one.drifts for one in passed(found(of)))
