"""What an adapter says to clients and vendors, and that nothing is forgotten in its tables."""

import json
import re
from typing import get_args

import anthropic
import httpx2
import msgspec
import openai
import pytest
from recorded_wire import ANTHROPIC, OPENAI

from tollbook.core.settings import Vendor
from tollbook.core.vocabulary import ENDPOINTS
from tollbook.providers.answer import read_error
from tollbook.providers.contract import CONVENTIONS, KINDS, Adapter
from tollbook.providers.registry import ADAPTERS, BY_ENDPOINT, BY_FORMAT

REQUEST_ID = "0199c0de-0000-7000-8000-000000000001"
STATUSES = [400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 529]

BILLING_HEADERS = re.compile(rb"organi[sz]ation|project|profile|account|bill|forward|cookie|key|auth|host")


def test_every_endpoint_has_its_adapter() -> None:
    """The registry and the vocabulary name the same endpoints."""
    assert set(BY_ENDPOINT) == set(ENDPOINTS)
    assert len(ADAPTERS) == len(ENDPOINTS) == len(BY_ENDPOINT)
    assert BY_FORMAT["openai"][0].endpoint == "openai.chat"
    assert BY_FORMAT["anthropic"][0].endpoint == "anthropic.messages"


def test_a_vendor_can_be_configured_for_every_format() -> None:
    """The settings allow just the formats that there are adapters for."""
    format_field = next(field for field in msgspec.structs.fields(Vendor) if field.name == "format")
    assert set(get_args(get_args(format_field.type)[0])) == set(BY_FORMAT)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.endpoint)
def test_names_are_versioned(adapter: Adapter) -> None:
    """A rating names the adapter and the version of its reading."""
    assert re.fullmatch(re.escape(adapter.endpoint) + r"/\d+", adapter.name)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.endpoint)
def test_no_header_that_moves_the_bill_is_passed(adapter: Adapter) -> None:
    """Allowed headers are lower-case and none selects who is billed, is a credential or names a host."""
    assert adapter.request_headers >= {b"accept", b"content-type", b"user-agent"}
    for header in adapter.request_headers:
        assert header == header.lower() and not BILLING_HEADERS.search(header)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.endpoint)
def test_what_changes_the_price_is_listed(adapter: Adapter) -> None:
    """The tables of members hold what vendors price by, and who is billed is apart."""
    if adapter.endpoint in ("openai.chat", "openai.responses", "azure.chat", "azure.responses", "anthropic.messages"):
        assert adapter.model_fields >= {"service_tier", "tools"}
    assert not adapter.model_fields & adapter.billing_fields
    assert all(re.fullmatch(r"/?[A-Za-z0-9_]+(\.([A-Za-z0-9_]+|\*))*", path) for path in adapter.object_fields)
    assert set(adapter.object_fields.values()) <= set(KINDS)
    assert (adapter.lists in KINDS) if adapter.purpose == "list" else adapter.lists is None


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_adapters_say_how_they_count_and_what_they_miss(adapter: Adapter) -> None:
    """What is metered has a convention of the list, and what is not captured is told in sentences."""
    assert adapter.convention in CONVENTIONS
    assert (adapter.convention == "none") == (adapter.purpose != "metered")
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in adapter.not_captured)


def test_credentials() -> None:
    """Each format carries a secret in its own header."""
    assert OPENAI.credentials("s3cret") == [(b"authorization", b"Bearer s3cret")]
    assert ANTHROPIC.credentials("s3cret") == [(b"x-api-key", b"s3cret")]


@pytest.mark.parametrize("status", STATUSES)
def test_the_openai_sdk_understands_our_errors(status: int) -> None:
    """The official SDK raises its error for the status, with our code and the request id in the message."""
    body = OPENAI.error(status, "journal_unavailable", 'the "journal"\nis full', REQUEST_ID)
    client = openai.OpenAI(
        api_key="k",
        base_url="http://127.0.0.1:1/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=_answering(status, body)),
    )
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="m", messages=[])
    assert raised.value.status_code == status
    assert raised.value.code == "journal_unavailable"
    assert raised.value.type and raised.value.param is None
    assert REQUEST_ID in str(raised.value)
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("status", STATUSES)
def test_the_anthropic_sdk_understands_our_errors(status: int) -> None:
    """The official SDK raises its error for the status, with our code in the details and the request id."""
    body = ANTHROPIC.error(status, "journal_unavailable", "the journal is full", REQUEST_ID)
    client = anthropic.Anthropic(
        api_key="k",
        base_url="http://127.0.0.1:1",
        max_retries=0,
        http_client=httpx2.Client(transport=_answering(status, body)),
    )
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model="m", max_tokens=1, messages=[])
    assert raised.value.status_code == status
    assert REQUEST_ID in str(raised.value)
    told = json.loads(body)
    assert told["type"] == "error" and told["request_id"] == REQUEST_ID
    assert told["error"]["details"]["error_code"] == "journal_unavailable"


def _answering(status: int, body: bytes) -> httpx2.MockTransport:
    return httpx2.MockTransport(
        lambda request: httpx2.Response(status, content=body, headers={"content-type": "application/json"})
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_errors_have_the_type_of_their_status(status: int, kind: str) -> None:
    """Clients switch on the type: it is the one Anthropic documents for the status."""
    assert json.loads(ANTHROPIC.error(status, "c", "m", REQUEST_ID))["error"]["type"] == kind


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error":{"message":"secret prompt","type":"t","code":"c"}}', "t/c"),
        (b'{"error":{"type":"same","code":"same"}}', "same"),
        (b'{"error":{"code":429}}', "429"),
        (b'{"error":{"type":"the user said: hello there"}}', "http_500"),
        (b'{"error":{"type":"' + b"x" * 65 + b'"}}', "http_500"),
        (b'{"error":"secret prompt"}', "http_500"),
        (b'{"message":"secret prompt"}', "http_500"),
        (b"[1]", "http_500"),
        (b"secret prompt", "http_500"),
        (b"\xff\xfe", "http_500"),
        (b"[" * 100_000, "http_500"),
        (b"", "http_500"),
    ],
)
def test_an_error_is_told_in_words_never_in_content(body: bytes, told: str) -> None:
    """Type and code of a vendor's error are kept; its message, which may quote a prompt, never is."""
    assert read_error(500, body) == told
