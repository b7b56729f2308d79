"""`claims`: what the vendor should correct, with its own ids, and the letter that says so."""

from pathlib import Path
from typing import Any

import pytest
from planting import DEAR
from test_commands import check, run
from test_reconcile import Faulty, imported, planted_books
from twobooks import KEYS, TwoBooks

from tollbook.core.money import format_amount

pytestmark = pytest.mark.xdist_group("reconcile")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    return planted_books(tmp_path_factory.mktemp("claims"))


def claimed(books: TwoBooks, *words: str, code: int) -> dict[str, Any]:
    since, until = books.days()
    asked = ("--vendor", "openai", "--from", since, "--to", until, *words, "--book", str(books.root))
    ran = run("claims", *asked, "--json")
    assert ran.code == code, ran.out + ran.err
    if ran.out:
        check("claims", ran.document())
    return ran.document() if ran.out else {}


def test_only_what_is_the_vendors_to_correct_is_claimed(faulty: Faulty, tmp_path: Path) -> None:
    """Of four faults the retry billed twice: not the leaked key, the tool's fee and the stream that a client left."""
    out = tmp_path / "letter.txt"
    document = claimed(faulty.books, "--letter", str(out), code=1)
    (one,) = document["claims"]
    amount = format_amount(faulty.planted["retry_billed_twice"])
    assert (one["cause"], one["amount_usd"], document["total_usd"]) == ("retry_billed_twice", amount, amount)
    first, second = one["attempts"]
    assert (first["outcome"], second["outcome"]) == ("timeout", "ok")
    assert first["request"] == second["request"] == faulty.retried
    text = out.read_text()
    assert all(part in text for part in (f"{amount} USD", second["vendor_request_id"], KEYS[1], document["run"]))
    assert out.stat().st_mode & 0o777 == 0o600
    again = claimed(faulty.books, "--letter", str(out), code=2)
    assert again == {} and out.read_text() == text


def test_what_only_the_vendor_can_settle_is_asked(tmp_path: Path) -> None:
    """More of one class in every cell than anything explains: a claim that asks for the requests behind it."""
    books = TwoBooks(tmp_path / "book", requests=60, days=4)
    books.finish()
    for place, name in list(books.meter):
        if place[1] == DEAR and name == "output":
            books.meter[place, name] += 50
            books.money[place, name] += books.field.price(DEAR, {"output": 50})
    imported(books, tmp_path)
    found = claimed(books, code=1)["claims"]
    assert {(one["cause"], one["quantity"]) for one in found} == {("vendor_overcount", 200)}
    assert "usage by request" in found[0]["asks"]


def test_agreeing_books_claim_nothing(tmp_path: Path) -> None:
    """Exit code 0, and no letter is written."""
    books = TwoBooks(tmp_path / "book", requests=8)
    books.finish()
    imported(books, tmp_path)
    assert claimed(books, "--letter", str(tmp_path / "none.txt"), code=0)["claims"] == []
    assert not (tmp_path / "none.txt").exists()
