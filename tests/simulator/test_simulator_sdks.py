"""The official SDKs are the judges of the wire formats."""

import asyncio
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from sdk_types import unknown_members

from tollbook.simulator import Simulator

KEY = "sk-sim-sdk"
ASKED: Any = [{"role": "user", "content": "Count [[sim input=374 output=44 cache_read=16 reasoning=10]]."}]
CLAUDE = "claude-haiku-4-5"


@pytest.mark.parametrize("text", ["hi", "[[sim output=0]]", "[[sim reasoning=9 output=5 cache_write_1h=3]]"])
def test_openai_bodies_have_exactly_the_sdk_types(ask: Any, text: str) -> None:
    """A buffered OpenAI answer validates strictly and holds nothing that OpenAI does not send."""
    completion = ChatCompletion.model_validate(ask(text).json)
    assert unknown_members(completion) == []
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "gpt-4o-2024-08-06"
    assert completion.usage and completion.usage.prompt_tokens_details and completion.usage.completion_tokens_details


@pytest.mark.parametrize("include_usage", [True, False])
def test_openai_chunks_have_exactly_the_sdk_types(ask: Any, include_usage: bool) -> None:
    """Every chunk validates; usage is null but in one last chunk without choices, and absent when not asked for."""
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    *chunks, done = ask("[[sim output=9 chunk_tokens=2]]", stream=True, **options).events
    assert done == "[DONE]"
    parsed = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks]
    assert [extra for chunk in parsed for extra in unknown_members(chunk)] == []
    usages = [chunk.get("usage", "absent") for chunk in chunks]
    if include_usage:
        assert usages[:-1] == [None] * 7 and usages[-1]["completion_tokens"] == 9
        assert parsed[-1].choices == [] and parsed[-2].choices[0].finish_reason == "stop"
    else:
        assert usages == ["absent"] * 7


@pytest.mark.parametrize("text", ["hi", "[[sim output=0]]", "[[sim reasoning=9 output=5 cache_write_1h=3]]"])
def test_anthropic_bodies_have_exactly_the_sdk_types(ask: Any, text: str) -> None:
    """A buffered Anthropic answer validates strictly and holds nothing that Anthropic does not send."""
    message = Message.model_validate(ask(text, vendor="anthropic").json)
    assert unknown_members(message) == []
    assert message.id.startswith("msg_") and message.model == "claude-haiku-4-5-20251001"
    assert message.usage.cache_creation and message.usage.service_tier == "standard"


def test_anthropic_events_have_exactly_the_sdk_types(ask: Any) -> None:
    """Every event validates and comes in the documented order, pings apart."""
    events = ask("[[sim output=9 reasoning=3 chunk_tokens=4]]", vendor="anthropic", stream=True).events
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(RawMessageStreamEvent)
    parsed = [adapter.validate_python(event) for event in events if event["type"] != "ping"]
    assert [extra for event in parsed for extra in unknown_members(event)] == []
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    text_block = [block[0], *[block[1]] * 3, block[2]]
    assert [event.type for event in parsed] == ["message_start", *block, *text_block, "message_delta", "message_stop"]
    assert len(parsed) == len(events) - 1
    assert (parsed[0].message.usage.output_tokens, parsed[-2].usage.output_tokens) == (1, 12)


def test_the_openai_sdk_reads_both_forms_alike(simulator: Simulator) -> None:
    """Synchronous client: buffered and streamed answers to one request agree in text and usage."""
    client = openai.OpenAI(base_url=simulator.openai_url, api_key=KEY, max_retries=0)
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=ASKED, service_tier="priority")
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o-mini",
            messages=ASKED,
            service_tier="priority",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) == len((whole.choices[0].message.content or "").split()) == 44
    assert whole.usage == chunks[-1].usage and whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (390, 54, 444)
    assert whole.service_tier == chunks[0].service_tier == "priority"
    assert whole._request_id and whole._request_id.startswith("req_")


def test_the_anthropic_sdk_reads_both_forms_alike(simulator: Simulator) -> None:
    """Synchronous client: buffered and streamed answers to one request agree in text and usage."""
    client = anthropic.Anthropic(base_url=simulator.url, api_key=KEY, max_retries=0)
    whole = client.messages.create(model=CLAUDE, max_tokens=1000, messages=ASKED)
    with client.messages.stream(model=CLAUDE, max_tokens=1000, messages=ASKED) as stream:
        streamed = stream.get_final_message()
    assert [block.type for block in whole.content] == [block.type for block in streamed.content] == ["thinking", "text"]
    assert (whole.usage.input_tokens, whole.usage.cache_read_input_tokens, whole.usage.output_tokens) == (374, 16, 54)
    assert streamed.usage == whole.usage
    assert whole._request_id and whole._request_id.startswith("req_")


def test_asynchronous_clients_are_served_at_once(simulator: Simulator) -> None:
    """Both asynchronous SDKs, fifty answers at a time, buffered and streamed."""

    async def both() -> list[int]:
        gpt = openai.AsyncOpenAI(base_url=simulator.openai_url, api_key=KEY)
        claude = anthropic.AsyncAnthropic(base_url=simulator.url, api_key=KEY)

        async def streamed() -> int:
            async with claude.messages.stream(model=CLAUDE, max_tokens=1000, messages=ASKED) as stream:
                return (await stream.get_final_message()).usage.output_tokens

        async def buffered() -> int:
            answer = await gpt.chat.completions.create(model="gpt-4o", messages=ASKED)
            return answer.usage.completion_tokens if answer.usage else -1

        return await asyncio.gather(*(act() for _ in range(25) for act in (streamed, buffered)))

    assert asyncio.run(both()) == [54] * 50
    assert len(simulator.books.billed) == 50


@pytest.mark.parametrize(
    ("fault", "gpt", "claude"),
    [
        ("400", openai.BadRequestError, anthropic.BadRequestError),
        ("401", openai.AuthenticationError, anthropic.AuthenticationError),
        ("403", openai.PermissionDeniedError, anthropic.PermissionDeniedError),
        ("404", openai.NotFoundError, anthropic.NotFoundError),
        ("429", openai.RateLimitError, anthropic.RateLimitError),
        ("500", openai.InternalServerError, anthropic.InternalServerError),
        ("529", openai.InternalServerError, anthropic.OverloadedError),
    ],
)
def test_errors_have_each_vendors_own_shape(simulator: Simulator, fault: str, gpt: type, claude: type) -> None:
    """The SDKs raise their own error classes, with the vendor's type and request id."""
    said: Any = [{"role": "user", "content": f"[[sim fault={fault}]]"}]
    with pytest.raises(gpt) as openai_error:
        openai.OpenAI(base_url=simulator.openai_url, api_key=KEY, max_retries=0).chat.completions.create(
            model="gpt-4o", messages=said
        )
    assert openai_error.value.type and openai_error.value.request_id.startswith("req_")
    with pytest.raises(claude) as anthropic_error:
        anthropic.Anthropic(base_url=simulator.url, api_key=KEY, max_retries=0).messages.create(
            model=CLAUDE, max_tokens=9, messages=said
        )
    body = anthropic_error.value.body
    assert body["type"] == "error" and body["error"]["type"].endswith("error")
    assert body["request_id"] == anthropic_error.value.request_id


def test_an_error_inside_a_stream_is_raised_by_the_sdks(simulator: Simulator) -> None:
    """A 200 that turns into an error after the first chunks is an error for both SDKs."""
    said: Any = [{"role": "user", "content": "[[sim output=40 fault=error_event after=2]]"}]
    with pytest.raises(openai.APIError, match="had an error"):
        list(
            openai.OpenAI(base_url=simulator.openai_url, api_key=KEY).chat.completions.create(
                model="gpt-4o", messages=said, stream=True
            )
        )
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(
            anthropic.Anthropic(base_url=simulator.url, api_key=KEY).messages.create(
                model=CLAUDE, max_tokens=99, messages=said, stream=True
            )
        )


def test_sdk_retries_meet_a_fault_only_as_often_as_told(simulator: Simulator) -> None:
    """`times=2`: the SDK's first two attempts fail, its third is answered; all three stand in the received book."""
    said: Any = [{"role": "user", "content": "[[sim fault=500 times=2 output=5]]"}]
    client = openai.OpenAI(base_url=simulator.openai_url, api_key=KEY, max_retries=2)
    answer = client.chat.completions.create(model="gpt-4o", messages=said)
    assert answer.usage and answer.usage.completion_tokens == 5
    assert (len(simulator.books.received), len(simulator.books.billed)) == (3, 1)
