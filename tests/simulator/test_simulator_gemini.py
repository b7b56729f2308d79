"""Gemini and Vertex, with Google's SDK as the judge."""

import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from tollbook.simulator import Simulator

KEY = "sk-sim-gemini"
MODEL = "gemini-2.5-flash"
TEXT = "[[sim input=100 cache_read=20 input_audio=8 input_image=4 tool_prompt=6 output=40 reasoning=10]]"


@pytest.fixture
def client(simulator: Simulator) -> genai.Client:
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=simulator.url))


@pytest.fixture
def vertex(simulator: Simulator) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="toll",
        location="us-central1",
        credentials=Credentials(token=KEY),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=simulator.url),
    )


@pytest.mark.parametrize("name", ["client", "vertex"])
def test_both_forms_are_alike(simulator: Simulator, request: Any, name: str) -> None:
    """Text and usage of a buffered answer and of a stream's last chunk, on both kinds of path."""
    client = request.getfixturevalue(name)
    whole = client.models.generate_content(model=MODEL, contents=TEXT)
    chunks = list(client.models.generate_content_stream(model=MODEL, contents=TEXT))
    usage = whole.usage_metadata
    assert usage and usage == chunks[-1].usage_metadata
    assert whole.text and whole.text == "".join(chunk.text or "" for chunk in chunks) != ""
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (132, 20)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (40, 10)
    assert (usage.tool_use_prompt_token_count, usage.total_token_count) == (6, 188)
    modalities = {detail.modality.value: detail.token_count for detail in usage.prompt_tokens_details}
    assert modalities == {"TEXT": 120, "AUDIO": 8, "IMAGE": 4}
    assert usage.traffic_type == (types.TrafficType.ON_DEMAND if name == "vertex" else None)
    first, second = simulator.books.billed
    assert (first.format, first.response_id, first.model_served) == ("gemini", whole.response_id, whole.model_version)
    # (100 + 6 + 4) x 0.30 + 20 x 0.03 + 8 x 1.00 + 50 x 2.50 dollars per million
    assert first.amount == second.amount == "0.0001666"
    assert first.counts["tool_prompt"] == 6


def test_a_stream_is_an_array_without_alt(exchange: Any, simulator: Simulator) -> None:
    """One JSON array in pieces; with `alt=sse` the same objects as events. The key may stand in the query."""
    body = json.dumps({"contents": [{"parts": [{"text": TEXT}]}]}).encode()
    objects = []
    for query in ("", "&alt=sse"):
        head = f"POST /v1beta/models/{MODEL}:streamGenerateContent?key={KEY}{query} HTTP/1.1\r\nconnection: close\r\n"
        answer = exchange(simulator.url, head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind == ("text/event-stream" if query else "application/json")
        objects.append(answer.events if query else answer.json)
    array, events = objects
    assert len(array) == len(events) == 11
    assert array[-1]["usageMetadata"] == events[-1]["usageMetadata"]
    assert array[0]["usageMetadata"]["promptTokenCount"] == 132 and "finishReason" not in array[0]["candidates"][0]


def test_tiers_searches_and_the_limit(simulator: Simulator, client: genai.Client) -> None:
    """Flex is asked in the body; searches are told by their queries; the finish reason tells of the limit."""
    config = types.GenerateContentConfig(max_output_tokens=12, service_tier=types.ServiceTier.FLEX)
    answer = client.models.generate_content(model=MODEL, contents="[[sim input=100 web_searches=2]]", config=config)
    assert answer.candidates and answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    grounding = answer.candidates[0].grounding_metadata
    assert grounding and grounding.web_search_queries and len(grounding.web_search_queries) == 2
    (billed,) = simulator.books.billed
    # half of 100 x 0.30 + 12 x 2.50 dollars per million, and twice 0.01 and 0.035 make no sum: 0.035 each
    assert (billed.tier, billed.amount) == ("ON_DEMAND_FLEX", "0.07003")


def test_a_model_with_long_context_and_one_that_paints(simulator: Simulator, client: genai.Client) -> None:
    """Above 200,000 input tokens the whole request costs more; painted tokens have a price of their own."""
    client.models.generate_content(model="gemini-2.5-pro", contents="[[sim input=200000 output=1000]]")
    client.models.generate_content(model="gemini-2.5-pro", contents="[[sim input=200001 output=1000]]")
    painted = client.models.generate_content(
        model="gemini-2.5-flash-image", contents="[[sim input=10 output=0 output_image=1290]]"
    )
    assert painted.usage_metadata and painted.usage_metadata.candidates_tokens_details
    assert painted.usage_metadata.candidates_tokens_details[0].modality == types.MediaModality.IMAGE
    assert [line.amount for line in simulator.books.billed] == ["0.26", "0.5150025", "0.038703"]


def test_counting_is_free_and_embedding_is_not(simulator: Simulator, client: genai.Client) -> None:
    """Counting counts what a request would; embeddings use input alone."""
    counted = client.models.count_tokens(model=MODEL, contents="one two three").total_tokens
    assert simulator.books.billed == []
    plain = client.models.generate_content(model=MODEL, contents="one two three").usage_metadata
    assert plain and plain.prompt_token_count == counted
    embedded = client.models.embed_content(model="gemini-embedding-001", contents=["[[sim input=1000]]", "b"])
    assert embedded.embeddings and len(embedded.embeddings) == 2
    assert [line.operation for line in simulator.books.received] == ["count_tokens", "generate", "embed"]
    assert simulator.books.billed[1].amount == "0.00015"


def test_errors_have_googles_shape(client: genai.Client) -> None:
    """Code and status word, before a stream and inside one."""
    with pytest.raises(errors.ClientError) as error:
        client.models.generate_content(model=MODEL, contents="[[sim fault=429]]")
    assert (error.value.code, error.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.ServerError) as inside:
        list(client.models.generate_content_stream(model=MODEL, contents="[[sim output=20 fault=error_event]]"))
    assert inside.value.status == "INTERNAL"
    with pytest.raises(errors.ClientError, match="NOT_FOUND"):
        client.models.generate_content(model="gemini-99", contents="x")
    bad = genai.Client(
        api_key="real", http_options=types.HttpOptions(base_url=str(client._api_client._http_options.base_url))
    )
    with pytest.raises(errors.ClientError, match="UNAUTHENTICATED"):
        bad.models.generate_content(model=MODEL, contents="x")
