"""References of cases: short, said aloud, and with a letter that tells when one was heard wrong.

`C-0142-K`: the number of the case in its book, then a check letter as in Spanish identity numbers: the number modulo
23, into letters without I, O and U. As 23 is prime, every wrong digit and every two digits that changed places give
another.
"""

import re
from typing import Final

from tollbook.core.faults import BadInput

_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_FORM: Final = re.compile(r"C\s*-?\s*(\d{1,12})\s*-?\s*([A-Z])", re.ASCII | re.IGNORECASE)


def reference(number: int) -> str:
    """The reference of the case with this number (from 1)."""
    return f"C-{number:04d}-{_LETTERS[number % 23]}"


def read_reference(text: str) -> str:
    """A reference as somebody wrote or said it (`c142k`, `C 142 K`), in its one form. Raises BadInput."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise BadInput(f"{text[:64]!r} is no reference of a case: it looks like {reference(142)}")
    made = reference(int(found[1]))
    if made[-1] != found[2].upper():
        raise BadInput(f"{text.strip()!r} was heard or typed wrong: its last letter does not fit its number")
    return made


def is_reference(text: str) -> bool:
    """Whether a text has the form of a reference, right or wrong."""
    return _FORM.fullmatch(text.strip()) is not None
