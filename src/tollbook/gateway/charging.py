"""Whether the vendor bills an attempt, and who bears it: two separate questions, answered by rules that are data."""

from typing import Final

VERSION: Final = "default/1"

NOT_BILLED: Final = frozenset(("not_sent", "connect_failed", "rate_limited", "client_error"))
"""Outcomes after which the vendor has done no work that it bills: nothing was received, or it was turned away."""

BORNE_BY: Final = {
    "ok": "tenant",
    "truncated": "tenant",
    "client_gone": "tenant",
    "cancelled": "tenant",
    "client_error": "tenant",
    "refused": "tenant",
    "rate_limited": "tenant",
    "vendor_error": "platform",
    "timeout": "platform",
    "connect_failed": "platform",
    "not_sent": "platform",
    "unsettled": "platform",
}
"""Who bears the last attempt of a request, by outcome. The tenant pays for what it asked and received; an attempt
that was followed by another is the platform's, whatever its outcome."""


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


def borne_by(outcome: str, followed: bool) -> str:
    """Who bears an attempt: `tenant` or `platform`."""
    return "platform" if followed else BORNE_BY[outcome]
