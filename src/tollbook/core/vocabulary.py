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

CAUSES: Final = ("asked", "client", "vendor", "network", "gateway", "repeated", "hedged")
"""Whose doing the end of an attempt was: `asked`, nobody's, since what came of the answer was passed on; the client's,
the vendor's, of the way between us, or our own; `repeated` when we made another attempt after it, `hedged` when another
one beside it was faster. Charging rules decide by it."""

ATTEMPT_REASONS: Final = ("first", "retry", "fallback", "hedge", "downgrade")
"""Why an attempt was made."""

NEXT_ACTIONS: Final = ("answer", "retry", "fallback", "give_up", "hedge")
"""What the gateway did after an attempt; `hedge`: another attempt was being made beside it, which could answer."""

MATURITIES: Final = ("estimated", "recorded", "provisional", "invoiced")
"""How final an amount is."""

SOURCES: Final = ("gateway", "span", "import")
"""By which door a record came into the book."""

CLIENT_ENDS: Final = ("answered", "gone")
"""Whether the client was still there when its request ended."""

ENDPOINTS: Final = (
    "openai.chat",
    "anthropic.messages",
    "openai.responses",
    "openai.response",
    "openai.input_tokens",
    "openai.embeddings",
    "openai.completions",
    "openai.images",
    "openai.audio",
    "openai.speech",
    "openai.files",
    "openai.file_content",
    "openai.file_list",
    "openai.uploads",
    "openai.batches",
    "openai.batch_list",
    "openai.conversations",
    "openai.vector_stores",
    "openai.vector_store_content",
    "openai.vector_store_list",
    "openai.containers",
    "openai.container_list",
    "azure.chat",
    "azure.responses",
    "azure.response",
    "azure.input_tokens",
    "azure.embeddings",
    "azure.completions",
    "azure.images",
    "azure.audio",
    "azure.speech",
    "azure.files",
    "azure.file_content",
    "azure.file_list",
    "azure.uploads",
    "azure.batches",
    "azure.batch_list",
    "azure.conversations",
    "azure.vector_stores",
    "azure.vector_store_content",
    "azure.vector_store_list",
    "azure.containers",
    "azure.container_list",
    "anthropic.count",
    "anthropic.batch_create",
    "anthropic.batches",
    "anthropic.batch_list",
    "anthropic.files",
    "anthropic.file_list",
    "anthropic.uploads",
    "gemini.generate",
    "gemini.embed",
    "gemini.count",
    "gemini.cache_create",
    "gemini.caches",
    "gemini.cache_list",
    "gemini.files",
    "gemini.file_list",
    "gemini.uploads",
    "vertex.generate",
    "vertex.embed",
    "vertex.count",
    "vertex.cache_create",
    "vertex.caches",
    "vertex.cache_list",
    "bedrock.converse",
    "bedrock.invoke",
    "cohere.chat",
    "cohere.embed",
    "cohere.rerank",
)
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
    "cost_centre",
)
"""What a report can be grouped by; `tag:<name>` beside them. `model` is the served one, else the one sent."""


def weakest_basis(bases: list[str]) -> str:
    """The weakest of some bases; `unreported` when there is none."""
    return max(bases, key=BASES.index, default="unreported")
