"""Planted disputes: the verdict and the amount must be right in all; what came out is printed as a table."""

import sys
from collections import Counter
from typing import Any

import pytest
from planting import Planted, sow, told

from tollbook import __version__
from tollbook.assembly import service
from tollbook.assembly.inquest import Inquest
from tollbook.disputes.case import VERDICTS
from tollbook.disputes.diagnosis import diagnose

pytestmark = pytest.mark.xdist_group("planted")

ROUNDS = 2


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Planted, dict[str, Any]]]:
    root = tmp_path_factory.mktemp("planted") / "book"
    service.init(root)
    planted = sow(root, 20261124, ROUNDS)
    with Inquest(root) as looking:
        return [
            (one, diagnose("C-0001-R", one.expected, [looking.inquire(name) for name in one.requests], __version__))
            for one in planted
        ]


def confusion(found: list[tuple[Planted, dict[str, Any]]]) -> str:
    """Truth by row, verdict by column."""
    counts = Counter((one.verdict, diagnosis["verdict"]) for one, diagnosis in found)
    lines = [f"{'planted':28}" + "".join(f"{name:>28}" for name in VERDICTS)]
    lines += [f"{truth:28}" + "".join(f"{counts[truth, name]:28}" for name in VERDICTS) for truth in VERDICTS]
    return "\n".join(lines)


def test_every_verdict_and_amount_is_right(
    found: list[tuple[Planted, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """At least 40 disputes of 21 kinds; no verdict but the right one, to the picodollar."""
    with capsys.disabled():
        sys.stdout.write(f"\n{confusion(found)}\n")
    assert len(found) >= 40 and len({one.kind for one, _ in found}) == 21
    wrong = [
        f"{one.kind}: {diagnosis['verdict']} {diagnosis['amount']}, planted {one.verdict} {told(one.wrong)}; "
        f"{diagnosis['text']}"
        for one, diagnosis in found
        if (diagnosis["verdict"], diagnosis["amount"]) != (one.verdict, told(one.wrong))
    ]
    assert wrong == []


def test_each_verdict_says_by_what_it_is_carried(found: list[tuple[Planted, dict[str, Any]]]) -> None:
    """Evidence and words for people; what cannot be settled drafts the question to the vendor with its ids."""
    for one, diagnosis in found:
        assert diagnosis["carried_by"] and diagnosis["text"], one.kind
        assert {finding["answer"] for finding in diagnosis["findings"]} <= {"yes", "no", "unknown"}
        if diagnosis["verdict"] == "cannot_be_settled_locally":
            assert one.requests[0] in diagnosis["missing"][0]
            assert f"req_{one.requests[0][-6:]}_1" in diagnosis["ticket"] and diagnosis["amount"] is None
        else:
            assert diagnosis["ticket"] is None


def test_counterfactuals_are_priced(found: list[tuple[Planted, dict[str, Any]]]) -> None:
    """Without the fallback, and under the other book, it would have cost less: by how much, exactly."""
    for one, diagnosis in found:
        told_of = {what["what_if"].split(",")[0]: what["amount"] for what in diagnosis["counterfactuals"]}
        if one.kind.startswith("fallback"):
            assert float(told_of["without the fallback"]) < float(diagnosis["charged"])
        if one.kind == "price changed at midnight":
            other = next(amount for name, amount in told_of.items() if name.startswith("under the price book"))
            assert float(other) * 2 == pytest.approx(float(diagnosis["charged"]))
            assert any(name.startswith("had it been sent a day later") for name in told_of)
