"""Price books: their bytes, their names for models, and what they refuse."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.faults import BadInput
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.entry import Entry
from tollbook.pricing.match import Match
from tollbook.pricing.row import Band, Row, Window, row_id

MakeBook = Callable[..., PriceBook]
INPUT = Row(class_="input", price="0.000001")


def test_digest_is_of_the_bytes_and_loading_gives_them_back() -> None:
    """A book is named by SHA-256 of its bytes; load and dump change none of them."""
    data = base_book().dump()
    again = PriceBook.load(data)
    assert again.digest == sha256_hex(data)
    assert again.dump() == data


def test_base_book_stays_small() -> None:
    """Every worker holds the book's bytes."""
    assert len(base_book().dump()) < 2_000_000


def test_pricing_needs_neither_the_source_nor_a_yaml_reader() -> None:
    """A process that rates imports the book, not what the book was made from."""
    script = (
        "import sys, tollbook.pricing.rate, tollbook.pricing.book as b; b.base_book();"
        "print([name for name in ('genai_prices', 'pydantic', 'yaml', 'duckdb') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_line_is_canonical_json() -> None:
    """Each line equals the canonical JSON of what it says, by another writer than ours."""
    for line in base_book().dump().splitlines():
        assert canonical_json(json.loads(line)) == line


def test_order_of_entries_does_not_change_the_digest(make_book: MakeBook) -> None:
    """The same prices make the same bytes in whatever order they were gathered."""
    one = Entry(party="acme", model="a", match=Match(equals=("a",)), rows=(INPUT,))
    two = Entry(party="acme", model="b", match=Match(equals=("b",)), rows=(INPUT,))
    assert make_book(entries=(one, two)).digest == make_book(entries=(two, one)).digest


def test_any_changed_price_changes_the_digest_and_the_row_id(make_book: MakeBook) -> None:
    """A price cannot change behind its names."""
    other = Row(class_="input", price="0.000002")
    assert make_book(INPUT).digest != make_book(other).digest
    assert row_id("acme", "m", INPUT) != row_id("acme", "m", other)


def test_row_id_does_not_depend_on_the_evidence() -> None:
    """The same price read again on another day keeps its id."""
    again = Row(class_="input", price="0.000001", source="elsewhere", retrieved="2026-05-05")
    assert row_id("acme", "m", INPUT) == row_id("acme", "m", again)
    assert row_id("acme", "m", INPUT) != row_id("acme", "n", INPUT)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([Row(class_="inputs", price="1")], "class 'inputs' is not one of the usage classes"),
        ([Row(class_="input", price="1e-6")], "price '1e-6' is not shortest decimal text"),
        ([Row(class_="input", price="1" * 201)], "is not shortest decimal text"),
        ([Row(class_="input", price="0.10")], "price '0.10' is not shortest decimal text"),
        ([Row(class_="input", price="-1")], "price '-1' is not shortest decimal text"),
        ([Row(class_="input", price="1", currency="usd")], "currency 'usd'"),
        ([Row(class_="input", price="1", tier="standard")], "'standard' is said by leaving the dimension out"),
        ([Row(class_="input", price="1", band=Band(over=1, at_least=1))], "either `over` or `at_least`"),
        ([Row(class_="input", price="1", band=Band(at_least=0))], "a band begins above zero"),
        ([Row(class_="input", price="1", since="2026-02-01", until="2026-01-01")], "before it begins"),
        ([Row(class_="input", price="1", since="2026-02-30")], "day is out of range"),
        ([Row(class_="input", price="1", since="2026-02-03T00:00:00")], "not an instant with a zone"),
        ([Row(class_="input", price="1", window=Window(from_="9:00"))], "'9:00' is not a time of day"),
        ([Row(class_="input", price="1", window=Window(from_="22:00", to="02:00"))], "over midnight is two rows"),
        ([Row(class_="input", price="1", window=Window(days=(7, 1)))], "ISO weekdays"),
        ([INPUT, Row(class_="input", price="1", since="2026-01-01")], "rows 1 and 2 price the same thing"),
        (
            [
                Row(class_="input", price="1", window=Window(from_="01:00", to="04:00")),
                Row(class_="input", price="2", window=Window(days=(3,), from_="03:59", to="05:00")),
            ],
            "rows 1 and 2 price the same thing",
        ),
        ([INPUT, Row(class_="output", price="1", currency="EUR")], "more than one currency"),
    ],
)
def test_unsound_rows_are_refused_by_line_and_reason(make_book: MakeBook, rows: list[Row], said: str) -> None:
    """A row that cannot be meant is refused with its line, its model and what is wrong."""
    with pytest.raises(BadInput) as refused:
        make_book(*rows)
    assert said in str(refused.value)
    assert "line 2: acme m" in str(refused.value)


def test_all_problems_are_told_at_once(make_book: MakeBook) -> None:
    """One reading of a book finds everything that is wrong with it."""
    with pytest.raises(BadInput) as refused:
        make_book(Row(class_="x", price="1"), Row(class_="y", price="z"))
    assert str(refused.value).count("\n") == 3


def test_bytes_that_are_no_book_are_refused(make_book: MakeBook) -> None:
    """A cut, reordered, doubled, loosely written or foreign file is refused with a reason, never half read."""
    data = make_book(INPUT, entries=(Entry(party="acme", model="z", match=Match(equals=("z",)), rows=(INPUT,)),)).dump()
    header, first, second = data.splitlines()
    cases = {
        b"": "empty",
        data[:-1]: "the file is cut",
        b"hello\n": "line 1: not a header",
        b"\n".join([header, second, first, b""]): "line 3: acme m: out of order",
        b"\n".join([header, first, first, b""]): "line 3: acme m: out of order or twice",
        b"\n".join([header, first.replace(b":", b": ", 1), b""]): "line 2: not canonical JSON",
        b"\n".join([header, first.replace(b'"rows"', b'"prices"'), b""]): "line 2: not a model with its prices",
        b"\n".join([header, first.replace(b'"0.000001"', b"0.000001"), b""]): "line 2: not a model with its prices",
        b"\n".join([header, first.replace(b"acme", b"acmf"), b""]): "the header does not know this party",
        data.replace(b"prices/1", b"prices/2"): "line 1: not a header of tollbook.prices/1",
    }
    for broken, said in cases.items():
        with pytest.raises(BadInput) as refused:
            PriceBook.load(broken)
        assert said in str(refused.value)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_damaged_bytes_are_read_whole_or_refused(random: Random) -> None:
    """Whatever happens to the bytes, a book loads and can be explained, or is refused as bad input."""
    header, *lines = base_book().dump().splitlines(keepends=True)
    data = bytearray(header + b"".join(lines[number] for number in sorted(random.sample(range(len(lines)), 3))))
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(data))
        noise = random.choice([b"\xff", b"\n", b'"', b"9" * 30, b"{", b"[", b",", b"-1", b"1e5", b"\x00"])
        data[place : place + random.randint(0, 9)] = noise
    with contextlib.suppress(BadInput):
        book = PriceBook.load(bytes(data))
        for entry in book.entries():
            book.explain(entry.party, entry.model, 1_795_436_400_000_000)


def test_endless_nesting_is_refused() -> None:
    """A line that is nested without end is bad input, not a crash."""
    header, *_ = base_book().dump().splitlines(keepends=True)
    with pytest.raises(BadInput, match="line 2"):
        PriceBook.load(header + b'{"match":' + b'{"all":[' * 100_000 + b"\n")


def test_two_models_cannot_have_one_name(make_book: MakeBook) -> None:
    """An exact name leads to one model."""
    with pytest.raises(BadInput, match="already the name of another model"):
        make_book(INPUT, entries=(Entry(party="acme", model="n", match=Match(equals=("m",)), rows=(INPUT,)),))


def test_exact_name_comes_before_every_pattern(make_book: MakeBook) -> None:
    """A model named exactly, with an explicit price of zero, wins over a wildcard that also holds."""
    wild = Entry(party="acme", model="all", match=Match(starts_with=("m",)), rank=0, rows=(INPUT,))
    book = make_book(Row(class_="input", price="0"), entries=(wild,))
    assert book.find("acme", "M").entry == book.find("acme", "m").entry
    exact, by_pattern = book.find("acme", "m").entry, book.find("acme", "m2").entry
    assert exact is not None
    assert exact.rows[0].price == "0"
    assert by_pattern == wild


def test_patterns_are_tried_in_the_order_of_their_rank(make_book: MakeBook) -> None:
    """The order between patterns is data, not the order of names in the file."""
    general = Entry(party="acme", model="a", match=Match(starts_with=("x",)), rank=2, rows=(INPUT,))
    special = Entry(party="acme", model="b", match=Match(starts_with=("x-1",)), rank=1, rows=(INPUT,))
    assert make_book(entries=(general, special)).find("acme", "x-1-a").entry == special


def test_every_kind_of_pattern() -> None:
    """The source's rules as data: any of a list, or all of several."""
    assert Match(contains=("b",)).holds("abc")
    assert Match(ends_with=("c",)).holds("abc")
    assert Match(regex=(r"^a\w+c$",)).holds("abc")
    both = Match(all=(Match(starts_with=("a",)), Match(regex=(r"\d$",))))
    assert both.holds("a1")
    assert not both.holds("b1")
    assert not both.holds("ab")
    assert not Match(equals=("abc",)).holds("abcd")


@pytest.mark.parametrize("name", ["ft:gpt-4o:acme::abc", "ft:gpt-4-0613:acme::abc", "FT:gpt-4o-mini:acme"])
def test_fine_tuned_model_never_has_its_base_models_price(name: str) -> None:
    """A fine-tuned model that the source has no price for is unpriced, though a pattern of its base would hold."""
    assert base_book().find("openai", name).reason == "fine_tuned"


def test_fine_tuned_name_listed_with_its_base_does_not_have_its_price(make_book: MakeBook) -> None:
    """Not even an exact name makes the base model's price that of a fine-tuned one."""
    base = Entry(party="acme", model="b", match=Match(equals=("b", "ft:b:me")), rows=(INPUT,))
    assert make_book(entries=(base,)).find("acme", "ft:b:me").reason == "fine_tuned"
    own = Entry(party="acme", model="b", match=Match(equals=("ft:b:me",)), fine_tuned=True, rows=(INPUT,))
    assert make_book(entries=(own,)).find("acme", "ft:b:me").entry == own


def test_fine_tuned_model_with_a_price_of_its_own_has_that() -> None:
    """Where the source states the price of fine-tuned models, it is used, and it is not the base's."""
    found = base_book().find("openai", "ft:gpt-4o-2024-08-06:acme::abc").entry
    assert found is not None
    assert (found.model, found.fine_tuned) == ("ft:gpt-4o", True)


def test_who_and_what_is_unknown_is_said() -> None:
    """An unknown party and an unknown model are different reasons."""
    assert base_book().find("nobody", "gpt-4o").reason == "unknown_party"
    assert base_book().find("openai", "gpt-99").reason == "unknown_model"
    assert base_book().find("openai", "").reason == "unknown_model"


def test_shared_prices_are_marked_as_borrowed() -> None:
    """Azure's own price comes first; OpenAI's, which it is said to share, is marked."""
    borrowed = base_book().find("azure", "gpt-5.5")
    assert borrowed.entry is not None
    assert (borrowed.entry.party, borrowed.borrowed) == ("openai", True)
    own = next(model for model in base_book().models("azure") if base_book().find("azure", model).entry)
    assert not base_book().find("azure", own).borrowed
