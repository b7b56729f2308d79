"""Everything the simulator offers, by path."""

from collections.abc import Iterator
from typing import Final

from tollbook.simulator import anthropic_batches, batches, responses
from tollbook.simulator.anthropic import ANTHROPIC, Messages
from tollbook.simulator.bedrock import BEDROCK, Converse, ConverseStream, Invoke, InvokeStream
from tollbook.simulator.chat import Chat, Completions
from tollbook.simulator.cohere import COHERE, Embed, Rerank
from tollbook.simulator.cohere import Chat as CohereChat
from tollbook.simulator.compatible import AZURE, COMPATIBLE, AzureChat
from tollbook.simulator.embeddings import Embeddings
from tollbook.simulator.gemini import GOOGLE, Generate, StreamGenerate, count_tokens
from tollbook.simulator.gemini import Embed as GeminiEmbed
from tollbook.simulator.media import Images, Speech, Transcriptions
from tollbook.simulator.openai import OPENAI, OpenAI
from tollbook.simulator.responses import Responses
from tollbook.simulator.routes import Route, Routes, Target
from tollbook.simulator.vendor import Errand, Operation, Vendor

UNKNOWN: Final[Vendor] = OPENAI
"""Who answers where nobody is at home."""

_VERTEX: Final = "/projects/{project}/locations/{location}/publishers/google/models/{model}"


def _openai_operations(vendor: OpenAI, chat: Chat) -> dict[str, Operation]:
    """OpenAI's operations by the end of their path."""
    images, transcriptions = Images(vendor), Transcriptions(vendor)
    return {
        "/chat/completions": chat,
        "/completions": Completions(vendor),
        "/embeddings": Embeddings(vendor),
        "/images/generations": images,
        "/images/edits": images,
        "/images/variations": images,
        "/audio/transcriptions": transcriptions,
        "/audio/translations": transcriptions,
        "/audio/speech": Speech(vendor),
    }


def _responses(vendor: OpenAI, base: str) -> Iterator[Route]:
    operation = Responses(vendor)
    yield Route("POST", f"{base}/responses", operation)
    for (method, end), errand in responses.errands(vendor, operation).items():
        yield Route(method, f"{base}/responses{end}", errand)


def _openai() -> Iterator[Route]:
    operations = _openai_operations(OPENAI, Chat(OPENAI))
    yield from (Route("POST", f"/v1{end}", operation) for end, operation in operations.items())
    yield from _responses(OPENAI, "/v1")
    batched = {f"/v1{end}": operations[end] for end in ("/chat/completions", "/completions", "/embeddings")}
    for (method, end), errand in batches.errands({**batched, "/v1/responses": Responses(OPENAI)}).items():
        yield Route(method, f"/v1{end}", errand)


def _azure() -> Iterator[Route]:
    for base in ("/openai/deployments/{model}", "/openai/v1"):
        for end, operation in _openai_operations(AZURE, AzureChat(AZURE)).items():
            yield Route("POST", base + end, operation)
    for base in ("/openai", "/openai/v1"):
        yield from _responses(AZURE, base)


def _compatible() -> Iterator[Route]:
    yield from (Route("POST", path, operation) for path, operation in COMPATIBLE.items())


def _anthropic() -> Iterator[Route]:
    messages = Messages(ANTHROPIC)
    yield Route("POST", "/v1/messages", messages)
    for (method, end), errand in anthropic_batches.errands(messages).items():
        yield Route(method, f"/v1/messages{end}", errand)


def _gemini() -> Iterator[Route]:
    embed = GeminiEmbed(GOOGLE)
    verbs: dict[str, Target] = {
        "generateContent": Generate(GOOGLE),
        "streamGenerateContent": StreamGenerate(GOOGLE),
        "embedContent": embed,
        "batchEmbedContents": embed,
        "countTokens": Errand(GOOGLE, "count_tokens", count_tokens),
    }
    for base in ("/{version}/models/{model}", f"/{{version}}{_VERTEX}"):
        yield from (Route("POST", f"{base}:{verb}", target) for verb, target in verbs.items())


def _bedrock() -> Iterator[Route]:
    ends = {
        "converse": Converse(BEDROCK),
        "converse-stream": ConverseStream(BEDROCK),
        "invoke": Invoke(BEDROCK),
        "invoke-with-response-stream": InvokeStream(BEDROCK),
    }
    yield from (Route("POST", f"/model/{{model}}/{end}", operation) for end, operation in ends.items())


def _cohere() -> Iterator[Route]:
    ends = {"chat": CohereChat(COHERE), "embed": Embed(COHERE), "rerank": Rerank(COHERE)}
    yield from (Route("POST", f"/v2/{end}", operation) for end, operation in ends.items())


ROUTES: Final = Routes(
    [*_openai(), *_anthropic(), *_azure(), *_compatible(), *_gemini(), *_bedrock(), *_cohere()],
)
"""All of it."""
