"""The adapters there are, by endpoint and by format."""

from typing import Final

from tollbook.providers.anthropic_batches import AnthropicBatch, AnthropicBatchCreate, AnthropicBatches
from tollbook.providers.anthropic_files import AnthropicCount, AnthropicFile, AnthropicFiles, AnthropicUpload
from tollbook.providers.anthropic_messages import AnthropicMessages
from tollbook.providers.azure import AZURE
from tollbook.providers.bedrock_converse import BedrockConverse
from tollbook.providers.bedrock_invoke import BedrockInvoke
from tollbook.providers.cohere import CohereChat, CohereEmbed, CohereRerank
from tollbook.providers.contract import Adapter
from tollbook.providers.gemini_embed import GeminiCount, GeminiEmbed, VertexCount, VertexEmbed
from tollbook.providers.gemini_generate import GeminiGenerate, VertexGenerate
from tollbook.providers.gemini_objects import (
    GeminiCache,
    GeminiCacheCreate,
    GeminiCaches,
    GeminiFile,
    GeminiFiles,
    GeminiUpload,
    VertexCache,
    VertexCacheCreate,
    VertexCaches,
)
from tollbook.providers.openai import OPENAI

ANTHROPIC: Final[tuple[Adapter, ...]] = (
    AnthropicMessages(),
    AnthropicCount(),
    AnthropicBatchCreate(),
    AnthropicBatch(),
    AnthropicBatches(),
    AnthropicFile(),
    AnthropicFiles(),
    AnthropicUpload(),
)
GEMINI: Final[tuple[Adapter, ...]] = (
    GeminiGenerate(),
    GeminiEmbed(),
    GeminiCount(),
    GeminiCacheCreate(),
    GeminiCache(),
    GeminiCaches(),
    GeminiFile(),
    GeminiFiles(),
    GeminiUpload(),
)
VERTEX: Final[tuple[Adapter, ...]] = (
    VertexGenerate(),
    VertexEmbed(),
    VertexCount(),
    VertexCacheCreate(),
    VertexCache(),
    VertexCaches(),
)
BEDROCK: Final[tuple[Adapter, ...]] = (BedrockConverse(), BedrockInvoke())
COHERE: Final[tuple[Adapter, ...]] = (CohereChat(), CohereEmbed(), CohereRerank())

ADAPTERS: Final[tuple[Adapter, ...]] = (*OPENAI, *ANTHROPIC, *AZURE, *GEMINI, *VERTEX, *BEDROCK, *COHERE)

BY_ENDPOINT: Final[dict[str, Adapter]] = {adapter.endpoint: adapter for adapter in ADAPTERS}
"""The adapter of each endpoint of the vocabulary."""

BY_FORMAT: Final[dict[str, tuple[Adapter, ...]]] = {
    name: tuple(adapter for adapter in ADAPTERS if adapter.format == name)
    for name in sorted({adapter.format for adapter in ADAPTERS})
}
"""The adapters that a vendor of a format can serve; the keys are what `format` in the configuration may be."""
