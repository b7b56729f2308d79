"""Samples as auditors ask for them: drawn twice they are the same, the sums tie to the report, the bundle verifies."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from planting import sow
from test_commands import Ran, check, run

from tollbook.assembly import service
from tollbook.evidence.check import check as check_bundle
from tollbook.ledger.report import report

pytestmark = pytest.mark.xdist_group("audit-commands")

PERIOD = ("--from", "2020-01-01", "--to", "2100-01-01")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audit") / "book"
    service.init(root)
    sow(root, 11, 1)
    return root


def sample(root: Path, out: Path, *words: str) -> Ran:
    seed = () if "--seed" in words else ("--seed", "Meyer, 7 Dec")
    return run("audit", "sample", *PERIOD, *seed, "-o", str(out), *words, "--book", str(root), "--json")


def drawn(root: Path, out: Path, *words: str) -> dict[str, Any]:
    ran = sample(root, out, *words)
    assert ran.code == 0, ran.err
    check("audit-sample", ran.document())
    return ran.document()


@pytest.mark.parametrize("method", ["random", "money_unit", "stratified"])
def test_a_sample_ties_and_is_drawn_again(root: Path, tmp_path: Path, method: str) -> None:
    """Count and sum are the report's; the same seed draws the same; the bundle holds every item and verifies."""
    first = drawn(root, tmp_path / "a", "--n", "4", "--method", method)
    position = str(first["population"]["position"])
    again = drawn(root, tmp_path / "b", "--n", "4", "--method", method, "--as-of", position)
    assert first["items"] == again["items"] and first["seal"] == again["seal"]
    assert {row["request"] for row in first["items"]} == set(first["evidence"]["requests"])
    charges = report(root, [], amount="recharge", as_of=int(position))
    assert first["population"]["sum"] == charges["total"]["amounts"]["USD"]
    assert first["population"]["count"] + first["population"]["left_out"] == charges["total"]["requests"]
    seeds = ("another", "a third", "a fourth", "a fifth")
    asked = ("--n", "4", "--method", method, "--as-of", position)
    others = (drawn(root, tmp_path / seed, *asked, "--seed", seed) for seed in seeds)
    assert any(other["seal"] == first["seal"] and other["items"] != first["items"] for other in others)
    assert check_bundle((tmp_path / "a" / "sample.tollbook").read_bytes()).findings == []
    with (tmp_path / "a" / "paper.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["request"] for row in rows] == [row["request"] for row in first["items"]]
    assert all(len(row["entry_sha256"]) == 64 and row["result"] == "" for row in rows)


def test_all_of_it_when_more_is_asked_for(root: Path, tmp_path: Path) -> None:
    """A sample of a thousand from a small population is the population, in sum, too."""
    whole = drawn(root, tmp_path / "a", "--n", "1000")
    assert len(whole["items"]) == whole["population"]["count"]
    from decimal import Decimal

    assert sum(Decimal(row["amount"]) for row in whole["items"]) == Decimal(whole["population"]["sum"])


def test_from_an_outside_list_to_the_charges(root: Path, tmp_path: Path) -> None:
    """What the book does not know is told, by row, and is a finding; formulas in ids stay text."""
    known = drawn(root, tmp_path / "a", "--n", "1")["items"][0]
    path = tmp_path / "outside.csv"
    path.write_text(f'request_id\n{known["request"]}\n"=HYPERLINK(1)"\n')
    ran = sample(root, tmp_path / "b", "--n", "1", "--outside", str(path))
    assert ran.code == 1
    check("audit-sample", ran.document())
    assert [one["found"] for one in ran.document()["outside"]] == [True, False]
    assert ran.document()["outside"][0]["amount"] == known["amount"]
    assert "'=HYPERLINK" in (tmp_path / "b" / "outside.csv").read_text()


def test_refusals(root: Path, tmp_path: Path) -> None:
    """No seed, no period, no such method, a directory that is there: refused, and nothing is written."""
    there = tmp_path / "there"
    there.mkdir()
    for words, told in (
        (("--seed", " "), "--seed"),
        (("--method", "first"), "allowed: random"),
        (("--currency", "EUR"), "no request of the period"),
        (("--as-of", "99999"), "no position"),
    ):
        ran = sample(root, tmp_path / "x", *words)
        assert ran.code == 2 and told in ran.err, (words, ran.err)
        assert not (tmp_path / "x").exists()
    assert "there already" in sample(root, there).err
    assert json.dumps(run("audit", "sample", "--book", str(root)).code) == "2"
