"""The attribute names of each dialect.

Sources: the GenAI conventions of OpenTelemetry from 1.26 to the development branch (`semantic-conventions-genai`);
openinference-semantic-conventions 0.1; opentelemetry-semantic-conventions-ai 0.5 (OpenLLMetry); openlit 1.45;
litellm 1.109; the Vercel AI SDK 6 and `@ai-sdk/otel` 1.0; langfuse 5.0; logfire 5.4 and pydantic-ai 2.68; Envoy AI
Gateway 1.1; Kong AI Gateway 3.14; agentgateway; Cloudflare AI Gateway; Portkey.
"""

from typing import Final

GEN_AI: Final[dict[str, tuple[str, ...]]] = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens",
        "gen_ai.usage.details.cache_read_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.prompt_tokens_details.cache_creation_tokens",
        "gen_ai.usage.details.cache_write_tokens",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
    ),
    "total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
}
OPENINFERENCE: Final[dict[str, tuple[str, ...]]] = {
    "input": ("llm.token_count.prompt",),
    "output": ("llm.token_count.completion",),
    "cache_read": ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
    "cache_write": ("llm.token_count.prompt_details.cache_write", "llm.token_count.prompt_details.cache_creation"),
    "reasoning": ("llm.token_count.completion_details.reasoning",),
    "total": ("llm.token_count.total",),
}
VERCEL: Final[dict[str, tuple[str, ...]]] = {
    "input": ("ai.usage.inputTokens", "ai.usage.promptTokens", "gen_ai.usage.input_tokens", "ai.usage.tokens"),
    "output": ("ai.usage.outputTokens", "ai.usage.completionTokens", "gen_ai.usage.output_tokens"),
    "cache_read": ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
    "cache_write": ("ai.usage.inputTokenDetails.cacheWriteTokens",),
    "reasoning": ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
    "total": ("ai.usage.totalTokens",),
}
LANGFUSE: Final[dict[str, tuple[str, ...]]] = {
    "input": ("input", "prompt_tokens", "input_tokens"),
    "output": ("output", "completion_tokens", "output_tokens"),
    "cache_read": ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens"),
    "cache_write": ("input_cache_creation", "cache_creation_input_tokens"),
    "cache_write_5m": ("input_cache_creation_5m",),
    "cache_write_1h": ("input_cache_creation_1h",),
    "reasoning": ("output_reasoning_tokens", "output_reasoning"),
    "total": ("total",),
}
"""Members of the JSON text in `langfuse.observation.usage_details`."""

COSTS: Final = (
    "gen_ai.usage.cost.amount",
    "gen_ai.usage.cost",
    "gen_ai.cost.total_cost",
    "litellm.cost.total",
    "llm.cost.total",
    "operation.cost",
)
"""Attributes that hold a whole cost, in US dollars where no currency stands beside."""

VENDORS: Final = ("gen_ai.provider.name", "gen_ai.model.provider", "llm.provider", "gen_ai.system", "ai.model.provider",
                  "llm.system", "gen_ai.llm.provider")  # fmt: skip
MODELS_ASKED: Final = ("gen_ai.request.model", "llm.request.model_name", "ai.model.id", "llm.model_name",
                       "langfuse.observation.model.name", "gen_ai.llm.model")  # fmt: skip
MODELS_SERVED: Final = ("gen_ai.response.model", "ai.response.model", "llm.response.model_name")
RESPONSES: Final = ("gen_ai.response.id", "ai.response.id", "llm.response.id")
TIERS: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
USERS: Final = ("enduser.id", "user.id", "gen_ai.user.id", "gen_ai.user", "gen_ai.request.user", "llm.user",
                "langfuse.user.id", "ai.telemetry.metadata.userId")  # fmt: skip
CONVERSATIONS: Final = ("gen_ai.conversation.id", "session.id", "gen_ai.session.id", "langfuse.session.id")

PARTIES: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock": "aws",
    "aws": "aws",
    "amazon-bedrock": "aws",
    "az.ai.openai": "azure",
    "azure.ai.openai": "azure",
    "azure.openai": "azure",
    "azure": "azure",
    "azure.ai.inference": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "google": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "google.generative-ai": "google",
    "vertexai": "google",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "groq": "groq",
    "mistral": "mistral",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
    "perplexity": "perplexity",
    "x_ai": "x-ai",
    "xai": "x-ai",
    "openrouter": "openrouter",
}
"""What emitters call a vendor, and whose prices we look for."""
