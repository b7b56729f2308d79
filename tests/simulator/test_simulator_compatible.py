"""Azure and the vendors that speak OpenAI's format in their own way: their own SDKs where they have one."""

import json
from typing import Any

import groq
import openai
import pytest
from mistralai.client import Mistral
from sdk_types import unknown_members

from tollbook.simulator import Simulator

KEY = "sk-sim-compatible"
TEXT = "[[sim input=300 output=40 reasoning=10 cache_read=20]] hello"
ASKED: Any = [{"role": "user", "content": TEXT}]
PLACES = {
    "xai": ("xai/v1", "grok-4"),
    "deepseek": ("deepseek/v1", "deepseek-chat"),
    "groq": ("groq/openai/v1", "openai/gpt-oss-120b"),
    "mistral": ("mistral/v1", "mistral-small-latest"),
    "openrouter": ("openrouter/api/v1", "openai/gpt-4o-mini"),
    "vllm": ("vllm/v1", "meta-llama/Llama-3.1-8B-Instruct"),
}


def talk(simulator: Simulator, vendor: str, **members: Any) -> tuple[Any, list[Any]]:
    """A buffered answer and the chunks of a streamed one, as OpenAI's SDK reads them."""
    base, model = PLACES[vendor]
    client = openai.OpenAI(base_url=f"{simulator.url}/{base}", api_key=KEY, max_retries=0)
    whole = client.chat.completions.create(model=model, messages=ASKED, **members)
    return whole, list(client.chat.completions.create(model=model, messages=ASKED, stream=True, **members))


def last_usage(chunks: list[Any]) -> Any:
    (usage,) = [chunk.usage for chunk in chunks if chunk.usage]
    return usage


@pytest.mark.parametrize("vendor", ["xai", "deepseek", "mistral", "openrouter"])
def test_usage_comes_unasked_and_alike_in_both_forms(simulator: Simulator, vendor: str) -> None:
    """The same usage buffered and streamed, although no stream option asked for it, and the same amount."""
    whole, chunks = talk(simulator, vendor)
    assert whole.usage == last_usage(chunks)
    first, second = simulator.books.billed
    assert (first.vendor, first.format, first.amount) == (vendor, "openai", second.amount)
    assert first.counts == {"input": 300, "cache_read": 20, "output": 40, "reasoning": 10}


@pytest.mark.parametrize("vendor", PLACES)
def test_a_stream_ends_as_openais_does(simulator: Simulator, vendor: str) -> None:
    """One chunk has the reason to finish, the text is whole."""
    _, chunks = talk(simulator, vendor)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert len("".join(choice.delta.content or "" for choice in choices).split()) == 40


def test_xai_counts_reasoning_beside_the_completion(simulator: Simulator) -> None:
    """The total is more than prompt and completion; the amount is told in ticks of 1e-10 dollars."""
    usage = talk(simulator, "xai")[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (320, 40, 370)
    assert usage.completion_tokens_details.reasoning_tokens == 10
    # 300 x 3 + 20 x 0.75 + 50 x 15 dollars per million
    assert simulator.books.billed[0].amount == "0.001665"
    assert usage.cost_in_usd_ticks == 16_650_000


def test_deepseek_tells_the_cached_part_twice(simulator: Simulator) -> None:
    """Hit and miss sum up to the prompt, beside OpenAI's own detail."""
    usage = talk(simulator, "deepseek")[0].usage
    assert (usage.prompt_cache_hit_tokens, usage.prompt_cache_miss_tokens, usage.prompt_tokens) == (20, 300, 320)
    assert usage.prompt_tokens_details.cached_tokens == 20


def test_openrouter_tells_its_own_cost(ask: Any, simulator: Simulator) -> None:
    """As a number, exact; a comment comes before the first event."""
    talk(simulator, "openrouter")
    client = openai.OpenAI(base_url=f"{simulator.url}/openrouter/api/v1", api_key=KEY)
    raw = client.chat.completions.with_raw_response.create(model="openai/gpt-4o-mini", messages=ASKED)
    # 300 x 0.15 + 20 x 0.075 + 50 x 0.60 dollars per million
    assert simulator.books.billed[0].amount == "0.0000765" and b'"cost":0.0000765' in raw.content
    assert raw.headers["x-generation-id"]
    stream = client.chat.completions.with_raw_response.create(model="openai/gpt-4o-mini", messages=ASKED, stream=True)
    assert next(iter(stream.http_response.iter_lines())).startswith(": ")


def test_vllm_charges_nothing_and_details_little(simulator: Simulator) -> None:
    """Usage in a stream only when asked for; no details where nothing is cached."""
    whole, chunks = talk(simulator, "vllm")
    assert [chunk.usage for chunk in chunks if chunk.usage] == []
    assert whole.usage.prompt_tokens_details.cached_tokens == 20 and whole.usage.completion_tokens_details is None
    assert last_usage(talk(simulator, "vllm", stream_options={"include_usage": True})[1]) == whole.usage
    client = openai.OpenAI(base_url=f"{simulator.url}/vllm/v1", api_key=KEY)
    plain: Any = client.chat.completions.create(model=PLACES["vllm"][1], messages=[{"role": "user", "content": "x"}])
    assert plain.usage.prompt_tokens_details is None and plain.service_tier is None
    assert {line.amount for line in simulator.books.billed} == {"0"}


def test_the_groq_sdk(simulator: Simulator) -> None:
    """Its own object in the first and last chunk, usage there whoever asked; flex is a tier."""
    client = groq.Groq(base_url=simulator.url_of("groq"), api_key=KEY, max_retries=0)
    asked: Any = {"model": "openai/gpt-oss-120b", "messages": ASKED}
    whole = client.chat.completions.create(**asked, service_tier="flex")
    assert [name for name in unknown_members(whole) if name not in ("annotations", "refusal")] == []
    assert whole.service_tier == "flex" and whole.x_groq and whole.usage
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert chunks[0].x_groq and chunks[0].x_groq.id and chunks[0].x_groq.usage is None
    assert chunks[-1].x_groq and chunks[-1].x_groq.usage == whole.usage
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert [line.tier for line in simulator.books.billed] == ["flex", "on_demand"]


def test_the_mistral_sdk(simulator: Simulator) -> None:
    """Usage beside the reason to finish; what was cached under a name of its own; embeddings."""
    with Mistral(api_key=KEY, server_url=simulator.url_of("mistral")) as client:
        whole = client.chat.complete(model="mistral-small-latest", messages=ASKED)
        chunks = [event.data for event in client.chat.stream(model="mistral-small-latest", messages=ASKED)]
        embedded = client.embeddings.create(model="mistral-embed", inputs=["[[sim input=7]]"])
    assert whole.usage.model_dump()["num_cached_tokens"] == 20 and whole.usage.service_tier == "standard"
    assert chunks[-1].usage == whole.usage and chunks[-1].choices[0].finish_reason == "stop"
    assert all(not chunk.usage or not chunk.usage.total_tokens for chunk in chunks[:-1])
    assert embedded.usage.prompt_tokens == 7
    # 300 x 0.15 + 20 x 0.015 + 50 x 0.60 dollars per million
    assert [line.amount for line in simulator.books.billed] == ["0.0000753"] * 2 + ["0.0000007"]


@pytest.fixture
def azure(simulator: Simulator) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(azure_endpoint=simulator.url, api_key=KEY, api_version="2024-10-21", max_retries=0)


def test_azure_has_deployments_and_ids_of_its_own(simulator: Simulator, azure: openai.AzureOpenAI) -> None:
    """Any deployment whose name ends in a model's; region and request id in the headers; the filter's verdict."""
    raw = azure.chat.completions.with_raw_response.create(model="team-a-gpt-4o-mini", messages=ASKED)
    whole = raw.parse()
    assert whole.model == "gpt-4o-mini-2024-07-18"
    assert whole.model_extra and whole.model_extra["prompt_filter_results"]
    options: Any = {"include_usage": True}
    stream = azure.chat.completions.create(model="gpt-4o-mini", messages=ASKED, stream=True, stream_options=options)
    assert last_usage(list(stream)) == whole.usage
    first, second = simulator.books.billed
    assert (first.vendor, first.format, first.model_asked) == ("azure", "azure", "team-a-gpt-4o-mini")
    assert raw.headers["apim-request-id"] == first.vendor_request_id and raw.headers["x-ms-region"] == "Sweden Central"
    assert first.amount == second.amount


def test_azure_offers_openais_other_operations(simulator: Simulator, azure: openai.AzureOpenAI) -> None:
    """Embeddings, images, audio, completions, responses, by the SDK's own paths."""
    azure.embeddings.create(model="text-embedding-3-small", input="x")
    azure.images.generate(model="gpt-image-1", prompt="x")
    azure.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"\0"))
    azure.audio.speech.create(model="tts-1", voice="alloy", input="x")
    azure.completions.create(model="gpt-3.5-turbo-instruct", prompt="x")
    made = azure.responses.create(model="gpt-4o", input="x")
    assert azure.responses.retrieve(made.id).usage == made.usage
    assert [(line.vendor, line.operation) for line in simulator.books.billed] == [
        ("azure", name) for name in ("embeddings", "images", "transcriptions", "speech", "completions", "responses")
    ]


def test_azure_takes_entra_tokens_and_the_newer_paths(simulator: Simulator) -> None:
    """A bearer is as good as `api-key`, and `/openai/v1` needs no version; a deployment's path does."""
    entra = openai.AzureOpenAI(azure_endpoint=simulator.url, azure_ad_token=KEY, api_version="2024-10-21")
    assert entra.chat.completions.create(model="gpt-4o", messages=ASKED).usage
    newer = openai.OpenAI(base_url=f"{simulator.url}/openai/v1", api_key=KEY)
    assert newer.chat.completions.create(model="gpt-4o", messages=ASKED).usage
    unversioned = openai.OpenAI(base_url=f"{simulator.url}/openai/deployments/gpt-4o", api_key=KEY)
    with pytest.raises(openai.BadRequestError, match="api-version"):
        unversioned.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert len({line.account for line in simulator.books.billed}) == 1


@pytest.mark.parametrize("vendor", [*PLACES, "azure"])
def test_misbehaviour_is_the_same_everywhere(simulator: Simulator, vendor: str) -> None:
    """A rule for one vendor acts on it alone; its 429 has the wait, and the SDK's error."""
    simulator.install([{"do": "429", "when": {"vendor": vendor}, "retry_after": 3}])
    base, model = PLACES.get(vendor, ("openai/v1", "gpt-4o"))
    client = openai.OpenAI(base_url=f"{simulator.url}/{base}", api_key=KEY, max_retries=0)
    with pytest.raises(openai.RateLimitError) as error:
        client.chat.completions.create(model=model, messages=ASKED)
    assert error.value.response.headers["retry-after"] == "3" and json.loads(error.value.response.text)["error"]
    openai.OpenAI(base_url=simulator.openai_url, api_key=KEY).chat.completions.create(model="gpt-4o", messages=ASKED)
    assert [line.vendor for line in simulator.books.received] == [vendor, "openai"]
