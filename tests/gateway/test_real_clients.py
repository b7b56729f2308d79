"""Every vendor's own client library, with nothing changed but the address and the key: the answer is the vendor's, and
our record of it is the vendor's own."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import anthropic
import boto3
import cohere
import groq
import openai
import pytest
from botocore.config import Config
from google import genai
from google.genai import types
from mistralai.client import Mistral
from real_stage import ACME, SIGNER, RealStage

from tollbook.core.money import parse_amount
from tollbook.simulator import Billed

pytestmark = pytest.mark.xdist_group("gateway-stage")

SAID: Any = [{"role": "user", "content": "Count [[sim input=374 output=44 cache_read=16 reasoning=10]]."}]
PLAIN: Any = [{"role": "user", "content": "Count [[sim input=374 output=44]]."}]
AWS_SAID: Any = [{"role": "user", "content": [{"text": "Count [[sim input=374 output=44 cache_read=16]]."}]}]
TEXT = SAID[0]["content"]
SHORT = "[[sim input=30 output=9]]"
CLAUDE_AWS = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
SOUND = ("sound.mp3", b"\0" * 48000)

CLASSES = {
    "cache_read": "input_cache_read",
    "cache_write_5m": "input_cache_write_5m",
    "cache_write_1h": "input_cache_write_1h",
    "reasoning": "output_reasoning",
    "input_audio": "input.audio",
    "input_image": "input.image",
    "output_audio": "output.audio",
    "output_image": "output.image",
    "search_units": "units",
}
"""The vendor's books in our words."""


class Clients:
    """One of each library, all with keys of the same tenant; AWS's signs its requests."""

    def __init__(self, stage: RealStage) -> None:
        url = stage.gateway_url
        self.gpt = openai.OpenAI(base_url=stage.openai_url, api_key=ACME, max_retries=0)
        self.azure = openai.AzureOpenAI(azure_endpoint=url, api_key=ACME, api_version="2024-10-21", max_retries=0)
        self.claude = anthropic.Anthropic(base_url=url, api_key=ACME, max_retries=0)
        self.gemini = genai.Client(api_key=ACME, http_options=types.HttpOptions(base_url=url))
        self.cohere = cohere.ClientV2(api_key=ACME, base_url=url)
        self.groq = groq.Groq(api_key=ACME, base_url=f"{url}/groq", max_retries=0)
        self.mistral = Mistral(api_key=ACME, server_url=url)
        self.aws = boto3.client(
            "bedrock-runtime",
            region_name="eu-central-1",
            endpoint_url=url,
            aws_access_key_id="TBACMEAWS",
            aws_secret_access_key=SIGNER,
            config=Config(retries={"max_attempts": 0}),
        )


@pytest.fixture(scope="module")
def clients(stage: RealStage) -> Iterator[Clients]:
    with mock.patch.dict(os.environ):
        for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
            os.environ.pop(name, None)
        yield Clients(stage)


class Recorded(NamedTuple):
    """One request: what came back, our record, the vendor's."""

    answer: Any
    request: dict[str, Any]
    attempt: dict[str, Any]
    billed: list[Billed]


class Watch:
    """Finds the request that a call makes by what the vendor newly received: not every library shows headers."""

    def __init__(self, stage: RealStage, clients: Clients) -> None:
        self._stage = stage
        self._clients = clients

    def __call__(self, call: Callable[[Clients], Any]) -> Recorded:
        before = len(self._stage.vendor_record_of_all())
        answer = call(self._clients)
        if hasattr(answer, "__next__") or type(answer).__name__ in ("Stream", "EventStream"):
            answer = list(answer)
        received = self._stage.vendor_record_of_all()[before:][-1]
        assert received.request_id is not None
        found = self._stage.find(received.request_id)
        (attempt,) = found["attempts"]
        return Recorded(answer, found["request"], attempt, self._stage.vendor_record(received.request_id)[1])


@pytest.fixture
def watch(stage: RealStage, clients: Clients) -> Watch:
    return Watch(stage, clients)


def in_our_words(billed: Billed) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, count in billed.counts.items():
        counts[CLASSES.get(name, name)] = counts.get(CLASSES.get(name, name), 0) + count
    # The words of a recording that is billed by the second are counted too.
    return {name: count for name, count in counts.items() if name == "seconds" or "seconds" not in counts}


def agrees(recorded: Recorded, basis: str = "provider_reported", unpriced: str | None = None) -> None:
    """Our record has the vendor's usage and amount; or says why it has no amount."""
    (billed,) = recorded.billed
    usage = {name: count for name, count in recorded.attempt["usage"].items() if count}
    assert usage == in_our_words(billed)
    assert (recorded.request["outcome"], recorded.request["basis"]) == ("ok", basis)
    assert recorded.attempt["unpriced"] == unpriced
    amount = recorded.request["amount_usd"]
    assert amount is None if unpriced else parse_amount(amount) == parse_amount(billed.amount)


def drained(stream: Any) -> list[Any]:
    return list(stream)


def invoked(aws: Any, **asked: Any) -> Any:
    return json.loads(aws.invoke_model(**asked)["body"].read())


CLAUDE_BODY = json.dumps({"messages": [{"role": "user", "content": TEXT}], "max_tokens": 100, "anthropic_version": "x"})
SPOKEN = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "[[sim input=12 output_audio=30]]"}


def spoken(c: Clients) -> Any:
    with c.gpt.audio.speech.with_streaming_response.create(**SPOKEN, stream_format="sse") as stream:  # type: ignore[arg-type]
        return stream.read()


ALIKE: dict[str, tuple[Callable[[Clients], Any], Callable[[Clients], Any]]] = {
    "openai chat": (
        lambda c: c.gpt.chat.completions.create(model="gpt-4o-mini", messages=SAID),
        lambda c: c.gpt.chat.completions.create(model="gpt-4o-mini", messages=SAID, stream=True),
    ),
    "openai responses": (
        lambda c: c.gpt.responses.create(model="gpt-5-mini", input=TEXT),
        lambda c: c.gpt.responses.create(model="gpt-5-mini", input=TEXT, stream=True),
    ),
    "openai completions": (
        lambda c: c.gpt.completions.create(model="gpt-3.5-turbo-instruct", prompt=SHORT),
        lambda c: c.gpt.completions.create(model="gpt-3.5-turbo-instruct", prompt=SHORT, stream=True),
    ),
    "openai images": (
        lambda c: c.gpt.images.generate(model="gpt-image-1", prompt="[[sim input=10]]"),
        lambda c: c.gpt.images.generate(model="gpt-image-1", prompt="[[sim input=10]]", stream=True, partial_images=1),
    ),
    "openai transcription": (
        lambda c: c.gpt.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND, prompt="[[sim output=9]]"),
        lambda c: c.gpt.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=SOUND, prompt="[[sim output=9]]", stream=True
        ),
    ),
    "azure chat": (
        lambda c: c.azure.chat.completions.create(model="team-a-gpt-4o-mini", messages=SAID),
        lambda c: c.azure.chat.completions.create(model="team-a-gpt-4o-mini", messages=SAID, stream=True),
    ),
    "anthropic messages": (
        lambda c: c.claude.messages.create(model="claude-haiku-4-5", max_tokens=99, messages=SAID),
        lambda c: c.claude.messages.create(model="claude-haiku-4-5", max_tokens=99, messages=SAID, stream=True),
    ),
    "gemini generate": (
        lambda c: c.gemini.models.generate_content(model="gemini-2.5-flash", contents=TEXT),
        lambda c: c.gemini.models.generate_content_stream(model="gemini-2.5-flash", contents=TEXT),
    ),
    "bedrock converse": (
        lambda c: c.aws.converse(modelId=CLAUDE_AWS, messages=AWS_SAID),
        lambda c: drained(c.aws.converse_stream(modelId=CLAUDE_AWS, messages=AWS_SAID)["stream"]),
    ),
    "bedrock converse, by API key": (
        lambda c: c.aws.converse(modelId="amazon.nova-lite-v1:0", messages=AWS_SAID),
        lambda c: drained(c.aws.converse_stream(modelId="amazon.nova-lite-v1:0", messages=AWS_SAID)["stream"]),
    ),
    "bedrock converse, default tier told": (
        lambda c: c.aws.converse(
            modelId=CLAUDE_AWS,
            messages=AWS_SAID,
            serviceTier={"type": "default"},
            performanceConfig={"latency": "standard"},
        ),
        lambda c: drained(
            c.aws.converse_stream(modelId=CLAUDE_AWS, messages=AWS_SAID, serviceTier={"type": "default"})["stream"]
        ),
    ),
    "bedrock invoke claude": (
        lambda c: invoked(c.aws, modelId=CLAUDE_AWS, body=CLAUDE_BODY),
        lambda c: drained(c.aws.invoke_model_with_response_stream(modelId=CLAUDE_AWS, body=CLAUDE_BODY)["body"]),
    ),
    "bedrock invoke llama": (
        lambda c: invoked(c.aws, modelId=LLAMA, body=json.dumps({"prompt": PLAIN[0]["content"]})),
        lambda c: drained(
            c.aws.invoke_model_with_response_stream(modelId=LLAMA, body=json.dumps({"prompt": PLAIN[0]["content"]}))[
                "body"
            ]
        ),
    ),
    "cohere chat": (
        lambda c: c.cohere.chat(model="command-a-03-2025", messages=PLAIN),
        lambda c: c.cohere.chat_stream(model="command-a-03-2025", messages=PLAIN),
    ),
    "groq chat": (
        lambda c: c.groq.chat.completions.create(model="llama-3.3-70b-versatile", messages=PLAIN),
        lambda c: c.groq.chat.completions.create(model="llama-3.3-70b-versatile", messages=PLAIN, stream=True),
    ),
    "mistral chat": (
        lambda c: c.mistral.chat.complete(model="mistral-small-latest", messages=PLAIN),
        lambda c: drained(c.mistral.chat.stream(model="mistral-small-latest", messages=PLAIN)),
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_buffered_and_streamed_cost_the_same(watch: Watch, name: str) -> None:
    """Both forms of an answer: the vendor's usage, the vendor's amount, to the last digit, and told by the vendor."""
    buffered, streamed = (watch(call) for call in ALIKE[name])
    agrees(buffered)
    agrees(streamed)
    assert (buffered.request["stream"], streamed.request["stream"]) == (False, True)
    assert buffered.request["amount_usd"] == streamed.request["amount_usd"]
    assert buffered.attempt["usage"] == streamed.attempt["usage"]
    assert streamed.answer


ALONE: dict[str, tuple[Callable[[Clients], Any], str]] = {
    "openai embeddings": (
        lambda c: c.gpt.embeddings.create(model="text-embedding-3-small", input=["[[sim input=500]]", "b"]),
        "provider_reported",
    ),
    "openai whisper": (lambda c: c.gpt.audio.transcriptions.create(model="whisper-1", file=SOUND), "provider_reported"),
    "openai speech by character": (
        lambda c: c.gpt.audio.speech.create(model="tts-1", voice="alloy", input="0123456789"),
        "computed",
    ),
    "openai speech by token": (spoken, "provider_reported"),
    "azure embeddings": (
        lambda c: c.azure.embeddings.create(model="team-a-text-embedding-3-small", input="[[sim input=7]]"),
        "provider_reported",
    ),
    "gemini embed": (
        lambda c: c.gemini.models.embed_content(model="gemini-embedding-001", contents="[[sim input=7]]"),
        "provider_reported",
    ),
    "cohere embed": (
        lambda c: c.cohere.embed(
            model="embed-v4.0", input_type="search_query", texts=["[[sim input=100]]"], embedding_types=["float"]
        ),
        "provider_reported",
    ),
    "cohere rerank": (
        lambda c: c.cohere.rerank(model="rerank-v3.5", query="q", documents=[str(number) for number in range(101)]),
        "provider_reported",
    ),
    "mistral embeddings": (
        lambda c: c.mistral.embeddings.create(model="mistral-embed", inputs=["[[sim input=7]]"]),
        "provider_reported",
    ),
}


UNPRICED = {"cohere rerank": "unknown_model"}
"""What the public list prices do not have."""


@pytest.mark.parametrize("name", ALONE)
def test_what_has_one_form(watch: Watch, name: str) -> None:
    """Operations without a stream, and those that are metered by something other than tokens."""
    call, basis = ALONE[name]
    recorded = watch(call)
    agrees(recorded, basis, UNPRICED.get(name))
    assert recorded.answer


def test_gemini_takes_its_key_in_the_query_too(stage: RealStage, watch: Watch) -> None:
    """The older form of Google's examples: the tenant's key goes no further, the vendor's key goes on."""

    def ask(_: Clients) -> Any:
        connection = stage.connect()
        body = json.dumps({"contents": [{"parts": [{"text": TEXT}]}]})
        path = f"/v1beta/models/gemini-2.5-flash:generateContent?key={ACME}"
        connection.request("POST", path, body, {"content-type": "application/json"})
        return json.loads(connection.getresponse().read())

    recorded = watch(ask)
    agrees(recorded)
    assert recorded.answer["usageMetadata"]["promptTokenCount"] == 390


FREE: dict[str, Callable[[Clients], Any]] = {
    "anthropic": lambda c: c.claude.messages.count_tokens(model="claude-haiku-4-5", messages=PLAIN).input_tokens,
    "gemini": lambda c: c.gemini.models.count_tokens(model="gemini-2.5-flash", contents=TEXT).total_tokens,
}


@pytest.mark.parametrize("name", FREE)
def test_counting_costs_nothing(watch: Watch, name: str) -> None:
    """The vendor's count, a record of the request, and nothing charged on either side."""
    recorded = watch(FREE[name])
    assert recorded.answer > 0
    assert (recorded.billed, recorded.attempt["usage"], recorded.request["amount_usd"]) == ([], None, "0")
    assert recorded.request["outcome"] == "ok"


def test_openais_files_and_batches(watch: Watch, clients: Clients) -> None:
    """A batch from its file to its answers; each request for an object is on record and free."""
    body = {"model": "gpt-4o-mini", "messages": PLAIN}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    text = json.dumps(line).encode()
    made = watch(lambda c: c.gpt.files.create(file=("in.jsonl", text), purpose="batch"))
    assert made.request["amount_usd"] == "0"
    batch = watch(
        lambda c: c.gpt.batches.create(
            input_file_id=made.answer.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    )
    done = watch(lambda c: c.gpt.batches.retrieve(batch.answer.id))
    assert done.answer.status == "completed"
    content = watch(lambda c: c.gpt.files.content(done.answer.output_file_id))
    assert json.loads(content.answer.content)["custom_id"] == "a"
    assert [file.id for file in clients.gpt.files.list()]
    assert watch(lambda c: c.gpt.files.delete(made.answer.id)).answer.deleted


def test_anthropics_batches(watch: Watch) -> None:
    """Made, fetched, and its results read; each is on record and free by itself."""
    asked: Any = [{"custom_id": "a", "params": {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": PLAIN}}]
    batch = watch(lambda c: c.claude.messages.batches.create(requests=asked))
    done = watch(lambda c: c.claude.messages.batches.retrieve(batch.answer.id))
    assert done.answer.processing_status == "ended"
    results = watch(lambda c: list(c.claude.messages.batches.results(batch.answer.id)))
    assert [one.custom_id for one in results.answer] == ["a"]
