"""What a tenant's rules make of members that change the price, of tools with fees, and of too many requests at once."""

import asyncio
import json
from typing import Any

import pytest
from small_road import SmallRoad, request_bytes

from tollbook.core.settings import FieldRule, Tenant
from tollbook.gateway import fields
from tollbook.gateway.refusal import Refusal
from tollbook.providers.contract import Call
from tollbook.providers.registry import BY_ENDPOINT
from tollbook.simulator import Simulator

CHAT, MESSAGES = BY_ENDPOINT["openai.chat"], BY_ENDPOINT["anthropic.messages"]


def call(text: str, adapter: Any = CHAT) -> Call:
    body = text.encode()
    return Call(adapter.routes[0], {}, b"", [], body, adapter.scan([], body))


def tenant(*tools: str, **rules: FieldRule) -> Tenant:
    return Tenant(name="t", keys=(), fields={"openai": rules, "anthropic": rules}, deny_tools=tools)


def judged(text: str, rules: Tenant, adapter: Any = CHAT) -> str:
    return fields.judge(rules, adapter, call(text, adapter)).body.decode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"model":"m","service_tier":"priority","n":1}', '{"model":"m","service_tier":"default","n":1}'),
        ('{"model":"m", "service_tier" : null }', '{"model":"m", "service_tier" : "default" }'),
        ('{"model":"m","messages":[]}', '{"model":"m","messages":[],"service_tier":"default"}'),
        (' { "model" : "m" } ', ' { "model" : "m","service_tier":"default" } '),
        ('{"model":"m","service_tier":"default"}', '{"model":"m","service_tier":"default"}'),
    ],
)
def test_a_forced_member_has_our_value_and_nothing_else_changes(body: str, expected: str) -> None:
    """Replaced where it stands, added at the end where it does not; every other byte stays."""
    assert judged(body, tenant(service_tier=FieldRule(force="default"))) == expected


def test_a_changed_body_is_judged_again() -> None:
    """Members and their places are those of the body that is sent."""
    changed = fields.judge(
        tenant(service_tier=FieldRule(force="flex")), CHAT, call('{"service_tier":"auto","model":"m"}')
    )
    start, end = changed.members.spans["model"]
    assert changed.body[start:end] == b'"m"'
    assert changed.members.values["service_tier"] == b'"flex"'


def test_a_member_that_an_operation_does_not_have_is_not_added() -> None:
    """To force `speed` on chat completions would only make the vendor refuse them."""
    body = '{"model":"m"}'
    assert judged(body, tenant(speed=FieldRule(force="standard"))) == body


@pytest.mark.parametrize(
    ("body", "rule", "fine"),
    [
        ('{"service_tier":"flex"}', FieldRule(allow=("flex", "default")), True),
        ('{"service_tier":"priority"}', FieldRule(allow=("flex", "default")), False),
        ('{"service_tier":["flex"]}', FieldRule(allow=("flex",)), False),
        ('{"model":"m"}', FieldRule(allow=("flex",)), True),
        ('{"service_tier":null}', FieldRule(refuse=True), True),
        ('{"service_tier":"flex"}', FieldRule(refuse=True), False),
        ('{"service_tier":"fl\\u0065x"}', FieldRule(allow=("flex",)), True),
    ],
)
def test_a_member_is_allowed_or_refused(body: str, rule: FieldRule, fine: bool) -> None:
    """By its decoded value; one that is absent or null chooses nothing."""
    if fine:
        assert judged(body, tenant(service_tier=rule)) == body
    else:
        with pytest.raises(Refusal, match="service_tier"):
            judged(body, tenant(service_tier=rule))


@pytest.mark.parametrize(
    ("tools", "fine"),
    [
        ([{"type": "function", "function": {"name": "web_search"}}], True),
        ([{"name": "web_search", "input_schema": {}}], True),
        ([{"type": "web_search"}], False),
        ([{"type": "web_search_20250305", "name": "s"}], False),
        ([{"type": "function"}, {"type": "web_search_preview"}], False),
        ([{"googleSearch": {}}], False),
        ([{"type": "web_searcher"}], True),
        (["web_search", 7, None], True),
        ({"a": 1}, True),
    ],
)
def test_tools_with_fees_are_known_by_type(tools: Any, fine: bool) -> None:
    """A tool of the vendor's is denied with and without its date; a function of the client's own is not meant."""
    body = json.dumps({"model": "m", "tools": tools})
    rules = tenant("web_search", "googleSearch")
    if fine:
        assert judged(body, rules) == body
    else:
        with pytest.raises(Refusal) as refused:
            judged(body, rules)
        assert refused.value.reason == "tool_not_allowed"


async def test_the_vendor_gets_the_forced_tier_and_the_book_says_so(road: SmallRoad, vendor: Simulator) -> None:
    """What the client asked for does not reach the vendor."""
    async with road:
        reply = await road.ask(key="key-initech", service_tier="priority")
        entry = await road.last()
    assert reply.status == 200
    assert entry.attempt is not None
    assert entry.attempt.tier_asked == "default"


async def test_what_a_tenant_may_not_choose_is_refused_and_recorded(road: SmallRoad, vendor: Simulator) -> None:
    """403 with a code of its own, a row in the book, and nothing at the vendor."""
    before = len(vendor.books.received)
    async with road:
        for members, code in (
            ({"store": True}, "field_not_allowed"),
            ({"tools": [{"type": "web_search"}]}, "tool_not_allowed"),
        ):
            reply = await road.ask(key="key-initech", **members)
            assert (reply.status, reply.code) == (403, code)
            entry = await road.last()
            assert entry.close is not None
            assert (entry.close.outcome, entry.close.error) == ("refused", code)
    assert len(vendor.books.received) == before


async def test_a_tenant_has_no_more_requests_at_once_than_it_may(road: SmallRoad) -> None:
    """The third is 429 with a time to wait; one whose client left counts while it is read; an end makes room."""
    slow = "[[sim output=4 first_byte_ms=400]]"
    async with road:
        clients = [await road.connect() for _ in range(2)]
        for client in clients:
            client.send(request_bytes(text=slow, key="key-initech"))
        await road.until(lambda: len(road.parts.running) == 2)
        clients[0].cut()
        await asyncio.sleep(0.05)
        refused = await road.ask(key="key-initech")
        assert (refused.status, refused.code) == (429, "tenant_concurrency")
        assert refused.headers["retry-after"] == "1"
        assert (await road.ask(key="key-acme")).status == 200
        await road.quiet()
        assert (await road.ask(key="key-initech")).status == 200
        errors = [entry.close.error for _, entry in road.entries if entry.close is not None]
    assert errors.count("tenant_concurrency") == 1
