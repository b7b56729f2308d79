"""The commands of statements as people type them: output, shapes, words, exit codes."""

import json
from pathlib import Path

import jsonschema
import pytest
from test_commands import SCHEMAS, run

from tollbook.assembly import service

pytestmark = pytest.mark.xdist_group("statement-commands")

COSTS = Path(__file__).parent.parent / "statements" / "openai_costs" / "page.json"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("statements") / "book"
    service.init(root)
    return root


def test_a_statement_is_imported_listed_and_shown(book: Path, tmp_path: Path) -> None:
    """Each command's JSON has its published shape; the screens say what a person in finance asks first."""

    def told(*words: str, code: int = 0) -> dict[str, object]:
        ran = run("statement", *words, "--book", str(book), "--json")
        assert ran.code == code, ran.err
        document: dict[str, object] = ran.document()
        jsonschema.validate(document, json.loads((SCHEMAS / f"statement-{words[0]}.json").read_text()))
        return document

    dry = told("import", str(COSTS), "--dry-run")
    assert (dry["import_id"], dry["dry_run"], dry["lines"], dry["guessed"]) == (None, True, 5, True)
    assert told("import", str(COSTS))["import_id"] == "S-1"
    again = told("import", str(COSTS), "--as", "openai_costs")
    assert (again["import_id"], again["duplicate"]) == ("S-1", True)
    assert "already imported as S-1" in run("statement", "import", str(COSTS), "--book", str(book)).out
    assert run("rebuild", "--book", str(book)).code == 0
    assert [one["totals"] for one in told("list")["statements"]] == [{"USD": "3.85"}]  # type: ignore[attr-defined]
    told("show", "S-1")
    assert told("lines")["total"] == told("lines", "--by", "day,model")["total"]
    for words, seen in (
        (("list",), "$3.85"),
        (("show", "S-1"), "nothing in it counts as final"),
        (("lines", "--by", "class"), "web_searches"),
        (("lines", "S-1"), '=HYPERLINK("x")'),
    ):
        assert seen in run("statement", *words, "--book", str(book)).out
    page = json.loads(COSTS.read_text())
    page["has_more"] = True
    (tmp_path / "more.json").write_text(json.dumps(page))
    assert told("import", str(tmp_path / "more.json"), code=1)["problem_count"] == 1


def test_what_cannot_be_done_is_told(book: Path, tmp_path: Path) -> None:
    """Exit code 2, words that name the input and what to do."""
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty").touch()
    for words, told in {
        ("import", str(tmp_path / "x.csv")): "say what it is with --as",
        ("import", str(tmp_path / "empty")): "is empty",
        ("import", str(tmp_path / "none")): "No such file",
        ("import", str(COSTS), "--as", "nothing"): "allowed: openai_costs",
        ("import", str(COSTS), "--gross", "1,50"): "allowed: a plain number",
        ("import", str(COSTS), "--type", "bill"): "allowed: usage_export",
        ("lines", "--by", "user"): "allowed: day",
    }.items():
        ran = run("statement", *words, "--book", str(book))
        assert ran.code == 2 and told in ran.err, (words, ran.err)
