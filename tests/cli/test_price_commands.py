"""`tollbook price` and `tollbook prices`, as people run them."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tollbook.cli import main
from tollbook.pricing.book import base_book

SCHEMAS = Path(__file__).parent.parent.parent / "docs" / "reference" / "schemas"
CHAT = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
SHEET = """
source: https://acme.example/prices
retrieved: "2026-11-20"
vendors:
  acme:
    models:
      m: {currency: EUR, prices: [{per: 1M, prices: {input: 2, output: 10}}]}
"""


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output, errors of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        main.run(list(arguments))
    return int(left.value.code or 0), out.getvalue(), err.getvalue()


def document(name: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What a command prints with --json, held against its published schema."""
    found, out, err = run(*arguments, "--json")
    assert found == code, err
    read: dict[str, Any] = json.loads(out)
    jsonschema.validate(read, json.loads((SCHEMAS / f"{name}.json").read_text()))
    return read


@pytest.fixture
def usage(tmp_path: Path) -> str:
    path = tmp_path / "usage.json"
    path.write_text(json.dumps(CHAT))
    return str(path)


@pytest.fixture
def sheet(tmp_path: Path) -> str:
    path = tmp_path / "acme.yaml"
    path.write_text(SHEET)
    return str(path)


def test_a_usage_is_priced_as_published(usage: str) -> None:
    """1,000 x 2.5 + 10 x 10 = 2,600 per million; every line with its row; exit 0."""
    arguments = ("--vendor", "openai", "--model", "gpt-4o", "--at", "2026-11-20T00:00:00Z", "--usage", usage)
    found = document("price", "price", *arguments)
    assert (found["amount_usd"], found["currency"], found["price_book"]) == ("0.0026", "USD", base_book().digest)
    assert [(line["class"], line["quantity"], line["amount_usd"]) for line in found["charges"]] == [
        ("input", 1000, "0.0025"),
        ("output", 10, "0.0001"),
    ]
    assert all(line["price_row"] for line in found["charges"])
    assert document("price", "price", *arguments, "--book", base_book().digest)["amount_usd"] == "0.0026"
    assert "$0.0026" in run("price", *arguments)[1]


def test_another_currency_is_never_called_dollars(usage: str, sheet: str) -> None:
    """In euros `amount` is there and everything that ends in `_usd` is null."""
    found = document("price", "price", "--vendor", "acme", "--model", "m", "--usage", usage, "--book", sheet)
    assert (found["amount"], found["currency"], found["amount_usd"]) == ("0.0021", "EUR", None)
    assert {line["amount_usd"] for line in found["charges"]} == {None}


def test_what_has_no_price_is_a_finding(usage: str) -> None:
    """Exit 1, amounts null, the classes and the reason named; never zero."""
    found = document("price", "price", "--vendor", "openai", "--model", "no-such", "--usage", usage, code=1)
    assert (found["amount_usd"], found["unpriced"]) == (None, ["input", "output"])
    assert "unpriced: unknown_model (no-such)" in found["notes"]


def test_bad_input_is_told_with_its_place(tmp_path: Path, usage: str) -> None:
    """Exit 2: a file that is not there, a number that is none, a book that is none, an instant without a zone."""
    bad = tmp_path / "bad.json"
    bad.write_text('{"prompt_tokens": NaN}')
    asked = ("price", "--vendor", "openai", "--model", "gpt-4o")
    for arguments, said in (
        (("--usage", str(tmp_path / "none.json")), "No such file"),
        (("--usage", str(bad)), "NaN is not a number"),
        (("--usage", usage, "--book", str(bad)), "price sheet"),
        (("--usage", usage, "--book", str(tmp_path / "none")), "neither the digest of a price book"),
        (("--usage", usage, "--at", "2026-11-20"), "--at: not an instant with a zone"),
        (("--usage", usage, "--format", "openai.nothing"), "allowed: classes, anthropic.messages"),
    ):
        code, out, err = run(*asked, *arguments)
        assert (code, out) == (2, "")
        assert said in " ".join(err.split())


def test_a_draft_is_kept_listed_and_prices_when_it_is_named(tmp_path: Path, usage: str, sheet: str) -> None:
    """Imported twice it is one draft; it prices where it is named, and nothing else."""
    root = tmp_path / "book"
    root.mkdir()
    made = document("prices-import", "prices", "import", sheet, "--book", str(root))
    assert (made["book"]["state"], made["book"]["models"], made["book"]["rows"]) == ("draft", 1, 2)
    assert document("prices-import", "prices", "import", sheet, "--book", str(root))["book"] == made["book"]
    listed = document("prices-list", "prices", "list", "--book", str(root))["books"]
    assert [(one["state"], one["digest"]) for one in listed] == [
        ("draft", made["book"]["digest"]),
        ("ships", base_book().digest),
    ]
    shown = document("prices-show", "prices", "show", "m", "--prices", made["book"]["digest"], "--book", str(root))
    assert {row["currency"] for row in shown["rows"]} == {"EUR"}
    short = made["book"]["digest"][:12]  # as the list shows it
    assert (
        document("prices-show", "prices", "show", "m", "--prices", short, "--book", str(root))["rows"] == shown["rows"]
    )
    assert "no price book 00000000" in run("prices", "check", "00000000", "--book", str(root))[2]


def test_a_draft_that_was_changed_is_a_broken_promise(tmp_path: Path, sheet: str) -> None:
    """A file whose bytes are not those of its name is never used."""
    root = tmp_path / "book"
    root.mkdir()
    digest = document("prices-import", "prices", "import", sheet, "--book", str(root))["book"]["digest"]
    path = root / "prices" / f"{digest}.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.000002", b"0.000003"))
    code, _, err = run("prices", "check", digest, "--book", str(root))
    assert (code, "import it again" in " ".join(err.split())) == (3, True)


def test_import_of_the_package_is_the_book_that_ships(tmp_path: Path) -> None:
    """The pinned package's data gives the shipped digest, and what was left out is listed with the reason."""
    pytest.importorskip("genai_prices")
    root = tmp_path / "book"
    root.mkdir()
    made = document("prices-import", "prices", "import", "genai-prices", "--book", str(root))
    assert made["book"]["digest"] == base_book().digest
    assert all(one["why"] for one in made["omitted"])


def test_check_and_diff_have_their_published_shape(sheet: str) -> None:
    """`check` gives exit 1 when there is something to look at; `diff` says what is new and what went."""
    document("prices-check", "prices", "check", sheet, "--at", "2026-11-21T00:00:00Z")
    found = document("prices-check", "prices", "check", sheet, "--at", "2027-11-21T00:00:00Z", code=1)
    assert [remark["kind"] for remark in found["remarks"]] == ["stale"]
    changes = document("prices-diff", "prices", "diff", sheet, sheet)["changes"]
    assert changes == []
    changes = document("prices-diff", "prices", "diff", "base", sheet)["changes"]
    assert {change["after"] for change in changes if change["party"] == "acme"} == {"0.000002", "0.00001"}
    assert "prices differ" in run("prices", "diff", "base", sheet)[1]
