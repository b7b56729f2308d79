"""Cohere's counts are exact decimals; its errors are understood by its SDK; estimates know its units."""

import json

import cohere
import cohere.core.api_error
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_wire import call_of

from tollbook.providers.cohere import CohereChat, CohereEmbed, CohereRerank
from tollbook.providers.cohere_usage import decompose
from tollbook.providers.contract import Reading

NONE: frozenset[str] = frozenset()


@given(st.integers(0, 1 << 53), st.sampled_from(["{}", "{}.0", "{}.000", "{}.0e0", "{}E+0"]))
def test_whole_numbers_are_exact_however_they_are_written(count: int, form: str) -> None:
    """A count written as a fraction is the same count, to the last digit of any size."""
    raw = b'{"billed_units":{"input_tokens":' + form.format(count).encode() + b"}}"
    assert decompose(raw, NONE) == ({"input": count}, True, [])


@given(st.decimals(0, 1_000_000, places=3, allow_nan=False).filter(lambda count: count != int(count)))
def test_fractions_are_flagged(count: object) -> None:
    """A count that is no whole number is rounded up and says so."""
    usage, _, flags = decompose(f'{{"billed_units":{{"input_tokens":{count}}}}}'.encode(), NONE)
    assert usage["input"] - 1 < float(str(count)) < usage["input"]
    assert flags == ["inconsistent_usage"]


@pytest.mark.parametrize("odd", ["-1", "1e400", "true", '"7"', "[7]", "{}", "99999999999999999999"])
def test_what_is_no_count_is_left_out(odd: str) -> None:
    """It is flagged and never taken for zero."""
    usage, whole, flags = decompose(f'{{"billed_units":{{"input_tokens":{odd}}}}}'.encode(), NONE)
    assert (usage, whole, flags) == ({}, False, ["inconsistent_usage"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 499, 500, 501, 503, 504])
def test_the_cohere_sdk_understands_our_errors(status: int) -> None:
    """The SDK raises its error for the status, with our message and code."""
    body = CohereChat().error(status, "journal_unavailable", "the journal is full", "0199c0de")
    answer = httpx.Response(status, content=body, headers={"content-type": "application/json"})
    client = cohere.ClientV2(
        api_key="k",
        base_url="http://127.0.0.1:1",
        httpx_client=httpx.Client(transport=httpx.MockTransport(lambda _: answer)),
    )
    with pytest.raises(cohere.core.api_error.ApiError) as raised:
        client.chat(model="m", messages=[cohere.UserChatMessageV2(content="x")], request_options={"max_retries": 0})
    assert raised.value.status_code == status
    assert "the journal is full" in str(raised.value)
    assert json.loads(body)["code"] == "journal_unavailable"


def test_estimates() -> None:
    """Reranking is billed by hundreds of documents; embeddings have no output; images have no bound."""

    def body(**members: object) -> bytes:
        return json.dumps({"model": "m", **members}).encode()

    rerank, embed, chat = CohereRerank(), CohereEmbed(), CohereChat()
    for documents, units in ((0, 1), (100, 1), (101, 2)):
        call = call_of(rerank, body(query="q", documents=["d"] * documents))
        assert rerank.estimate(call, Reading()).usage == {"units": units}
    assert rerank.estimate(call_of(rerank, body(documents=7)), Reading()).usage == {"units": 1}
    texts = embed.estimate(call_of(embed, body(texts=["abcdefgh"])), Reading())
    assert set(texts.usage) == set(texts.bound) == {"input"}
    assert embed.estimate(call_of(embed, body(images=["data:x"])), Reading()).bound == {}
    limited = chat.estimate(call_of(chat, body(messages=[], max_tokens=5)), Reading(output_text=400))
    assert limited.usage["output"] == limited.bound["output"] == 5
