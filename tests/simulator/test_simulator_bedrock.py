"""Bedrock, with botocore as the judge: its service model, its parsers, its signatures."""

import json
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from tollbook.simulator import Settings, Simulator, account_of, eventstream

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
TEXT = "[[sim input=100 cache_read=20 cache_write_5m=8 cache_write_1h=4 output=40 reasoning=10]]"


def connect(simulator: Simulator, key: str = "AKIASIMULATED", pair: str | None = None) -> Any:
    """A client that does not retry by itself."""
    return boto3.client(
        "bedrock-runtime",
        region_name="eu-central-1",
        endpoint_url=simulator.url,
        aws_access_key_id=key,
        aws_secret_access_key=pair or "x",
        config=Config(retries={"max_attempts": 0}),
    )


@pytest.fixture
def client(simulator: Simulator) -> Any:
    return connect(simulator)


def said(text: str = TEXT) -> Any:
    return [{"role": "user", "content": [{"text": text}]}]


def test_converse_is_alike_in_both_forms(simulator: Simulator, client: Any) -> None:
    """Text, usage and reason to stop; disjoint classes, cache writes by their time to live."""
    whole = client.converse(modelId=CLAUDE, messages=said())
    events = list(client.converse_stream(modelId=CLAUDE, messages=said())["stream"])
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    assert text == whole["output"]["message"]["content"][-1]["text"] and len(text.split()) == 40
    assert [next(iter(event)) for event in events][-3:] == ["contentBlockStop", "messageStop", "metadata"]
    usage = whole["usage"]
    assert events[-1]["metadata"]["usage"] == usage
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (100, 50, 182)
    assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (20, 12)
    assert usage["cacheDetails"] == [{"ttl": "5m", "inputTokens": 8}, {"ttl": "1h", "inputTokens": 4}]
    first, second = simulator.books.billed
    assert first.vendor_request_id == whole["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert first.account == account_of("AKIASIMULATED")
    # 100 x 1.10 + 20 x 0.11 + 8 x 1.375 + 4 x 2.20 + 50 x 5.50 dollars per million
    assert first.amount == second.amount == "0.000407"


def test_tier_latency_and_router_are_told_when_asked(simulator: Simulator, client: Any) -> None:
    """Each in its own member; the tier changes the price."""
    asked: Any = {"serviceTier": {"type": "flex"}, "performanceConfig": {"latency": "optimized"}}
    plain = client.converse(modelId=NOVA, messages=said("[[sim input=1000 output=0]]"))
    assert "serviceTier" not in plain and "trace" not in plain
    special = client.converse(
        modelId=NOVA, messages=said(f"[[sim input=1000 output=0 fault=served_model served={LLAMA}]]"), **asked
    )
    assert special["serviceTier"] == {"type": "flex"} and special["performanceConfig"] == {"latency": "optimized"}
    assert special["trace"]["promptRouter"]["invokedModelId"].endswith(LLAMA)
    assert [(line.tier, line.amount) for line in simulator.books.billed] == [
        ("default", "0.00006"),
        ("flex", "0.00011"),
    ]


@pytest.mark.parametrize("model", [CLAUDE, LLAMA])
def test_invoke_tells_usage_in_headers_and_in_the_last_chunk(simulator: Simulator, client: Any, model: str) -> None:
    """The model's own body, the vendor's own headers; a stream has the same counts in its last chunk."""
    body = {"messages": said(), "max_tokens": 100} if model == CLAUDE else {"prompt": TEXT}
    asked = {"modelId": model, "body": json.dumps(body).replace('{"text"', '{"type": "text", "text"')}
    whole = client.invoke_model(**asked)
    headers = whole["ResponseMetadata"]["HTTPHeaders"]
    inner = json.loads(whole["body"].read())
    chunks = [
        json.loads(event["chunk"]["bytes"]) for event in client.invoke_model_with_response_stream(**asked)["body"]
    ]
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert all("amazon-bedrock-invocationMetrics" not in chunk for chunk in chunks[:-1])
    told = {
        name: int(headers[f"x-amzn-bedrock-{name}-token-count"]) for name in ("input", "output", "cache-read-input")
    }
    assert told == {"input": 100, "output": 50, "cache-read-input": 20}
    assert (metrics["inputTokenCount"], metrics["outputTokenCount"], metrics["cacheWriteInputTokenCount"]) == (
        100,
        50,
        12,
    )
    if model == CLAUDE:
        assert inner["usage"]["input_tokens"] == 100 and inner["id"].startswith("msg_bdrk_")
        assert [chunk["type"] for chunk in chunks][:2] == ["message_start", "content_block_start"]
    else:
        assert (inner["prompt_token_count"], inner["generation_token_count"]) == (100, 50)
    assert [line.operation for line in simulator.books.billed] == ["invoke", "invoke_stream"]
    assert len({line.amount for line in simulator.books.billed}) == 1


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("400", "ValidationException"),
        ("403", "AccessDeniedException"),
        ("404", "ResourceNotFoundException"),
        ("429", "ThrottlingException"),
        ("500", "InternalServerException"),
        ("503", "ServiceUnavailableException"),
    ],
)
def test_errors_are_botocores_own(client: Any, fault: str, name: str) -> None:
    """Each is the class of the service model."""
    with pytest.raises(getattr(client.exceptions, name)):
        client.converse(modelId=NOVA, messages=said(f"[[sim fault={fault}]]"))


@pytest.mark.parametrize("operation", ["converse_stream", "invoke_model_with_response_stream"])
def test_an_error_inside_a_stream_is_an_exception_event(client: Any, operation: str) -> None:
    """Botocore raises it by name."""
    text = "[[sim output=40 fault=error_event]]"
    if operation == "converse_stream":
        stream = client.converse_stream(modelId=NOVA, messages=said(text))["stream"]
    else:
        body = json.dumps({"prompt": text})
        stream = client.invoke_model_with_response_stream(modelId=LLAMA, body=body)["body"]
    with pytest.raises(botocore.exceptions.EventStreamError, match="modelStreamErrorException"):
        list(stream)


def test_signatures_can_be_verified(simulator: Simulator) -> None:
    """Any well-formed one is accepted; with a key pair only the right one is, for plain and coded paths alike."""
    assert connect(simulator, "AKIAOTHER", "x").converse(modelId=CLAUDE, messages=said("x"))["usage"]
    with Simulator(settings=Settings(aws_key="AKIAGOOD:s3cret")) as strict:
        good = connect(strict, "AKIAGOOD", "s3cret")
        assert good.converse(modelId=CLAUDE, messages=said("x"))["usage"]
        for key, secret in (("AKIAGOOD", "wrong"), ("AKIAOTHER", "s3cret")):
            with pytest.raises(botocore.exceptions.ClientError, match="signature"):
                connect(strict, key, secret).converse(modelId=NOVA, messages=said("x"))
        assert [line.status for line in strict.books.ended] == [200, 403, 403]


def test_a_bearer_key_is_as_good(exchange: Any, simulator: Simulator) -> None:
    """Bedrock's API keys; without any authentication it is 403."""
    body = json.dumps({"messages": said("x")}).encode()

    def status(header: str) -> int:
        head = f"POST /model/{NOVA}/converse HTTP/1.1\r\n{header}connection: close\r\n".encode()
        return int(exchange(simulator.url, head + b"content-length: %d\r\n\r\n" % len(body) + body).status)

    assert status("authorization: Bearer sk-sim-bedrock\r\n") == 200
    assert (
        status("authorization: Bearer real\r\n") == status("") == status("authorization: AWS4-HMAC-SHA256 x\r\n") == 403
    )


@given(
    st.lists(
        st.tuples(st.dictionaries(st.text(min_size=1, max_size=40), st.text(max_size=200), max_size=4), st.binary()),
        max_size=5,
    )
)
def test_messages_are_what_botocore_reads(messages: list[tuple[dict[str, str], bytes]]) -> None:
    """Headers and payload survive the framing, with both checksums right, one after the other."""
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(eventstream.message(headers, payload) for headers, payload in messages))
    assert [(dict(event.headers), event.payload) for event in buffer] == messages
