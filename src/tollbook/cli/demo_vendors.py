"""The demo's two books beside each other, attempt by attempt, and what explains the difference."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tollbook.core.identity import attempt_id
from tollbook.core.money import PICO, format_amount, parse_amount
from tollbook.ledger.reader import read
from tollbook.simulator import Billed, Received

REASONS: Final = {
    "unpriced": "the book has no price for the model, so it says so instead of $0",
    "estimated": "the answer broke off before its usage came, so the book holds an estimate",
    "same": "usage reported and priced",
}
"""Why an attempt's two amounts may differ, and what is said of it."""


def vendors_side(book: Path, received: Sequence[Received], billed: Sequence[Billed]) -> dict[str, Any]:
    """What the vendors received and bill (US dollars), and both books' amounts by `REASONS`.

    The vendors' books are written by the simulator without any knowledge of ours; the attempt id joins the two.
    """
    theirs: dict[str, int] = {}
    for line in billed:
        name = line.attempt_id or ""
        theirs[name] = theirs.get(name, 0) + parse_amount(line.amount)
    sums = {reason: [0, 0, 0] for reason in REASONS}
    for request_id, number, basis, expected in read(book, _attempts):
        reason = "unpriced" if expected is None else "estimated" if basis == "estimated" else "same"
        ours = 0 if expected is None else int(expected * PICO)
        row = sums[reason]
        row[0] += 1
        row[1] += ours
        row[2] += theirs.pop(attempt_id(request_id, number), 0)
    whole = sum(row[2] for row in sums.values()) + sum(theirs.values())
    return {
        "received": len(received),
        "billed": len(billed),
        "amounts": {"USD": format_amount(whole)},
        "compared": [
            {
                "reason": reason,
                "attempts": count,
                "book_usd": None if reason == "unpriced" and count else format_amount(ours),
                "vendor_usd": format_amount(bill),
            }
            for reason, (count, ours, bill) in sums.items()
        ],
    }


def _attempts(lake: Any) -> list[tuple[str, int, str, Decimal | None]]:
    return lake.rows("SELECT request_id, number, basis, amount_expected FROM attempts WHERE attempts = 1")  # type: ignore[no-any-return]
