"""The golden journal of format 1: every release rebuilds it to the same tables, for ever."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tollbook.core.vocabulary import BASES
from tollbook.disputes.case import MOVES, Casebook
from tollbook.journal.casework import CASE_KINDS, EvidenceExported
from tollbook.journal.heads import book_lines
from tollbook.journal.replay import replay
from tollbook.ledger import location
from tollbook.ledger.digests import table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Writer
from tollbook.ledger.reader import read
from tollbook.ledger.rebuild import rebuild
from tollbook.ledger.report import report
from tollbook.ledger.schema import SCHEMA_VERSION
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace

pytestmark = pytest.mark.xdist_group("journal-v1")

HERE = Path(__file__).parent
FROZEN = HERE / f"journal-v1.schema-{SCHEMA_VERSION}.json"
"""Digests by table. A new schema version brings a file of its own; the ones before stay as they were."""
FROZEN_DISPUTES = HERE / f"journal-v1-disputes.schema-{SCHEMA_VERSION}.json"
FROZEN_STATEMENTS = HERE / f"journal-v1-statements.schema-{SCHEMA_VERSION}.json"
FROZEN_SPANS = HERE / f"journal-v1-spans.schema-{SCHEMA_VERSION}.json"
FROZEN_REGISTRY = HERE / f"journal-v1-registry.schema-{SCHEMA_VERSION}.json"
"""Those of the book that has the kinds of entries which came with the registry."""


def rebuilt(directory: Path, name: str) -> Path:
    """A copy of a golden book with a ledger rebuilt from it."""
    root = directory / "book"
    shutil.copytree(HERE / name, root)
    rebuild(root)
    return root


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rebuilt(tmp_path_factory.mktemp("golden"), "journal-v1")


def digests_of(lake: Lake) -> dict[str, Any]:
    return {name: digest._asdict() for name, digest in table_digests(lake).items()}


def test_it_rebuilds_to_the_frozen_digests(book: Path) -> None:
    """Every table, whole and day by day. If this fails the release is wrong, not the file."""
    assert read(book, digests_of) == json.loads(FROZEN.read_text())


def test_the_book_with_a_registry_rebuilds_to_its_digests(tmp_path: Path) -> None:
    """It holds every act of the registry and both sorts of transfer."""
    root = rebuilt(tmp_path, "journal-v1-registry")
    assert read(root, digests_of) == json.loads(FROZEN_REGISTRY.read_text())
    acts = read(root, lambda lake: {act for (act,) in lake.rows("SELECT act FROM registry")})
    assert acts == {"added", "moved", "ended", "key_added", "key_rotated", "key_revoked"}


def test_the_book_with_disputes_rebuilds_to_its_digests(tmp_path: Path) -> None:
    """It holds every move of a case and every act of an adjustment; the cases read as they were written."""
    root = rebuilt(tmp_path, "journal-v1-disputes")
    assert read(root, digests_of) == json.loads(FROZEN_DISPUTES.read_text())
    acts = read(root, lambda lake: {act for (act,) in lake.rows("SELECT act FROM adjustments")})
    assert acts == {"credit", "reattribute_from", "reattribute_to"}
    first, second = Casebook.of(line for line in book_lines(root) if line.kind in CASE_KINDS).cases.values()
    assert (first.state, second.state) == ("open", "resolved")
    assert {move.entry.move for move in second.moves} == set(MOVES)
    assert second.credited("USD") == 10**11 and second.credited("EUR") == 1


def test_the_book_with_statements_rebuilds_to_its_digests(tmp_path: Path) -> None:
    """Lines of vendors' documents are copied from the objects as they were written, every member of them."""
    root = rebuilt(tmp_path, "journal-v1-statements")
    assert read(root, digests_of) == json.loads(FROZEN_STATEMENTS.read_text())
    assert read(root, lambda lake: lake.rows("SELECT count(*) FROM statement_lines")) == [(4,)]


def test_the_book_with_evidence_reads_as_it_was_written(tmp_path: Path) -> None:
    """The entries of bundles decode to what they were, and folding passes them by."""
    root = rebuilt(tmp_path, "journal-v1-evidence")
    lines = [line for line in book_lines(root) if line.kind == "evidence.exported"]
    assert [line.digest[:12] for line in lines] == ["28239fd566bb", "ec8d1b353ef4"]
    first, second = (msgspec.json.decode(line.bytes, type=EvidenceExported) for line in lines)
    assert (first.tenant, first.withheld, second.tenant, second.withheld) == ("acme", False, None, True)
    assert first.digest == "d" * 64 and first.lines == 14 and first.actor == "kim, by key"
    assert report(root, [])["total"]["requests"] > 0


def test_the_book_with_spans_rebuilds_to_its_digests(tmp_path: Path) -> None:
    """Of five spans of one answer, one of them sent twice, the best counts; the sum around one of them does not."""
    root = rebuilt(tmp_path, "journal-v1-spans")
    assert read(root, digests_of) == json.loads(FROZEN_SPANS.read_text())
    rows = {row["dimensions"]["source"]: row for row in report(root, ["source"])["rows"]}
    assert (rows["span"]["requests"], rows["span"]["usage"]["input"]) == (1, 20)
    assert check_totals(root).different == []


def test_a_new_schema_changes_no_table_that_was_there() -> None:
    """What older releases digested, this one digests to the same."""
    former = json.loads((HERE / "journal-v1.schema-3.json").read_text())
    now = json.loads(FROZEN.read_text())
    assert {name: now[name] for name in former} == former


def test_batches_of_one_position_give_the_same(book: Path, tmp_path: Path) -> None:
    """Loaded position by position, with a restart after each, the tables are the same."""
    directory = location.make(tmp_path, "1")
    for batch in replay(book):
        with Writer(directory) as writer:
            writer.load([batch])
    with Lake(directory, read_only=True) as lake:
        assert digests_of(lake) == json.loads(FROZEN.read_text())


def test_its_totals_are_the_sums_of_its_rows(book: Path) -> None:
    """Totals tie on every day; the report of all of it is known by heart."""
    assert check_totals(book).different == []
    total = report(book, [])["total"]
    assert (total["requests"], total["attempts"]) == (11, 11)
    assert (total["unpriced"], total["unsettled"], total["unreported"]) == (1, 2, 1)
    assert total["amounts"] == {"EUR": "0.500000000001", "USD": "0.0003286"}


def test_it_holds_every_kind_of_ending(book: Path) -> None:
    """What makes the golden journal worth keeping: outcomes, bases, reasons, tables that are not empty."""
    rows = report(book, ["outcome", "basis", "reason"])["rows"]
    outcomes = {row["dimensions"]["outcome"] for row in rows}
    assert outcomes >= {"ok", "rate_limited", "timeout", "refused", "client_gone", "vendor_error", "unsettled", "open"}
    assert {row["dimensions"]["basis"] for row in rows} == set(BASES) - {"invoiced"}
    assert {row["dimensions"]["reason"] for row in rows} == {"first", "retry", "fallback", None}
    frozen = json.loads(FROZEN.read_text())
    assert {name for name, table in frozen.items() if not table["rows"]} == {
        "registry",
        "transfers",
        "batches",
        "spans",
        "adjustments",
        "statements",
        "statement_lines",
    }


def test_its_retried_request_can_be_told(book: Path) -> None:
    """The request with three attempts: how each ended, and an amount that is unknown because the timeout's is."""

    def longest(lake: Lake) -> str:
        return str(lake.rows("SELECT request_id FROM requests ORDER BY attempts DESC, request_id LIMIT 1")[0][0])

    told = trace(book, read(book, longest))
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["rate_limited", "timeout", "ok"]
    assert told["request"]["amount"] is None
    assert len(told["entries"]) == 6
