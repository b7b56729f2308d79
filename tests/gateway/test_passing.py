"""What goes through unchanged, and what does not: bodies byte for byte, headers by a list, secrets not at all."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from small_road import HASTY, SECRET, SmallRoad, request_bytes
from wiretap import Wiretap

from tollbook.core.identity import span_id_of, trace_id_of
from tollbook.simulator import Simulator

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OURS = {"host", "content-length", "accept-encoding", "x-tollbook-request-id", "x-tollbook-attempt-id", "traceparent"}


@asynccontextmanager
async def tapped(vendor: Simulator, directory: Path) -> AsyncIterator[tuple[SmallRoad, Wiretap]]:
    async with Wiretap(vendor.url) as wire, SmallRoad(directory, wire.url) as road:
        yield road, wire


ODD = (
    '{ "messages" : [ {"role":"user","content":"J\\u00f6rg \U0001f600 \\ud83d\\ude00 \\n\\t\\"/\\/ é"} ],\r\n'
    '\t"temperature":1.0e0 ,"x_unknown":{"deep":[1,2.50,-0,1E+2,null,{}],"model":"not this"},\n'
    ' "model"\t:\r"MODEL" , "max_tokens":50,"metadata":{} }\n'
)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
async def test_a_body_reaches_the_vendor_byte_for_byte(vendor: Simulator, tmp_path: Path, model: str) -> None:
    """Unknown members, spaces, escapes, number forms and order are the client's."""
    body = ODD.replace("MODEL", model).encode()
    async with tapped(vendor, tmp_path) as (road, wire):
        reply = await road.ask(model, body=body)
        assert reply.status == 200
        (sent,) = wire.requests
        (answered,) = wire.answers
    assert sent.body == body
    assert reply.body == answered.body


async def test_the_model_is_replaced_only_where_it_differs(vendor: Simulator, tmp_path: Path) -> None:
    """One value of one member changes, in its place; the word elsewhere is left alone."""
    body = ODD.replace("MODEL", "smart").encode()
    async with tapped(vendor, tmp_path) as (road, wire):
        assert (await road.ask("smart", body=body)).status == 200
        (sent,) = wire.requests
    assert sent.body == body.replace(b'"smart"', b'"gpt-4o"')


async def test_a_streams_usage_is_asked_for_and_hidden_again(vendor: Simulator, tmp_path: Path) -> None:
    """A client that did not ask for the usage chunk does not get it; one that did gets every byte as it came."""
    async with tapped(vendor, tmp_path) as (road, wire):
        plain = await road.ask(text="one", stream=True)
        asked = await road.ask(text="two", stream=True, stream_options={"include_usage": True})
        bodies = [json.loads(sent.body) for sent in wire.requests]
        answers = [_unchunked(answer.body) for answer in wire.answers]
    assert bodies[0]["stream_options"] == bodies[1]["stream_options"] == {"include_usage": True}
    assert asked.body == answers[1]
    events, passed = answers[0].split(b"\n\n"), plain.body.split(b"\n\n")
    hidden = [event for event in events if event not in passed]
    assert [event for event in events if event in passed] == passed
    assert len(hidden) == 1
    assert json.loads(hidden[0][6:])["usage"]["prompt_tokens"] > 0
    assert plain.body.endswith(b"data: [DONE]\n\n")


async def test_anthropic_streams_pass_untouched(vendor: Simulator, tmp_path: Path) -> None:
    """There is nothing to ask for and nothing to hide."""
    async with tapped(vendor, tmp_path) as (road, wire):
        reply = await road.ask("claude-haiku-4-5", stream=True)
        (sent,), (answer,) = wire.requests, wire.answers
    assert json.loads(sent.body).keys() == {"model", "messages", "max_tokens", "stream"}
    assert reply.body == _unchunked(answer.body)


UNWANTED = {
    "cookie": "session=1", "x-forwarded-for": "10.0.0.1", "forwarded": "for=x", "openai-organization": "org-other",
    "openai-project": "proj-other", "anthropic-user-profile-id": "u", "x-goog-user-project": "p", "te": "trailers",
    "x-tollbook-user": "ann@example.com", "x-tollbook-anything": "x", "x-tollbook-attempt-id": "forged.9",
    "proxy-authorization": "Basic x", "x-real-ip": "10.0.0.1", "keep-alive": "1", "accept-encoding": "gzip, br",
    "idempotency-key": "k1", "x-request-id": "mine", "origin": "http://x", "x-stainless-os": "Linux",
}  # fmt: skip


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
async def test_only_headers_of_the_list_reach_the_vendor(vendor: Simulator, tmp_path: Path, model: str) -> None:
    """Credentials, account selectors, hops, cookies, addresses and our own headers of a client stay here."""
    kept = {"user-agent": "sdk/1", "accept": "application/json"}
    async with tapped(vendor, tmp_path) as (road, wire):
        reply = await road.ask(model, headers=UNWANTED | kept)
        (sent,) = wire.requests
    assert reply.status == 200
    anthropic = model.startswith("claude")
    allowed = OURS | {"content-type", "user-agent", "accept"}
    assert sent.names == allowed | ({"x-api-key", "anthropic-version"} if anthropic else {"authorization"})
    assert sent.values("x-api-key" if anthropic else "authorization") == [SECRET if anthropic else f"Bearer {SECRET}"]
    assert sent.values("accept-encoding") == ["identity"]
    assert len(sent.headers) == len(sent.names)
    request_id = reply.headers["x-tollbook-request-id"]
    assert sent.values("x-tollbook-request-id") == [request_id]
    assert sent.values("x-tollbook-attempt-id") == [f"{request_id}.1"]
    assert sent.first.split(b" ")[1] == (b"/v1/messages" if anthropic else b"/v1/chat/completions")
    assert b"key-acme" not in b"".join(map(bytes, wire.sent))


async def test_each_attempt_is_a_child_span_of_the_callers_trace(vendor: Simulator, tmp_path: Path) -> None:
    """The trace goes on, each attempt with a span of its own; tracestate and baggage follow, without what is ours."""
    headers = {
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "tracestate": "a=1",
        "baggage": "tollbook.user=ann,k=v,tollbook.tenant=globex",
    }
    async with tapped(vendor, tmp_path) as (road, wire):
        reply = await road.ask("smart", "[[sim fault=503 times=1]]", headers=headers)
        one, two = wire.requests
        entry = await road.last()
    request_id = reply.headers["x-tollbook-request-id"]
    for number, sent in enumerate((one, two), 1):
        assert sent.values("traceparent") == [f"00-{TRACE}-{span_id_of(request_id, number)}-01"]
        assert sent.values("tracestate") == ["a=1"]
        assert sent.values("baggage") == ["k=v"]
        assert sent.values("x-tollbook-attempt-id") == [f"{request_id}.{number}"]
    assert entry.request.traceparent == f"{TRACE}-{SPAN}-01"
    assert entry.request.tenant == "acme"
    assert entry.request.user is not None


async def test_a_trace_that_is_none_is_begun_anew(vendor: Simulator, tmp_path: Path) -> None:
    """Without a valid parent the trace id is the request's, tracestate is dropped, and nothing fails."""
    async with tapped(vendor, tmp_path) as (road, wire):
        reply = await road.ask(headers={"traceparent": f"00-{TRACE.upper()}-{SPAN}-01", "tracestate": "a=1"})
        (sent,) = wire.requests
    request_id = reply.headers["x-tollbook-request-id"]
    assert sent.values("traceparent") == [f"00-{trace_id_of(request_id)}-{span_id_of(request_id, 1)}-00"]
    assert sent.values("tracestate") == []


async def test_what_smuggling_leaves_behind_is_not_forwarded(vendor: Simulator, tmp_path: Path) -> None:
    """A chunked body is sent on with its length; its trailers and extensions are not."""
    head, _, body = request_bytes().partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    chunked = b"\r\n".join([*lines, b"transfer-encoding: chunked"])
    framed = b"%x;ext=1\r\n%b\r\n0\r\nauthorization: Bearer evil\r\n\r\n" % (len(body), body)
    async with tapped(vendor, tmp_path) as (road, wire):
        assert (await road.send(chunked + b"\r\n\r\n" + framed)).status == 200
        (sent,) = wire.requests
    assert sent.body == body
    assert sent.values("content-length") == [str(len(body))]
    assert not sent.values("transfer-encoding")
    assert sent.values("authorization") == [f"Bearer {SECRET}"]


async def test_the_vendors_secret_never_comes_back(vendor: Simulator, tmp_path: Path) -> None:
    """In no answer, whole or broken, success or failure."""
    faults = ["400", "401", "403", "429", "500", "drop", "accept_then_timeout", "cut after=9", "usage_missing"]
    async with Wiretap(vendor.url) as wire, SmallRoad(tmp_path, wire.url, edits=HASTY) as road:
        for model in ("gpt-4o-mini", "claude-haiku-4-5"):
            for fault in faults:
                reply = await road.ask(model, f"[[sim fault={fault}]]")
                assert SECRET not in repr(reply)
        for reply in (await road.send(b"nonsense\r\n\r\n"), await road.ask(key="wrong"), await road.ask("nowhere")):
            assert SECRET not in repr(reply)


async def test_a_nested_tollbook_keeps_the_outer_id_as_parent(vendor: Simulator, tmp_path: Path) -> None:
    """Behind another gateway of ours the request has an id of its own, and remembers the outer one."""
    outer = "01900000-0000-7000-8000-000000000001"
    async with tapped(vendor, tmp_path) as (road, wire):
        reply = await road.ask(headers={"x-tollbook-request-id": outer})
        entry = await road.last()
        (sent,) = wire.requests
    assert entry.request.parent_request_id == outer
    assert reply.headers["x-tollbook-request-id"] == entry.request.id != outer
    assert sent.values("x-tollbook-request-id") == [entry.request.id]


def _unchunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + rest[:length], rest[length + 2 :]
    return body
