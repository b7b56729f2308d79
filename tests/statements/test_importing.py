"""Taking a statement in is one act: whole, once, and never half."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from statement_files import HERE, sample

from tollbook.assembly import service
from tollbook.assembly.importing import Imported, Wanted, import_statement, prepared
from tollbook.core.faults import BadInput
from tollbook.journal.heads import book_lines
from tollbook.journal.verify import verify
from tollbook.ledger.loader import Loader
from tollbook.ledger.rebuild import rebuild
from tollbook.ledger.statements import lines, statements
from tollbook.statements.document import Head

COSTS = HERE / "openai_costs" / "page.json"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    root = tmp_path / "book"
    service.init(root)
    return root


def take(book: Path, path: Path = COSTS, **facts: object) -> Imported:
    wanted = Wanted(path=path, **facts)  # type: ignore[arg-type]
    with prepared(wanted) as one:
        return import_statement(book, wanted, one)


def load(book: Path) -> None:
    with Loader(book) as loader:
        loader.catch_up()


def entries(book: Path) -> int:
    return sum(line.kind == "statement.imported" for line in book_lines(book))


def test_once_is_enough(book: Path) -> None:
    """The same file again is named as what it was taken in as, and changes nothing."""
    first, again = take(book), take(book)
    assert (first.entry.statement, first.duplicate) == ("S-1", False)
    assert (again.entry.statement, again.duplicate) == ("S-1", True)
    assert entries(book) == 1
    load(book)
    told = lines(book, ["day", "model"])
    assert told["total"] == {"lines": 5, "amounts": {"USD": "3.85"}}
    assert sum(row["lines"] for row in told["rows"]) == 5


def test_the_same_period_told_anew_replaces_the_former(book: Path, tmp_path: Path) -> None:
    """Both stay; sums count the one that holds; an overlap is a problem."""
    take(book)
    page = json.loads(sample("openai_costs/page.json"))
    page["data"][0]["results"][0]["amount"]["value"] = 1
    other = tmp_path / "again.json"
    other.write_text(json.dumps(page))
    assert take(book, other).entry.revises == ["S-1"]
    page["data"].pop()
    other.write_text(json.dumps(page))
    third = take(book, other).entry
    assert third.revises == [] and "overlaps S-2" in third.problems[0].what and third.problem_count == 1
    load(book)
    told = {one["import_id"]: one for one in statements(book)["statements"]}
    assert told["S-1"]["revised_by"] == "S-2" and told["S-2"]["revised_by"] is None
    assert lines(book, [], name="S-1")["total"]["amounts"] == {"USD": "3.85"}
    assert lines(book, [])["total"]["lines"] == 5 + 3


def test_what_is_said_of_a_document_later_is_not_lost(book: Path) -> None:
    """The same file with a total that was not given before replaces the former; as it was given then, it is known."""
    from decimal import Decimal

    take(book)
    told = take(book, type="invoice", head=Head(gross=Decimal("3.85"), number="I-1"))
    assert (told.duplicate, told.entry.statement, told.entry.revises) == (False, "S-2", ["S-1"])
    assert [take(book).entry.statement, entries(book)] == ["S-1", 2]


def test_a_total_that_the_lines_do_not_come_to(book: Path) -> None:
    """Off by a cent is said, to the cent; a credit note and a number given twice are told apart."""
    from decimal import Decimal

    whole = take(book, head=Head(number="INV-1", gross=Decimal("3.86")), type="invoice").entry
    assert [one.what for one in whole.problems if one.severity == "problem"] == [
        "the lines come to 3.85 USD, the document to 3.86: 0.01 is missing"
    ]
    assert (whole.currency, whole.gross, whole.type) == ("USD", "3.86", "invoice")


def test_a_rebuild_copies_the_lines(book: Path) -> None:
    """Made anew from the journal and its objects, every table is the same; the vendor's file is not needed."""
    entry = take(book).entry
    load(book)
    assert entry.source is not None
    (book / "objects" / "sha256" / entry.source.sha256[:2] / entry.source.sha256).rename(book / "away")
    assert rebuild(book).differences == {}
    (book / "away").rename(book / "objects" / "sha256" / entry.source.sha256[:2] / entry.source.sha256)
    assert lines(book, [])["total"]["lines"] == 5


def test_a_lost_or_changed_object_is_found(book: Path) -> None:
    """`verify` looks at the vendor's file and at the lines."""
    entry = take(book).entry
    assert entry.source is not None
    for digest in (entry.source.sha256, entry.object.sha256):
        path = book / "objects" / "sha256" / digest[:2] / digest
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        assert [finding.code for finding in verify(book).findings] == ["object_changed"]
        path.write_bytes(whole)
    assert verify(book).findings == []


def test_lines_that_went_missing_are_found(book: Path) -> None:
    """The ledger's lines are counted and summed against the entry, in each currency."""
    from tollbook.ledger.tieout import check_statements

    take(book)
    with Loader(book) as loader:
        loader.catch_up()
        assert check_statements(book) == (1, [])
        loader.lake.rows("UPDATE statement_lines SET amount = amount + 0.01 WHERE line = 1")
        assert check_statements(book) == (1, ["S-1"])
        loader.lake.rows("UPDATE statement_lines SET amount = amount - 0.01 WHERE line = 1")
        assert check_statements(book) == (1, [])
        loader.lake.rows("DELETE FROM statement_lines WHERE line = 5")
        assert check_statements(book) == (1, ["S-1"])


def test_what_is_refused_changes_nothing(book: Path, tmp_path: Path) -> None:
    """No entry, no object, and words that say what to do."""
    before = sorted(path for path in book.rglob("*") if path.is_file())
    for content in (b"", b"a,b\n1,2\n", sample("openai_costs/page.json")[:-5]):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(BadInput):
            take(book, tmp_path / "file")
    assert sorted(path for path in book.rglob("*") if path.is_file()) == before


def test_killed_at_any_time_it_is_whole_or_not_there(book: Path, tmp_path: Path) -> None:
    """kill -9 somewhere in the middle, many times: the book verifies, and holds the statement whole or not at all."""
    code = "import sys; from tollbook.cli.main import run; run(sys.argv[1:])"
    command = [sys.executable, "-c", code, "statement", "import", str(COSTS), "--book", str(book)]
    for number in range(6):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        time.sleep(0.25 + 0.12 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert entries(book) <= 1
    assert take(book).entry.statement == "S-1"
    assert entries(book) == 1
    load(book)
    assert lines(book, [])["total"]["lines"] == 5
    assert [one.code for one in verify(book).findings] == []
