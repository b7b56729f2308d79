"""Cohere's v2, with its SDK as the judge."""

from typing import Any

import cohere
import pytest

from tollbook.simulator import Simulator

TEXT = "[[sim input=300 output=40]] hello"
ASKED: Any = [{"role": "user", "content": TEXT}]


@pytest.fixture
def client(simulator: Simulator) -> cohere.ClientV2:
    return cohere.ClientV2(api_key="sk-sim-cohere", base_url=simulator.url)


def test_chat_is_alike_in_both_forms(simulator: Simulator, client: cohere.ClientV2) -> None:
    """Billed units are fewer than tokens; both are numbers with a fraction."""
    whole = client.chat(model="command-a-03-2025", messages=ASKED)
    events: list[Any] = list(client.chat_stream(model="command-a-03-2025", messages=ASKED))
    assert [event.type for event in events[:2]] == ["message-start", "content-start"]
    assert [event.type for event in events[-2:]] == ["content-end", "message-end"]
    text = "".join(event.delta.message.content.text for event in events if event.type == "content-delta")
    content: Any = whole.message.content
    assert len(text.split()) == len(content[0].text.split()) == 40
    assert whole.usage and whole.usage.billed_units and whole.usage.tokens and whole.usage == events[-1].delta.usage
    assert (whole.usage.billed_units.input_tokens, whole.usage.tokens.input_tokens) == (300, 367)
    first, second = simulator.books.billed
    assert first.response_id == whole.id and (first.format, first.operation) == ("cohere", "chat")
    # 300 x 2.50 + 40 x 10.00 dollars per million
    assert first.amount == second.amount == "0.00115"


def test_the_limit_is_told(client: cohere.ClientV2) -> None:
    """By the finish reason."""
    assert client.chat(model="command-a-03-2025", messages=ASKED, max_tokens=5).finish_reason == "MAX_TOKENS"


def test_embed_and_rerank(simulator: Simulator, client: cohere.ClientV2) -> None:
    """Input tokens, and a search unit for each hundred documents begun."""
    embedded = client.embed(
        model="embed-v4.0", input_type="search_query", texts=["[[sim input=100]]", "b"], embedding_types=["float"]
    )
    assert embedded.embeddings.float_ and len(embedded.embeddings.float_) == 2
    assert embedded.meta and embedded.meta.billed_units and embedded.meta.billed_units.input_tokens == 100
    ranked = client.rerank(model="rerank-v3.5", query="q", documents=[str(number) for number in range(101)], top_n=3)
    assert len(ranked.results) == 3
    assert ranked.meta and ranked.meta.billed_units and ranked.meta.billed_units.search_units == 2
    assert [(line.amount, line.counts) for line in simulator.books.billed] == [
        ("0.000012", {"input": 100}),
        ("0.004", {"search_units": 2}),
    ]


def test_errors_are_coheres(client: cohere.ClientV2) -> None:
    """The SDK's classes, and an error at the end of a stream."""

    def said(text: str) -> Any:
        return [{"role": "user", "content": text}]

    with pytest.raises(cohere.errors.NotFoundError):
        client.chat(model="command-99", messages=ASKED)
    with pytest.raises(cohere.errors.UnauthorizedError):
        cohere.ClientV2(api_key="real", base_url=client._client_wrapper._base_url).chat(
            model="command-a-03-2025", messages=ASKED
        )
    with pytest.raises(cohere.errors.BadRequestError):
        client.chat(model="command-a-03-2025", messages=said("[[sim fault=400]]"))
    *_, last = client.chat_stream(model="command-a-03-2025", messages=said("[[sim output=30 fault=error_event]]"))
    assert last.type == "message-end" and last.delta and last.delta.finish_reason == "ERROR"
