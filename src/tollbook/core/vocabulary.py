"""The closed lists of words that entries, tables, reports and the API share.

A word in one of these lists is part of a published format: it is never renamed, and a new one is added at the end.
"""

from typing import Final

OUTCOMES: Final = (
    "ok",
    "client_error",
    "vendor_error",
    "rate_limited",
    "refused",
    "timeout",
    "connect_failed",
    "truncated",
    "client_gone",
    "cancelled",
    "unsettled",
    "open",
    "not_sent",
)
"""How an attempt, or a whole request, ended."""

BASES: Final = ("invoiced", "provider_reported", "computed", "estimated", "unreported")
"""How we know a usage, strongest first; a request's basis is the weakest of its attempts'."""

BEARERS: Final = ("tenant", "platform", "vendor_claim")
"""Who bears what an attempt cost (`borne_by`); apart from whether the vendor bills it (`billable`)."""

ATTEMPT_REASONS: Final = ("first", "retry", "fallback", "hedge", "downgrade")
"""Why an attempt was made."""

NEXT_ACTIONS: Final = ("answer", "retry", "fallback", "give_up")
"""What the gateway did after an attempt."""

MATURITIES: Final = ("estimated", "recorded", "provisional", "invoiced")
"""How final an amount is."""

SOURCES: Final = ("gateway", "span", "import")
"""By which door a record came into the book."""

CLIENT_ENDS: Final = ("answered", "gone")
"""Whether the client was still there when its request ended."""

ENDPOINTS: Final = ("openai.chat", "anthropic.messages")
"""The wire formats the gateway speaks, by vendor and operation."""

DIMENSIONS: Final = (
    "tenant",
    "key",
    "workload",
    "user",
    "template",
    "unit",
    "entity",
    "vendor",
    "vendor_key",
    "model_asked",
    "model_sent",
    "model_served",
    "model",
    "region",
    "tier",
    "route",
    "policy",
    "reason",
    "outcome",
    "basis",
    "source",
    "dialect",
    "stream",
    "hour",
    "day",
    "month",
)
"""What a report can be grouped by; `tag:<name>` beside them. `model` is the served one, else the one sent."""


def weakest_basis(bases: list[str]) -> str:
    """The weakest of some bases; `unreported` when there is none."""
    return max(bases, key=BASES.index, default="unreported")
