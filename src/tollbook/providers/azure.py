"""Azure OpenAI: the operations of OpenAI under a deployment (`/openai/deployments/{model}/...?api-version=`), and under
`/openai/v1/...`, where the deployment is the member `model`.

Source: Microsoft's "Azure OpenAI REST API reference" and "v1 API", and the Azure client of the official SDK, openai
3.54. A request is authenticated by `api-key`, or by a token of Entra ID as `Authorization: Bearer`. The answer names
the model behind the deployment; the region that served it is in the header `x-ms-region`, the id in `apim-request-id`.
A request that a content filter turns away is an error 400 without usage; one that is filtered while it is answered has
its usage as ever.
"""

from typing import Final

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import word
from tollbook.providers.body import Splice
from tollbook.providers.contract import Adapter, Call, Headers, Reading, Route
from tollbook.providers.openai_audio import OpenAIAudio, OpenAISpeech
from tollbook.providers.openai_chat import OpenAIChat
from tollbook.providers.openai_completions import OpenAICompletions
from tollbook.providers.openai_embeddings import OpenAIEmbeddings
from tollbook.providers.openai_format import routes
from tollbook.providers.openai_images import OpenAIImages
from tollbook.providers.openai_objects import OPERATIONS, OpenAIObjects
from tollbook.providers.openai_responses import OpenAIInputTokens, OpenAIResponse, OpenAIResponses

_DEPLOYMENT: Final = "/openai/deployments/{model}"
_UNDER_DEPLOYMENT: Final = (("/openai/v1", "/openai/v1"), (_DEPLOYMENT, _DEPLOYMENT))
_UNDER_RESOURCE: Final = (("/openai/v1", "/openai/v1"), ("/openai", "/openai"))

_VERSION: Final = frozenset({"api-version"})
_BEARER: Final = "Bearer "


class AzureFormat(JsonAdapter):
    """What all operations of Azure OpenAI share, to be inherited before the operation of OpenAI."""

    format: str = "azure"
    query_fields: frozenset[str] = _VERSION
    vendor_request_id_headers: tuple[bytes, ...] = (b"apim-request-id", b"x-request-id")
    region_headers: tuple[bytes, ...] = (b"x-ms-region",)

    def model(self, call: Call) -> str | None:
        """The deployment in the path; else the model of the body. Raises BadInput when neither is there."""
        return call.names["model"] if "model" in call.names else super().model(call)

    def model_change(self, call: Call, model: str) -> list[Splice]:
        """Under a deployment the path decides; a model that the body has beside it follows."""
        if "model" in call.names and "model" not in call.members.values:
            return []
        return super().model_change(call, model)

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer, with the region that its headers tell."""
        # The operation that follows in the order of resolution has it.
        reading = super().read(status, headers, body)  # type: ignore[safe-super]
        if reading.region is None:
            told = (word(value.decode("latin-1")) for name, value in headers if name in self.region_headers)
            reading.region = next(told, None)
        return reading

    def credentials(self, secret: str) -> Headers:
        """An API key; or a token, when the secret begins with `Bearer `."""
        if secret.startswith(_BEARER):
            return [(b"authorization", secret.encode())]
        return [(b"api-key", secret.encode())]


def _routes(*paths: str) -> tuple[Route, ...]:
    return routes(*(f"POST {path}" for path in paths), places=_UNDER_DEPLOYMENT)


class AzureChat(AzureFormat, OpenAIChat):
    """The adapter of Azure's chat completions."""

    endpoint: str = "azure.chat"
    name: str = "azure.chat/1"
    routes: tuple[Route, ...] = _routes("/chat/completions")


class AzureResponses(AzureFormat, OpenAIResponses):
    """The adapter of Azure's responses; the older path has no deployment in it."""

    endpoint: str = "azure.responses"
    name: str = "azure.responses/1"
    routes: tuple[Route, ...] = routes("POST /responses", "POST /responses/compact", places=_UNDER_RESOURCE)


class AzureResponse(AzureFormat, OpenAIResponse):
    """The adapter of one response of Azure's by its id."""

    endpoint: str = "azure.response"
    name: str = "azure.response/1"
    routes: tuple[Route, ...] = routes(
        *(f"{route.method} {route.upstream}" for route in OpenAIResponse.routes), places=_UNDER_RESOURCE
    )
    query_fields: frozenset[str] = OpenAIResponse.query_fields | _VERSION


class AzureInputTokens(AzureFormat, OpenAIInputTokens):
    """The adapter of counting the tokens of an input."""

    endpoint: str = "azure.input_tokens"
    name: str = "azure.input_tokens/1"
    routes: tuple[Route, ...] = routes("POST /responses/input_tokens", places=_UNDER_RESOURCE)


class AzureEmbeddings(AzureFormat, OpenAIEmbeddings):
    """The adapter of Azure's embeddings."""

    endpoint: str = "azure.embeddings"
    name: str = "azure.embeddings/1"
    routes: tuple[Route, ...] = _routes("/embeddings")


class AzureCompletions(AzureFormat, OpenAICompletions):
    """The adapter of Azure's legacy completions."""

    endpoint: str = "azure.completions"
    name: str = "azure.completions/1"
    routes: tuple[Route, ...] = _routes("/completions")


class AzureImages(AzureFormat, OpenAIImages):
    """The adapter of Azure's images."""

    endpoint: str = "azure.images"
    name: str = "azure.images/1"
    routes: tuple[Route, ...] = _routes("/images/generations", "/images/edits")


class AzureAudio(AzureFormat, OpenAIAudio):
    """The adapter of Azure's transcriptions and translations."""

    endpoint: str = "azure.audio"
    name: str = "azure.audio/1"
    routes: tuple[Route, ...] = _routes("/audio/transcriptions", "/audio/translations")


class AzureSpeech(AzureFormat, OpenAISpeech):
    """The adapter of Azure's speech."""

    endpoint: str = "azure.speech"
    name: str = "azure.speech/1"
    routes: tuple[Route, ...] = _routes("/audio/speech")


class AzureObjects(AzureFormat, OpenAIObjects):
    """The adapter of one kind of object that Azure keeps."""

    query_fields: frozenset[str] = OpenAIObjects.query_fields | _VERSION


AZURE: Final[tuple[Adapter, ...]] = (
    AzureChat(),
    AzureResponses(),
    AzureResponse(),
    AzureInputTokens(),
    AzureEmbeddings(),
    AzureCompletions(),
    AzureImages(),
    AzureAudio(),
    AzureSpeech(),
    *(AzureObjects(operations, _UNDER_RESOURCE) for operations in OPERATIONS),
)
"""The adapters of the format `azure`; the chat stands first."""
