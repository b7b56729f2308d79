"""Google's `generateContent` and `streamGenerateContent`, of the Gemini API and of Vertex AI.

Source: the REST reference and the types of the official SDK, google-genai 3.4 (`GenerateContentResponse`); the tier of
the Gemini API is told by the header `x-gemini-service-tier` (documentation of priority inference).
"""

import re
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.core.faults import BadInput
from tollbook.core.usage import Usage
from tollbook.providers.answer import Decomposition, flag, keep_raw, put_usage, word
from tollbook.providers.body import UNREADABLE, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.gemini import (
    GoogleAdapter,
    every_spelling,
    gemini_routes,
    google_error,
    member,
    read_google_error,
    renamed,
    spellings,
    vertex_routes,
)
from tollbook.providers.gemini_array import ArraySplitter
from tollbook.providers.gemini_usage import decompose
from tollbook.providers.reader import EventReader
from tollbook.providers.text import text_bytes

_UNSPECIFIED: Final = "TRAFFIC_TYPE_UNSPECIFIED"
_TIER_HEADER: Final = b"x-gemini-service-tier"
_PER_PROMPT: Final = re.compile(r"gemini-[12](?!\d)")
"""Models whose grounding is billed once a prompt; later ones are billed by the query."""
_MEDIA: Final = re.compile(rb'"(?:inlineData|inline_data|fileData|file_data)"')
_CALLS: Final = (("functionCall", "args"), ("executableCode", "code"))


class _Answer(Struct, gc=False):
    """What concerns us of an answer, or of one chunk of it."""

    candidates: Any = None
    promptFeedback: Any = None
    modelVersion: Any = None
    responseId: Any = None
    usageMetadata: Raw = Raw()
    error: Any = None


class _Service(Struct, gc=False):
    """What a usage object says of how the request was served: Vertex AI by the first, the Gemini API by the second."""

    trafficType: Any = None
    serviceTier: Any = None


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode
_decode_service: Final = msgspec.json.Decoder(_Service).decode


class _Candidates:
    """What is learned from the candidates of an answer, whole or chunk by chunk."""

    __slots__ = ("_ended", "_queries", "_seen")

    def __init__(self) -> None:
        self._seen: set[object] = set()
        self._ended: set[object] = set()
        self._queries: dict[object, int] = {}

    @property
    def ended(self) -> bool:
        """Whether every candidate that began has a finish reason."""
        return bool(self._ended) and self._ended >= self._seen

    @property
    def queries(self) -> int:
        """How many searches the answer was grounded with."""
        return sum(self._queries.values())

    def learn(self, listed: object) -> int:
        """Take the candidates of an answer or chunk; the bytes of text in them."""
        size = 0
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict):
                size += self._learn_one(one)
        return size

    def _learn_one(self, one: dict[str, Any]) -> int:
        index = one.get("index")
        index = index if type(index) is int else 0
        self._seen.add(index)
        if one.get("finishReason"):
            self._ended.add(index)
        grounding = one.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._queries[index] = max(self._queries.get(index, 0), _queries(grounding))
        content = one.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        return sum(map(_generated, parts)) if isinstance(parts, list) else 0


def _queries(grounding: dict[str, Any]) -> int:
    lists = (grounding.get("webSearchQueries"), grounding.get("imageSearchQueries"))
    return sum(1 for queries in lists if isinstance(queries, list) for query in queries if query)


def _generated(part: object) -> int:
    """The bytes of generated text in a part. Thoughts that are shown are text too."""
    if not isinstance(part, dict):
        return 0
    text = part.get("text")
    if isinstance(text, str):
        return text_bytes(text)
    made = [inner.get(name) for call, name in _CALLS if isinstance(inner := part.get(call), dict)]
    return sum(len(msgspec.json.encode(one)) for one in made if one)


def _describe(reading: Reading, raw: bytes, candidates: _Candidates, final: bool) -> bool:
    """Put a usage object, and the searches beside it, into a reading; whether its usage is final."""
    service = _service(raw)
    tier = word(service.trafficType) or word(service.serviceTier)
    reading.tier = None if tier == _UNSPECIFIED else tier
    reading.raw = keep_raw(raw, reading.flags)
    usage, whole, flags = decompose(raw)
    usage |= _searches(candidates.queries, reading.model_served)
    return put_usage(reading, Decomposition(usage, whole, flags), final)


def _service(raw: bytes) -> _Service:
    """What a usage object says of how it was served; nothing when that cannot be read."""
    try:
        return _decode_service(raw)
    except UNREADABLE:
        return _Service()


def _searches(queries: int, model: str | None) -> Usage:
    if not queries:
        return {}
    return {"web_searches": 1 if model is not None and _PER_PROMPT.match(model) else queries}


class GenerateReader(EventReader):
    """Reads one streamed answer that comes as server-sent events.

    Each chunk may carry a usage, cumulative: the last one stands, and it is final when it came with or after the finish
    reason of every candidate. There is no terminal event: the stream is complete when every candidate has its finish
    reason, or when the prompt was blocked.
    """

    event_limit: ClassVar[int] = 8 << 20  # An image comes in one chunk, and the usage may be in the same.

    __slots__ = ("_blocked", "_candidates", "_counted", "_identity", "_model", "_settled", "_usage")

    def __init__(self) -> None:
        super().__init__()
        self._candidates: Final = _Candidates()
        self._model: str | None = None
        self._identity: str | None = None
        self._usage: bytes | None = None
        self._counted = False
        self._blocked = False
        self._settled = False

    @property
    def terminal(self) -> bool:
        """Whether every candidate has its finish reason, or the prompt was blocked."""
        return self._blocked or self._candidates.ended

    def reading(self) -> Reading:
        """What has been learned so far."""
        reading = Reading(
            model_served=self._model,
            response_id=self._identity,
            complete=self.terminal and self._error is None,
            error=self._error,
            flags=list(self._flags),
        )
        if self._usage is None or not _describe(reading, self._usage, self._candidates, self._settled):
            reading.output_text, reading.output_deltas = self._text, self._deltas
        return reading

    def _take(self, data: bytes, name: bytes = b"") -> bool:
        try:
            chunk = _decode_answer(data)
        except UNREADABLE:
            self._saw_unreadable(data)
            return False
        self._saw(self._candidates.learn(chunk.candidates))
        self._blocked |= isinstance(chunk.promptFeedback, dict) and bool(chunk.promptFeedback.get("blockReason"))
        self._model = word(chunk.modelVersion) or self._model
        self._identity = word(chunk.responseId) or self._identity
        if chunk.error is not None:
            self._error = google_error(chunk.error)
        self._take_usage(bytes(chunk.usageMetadata))
        return False

    def _take_usage(self, raw: bytes) -> None:
        if not raw.startswith(b"{"):
            return
        counted = any(decompose(raw).usage.values())
        if counted or not self._counted:
            self._usage = raw
            self._counted = counted
        self._settled |= self.terminal


class ArrayReader(GenerateReader):
    """Reads one streamed answer that comes as a JSON array."""

    __slots__ = ("_array",)

    def __init__(self) -> None:
        super().__init__()
        self._array: Final = ArraySplitter(self.event_limit)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the vendor; give the same for the client."""
        for element, whole in self._array.push(data):
            if whole:
                self._take(element)
            else:
                flag(self._flags, "event_too_long")
        return data

    def flush(self) -> bytes:
        """Nothing was held back. An element that was cut cannot be read."""
        if not self._array.clear:
            flag(self._flags, "unreadable_event")
        return b""


class GeminiGenerate(GoogleAdapter):
    """The adapter of the Gemini API's `generateContent` and `streamGenerateContent`."""

    endpoint: str = "gemini.generate"
    name: str = "gemini.generate/1"
    routes: tuple[Route, ...] = gemini_routes("models/{model}:generateContent", "models/{model}:streamGenerateContent")
    stream_types: tuple[bytes, ...] = (b"text/event-stream", b"application/json")
    convention: str = "mixed"
    not_captured: tuple[str, ...] = (
        "Grounding with Google Maps and retrieval, billed by the prompt.",
        "The tier that served a stream of the Gemini API, where the answer's headers are not read.",
    )
    model_fields: frozenset[str] = spellings(
        "cachedContent", "generationConfig", "model", "modelArmorConfig", "serviceTier", "store", "tools", "toolConfig"
    )
    billing_fields: frozenset[str] = frozenset({"labels"})
    object_fields: dict[str, str] = every_spelling(
        {
            "cachedContent": "cache",
            "contents.parts.fileData.fileUri": "file",
            "contents.parts.functionResponse.parts.fileData.fileUri": "file",
            "systemInstruction.parts.fileData.fileUri": "file",
            "tools.fileSearch.fileSearchStoreNames": "vector_store",
            "tools.retrieval.vertexAiSearch.dataStoreSpecs.dataStore": "vector_store",
            "tools.retrieval.vertexAiSearch.datastore": "vector_store",
            "tools.retrieval.vertexAiSearch.engine": "vector_store",
            "tools.retrieval.vertexRagStore.ragCorpora": "vector_store",
            "tools.retrieval.vertexRagStore.ragResources.ragCorpus": "vector_store",
        }
    )

    def streamed(self, call: Call) -> bool:
        """Whether the path asks for a stream."""
        return call.route.path.endswith(":streamGenerateContent")

    def prepare(self, call: Call, model: str) -> Prepared:
        """The request for one target: its model in the path. Raises BadInput for an `alt` that cannot be read."""
        self.refuse_billing(call)
        path = self.path(call, model)
        if "alt=" in path and not path.endswith(("?alt=sse", "?alt=json")):
            raise BadInput("the query parameter alt may be sse or json, and must stand once")
        return Prepared(path=path, body=renamed(call, model), streams=self.streamed(call))

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer. One that cannot be decoded counts as text, all of it."""
        if status >= 400:
            return Reading(error=read_google_error(status, body))
        try:
            answer = _decode_answer(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"], output_text=len(body))
        reading = Reading(model_served=word(answer.modelVersion), response_id=word(answer.responseId))
        candidates = _Candidates()
        size = candidates.learn(answer.candidates)
        raw = bytes(answer.usageMetadata)
        if not raw.startswith(b"{") or not _describe(reading, raw, candidates, final=True):
            reading.output_text = size
        if answer.error is not None:
            reading.error = google_error(answer.error)
            reading.complete = False
        self.read_head(reading, headers)
        return reading

    def stream(self, prepared: Prepared) -> GenerateReader:
        """A reader for one streamed answer, in the form that the path asks for."""
        return GenerateReader() if prepared.path.endswith("alt=sse") else ArrayReader()

    def read_head(self, reading: Reading, headers: Headers) -> None:
        """The tier, where only a header tells it."""
        if reading.tier is None:
            said = (word(value.decode("latin-1")) for name, value in headers if name == _TIER_HEADER)
            reading.tier = next(said, None)

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. See `estimate_usage`."""
        members = call.members.values
        read = [raw for name in ("contents", "systemInstruction") if (raw := member(members, name)) is not None]
        config = read_value(member(members, "generationConfig"))
        prompt = Prompt(
            conversation=read,
            schemas=[raw for raw in (member(members, "tools"), _schema(config)) if raw is not None],
            open_ended=member(members, "cachedContent") is not None or _has_own_tools(members.get("tools")),
            media=any(map(has_media, read)),
        )
        limit = output_limit(_setting(config, "maxOutputTokens"), answers=_setting(config, "candidateCount"))
        return estimate_usage(prompt, limit, reading)


class VertexGenerate(GeminiGenerate):
    """The adapter of Vertex AI's `generateContent` and `streamGenerateContent` for Google's own models."""

    endpoint: str = "vertex.generate"
    name: str = "vertex.generate/1"
    format: str = "vertex"
    routes: tuple[Route, ...] = vertex_routes(
        "publishers/google/models/{model}:generateContent", "publishers/google/models/{model}:streamGenerateContent"
    )
    not_captured: tuple[str, ...] = ("Grounding with Google Maps and retrieval, billed by the prompt.",)


def has_media(content: bytes) -> bool:
    """Whether contents hold something beside text, or seem to: a name in a text counts too."""
    return _MEDIA.search(content) is not None


def _setting(config: object, name: str) -> bytes | None:
    value = member(config, name) if isinstance(config, dict) else None
    return None if value is None else msgspec.json.encode(value)


def _schema(config: object) -> bytes | None:
    return _setting(config, "responseSchema") or _setting(config, "responseJsonSchema")


def _has_own_tools(tools: bytes | None) -> bool:
    """Whether a tool is Google's own: it runs there and adds what it found to the input."""
    listed = read_value(tools)
    declared = spellings("functionDeclarations")
    return isinstance(listed, list) and any(isinstance(tool, dict) and tool.keys() - declared for tool in listed)
