"""Every error of the gateway's own: its status, its stable code, the client's wire format, the request id, its row."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_road import Reply, SmallRoad, body_bytes, raw, request_bytes

from tollbook import gateway
from tollbook.core.identity import is_request_id
from tollbook.gateway.refusal import REFUSALS
from tollbook.simulator import Simulator


def checked(reply: Reply, code: str) -> Reply:
    """An error as it must be: its code, with the status the table gives it, an id, and a body a client can read."""
    statuses = [int(text) for text in re.findall(r"\d{3}", REFUSALS[code].partition(":")[0])]
    assert reply.status in statuses
    assert reply.code == code
    request_id = reply.headers["x-tollbook-request-id"]
    assert is_request_id(request_id)
    assert request_id in reply.body.decode()
    assert reply.headers["content-type"] == "application/json"
    return reply


BODY = body_bytes("gpt-4o-mini", "Hello.")
OK = "authorization: Bearer key-acme"
CHAT = "/v1/chat/completions"

SIMPLE: list[tuple[str, bytes]] = [
    ("credential_missing", raw(CHAT, body=BODY)),
    ("credential_unknown", raw(CHAT, "authorization: Bearer nobody", body=BODY)),
    ("two_credentials", raw(CHAT, OK, "x-api-key: key-globex", body=BODY)),
    ("route_unknown", raw("/v1/moderations", OK, body=BODY)),
    ("route_unknown", raw("/", OK, body=BODY)),
    ("route_unknown", raw("/v1/chat/completions/", OK, body=BODY)),
    ("route_unknown", raw("/%2e%2e/v1/chat/completions", OK, body=BODY)),
    ("method_not_allowed", raw(CHAT, OK, method="GET")),
    ("method_not_allowed", raw("/v1/messages", OK, method="DELETE")),
    ("bad_input", raw(CHAT, OK, body=b'{"messages":[]}')),
    ("bad_input", raw(CHAT, OK, body=b'{"model":7}')),
    ("ambiguous_body", raw(CHAT, OK, body=b"")),
    ("ambiguous_body", raw(CHAT, OK, body=b"[1]")),
    ("ambiguous_body", raw(CHAT, OK, body=b"\xff" + BODY)),
    ("ambiguous_body", raw(CHAT, OK, body=BODY + BODY)),
    ("ambiguous_body", raw(CHAT, OK, body=b'{"model":"gpt-4o-mini","messages":[],"model":"gpt-5.5"}')),
    ("ambiguous_body", raw(CHAT, OK, body=b'{"model":"gpt-4o-mini","messages":[],"mod\\u0065l":"gpt-5.5"}')),
    ("ambiguous_body", raw(CHAT, OK, body=b'{"stream":true,"model":"gpt-4o-mini","messages":[],"stream":false}')),
    ("unsupported_encoding", raw(CHAT, OK, "content-encoding: gzip", body=BODY)),
    ("model_unknown", raw(CHAT, OK, body=body_bytes("gpt-9", "x"))),
    ("model_unknown", raw(CHAT, OK, body=body_bytes("claude-haiku-4-5", "x"))),
    ("model_unknown", raw(CHAT, OK, body=body_bytes("m" * 900, "x"))),
    ("model_not_allowed", raw(CHAT, "api-key: key-globex", body=body_bytes("smart", "x"))),
    ("no_vendor_key", raw(CHAT, OK, body=body_bytes("private", "x"))),
    ("region_not_allowed", raw(CHAT, OK, body=body_bytes("pinned", "x"))),
    ("workload_not_allowed", raw(CHAT, OK, "x-tollbook-workload: billing", body=BODY)),
    ("malformed_dimension", raw(CHAT, OK, "x-tollbook-user: " + "u" * 300, body=BODY)),
    ("malformed_header", raw(CHAT, OK, "idempotency-key: " + "u" * 300, body=BODY)),
    ("malformed_tags", raw(CHAT, OK, "x-tollbook-tags: novalue", body=BODY)),
    ("too_many_tags", raw(CHAT, OK, "x-tollbook-tags: " + ",".join(f"t{n}=1" for n in range(17)), body=BODY)),
    ("malformed_request", b"POST / HTTP/1.1\r\nhost : a\r\n\r\n"),
    ("upgrade_unsupported", b"GET /v1/realtime HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
    ("headers_too_large", raw(CHAT, OK, *[f"x-{n}: {'a' * 1000}" for n in range(90)])),
    ("body_too_large", raw(CHAT, OK, body=b"a" * 1_500)),
    ("book_behind", raw("/tollbook/v1/requests/01900000-0000-7000-8000-000000000001", OK, method="GET")),
    ("attempts_exhausted", raw(CHAT, OK, body=body_bytes("nowhere", "x"))),
]


@pytest.mark.parametrize(("code", "data"), SIMPLE, ids=[f"{code}-{at}" for at, (code, _) in enumerate(SIMPLE)])
async def test_each_refusal_has_its_code(vendor: Simulator, tmp_path: Path, code: str, data: bytes) -> None:
    """What is refused never reaches the vendor; of an authenticated tenant it has a row with its code."""
    before = len(vendor.books.received)
    async with SmallRoad(tmp_path, vendor.url, "body_limit: 1KiB") as road:
        checked(await road.send(data), code)
        await road.quiet()
        entries = road.entries
    assert len(vendor.books.received) == before
    status = REFUSALS[code][:3]
    recorded = (status in ("400", "403", "404", "502", "503") and b"Bearer key-acme" in data) or b"key-globex" in data
    if recorded and code not in ("route_unknown", "book_behind", "two_credentials"):
        close = entries[-1][1].close
        assert close is not None
        assert close.error == code
        assert close.outcome == ("refused" if code != "attempts_exhausted" else "connect_failed")
    else:
        assert entries == []


async def test_refusals_that_need_a_story(vendor: Simulator, tmp_path: Path) -> None:
    """Keys used again, a journal that cannot be written, a gateway that is stopped."""
    key = {"idempotency-key": "k"}
    async with SmallRoad(tmp_path, vendor.url) as road:
        running = asyncio.create_task(road.ask(text="[[sim first_byte_ms=200]]", headers=key))
        await road.until(lambda: road.entries)
        checked(await road.ask(text="[[sim first_byte_ms=200]]", headers=key), "in_progress")
        assert (await running).status == 200
        checked(await road.ask(text="other", headers=key), "key_reused")
        road.idempotency._kept.clear()
        checked(await road.ask(text="[[sim first_byte_ms=200]]", headers=key), "outcome_unknown")
        road.recorder.writable = False
        checked(await road.ask(), "journal_unavailable")
        road.parts.stopping = True
        reply = checked(await road.ask(), "shutting_down")
        assert reply.headers["retry-after"] == "1"


ELSEWHERE = {
    "field_not_allowed": "test_fields",
    "tool_not_allowed": "test_fields",
    "registry_stale": "test_keys_live",
    "tenant_concurrency": "test_fields",
    "limit_requests": "test_tenant_limits",
    "limit_streams": "test_tenant_limits",
    "limit_tokens": "test_tenant_limits",
    "vendor_share": "test_tenant_limits",
    "claims_unavailable": "test_idempotency",
    "case_unknown": "test_answers_from_the_book",
    "request_unknown": "test_answers_from_the_book",
    "billing_field_refused": "below: an adapter's list decides",
    "no_vendor": "test_vendor_objects",
    "object_elsewhere": "test_vendor_objects",
    "object_unknown": "test_vendor_objects",
    "objects_of_two_keys": "test_vendor_objects",
    "objects_unavailable": "test_vendor_objects",
    "signature_expired": "test_signed_clients",
    "signature_wrong": "test_signed_clients",
    "too_many_objects": "test_vendor_objects",
}
"""Codes that are provoked by other tests than the two above."""


async def test_a_field_that_selects_who_is_billed_is_refused(vendor: Simulator, tmp_path: Path) -> None:
    """Such a member of the body is 400 by the adapter's list, and nothing is sent."""
    body = json.loads(body_bytes("claude-haiku-4-5", "x")) | {"billing_policy": "other"}
    async with SmallRoad(tmp_path, vendor.url) as road:
        reply = await road.send(request_bytes("claude-haiku-4-5", body=json.dumps(body).encode()))
        entry = await road.last()
    checked(reply, "billing_field_refused")
    assert reply.json["type"] == "error"
    assert entry.close is not None
    assert entry.close.error == "billing_field_refused"


def test_every_code_is_listed_and_every_listed_code_is_provoked() -> None:
    """The table of codes is complete against the code that uses them, and against these tests."""
    source = "".join(path.read_text() for path in Path(str(gateway.__file__)).parent.glob("*.py"))
    used = set(re.findall(r'(?:Refusal|VendorBusy)\(\s*[45]\d\d, "([a-z_]+)"', source))
    used |= set(re.findall(r'\(?\s*[45]\d\d,\s+"([a-z_]+)",\s', source))
    used |= set(re.findall(r'code, message = "([a-z_]+)"', source))
    assert used <= set(REFUSALS)
    told = {code for code, _ in SIMPLE} | set(ELSEWHERE)
    told |= {"in_progress", "key_reused", "outcome_unknown", "journal_unavailable", "shutting_down"}
    assert told == set(REFUSALS)


@pytest.mark.parametrize(
    ("path", "header"), [(CHAT, ""), ("/v1/messages", ""), ("/x", "anthropic-version: 1"), ("/x", "")]
)
async def test_errors_speak_the_clients_format(road: SmallRoad, path: str, header: str) -> None:
    """OpenAI's on its route, Anthropic's on its own; elsewhere the one the client shows that it speaks."""
    async with road:
        reply = await road.send(raw(path, *([header] if header else []), body=BODY))
    body: dict[str, Any] = reply.json
    if path == "/v1/messages" or header:
        assert body["type"] == "error"
        assert body["request_id"] == reply.headers["x-tollbook-request-id"]
        assert body["error"].keys() >= {"type", "message"}
    else:
        assert body["error"].keys() == {"message", "type", "param", "code"}


async def test_a_model_name_full_of_prompt_is_not_repeated(road: SmallRoad) -> None:
    """An identifier from outside is bounded in answers and in the book."""
    async with road:
        reply = await road.ask("secret words " * 10_000)
        await road.quiet()
        lines = b"".join(line.bytes for line in road.lines)
    assert len(reply.body) < 1_000
    assert b"secret" not in lines


async def test_the_models_a_key_may_ask_for(road: SmallRoad) -> None:
    """Client libraries list them; another tenant's list is another."""
    async with road:
        every = (await road.send(raw("/v1/models", OK, method="GET"))).json
        some = (await road.send(raw("/v1/models", "x-api-key: key-globex", method="GET"))).json
        none = await road.send(raw("/v1/models", method="GET"))
    assert {model["id"] for model in every["data"]} == set(road.settings.models)
    assert [model["id"] for model in some["data"]] == ["gpt-4o-mini", "private"]
    assert (none.status, none.code) == (401, "credential_missing")


async def test_health_says_nothing_but_whether(road: SmallRoad) -> None:
    """Live while it runs, ready while it can write and is not being stopped; no key is asked for and nothing told."""
    async with road:
        live, ready = raw("/health/live", method="GET"), raw("/health/ready", method="GET")
        assert [(await road.send(ask)).body for ask in (live, ready)] == [b'{"status":"ok"}'] * 2
        road.recorder.writable = False
        assert [(await road.send(ask)).status for ask in (live, ready)] == [200, 503]
        road.recorder.writable = True
        road.parts.stopping = True
        assert [(await road.send(ask)).status for ask in (live, ready)] == [200, 503]
        assert (await road.send(raw("/health/else", method="GET"))).status == 404


@pytest.mark.parametrize(("pinned", "status"), [("mars", 403), ("venus", 200)])
async def test_what_asks_for_no_model_stays_in_the_tenant_s_regions_too(
    vendor: Simulator, tmp_path: Path, pinned: str, status: int
) -> None:
    """An upload goes to the first vendor that is inside, and nowhere when there is none."""
    edits = {
        "limits: {{concurrent: 2}}": f"regions: [{pinned}]",
        "  private: {{format: openai,": "  private: {{format: openai, region: venus,",
        "tenants: [globex]": "tenants: [initech]",
    }
    before = len(vendor.books.received)
    body = b'{"purpose":"batch"}'
    async with SmallRoad(tmp_path, vendor.url, edits=edits) as road:
        reply = await road.send(raw("/v1/conversations", "authorization: Bearer key-initech", body=body))
        entry = await road.last()
    if status == 403:
        checked(reply, "region_not_allowed")
        assert len(vendor.books.received) == before
    else:
        assert entry.attempt is not None
        assert (entry.attempt.vendor, entry.attempt.vendor_key) == ("private", "own")
