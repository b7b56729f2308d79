"""`reconcile` as finance runs it: a month's statements against our record, causes with their money, sums that tie."""

from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from planting import CHEAP, DEAR, classes
from test_commands import check, run
from twobooks import KEYS, TwoBooks

from tollbook.core.money import format_amount

pytestmark = pytest.mark.xdist_group("reconcile")


class Faulty(NamedTuple):
    books: TwoBooks
    planted: dict[str, int]
    retried: str


def imported(books: TwoBooks, directory: Path, *, keys_in_costs: bool = True) -> None:
    for file in books.statements(directory, keys_in_costs=keys_in_costs):
        ran = run("statement", "import", str(file), "--book", str(books.root))
        assert ran.code == 0, ran.out + ran.err
    assert run("rebuild", "--book", str(books.root)).code == 0


def reconciled(books: TwoBooks, *words: str, code: int) -> dict[str, Any]:
    since, until = books.days()
    ran = run(
        "reconcile", "--vendor", "openai", "--from", since, "--to", until, *words, "--book", str(books.root), "--json"
    )
    assert ran.code == code, ran.out[-3000:] + ran.err
    check("reconcile", ran.document())
    return ran.document()


def test_a_clean_period_agrees(tmp_path: Path) -> None:
    """Every cell agrees, nothing is alleged, and the sums are those of the documents."""
    books = TwoBooks(tmp_path / "book")
    books.finish()
    imported(books, tmp_path)
    document = reconciled(books, code=0)
    assert {cell["verdict"] for cell in document["cells"]} == {"agrees"}
    assert (document["causes"], document["left_out"], document["notes"]) == ([], [], [])
    totals = document["totals"]
    assert totals["ours_usd"] == totals["theirs_usd"] != "0"
    assert {cell["vendor_key"] for cell in document["cells"]} == set(KEYS)
    assert reconciled(books, code=0) == document


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    return planted_books(tmp_path_factory.mktemp("reconcile"))


def planted_books(directory: Path, *, keys_in_costs: bool = True) -> Faulty:
    """Four faults in four cells, and what each comes to in picodollars."""
    books = TwoBooks(directory / "book")
    field, planted = books.field, {}
    left = {"outcome": "client_gone", "basis": "estimated", "raw": None, "client": "gone"}
    seen, told = {"input": 900, "output": 40}, {"input": 900, "output": 777}
    books.call(usage=seen, bound={"input": 900, "output": 1000}, billed=told, **left)
    planted["aborted_stream_billed"] = field.price(CHEAP, {"output": 737})
    broken = {"outcome": "timeout", "basis": "unreported", "raw": None, "next": "retry", "last": False}
    at, again, raw = field.clock.instant, field.request(), field.raw()
    field.attempt(again, model=DEAR, key_id=KEYS[1], **broken)
    field.attempt(again, 2, model=DEAR, key_id=KEYS[1], raw=raw, reason="retry")
    books.bill(at, DEAR, KEYS[1], classes(raw))
    planted["retry_billed_twice"] = books.bill(at, DEAR, KEYS[1], {"input": 800, "output": 55})
    planted["bypass_unknown_key"] = books.bill(at, CHEAP, "key_leaked", {"input": 5000, "output": 90})
    planted["tool_fee_unmetered"] = 550_000_000_000
    books.fee(1, "web search tool calls", 55, planted["tool_fee_unmetered"])
    books.finish()
    imported(books, directory, keys_in_costs=keys_in_costs)
    return Faulty(books, planted, again.id)


def test_differences_are_named_with_their_money(faulty: Faulty) -> None:
    """Each planted fault by its name, to the picodollar, with the request that shows it; nothing is left."""
    document = reconciled(faulty.books, code=1)
    found = {one["cause"]: one["amount_usd"] for one in document["causes"]}
    assert found == {cause: format_amount(amount) for cause, amount in faulty.planted.items()}
    assert document["totals"]["unexplained_usd"] == "0"
    assert {cell["verdict"] for cell in document["cells"]} == {"agrees", "explained"}
    retried = {
        request
        for cell in document["cells"]
        for share in cell["causes"]
        if share["cause"] == "retry_billed_twice"
        for request in share["requests"]
    }
    assert retried == {faulty.retried}
    amounts = [Decimal(one["amount_usd"]) for one in document["causes"]]
    assert [abs(one) for one in amounts] == sorted((abs(one) for one in amounts), reverse=True)


def test_money_without_keys_is_explained_by_usage_with_keys(tmp_path: Path) -> None:
    """Where the cost report knows no keys and the usage export does, each fault is found all the same: told by the
    usage, with the money of the cells of cost."""
    faulty = planted_books(tmp_path, keys_in_costs=False)
    document = reconciled(faulty.books, code=1)
    found = {one["cause"]: Decimal(one["amount_usd"]) for one in document["causes"]}
    assert found == {cause: Decimal(format_amount(amount)) for cause, amount in faulty.planted.items()}
    assert document["totals"]["unexplained_usd"] == "0"
    keys = {cell["vendor_key"] for cell in document["cells"] if cell["theirs"]["amount_usd"] is None}
    assert keys == {*KEYS, "key_leaked"}


def test_a_row_that_stands_twice_and_one_that_was_never_sent(tmp_path: Path) -> None:
    """Defects of our own record by their names, with what they take away, to the picodollar."""
    books = TwoBooks(tmp_path / "book")
    field = books.field
    raw = books.field.raw()
    for _ in range(2):
        once = field.attempt(field.request(), model=CHEAP, key_id=KEYS[0], raw=raw, response_id="resp_twice")
    books.bill(field.clock.instant, CHEAP, KEYS[0], classes(raw))
    sent = field.attempt(field.request(), model=DEAR, key_id=KEYS[1], raw=field.raw(), outcome="not_sent")
    books.finish()
    imported(books, tmp_path)
    found = {one["cause"]: one["amount_usd"] for one in reconciled(books, code=1)["causes"]}
    assert found == {"duplicate_record": format_amount(-once.charged), "never_sent": format_amount(-sent.charged)}


def test_the_screen_says_it_as_finance_reads_it(faulty: Faulty) -> None:
    """The sums first, then causes by their money with what they mean."""
    since, until = faulty.books.days()
    ran = run("reconcile", "--vendor", "openai", "--from", since, "--to", until, "--book", str(faulty.books.root))
    assert ran.code == 1
    for seen in ("their statements", "our record", "unexplained", "S-1 (usage export, uploaded)", "tool_fee_unmetered"):
        assert seen in ran.out, ran.out


def test_what_was_not_compared_is_said(faulty: Faulty) -> None:
    """A period that cuts a bucket, and one that no statement speaks of."""
    since, _ = faulty.books.days()
    words = ("reconcile", "--vendor", "openai", "--book", str(faulty.books.root))
    ran = run(*words, "--from", since, "--to", f"{faulty.books.days()[1]}T00:00:00Z")
    assert ran.code == 1
    cut = run(*words, "--from", since, "--to", f"{since}T12:00:00Z")
    assert cut.code == 1 and "no statement of 'openai' has lines" in cut.err
    for wrong, told in {
        ("--from", "soon", "--to", since): "--from",
        ("--from", since, "--to", since): "is empty",
        ("--from", since, "--to", "2099-01-01", "--tolerance", "1"): "--tolerance",
        ("--from", since, "--to", "2099-01-01", "--tolerance-usd", "-1"): "--tolerance-usd",
        ("--from", since, "--to", "2099-01-01", "--as-of", "9999"): "no position 9999",
    }.items():
        ran = run(*words, *wrong)
        assert ran.code == 2 and told in ran.err, (wrong, ran.err)
