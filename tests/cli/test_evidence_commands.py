"""Evidence as people type it: exported, verified elsewhere, refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from evidence_house import fill
from test_commands import check, run

from tollbook.assembly import service
from tollbook.journal.book import Book

pytestmark = pytest.mark.xdist_group("evidence-commands")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = tmp_path_factory.mktemp("evidence") / "book"
    service.init(root)
    return root, fill(root, acme=3)["acme"]


def test_exported_and_verified(book: tuple[Path, list[str]], tmp_path: Path) -> None:
    """The two commands in both forms; the page beside; exit codes 0, 3 and 2, and what the words say."""
    root, ids = book
    out, html = tmp_path / "one.tollbook", tmp_path / "one.html"
    ran = run(
        "evidence", "export", "--request", ids[0], "-o", str(out), "--html", str(html), "--book", str(root), "--json"
    )
    assert ran.code == 0, ran.err
    check("evidence-export", ran.document())
    assert html.read_text().startswith("<!doctype html>") and (out.stat().st_mode & 0o777) == 0o600
    key = tmp_path / "key"
    key.write_text(Book.open(root).key + "\n")
    ran = run("verify", str(out), "--key", str(key), "--json")
    check("verify-bundle", ran.document())
    assert ran.code == 0 and ran.document()["key_given"]
    assert "compare it with the one you were given" in run("verify", str(out)).out
    data = out.read_bytes()
    out.write_bytes(data.replace(b"0.000125", b"0.000005", 1))
    broken = run("verify", str(out))
    assert broken.code == 3 and "line_changed line" in broken.out
    check("verify-bundle", run("verify", str(out), "--json").document())
    out.write_bytes(b"PK")
    assert run("verify", str(out)).code == 2


def test_refusals_say_what_to_do(book: tuple[Path, list[str]], tmp_path: Path) -> None:
    """A file that is there, a key that is none, a request that is none, a file that is none."""
    root, ids = book
    there = tmp_path / "there"
    there.write_text("x")
    asked: dict[tuple[str, ...], tuple[int, str]] = {
        ("evidence", "export", "--request", ids[0], "-o", str(there), "--book", str(root)): (2, "there already"),
        ("evidence", "export", "--request", "x", "-o", str(tmp_path / "n"), "--book", str(root)): (
            2,
            "not a request id",
        ),
        ("verify", str(tmp_path / "none")): (2, "cannot be read"),
        ("verify", "--key", "a+b+c", "--book", str(root)): (2, "goes with a bundle"),
    }
    for words, (code, told) in asked.items():
        ran = run(*words)
        assert ran.code == code and told in ran.err, (words, ran.err)
    assert there.read_text() == "x"


def test_the_page_has_no_scripts_and_no_markup_from_outside(book: tuple[Path, list[str]]) -> None:
    """Words from outside are text in the page, too."""
    from tollbook.evidence.bundle import Manifest
    from tollbook.evidence.page import page

    hostile = "</td><script>alert(1)</script>\x1b"
    manifest = Manifest(
        format=1, book=hostile, origin="o", key="k", release="r", made=0, requests=[], lines={}, case=hostile
    )
    told: dict[str, Any] = {"case": {"case": hostile, "state": hostile, "opened_at": "", "claim": hostile, "moves": []}}
    html = page(manifest, told, [], [])
    assert "<script" not in html and "\x1b" not in html and json.dumps(html)
