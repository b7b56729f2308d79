"""What goes to Bedrock: paths, signatures, secrets, errors; what its clients make of our errors."""

import base64
import datetime
import json
import sys
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.parsers
import botocore.session
import pytest
from recorded_formats import message
from recorded_wire import call_of

from tollbook.core.faults import BadInput
from tollbook.providers.bedrock_converse import BedrockConverse
from tollbook.providers.bedrock_invoke import BedrockInvoke
from tollbook.providers.body import BillingFieldRefused
from tollbook.providers.contract import Headers, Prepared, VendorObject

CONVERSE = BedrockConverse()
INVOKE = BedrockInvoke()
HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
SECRET = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SENT: Headers = [(b"content-type", b"application/json"), (b"accept", b"*/*"), (b"x-tollbook-attempt-id", b"7.1")]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic.claude-haiku-5-5-v1:0", "/model/anthropic.claude-haiku-5-5-v1%3A0/converse"),
        (
            "arn:aws:bedrock:eu:1:inference-profile/x",
            "/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ainference-profile%2Fx/converse",
        ),
    ],
)
def test_the_model_stands_encoded_in_the_path(model: str, path: str) -> None:
    """Colons and slashes of a model id are encoded, and the body is the client's own object."""
    call = call_of(CONVERSE, b'{"messages":[]}', model="alias")
    prepared = CONVERSE.prepare(call, model)
    assert (prepared.path, prepared.body, prepared.streams) == (path, call.body, False)
    assert prepared.body is call.body
    assert CONVERSE.model(call) == "alias"


def test_streams_are_known_by_their_path() -> None:
    """The second route of each operation streams."""
    for adapter in (CONVERSE, INVOKE):
        assert not adapter.streamed(call_of(adapter, b"{}", model="m"))
        assert adapter.streamed(call_of(adapter, b"{}", route=1, model="m"))


def test_the_label_on_amazons_record_is_ours() -> None:
    """Metadata of a request lands in the vendor's invocation log: it is not the client's to write."""
    with pytest.raises(BillingFieldRefused):
        CONVERSE.prepare(call_of(CONVERSE, b'{"requestMetadata":{"tenant":"other"}}', model="m"), "m")
    assert b"x-amzn-bedrock-request-metadata" not in INVOKE.request_headers


def test_what_lies_in_a_bucket_is_a_vendor_object() -> None:
    """A bucket is read with the gateway's rights, wherever in the messages it is named."""
    where = {"s3Location": {"uri": "s3://b/k"}}
    content = [{"video": {"source": where}}, {"toolResult": {"content": [{"document": {"source": where}}]}}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    assert CONVERSE.objects(call_of(CONVERSE, body, model="m")) == [VendorObject("file", "s3://b/k")] * 2


def _signed_by_botocore(url: str, region: str, token: str | None) -> dict[str, str]:
    request = botocore.awsrequest.AWSRequest(
        method="POST", url=url, data=b"{}", headers={"content-type": "application/json"}
    )
    credentials = botocore.credentials.Credentials(*SECRET.split(":"), token)
    botocore.auth.SigV4Auth(credentials, "bedrock", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.datetime(2026, 11, 20, 10, 0, 0)  # noqa: DTZ001  as botocore has it
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)


@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzE//=="])
@pytest.mark.parametrize(
    ("host", "region"),
    [
        (HOST, "eu-west-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://vpce-0a1.bedrock-runtime.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("https://bedrock-runtime.us-west-2.api.aws", "us-west-2"),
    ],
)
def test_signatures_are_those_of_botocore(host: str, region: str, token: str | None) -> None:
    """The region comes from the host; of the headers the content type is signed, and nothing is signed twice."""
    url = f"{host}/model/anthropic.claude-v1%3A0/converse"
    secret = SECRET if token is None else f"{SECRET}:{token}"
    added = {name.decode(): value.decode() for name, value in CONVERSE.sign(secret, "POST", url, SENT, b"{}")}
    wanted = _signed_by_botocore(url, region, token)
    assert added == {name: value for name, value in wanted.items() if name != "content-type"}
    assert f"/{region}/bedrock/aws4_request" in added["authorization"]
    assert ("x-amz-security-token" in added) == (token is not None)
    assert "tollbook" not in added["authorization"]


def test_a_region_after_the_secret_serves_other_hosts() -> None:
    """A proxy's host names no region; the one after the secret does, and never overrules a host that does."""
    url = "https://proxy.example/model/m/converse"
    [signed] = [value for name, value in CONVERSE.sign(f"{SECRET}@ap-south-1", "POST", url, [], b"") if b"auth" in name]
    assert b"/ap-south-1/bedrock/" in signed
    [signed] = [
        value for name, value in CONVERSE.sign(f"{SECRET}@ap-south-1", "POST", HOST, [], b"") if b"auth" in name
    ]
    assert b"/eu-west-1/bedrock/" in signed
    with pytest.raises(BadInput, match="region") as raised:
        CONVERSE.sign(SECRET, "POST", url, [], b"")
    assert "wJalr" not in str(raised.value)


def test_a_host_that_only_looks_like_amazons_tells_no_region() -> None:
    """The region of a host is read only from Amazon's own names."""
    with pytest.raises(BadInput, match="region"):
        CONVERSE.sign(SECRET, "POST", "https://bedrock-runtime.us-east-1.amazonaws.com.evil.example/", [], b"")


def test_an_api_key_goes_as_a_bearer_token() -> None:
    """A secret without a colon is a Bedrock API key."""
    assert CONVERSE.sign("ABSKQmVk", "POST", HOST, SENT, b"{}") == [(b"authorization", b"Bearer ABSKQmVk")]


@pytest.mark.parametrize("secret", ["a:b:c:d", ":b", "a:", "a:b:"])
def test_a_malformed_secret_is_told_without_it(secret: str) -> None:
    """What is no secret is refused in words that do not hold it."""
    with pytest.raises(BadInput, match="ACCESSKEYID:SECRET"):
        CONVERSE.sign(secret, "POST", HOST, [], b"")


def test_signing_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without botocore the refusal names the extra to install."""
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(BadInput, match=r"tollbook\[bedrock\]"):
        CONVERSE.sign(SECRET, "POST", HOST, [], b"")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "ValidationException"),
        (401, "UnrecognizedClientException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (413, "ValidationException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (502, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_botocore_understands_our_errors(status: int, kind: str) -> None:
    """botocore finds the type of the status, and our message with the request id."""
    body = CONVERSE.error(status, "journal_unavailable", "the journal is full", "0199c0de")
    model: Any = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = model.operation_model("Converse").output_shape
    parser = botocore.parsers.create_parser("rest-json")
    parsed = parser.parse({"status_code": status, "headers": {}, "body": body}, shape)
    assert parsed["Error"]["Code"] == kind
    assert parsed["Error"]["Message"] == "the journal is full (request id 0199c0de)"
    assert json.loads(body)["reason"] == "journal_unavailable"


def test_headers_complete_the_reading_of_a_stream() -> None:
    """Tier and latency class of a streamed InvokeModel stand in its head only."""
    reading = INVOKE.stream(INVOKE.prepare(call_of(INVOKE, b"{}", route=1, model="m"), "m")).reading()
    INVOKE.read_head(reading, [(b"x-amzn-bedrock-service-tier", b"flex"), (b"date", b"x")])
    assert (reading.tier, reading.speed) == ("flex", None)


@pytest.mark.parametrize(
    "end", [{"stop_reason": "length"}, {"completionReason": "FINISH"}, {"messageStop": {"stopReason": "x"}}]
)
def test_a_reason_to_stop_ends_a_stream_without_counts(end: dict[str, Any]) -> None:
    """Llama, Titan and Nova have no terminal event of their own; a null reason, as in earlier chunks, is no end."""
    reader = INVOKE.stream(Prepared(path="", body=b""))
    for chunk in ({"generation": "Hello", **dict.fromkeys(end)}, end):
        assert not reader.terminal
        encoded = base64.b64encode(json.dumps(chunk).encode()).decode()
        headers = {":event-type": "chunk", ":message-type": "event"}
        reader.feed(message(headers, json.dumps({"bytes": encoded}).encode()))
    assert reader.terminal
    reading = reader.reading()
    assert reading.complete
    assert (reading.usage, reading.output_text) == (None, 5)


def test_estimates_of_invoke_know_the_limits_of_the_families() -> None:
    """Each family writes its limit of output elsewhere; the least one bounds the estimate."""
    for body in (
        b'{"prompt":"a","max_gen_len":7}',
        b'{"inputText":"a","textGenerationConfig":{"maxTokenCount":7}}',
        b'{"messages":[],"inferenceConfig":{"max_new_tokens":7}}',
        b'{"messages":[],"max_tokens":7}',
    ):
        call = call_of(INVOKE, body, model="m")
        assert INVOKE.estimate(call, INVOKE.read(200, [], b"{}")).bound["output"] == 7
