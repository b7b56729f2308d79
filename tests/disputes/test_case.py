"""References, states and moves of cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.faults import BadInput, NotFound
from tollbook.disputes.case import MOVES, STATES, Case, Casebook
from tollbook.disputes.reference import is_reference, read_reference, reference
from tollbook.journal.casework import CaseMoved, CaseOpened


@given(st.integers(1, 10**9))
def test_a_reference_is_read_however_it_is_said(number: int) -> None:
    """Small letters, spaces, without dashes or leading zeros: the same case."""
    name = reference(number)
    letter = name[-1]
    for said in (name, name.lower(), name.replace("-", " "), name.replace("-", ""), f"c{number}{letter.lower()}"):
        assert is_reference(said) and read_reference(said) == name


@given(st.integers(1, 10**6), st.data())
def test_a_wrong_digit_or_two_that_changed_places_are_noticed(number: int, data: st.DataObject) -> None:
    """The check letter of another number of as many digits, one digit or one swap away, is another."""
    digits = f"{number:07d}"
    place = data.draw(st.integers(0, 6))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != digits[place]]))
    said = [digits[:place] + wrong + digits[place + 1 :]]
    if place < 6 and digits[place] != digits[place + 1]:
        said.append(digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :])
    for other in said:
        with pytest.raises(BadInput, match="heard or typed wrong"):
            read_reference(f"C-{other}-{reference(number)[-1]}")


def test_what_is_no_reference_is_told_so() -> None:
    """Garbage is refused in words that show what one looks like."""
    for text in ("", "C", "C-1", "D-0001-R", "C--R", "C-0001-R-", "C-" + "9" * 40 + "-R", "0001R"):
        with pytest.raises(BadInput, match="no reference"):
            read_reference(text)


def test_only_documented_moves_are_allowed() -> None:
    """Every move from every state: it leads where the table says, or it is refused with what is allowed."""
    opened = CaseOpened(case="C-0001-R", tenant="acme", requests=["r"], claim="c", actor="a")
    for state in STATES:
        case = Case(opened=opened, recorded=0, state=state)
        for move, allowed in MOVES.items():
            if state in allowed:
                assert case.after(move) == allowed[state]
            else:
                with pytest.raises(BadInput, match=f"is {state}: it cannot be {move}"):
                    case.after(move)


def test_a_reopened_case_has_no_verdict_until_it_is_diagnosed_again() -> None:
    """The former verdict stands among the moves, not as the case's."""
    book = Casebook()
    book.take(CaseOpened(case="C-0001-R", tenant="acme", requests=["r"], claim="c", actor="a"), 1)
    for move, state, verdict in (
        ("diagnosed", "diagnosed", "rejected"),
        ("resolved", "resolved", None),
        ("reopened", "open", None),
    ):
        book.take(CaseMoved(case="C-0001-R", tenant="acme", move=move, state=state, actor="a", verdict=verdict), 2)
    assert book.find("c1r").diagnosis is None and len(book.find("c1r").moves) == 3
    with pytest.raises(NotFound):
        book.find("C-0001-R", tenant="other")
    assert book.next_reference() == "C-0002-W"
