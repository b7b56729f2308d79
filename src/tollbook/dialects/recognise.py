"""Which dialect a span is in, and whether it is one inference or a sum over others."""

from typing import Final

from tollbook.dialects.span import Span

INFERENCES: Final = frozenset(
    {"chat", "generate_content", "text_completion", "embeddings", "completion", "responses", "messages", "rerank"}
)
"""Operations that a vendor bills one by one."""
WRAPPERS: Final = frozenset({"invoke_agent", "create_agent", "invoke_workflow", "plan", "execute_tool"})
"""Operations around inferences: a usage on them restates a sum."""
_OPENINFERENCE: Final = {"LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}
_LANGFUSE: Final = {"generation": "chat", "embedding": "embeddings"}


def dialect_of(span: Span) -> str:
    """The dialect, by the scope's name first and by attributes that nobody else writes second."""
    scope, attributes = span.scope.name.lower(), span.attributes
    for dialect, words in _SCOPES:
        if any(word in scope for word in words):
            return dialect
    telling = [name for name in attributes if name.startswith(_TELLING)]
    for dialect, prefix in _PREFIXES if telling else ():
        if any(name.startswith(prefix) for name in telling):
            return dialect
    if "gen_ai.provider.name" in attributes:
        return "otel-1.37"
    if "gen_ai.usage.prompt_tokens" in attributes:
        return "otel-1.26"
    return "otel-1.27" if "gen_ai.system" in attributes else "unknown"


_SCOPES: Final = (
    ("envoy-ai-gateway", ("envoyproxy/ai-gateway", "ai-gateway-extproc", "envoy_ai_gateway")),
    ("agentgateway", ("agentgateway",)),
    ("kong", ("kong",)),
    ("portkey", ("portkey",)),
    ("cloudflare", ("cloudflare",)),
    ("openinference", ("openinference",)),
    ("litellm", ("litellm",)),
    ("openlit", ("openlit",)),
    ("langfuse", ("langfuse",)),
    ("logfire", ("logfire", "pydantic-ai", "pydantic_ai")),
    ("genai-dev", ("opentelemetry.util.genai", "instrumentation.genai")),
)
_PREFIXES: Final = (
    ("litellm", "litellm."),
    ("langfuse", "langfuse.observation."),
    ("cloudflare", "gen_ai.model.provider"),
    ("kong", "kong.gen_ai."),
    ("portkey", "portkey."),
    ("vercel", "ai.model."),
    ("vercel", "ai.usage."),
    ("openinference", "openinference.span.kind"),
    ("openllmetry", "traceloop."),
    ("openllmetry", "llm.request.type"),
    ("logfire", "logfire."),
    ("openlit", "gen_ai.usage.cost"),
    ("litellm", "gen_ai.cost."),
    ("genai-dev", "gen_ai.usage.cache_write.input_tokens"),
)

_TELLING: Final = tuple(prefix for _, prefix in _PREFIXES)


def operation_of(span: Span) -> str | None:
    """What a leaf inference did; None for a span that is none: a wrapper, a tool, something else altogether."""
    attributes = span.attributes
    if kind := attributes.get("openinference.span.kind"):
        return _OPENINFERENCE.get(str(kind).upper())
    if kind := attributes.get("langfuse.observation.type"):
        return _LANGFUSE.get(str(kind))
    operation = str(attributes.get("gen_ai.operation.name") or "")
    if operation in WRAPPERS or operation in INFERENCES:
        return operation if operation in INFERENCES else None
    wrapped = str(attributes.get("ai.operationId") or "")
    if wrapped:
        if ".do" not in wrapped:
            return None
        return "embeddings" if "embed" in wrapped.lower() else "chat"
    legacy = str(attributes.get("llm.request.type") or "")
    if legacy:
        return {"completion": "text_completion", "embedding": "embeddings"}.get(legacy, legacy)
    if str(attributes.get("traceloop.span.kind") or ""):
        return None
    counted = any(name.startswith(("gen_ai.usage.", "llm.usage.")) for name in attributes)
    return "chat" if counted and not operation and _names_model(span) else None


def restates(span: Span) -> bool:
    """Whether a span that is no inference holds a usage all the same: the sum of those below it."""
    counted = ("llm.token_count.", "gen_ai.aggregated_usage.")
    told = any(".usage." in name or name.startswith(counted) for name in span.attributes)
    return told and operation_of(span) is None


def _names_model(span: Span) -> bool:
    return "gen_ai.request.model" in span.attributes or "gen_ai.response.model" in span.attributes
