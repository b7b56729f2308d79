"""The adapters there are, by endpoint and by format."""

from typing import Final

from tollbook.providers.anthropic_messages import AnthropicMessages
from tollbook.providers.contract import Adapter
from tollbook.providers.openai_chat import OpenAIChat

ADAPTERS: Final[tuple[Adapter, ...]] = (OpenAIChat(), AnthropicMessages())

BY_ENDPOINT: Final[dict[str, Adapter]] = {adapter.endpoint: adapter for adapter in ADAPTERS}
"""The adapter of each endpoint of the vocabulary."""

BY_FORMAT: Final[dict[str, tuple[Adapter, ...]]] = {
    name: tuple(adapter for adapter in ADAPTERS if adapter.format == name)
    for name in sorted({adapter.format for adapter in ADAPTERS})
}
"""The adapters that a vendor of a format can serve; the keys are what `format` in the configuration may be."""
