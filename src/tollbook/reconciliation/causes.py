"""The closed list of causes, read from `causes.yaml`."""

from functools import cache
from importlib import resources
from typing import Final, Literal

import msgspec
from msgspec import Struct

Nature = Literal["timing", "rate", "quantity", "scope", "allocation", "tax_or_fx", "error", "unknown"]
"""What kind of item it is: only `timing` reverses by itself and may be carried forward."""

WITHIN_TOLERANCE: Final = "within_tolerance"
"""Not a cause: differences that a rule lets pass, summed so that they are never lost."""

AMBIGUOUS: Final = "ambiguous"
"""Not a cause: several causes explain it equally well; the finding names them."""


class Cause(Struct, frozen=True):
    """One cause. `shown_by` says what tells it: the two books' cells, our record's traits, a series of cells, another
    check (`elsewhere`), or only the vendor (`ask`)."""

    code: str
    nature: Nature
    direction: Literal["theirs", "ours", "either", "none"]
    shown_by: Literal["cell", "record", "series", "elsewhere", "ask"]
    title: str
    signature: str
    settles: str


@cache
def causes() -> dict[str, Cause]:
    """All causes by code, in the order of the list."""
    text = resources.files("tollbook.reconciliation").joinpath("causes.yaml").read_bytes()
    return {cause.code: cause for cause in msgspec.yaml.decode(text, type=list[Cause])}
