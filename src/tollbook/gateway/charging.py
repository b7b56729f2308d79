"""Whether the vendor bills an attempt, and whose doing its end was: two separate questions.

Who bears it is decided by rules over outcome and cause, which are data: `tollbook.core.charging`.
"""

from typing import Final

NOT_BILLED: Final = frozenset(("not_sent", "connect_failed", "rate_limited", "client_error"))
"""Outcomes after which the vendor has done no work that it bills: nothing was received, or it was turned away."""

OUR_DOING: Final = frozenset(("stopped", "journal_unavailable", "answer_too_large"))
"""Why we break off an attempt that nobody asked us to break off."""

_CAUSES: Final = {
    "ok": "asked",
    "client_error": "client",
    "client_gone": "client",
    "cancelled": "client",
    "refused": "client",
    "connect_failed": "network",
    "not_sent": "client",
    "unsettled": "gateway",
}


def billable(outcome: str, status: int | None, usage_reported: bool) -> bool | None:
    """Whether the vendor bills the attempt; None when nobody can know yet.

    An HTTP error without usage is not billed (both vendors' pricing pages); a request that was sent and never
    answered may be.
    """
    if usage_reported:
        return True
    if outcome in NOT_BILLED or (status is not None and status >= 400):
        return False
    return True if outcome in ("ok", "truncated", "client_gone", "cancelled") and status is not None else None


def cause(outcome: str, lost: str | None, *, gone: bool, passed_on: bool) -> str:
    """Whose doing an attempt's end was: a word of CAUSES. `lost` is what the wire says of it, `gone` whether the client
    had left, `passed_on` whether it was given what came of the answer."""
    if lost in OUR_DOING:
        return "gateway"
    if outcome == "truncated":
        return "client" if gone else "asked" if passed_on else "vendor"
    return _CAUSES.get(outcome, "vendor")
