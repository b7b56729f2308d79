"""The adapters of the OpenAI format."""

from typing import Final

from tollbook.providers.contract import Adapter
from tollbook.providers.openai_audio import OpenAIAudio, OpenAISpeech
from tollbook.providers.openai_chat import OpenAIChat
from tollbook.providers.openai_completions import OpenAICompletions
from tollbook.providers.openai_embeddings import OpenAIEmbeddings
from tollbook.providers.openai_images import OpenAIImages
from tollbook.providers.openai_objects import OPERATIONS, OpenAIObjects
from tollbook.providers.openai_responses import OpenAIInputTokens, OpenAIResponse, OpenAIResponses

OPENAI: Final[tuple[Adapter, ...]] = (
    OpenAIChat(),
    OpenAIResponses(),
    OpenAIResponse(),
    OpenAIInputTokens(),
    OpenAIEmbeddings(),
    OpenAICompletions(),
    OpenAIImages(),
    OpenAIAudio(),
    OpenAISpeech(),
    *(OpenAIObjects(operations) for operations in OPERATIONS),
)
"""The chat stands first."""
