"""`alerts`: raised by facts, gone with them; nothing on a clean day."""

from pathlib import Path
from typing import Any

import pytest
from planting import CHEAP, DEAR
from test_commands import check, run
from test_reconcile import imported, planted_books
from twobooks import KEYS, TwoBooks

pytestmark = pytest.mark.xdist_group("reconcile")


def alerted(books: TwoBooks, *words: str, code: int) -> list[dict[str, Any]]:
    ran = run("alerts", *words, "--book", str(books.root), "--json")
    assert ran.code == code, ran.out + ran.err
    check("alerts", ran.document())
    found: list[dict[str, Any]] = ran.document()["alerts"]
    return found


def test_a_clean_book_raises_nothing(tmp_path: Path) -> None:
    """Both books agree and nothing is open: exit code 0, no alert."""
    books = TwoBooks(tmp_path / "book")
    books.finish()
    imported(books, tmp_path)
    assert alerted(books, code=0) == []
    assert "nothing to look at" in run("alerts", "--book", str(books.root)).out


def test_a_leaked_key_is_found_and_priced(tmp_path: Path) -> None:
    """One alert of coverage, with the vendor's key, its money and the command that shows more."""
    faulty = planted_books(tmp_path)
    found = {one["kind"]: one for one in alerted(faulty.books, code=1)}
    leaked = found["coverage"]
    assert (leaked["about"], leaked["audience"], leaked["amount_usd"]) == ("key_leaked", "platform", "0.000804")
    assert leaked["command"].startswith("tollbook reconcile --vendor openai --from ")
    assert run(*leaked["command"].split()[1:], "--book", str(faulty.books.root)).code == 1
    assert alerted(faulty.books, "--audience", "finance", code=0) == []
    assert run("alerts", "--audience", "boss", "--book", str(faulty.books.root)).code == 2


def test_inflated_usage_is_alerted_until_it_is_corrected(tmp_path: Path) -> None:
    """Three percent more output of one model than was served: its variance with the money; when the vendor corrects
    its report, the alert is gone."""
    books = TwoBooks(tmp_path / "book")
    books.finish()
    right = dict(books.meter), dict(books.money)
    for place, name in list(books.meter):
        if place[1] == DEAR and name == "output":
            books.meter[place, name] = books.meter[place, name] * 103 // 100
            books.money[place, name] = books.money[place, name] * 103 // 100
    imported(books, tmp_path)
    (one,) = {alert["about"] for alert in alerted(books, code=1)}
    assert one == "gpt-4o output"
    books.meter.update({place: count - books.meter[place] for place, count in right[0].items()})
    books.money.update({place: count - books.money[place] for place, count in right[1].items()})
    imported(books, tmp_path)
    assert alerted(books, code=0) == []


def test_what_is_odd_in_our_own_book(tmp_path: Path) -> None:
    """Answers without usage, and the same id of the vendor on two attempts, are told with requests that show them."""
    books = TwoBooks(tmp_path / "book", requests=10)
    for number in range(120):
        raw = None if number < 30 else books.field.raw()
        basis = {"basis": "unreported"} if raw is None else {}
        books.field.attempt(books.field.request(), model=CHEAP, key_id=KEYS[0], raw=raw, **basis)
    for _ in range(2):
        books.field.attempt(
            books.field.request(), model=CHEAP, key_id=KEYS[0], raw=books.field.raw(), response_id="resp_1"
        )
    books.finish()
    found = {one["kind"]: one for one in alerted(books, code=1)}
    assert (found["usage_missing"]["count"], found["duplicate_vendor_id"]["about"]) == (30, "resp_1")
    assert len(found["duplicate_vendor_id"]["evidence"]) == 2
