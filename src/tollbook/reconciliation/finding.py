"""What is found of one cell: the shares of causes, what is left, and a verdict. Every finding adds up exactly."""

from typing import Literal, NamedTuple

from tollbook.core.faults import BrokenPromise
from tollbook.reconciliation.causes import WITHIN_TOLERANCE
from tollbook.reconciliation.cell import Pair, Share

Verdict = Literal["agrees", "explained", "partly_explained", "unexplained", "cannot_settle", "open"]


class Finding(NamedTuple):
    """One cell, its causes, and what they leave: quantity and amount (picodollars)."""

    pair: Pair
    shares: tuple[Share, ...]
    quantity: int
    amount: int
    verdict: Verdict
    missing: str | None = None


def finding(pair: Pair, shares: list[Share], missing: str | None = None) -> Finding:
    """The finding of a cell. `missing`: what evidence could settle what is left, when nothing here can."""
    quantity = pair.quantity - sum(share.quantity for share in shares)
    amount = pair.amount - sum(share.amount for share in shares)
    return Finding(pair, tuple(shares), quantity, amount, _verdict(pair, shares, quantity or amount, missing), missing)


def _verdict(pair: Pair, shares: list[Share], left: int, missing: str | None) -> Verdict:
    if pair.maturity == "open":
        return "open"
    named = [share for share in shares if share.cause != WITHIN_TOLERANCE]
    if not left:
        return "explained" if named else "agrees"
    if missing is not None:
        return "cannot_settle"
    return "partly_explained" if named else "unexplained"


def tie(findings: list[Finding]) -> dict[str, int]:
    """Ours, theirs, explained and unexplained in picodollars, over all cells whose amount the vendor tells.

    Raises BrokenPromise when ours + explained + unexplained is not theirs.
    """
    told = [one for one in findings if one.pair.theirs.amount is not None]
    sums = {
        "ours": sum(one.pair.ours.amount or 0 for one in told),
        "theirs": sum(one.pair.theirs.amount or 0 for one in told),
        "explained": sum(share.amount for one in told for share in one.shares),
        "unexplained": sum(one.amount for one in told),
    }
    if sums["ours"] + sums["explained"] + sums["unexplained"] != sums["theirs"]:
        raise BrokenPromise(f"a reconciliation does not tie: {sums}")
    return sums
