"""Anthropic's server tools, iterations, speed, token counting and batches, with the official SDK as the judge."""

import json
import time
from typing import Any

import anthropic
import pytest
from anthropic.types.beta import BetaMessage
from sdk_types import unknown_members

from tollbook.simulator import Settings, Simulator

KEY = "sk-sim-claude"


@pytest.fixture
def client(simulator: Simulator) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=simulator.url, api_key=KEY, max_retries=0)


def said(text: str) -> Any:
    return {"model": "claude-sonnet-4-6", "max_tokens": 1000, "messages": [{"role": "user", "content": text}]}


def test_searches_stand_in_the_message_and_in_the_usage(simulator: Simulator, client: anthropic.Anthropic) -> None:
    """A use and a result for each, the same when streamed; ten dollars per thousand."""
    asked = said("[[sim input=100 output=10 reasoning=5 web_searches=2]]")
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    search = ["server_tool_use", "web_search_tool_result"]
    assert [block.type for block in whole.content] == ["thinking", *search, *search, "text"]
    assert [block.type for block in streamed.content] == [block.type for block in whole.content]
    assert unknown_members(whole) == [] and whole.usage == streamed.usage
    assert whole.usage.server_tool_use and whole.usage.server_tool_use.web_search_requests == 2
    # 100 x 3 + 15 x 15 dollars per million, 2 x 0.01
    assert [line.amount for line in simulator.books.billed] == ["0.020525"] * 2


def test_iterations_are_apart_from_the_headline(simulator: Simulator, client: anthropic.Anthropic) -> None:
    """An advisor is another model at its own price; compaction is the same model; the headline has neither."""
    text = "[[sim input=100 output=10 advisor_input=50 advisor_output=5 compaction_input=40 compaction_output=4]]"
    message = BetaMessage.model_validate(client.messages.create(**said(text)).model_dump())
    assert unknown_members(message) == [] and message.usage.iterations
    entries = [(entry.type, entry.input_tokens, entry.output_tokens) for entry in message.usage.iterations]
    assert entries == [("compaction", 40, 4), ("message", 100, 10), ("advisor_message", 50, 5)]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (100, 10)
    # 140 x 3 + 14 x 15, and 50 x 5 + 5 x 25 of the advisor, dollars per million
    assert simulator.books.billed[0].amount == "0.001005"
    events = [event.model_dump() for event in client.messages.create(**said(text), stream=True)]
    usages = [
        event.get("message", event)["usage"] for event in events if event["type"] in ("message_start", "message_delta")
    ]
    assert ["iterations" in usage and len(usage["iterations"]) for usage in usages] == [False, 3]


def test_speed_and_region_are_asked_reported_and_billed(simulator: Simulator, client: anthropic.Anthropic) -> None:
    """Fast where it is sold, else standard; nothing is said of it when nothing was asked."""
    text = "[[sim input=1000 output=0]]"
    fast = client.messages.create(**{**said(text), "model": "claude-opus-4-8"}, extra_body={"speed": "fast"})
    slow = client.messages.create(**said(text), extra_body={"speed": "fast", "inference_geo": "us"})
    plain = client.messages.create(**said(text))
    assert [message.usage.speed for message in (fast, slow, plain)] == ["fast", "standard", None]
    assert [message.usage.inference_geo for message in (fast, slow, plain)] == ["global", "us", "global"]
    # 1,000 x 10; 1,000 x 3 x 1.1; 1,000 x 3 dollars per million
    assert [line.amount for line in simulator.books.billed] == ["0.01", "0.0033", "0.003"]
    assert [(line.speed, line.geo) for line in simulator.books.billed] == [
        ("fast", "global"),
        ("standard", "us"),
        (None, "global"),
    ]


def test_counting_tokens_costs_nothing(simulator: Simulator, client: anthropic.Anthropic) -> None:
    """The count is the one that a message would report."""
    asked = said("one two three")
    messages = asked["messages"]
    counted = client.messages.count_tokens(model=asked["model"], messages=messages, system="four").input_tokens
    assert simulator.books.billed == []
    assert client.messages.create(**asked, system="four").usage.input_tokens == counted
    assert [line.operation for line in simulator.books.received] == ["count_tokens", "messages"]


def create(client: anthropic.Anthropic) -> Any:
    wrong = {**said("x"), "model": "claude-99"}
    requests: Any = [
        {"custom_id": "one", "params": said("[[sim input=100 output=10 cache_write_1h=20]]")},
        {"custom_id": "bad", "params": wrong},
    ]
    return client.messages.batches.create(requests=requests)


def test_a_batch_bills_each_message_at_half_price(simulator: Simulator, client: anthropic.Anthropic) -> None:
    """Results by custom id; what failed is told and free; the tier says batch."""
    made = create(client)
    assert (made.processing_status, made.request_counts.processing, unknown_members(made)) == ("in_progress", 2, [])
    done = client.messages.batches.retrieve(made.id)
    assert (done.processing_status, done.request_counts.succeeded, done.request_counts.errored) == ("ended", 1, 1)
    results = {line.custom_id: line.result for line in client.messages.batches.results(made.id)}
    good, bad = results["one"], results["bad"]
    assert good.type == "succeeded" and bad.type == "errored" and bad.error.error.type == "not_found_error"
    (billed,) = simulator.books.billed
    assert (billed.batch_id, billed.custom_id, billed.tier) == (made.id, "one", "batch")
    assert billed.usage == json.loads(good.message.usage.model_dump_json(exclude_unset=True))
    assert good.message.usage.service_tier == "batch" and billed.response_id == good.message.id
    # half of 100 x 3 + 20 x 6 + 10 x 15 dollars per million
    assert billed.amount == "0.000285"
    assert [batch.id for batch in client.messages.batches.list()] == [made.id]
    assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


def test_a_batch_can_be_cancelled_and_belongs_to_its_account() -> None:
    """All its requests are canceled, nothing is billed; another account does not see it."""
    with Simulator(settings=Settings(later_ms=150)) as simulator:
        client = anthropic.Anthropic(base_url=simulator.url, api_key=KEY, max_retries=0)
        made = create(client)
        with pytest.raises(anthropic.NotFoundError):
            client.with_options(api_key="sk-sim-other").messages.batches.retrieve(made.id)
        with pytest.raises(anthropic.BadRequestError):
            client.messages.batches.delete(made.id)
        assert client.messages.batches.cancel(made.id).processing_status == "canceling"
        time.sleep(0.3)
        assert client.messages.batches.retrieve(made.id).request_counts.canceled == 2
        assert {line.result.type for line in client.messages.batches.results(made.id)} == {"canceled"}
        assert simulator.books.billed == []
