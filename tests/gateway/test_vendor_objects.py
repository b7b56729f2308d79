"""Vendor objects belong to the tenant that made them: no path and no field reaches another's."""

import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from small_road import SECRET, SmallRoad, raw

from tollbook.core.clock import now
from tollbook.gateway.objects import NAMED_LIMIT, Owned
from tollbook.providers.contract import Adapter, Route
from tollbook.providers.registry import ADAPTERS, BY_FORMAT
from tollbook.simulator import Simulator

FOREIGN = "obj_of_globex"
OWN = "obj_of_acme"
MODEL = "m"
EDITS = {
    "models:\n": "".join(
        f'  any-{name}: {{{{format: {name}, base_url: "{{vendor}}", '
        f'keys: [{{{{name: main, secret: "{SECRET}"}}}}]}}}}\n'
        for name in BY_FORMAT
    )
    + "models:\n"
    + "".join(f"  {MODEL}-{name}: {{{{targets: [{{{{vendor: any-{name}, model: m}}}}]}}}}\n" for name in BY_FORMAT)
}
NAMING = [adapter for adapter in ADAPTERS if adapter.lists is None and adapter.object_fields]


def route_with(adapter: Adapter, field: str) -> Route:
    """The route that a name in its path, or a body, belongs to."""
    if field.startswith("/"):
        return next(route for route in adapter.routes if f"{{{field[1:]}}}" in route.path)
    return next(route for route in adapter.routes if route.method != "GET")


def nested(path: str, value: str, model: str) -> Any:
    """A value at a dotted path, below members that are lists of objects as vendors have them."""
    name, _, rest = path.partition(".")
    if not name:
        return value
    inner = nested(rest, value, model)
    if name == "params":
        return {name: {"model": model} | inner}
    return {"any" if name == "*" else name: [inner] if rest else inner}


def naming(adapter: Adapter, field: str, identity: str) -> bytes:
    """A request of acme to an adapter that names an object by one of its fields."""
    route = route_with(adapter, field)
    names = dict.fromkeys(re.findall(r"\{(\w+)\}", route.path), identity) | {"model": f"{MODEL}-{adapter.format}"}
    path = route.path.format_map({name: quote(text, safe="") for name, text in names.items()})
    body: dict[str, Any] = {"model": f"{MODEL}-{adapter.format}", "input": "x", "messages": [], "max_tokens": 1}
    if not field.startswith("/"):
        body |= nested(field, identity, f"{MODEL}-{adapter.format}")
    data = b"" if route.method in ("GET", "DELETE") else json.dumps(body).encode()
    return raw(path, "authorization: Bearer key-acme", method=route.method, body=data)


async def put_on_record(road: SmallRoad, tenant: str, identity: str, vendor: str, key: str = "main") -> None:
    kinds = {kind for adapter in ADAPTERS for kind in adapter.object_fields.values()}
    owned = [Owned(kind, identity, vendor, key, f"request of {tenant}", 1, now()) for kind in sorted(kinds)]
    road.object_table.keep(tenant, owned)


@pytest.mark.parametrize("adapter", NAMING, ids=lambda adapter: adapter.endpoint)
async def test_no_field_reaches_another_tenants_object(vendor: Simulator, tmp_path: Path, adapter: Adapter) -> None:
    """Whatever path or member names an object: another tenant's and an unknown one are 404, and nothing is sent."""
    before = len(vendor.books.received)
    async with SmallRoad(tmp_path, vendor.url, edits=EDITS) as road:
        await put_on_record(road, "globex", FOREIGN, f"any-{adapter.format}")
        asked = 0
        for field in sorted(adapter.object_fields):
            for identity in (FOREIGN, "obj_of_nobody"):
                reply = await road.send(naming(adapter, field, identity))
                assert reply.status == 404 and b"object_unknown" in reply.body, f"{field}: {reply.body.decode()}"
                asked += 1
        await road.quiet()
        closes = [entry.close for _, entry in road.entries]
    assert len(vendor.books.received) == before
    assert [close.error for close in closes if close is not None] == ["object_unknown"] * asked


def test_every_object_in_a_path_is_in_its_adapters_table() -> None:
    """A route that names something beside the model names it in the table, so that the walk above reaches it."""
    not_objects = {"model", "project", "location", "deployment"}
    for adapter in ADAPTERS:
        for route in adapter.routes:
            named = [name for name in re.findall(r"\{(\w+)\}", route.path) if name not in not_objects]
            # What lies below an object (an item of a conversation) is reached through the object alone.
            assert not named or f"/{named[0]}" in adapter.object_fields, f"{adapter.endpoint}: {route.path}"


async def test_what_a_tenant_made_it_reaches_by_the_key_that_made_it(vendor: Simulator, tmp_path: Path) -> None:
    """A response is fetched by its maker at no cost, linked to the request that made it; another tenant gets 404."""
    async with SmallRoad(tmp_path, vendor.url) as road:
        made = await road.send(request("/v1/responses", {"model": "gpt-4o-mini", "input": "Hello."}))
        assert made.status == 200, made.body
        identity = made.json["id"]
        fetched = await road.send(raw(f"/v1/responses/{identity}", "authorization: Bearer key-acme", method="GET"))
        foreign = await road.send(raw(f"/v1/responses/{identity}", "authorization: Bearer key-globex", method="GET"))
        entry = (await road.entries_of(fetched))[-1]
        deleted = await road.send(raw(f"/v1/responses/{identity}", "authorization: Bearer key-acme", method="DELETE"))
        again = await road.send(raw(f"/v1/responses/{identity}", "authorization: Bearer key-acme", method="GET"))
    assert (fetched.status, fetched.json["id"]) == (200, identity)
    assert fetched.headers["x-tollbook-cost-usd"] == "0"
    assert (foreign.status, foreign.code) == (404, "object_unknown")
    assert entry.request.about == made.headers["x-tollbook-request-id"]
    assert entry.request.model_asked is None
    assert entry.settlement is not None
    assert (entry.settlement.usage, entry.settlement.basis, entry.settlement.billable) == (None, "computed", False)
    assert deleted.status == 200
    assert (again.status, again.code) == (404, "object_unknown")


async def test_a_continued_response_goes_to_the_vendor_that_keeps_it(vendor: Simulator, tmp_path: Path) -> None:
    """A request that names an object is bound to its vendor key; a model of another vendor is 400."""
    async with SmallRoad(tmp_path, vendor.url) as road:
        made = await road.send(request("/v1/responses", {"model": "gpt-4o-mini", "input": "Hello."}))
        body = {"input": "And?", "previous_response_id": made.json["id"]}
        continued = await road.send(request("/v1/responses", body | {"model": "around"}))
        entry = await road.last()
        elsewhere = await road.send(request("/v1/responses", body | {"model": "nowhere"}))
    assert continued.status == 200, continued.body
    assert continued.headers["x-tollbook-route"] == "openai/gpt-4o-mini"
    assert entry.close is not None
    assert entry.close.reason == "vendor_object"
    assert (elsewhere.status, elsewhere.code) == (400, "object_elsewhere")


async def test_lists_show_a_tenant_its_own(vendor: Simulator, tmp_path: Path) -> None:
    """A list is answered from our record: the vendor is not asked, and nothing of another tenant is in it."""
    before = len(vendor.books.received)
    async with SmallRoad(tmp_path, vendor.url) as road:
        await put_on_record(road, "globex", FOREIGN, "openai")
        await put_on_record(road, "acme", OWN, "openai")
        for path in ("/v1/files", "/v1/batches", "/v1/vector_stores", "/v1/messages/batches"):
            reply = await road.send(raw(path, "authorization: Bearer key-acme", method="GET"))
            assert [one["id"] for one in reply.json["data"]] == [OWN], path
        entry = await road.last()
    assert len(vendor.books.received) == before
    assert entry.close is not None
    assert (entry.close.outcome, entry.close.attempts) == ("ok", 0)


async def test_objects_of_two_keys_and_too_many_are_refused(vendor: Simulator, tmp_path: Path) -> None:
    """One request goes to one vendor key, and names no more than can be looked up."""
    async with SmallRoad(tmp_path, vendor.url) as road:
        road.object_table.keep("acme", [Owned("file", "f1", "openai", "main", "r", 1, 1)])
        road.object_table.keep("acme", [Owned("file", "f2", "nowhere", "main", "r", 1, 1)])
        for files, code in ((["f1", "f2"], "objects_of_two_keys"), (["f1"] * (NAMED_LIMIT + 1), "too_many_objects")):
            content = [{"type": "input_file", "file_id": name} for name in files]
            body = {"model": "gpt-4o-mini", "input": [{"role": "user", "content": content}]}
            reply = await road.send(request("/v1/responses", body))
            assert (reply.status, reply.code) == (400, code)


async def test_without_the_table_nothing_is_sent(vendor: Simulator, tmp_path: Path) -> None:
    """What cannot be looked up is 503, not passed on."""
    before = len(vendor.books.received)
    async with SmallRoad(tmp_path, vendor.url) as road:
        road.object_table.close()
        got = await road.send(raw("/v1/responses/r1", "authorization: Bearer key-acme", method="GET"))
        listed = await road.send(raw("/v1/files", "authorization: Bearer key-acme", method="GET"))
    assert (got.status, got.code) == (listed.status, listed.code) == (503, "objects_unavailable")
    assert len(vendor.books.received) == before


async def test_nothing_is_sent_for_a_client_that_left_during_the_look_up(vendor: Simulator, tmp_path: Path) -> None:
    """A client that is gone before its object was found gets no attempt."""
    before = len(vendor.books.received)
    async with SmallRoad(tmp_path, vendor.url) as road:
        road.object_table.keep("acme", [Owned("response", "r1", "openai", "main", "r", 1, 1)])
        hold = threading.Event()
        road.objects._thread.submit(hold.wait, 5)
        client = await road.connect()
        client.send(raw("/v1/responses/r1", "authorization: Bearer key-acme", method="GET"))
        await road.until(lambda: road.objects._tasks)
        client.cut()
        await road.until(lambda: not road.road.connections)
        hold.set()
        await road.until(lambda: not road.objects._tasks)
        assert road.entries == []
    assert len(vendor.books.received) == before


async def test_an_operation_without_a_vendor_of_its_format_is_refused(vendor: Simulator, tmp_path: Path) -> None:
    """Where no vendor speaks a format, its objects cannot be made."""
    async with SmallRoad(tmp_path, vendor.url) as road:
        reply = await road.send(raw("/openai/v1/conversations", "authorization: Bearer key-acme", body=b"{}"))
    assert (reply.status, reply.code) == (404, "no_vendor")


def request(path: str, body: dict[str, Any]) -> bytes:
    return raw(path, "authorization: Bearer key-acme", body=json.dumps(body).encode())
