"""Limits of tenants, workloads, keys, models and vendor keys: what is above is 429, on record, and never sent."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from real_stage import CONFIG, GLOBEX, RealStage
from small_road import SmallRoad, request_bytes

from tollbook.simulator import Simulator

OLD = "limits: {{concurrent: 2}}"
QUICK = "[[sim input=5 output=3]]"


def limited(directory: Path, vendor: Simulator, limits: str) -> SmallRoad:
    """A road on which tenant initech has such limits."""
    return SmallRoad(
        directory, vendor.url, edits={OLD: "limits: {{" + limits.replace("{", "{{").replace("}", "}}") + "}}"}
    )


@pytest.mark.parametrize(
    ("limits", "whose"),
    [
        ("requests_per_minute: 3", "tenant initech"),
        ("keys: {initech-prod: {requests_per_minute: 3}}", "key initech-prod"),
        ("models: {gpt-4o-mini: {requests_per_minute: 3}}", "model gpt-4o-mini"),
    ],
)
async def test_requests_above_the_limit_are_not_sent(
    vendor: Simulator, tmp_path: Path, limits: str, whose: str
) -> None:
    """The fourth of a minute is 429 with whose limit it is and when to come again; it is in the book as not sent, the
    vendor never sees it, and nobody else is held up."""
    async with limited(tmp_path, vendor, limits) as road:
        for _ in range(3):
            assert (await road.ask(key="key-initech")).status == 200
        before = len(vendor.books.received)
        refused = await road.ask(key="key-initech")
        assert (refused.status, refused.code) == (429, "limit_requests")
        assert whose in refused.json["error"]["message"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        (entry,) = await road.entries_of(refused)
        assert entry.close is not None
        assert (entry.close.outcome, entry.close.error, entry.close.attempts) == ("not_sent", "limit_requests", 0)
        assert entry.attempt is None
        assert len(vendor.books.received) == before
        assert (await road.ask(key="key-acme")).status == 200


async def test_an_error_is_in_the_clients_own_format(vendor: Simulator, tmp_path: Path) -> None:
    """Anthropic's clients are told in Anthropic's words."""
    async with limited(tmp_path, vendor, "requests_per_minute: 1") as road:
        assert (await road.ask("claude-haiku-4-5", key="key-initech")).status == 200
        refused = await road.ask("claude-haiku-4-5", key="key-initech")
    assert refused.status == 429
    assert refused.json["type"] == "error"
    assert refused.json["error"]["type"] == "rate_limit_error"


async def test_a_model_that_is_not_limited_goes_on(vendor: Simulator, tmp_path: Path) -> None:
    """A limit on one model leaves the others alone."""
    async with limited(tmp_path, vendor, "models: {gpt-4o-mini: {requests_per_minute: 1}}") as road:
        assert (await road.ask(key="key-initech")).status == 200
        assert (await road.ask(key="key-initech")).status == 429
        assert (await road.ask("smart", key="key-initech")).status == 200


async def test_tokens_are_held_and_then_counted(vendor: Simulator, tmp_path: Path) -> None:
    """A request that may use more than is left is refused; one under way holds what it may use; afterwards what it did
    use counts, which is less."""
    async with limited(tmp_path, vendor, "tokens_per_minute: 1000") as road:
        refused = await road.ask(key="key-initech", max_tokens=1_000)
        assert (refused.status, refused.code) == (429, "limit_tokens")
        slow = "[[sim input=10 output=20 first_byte_ms=300]]"
        client = await road.connect()
        client.send(request_bytes(text=slow, key="key-initech", max_tokens=900))
        await road.until(lambda: road.parts.running)
        assert (await road.ask(key="key-initech", max_tokens=300)).code == "limit_tokens"
        assert (await client.answer()).status == 200
        await road.quiet()
        assert (await road.ask(key="key-initech", max_tokens=900)).status == 200
        big = "[[sim input=800 output=150]]"
        assert (await road.ask(text=big, key="key-initech", max_tokens=200)).status == 200
        assert (await road.ask(key="key-initech", max_tokens=10)).code == "limit_tokens"


async def test_streams_at_once(vendor: Simulator, tmp_path: Path) -> None:
    """Streams have a limit of their own; what is not streamed passes; the end of one, however it ends, makes room."""
    text = "[[sim output=40 chunk_ms=20 chunk_tokens=1]]"
    async with limited(tmp_path, vendor, "streams: 2") as road:
        clients = [await road.connect() for _ in range(2)]
        for client in clients:
            client.send(request_bytes(text=text, key="key-initech", stream=True))
        await road.until(lambda: len(road.parts.running) == 2)
        assert (await road.ask(text=text, key="key-initech", stream=True)).code == "limit_streams"
        assert (await road.ask(key="key-initech")).status == 200
        clients[0].cut()
        assert (await clients[1].answer()).status == 200
        await road.quiet()
        assert (await road.ask(text=text, key="key-initech", stream=True)).status == 200


async def test_what_was_refused_or_failed_holds_nothing(vendor: Simulator, tmp_path: Path) -> None:
    """Requests that end badly, in every way there is here, leave no count under way behind."""
    async with limited(tmp_path, vendor, "tokens_per_minute: 1000000, concurrent: 100, streams: 100") as road:
        scope = road.parts.counters.scope("tenant", "initech")
        for text in ("[[sim status=500]]", "[[sim status=429]]", "[[sim cut=after_headers]]"):
            await road.ask(text=text, key="key-initech")
        await road.ask("nowhere", key="key-initech")
        await road.ask("private", key="key-initech")
        client = await road.connect()
        client.send(request_bytes(text="[[sim output=400 chunk_ms=5]]", key="key-initech", stream=True))
        await road.until(lambda: road.parts.running)
        client.cut()
        await road.quiet()
        used = scope.used(road.parts.clock())
        assert (used.running, used.streams, used.held) == (0, 0, 0)


async def test_a_vendor_key_is_shared_by_weight(vendor: Simulator, tmp_path: Path) -> None:
    """One tenant that presses on takes what nobody needs, and no more; another that comes gets through; what is above
    is 429 and not sent."""
    key = '{{name: main, secret: "{secret}"'
    edits = {
        'v1", keys: [' + key + "}}]}}\n  claude": 'v1", keys: [' + key + ", requests_per_minute: 20}}]}}\n  claude",
        "    limits: {{concurrent: 2}}\n": "",
    }
    async with SmallRoad(tmp_path, vendor.url, edits=edits) as road:
        pressed = [(await road.ask(key="key-initech")).status for _ in range(40)]
        taken = pressed.count(200)
        assert taken == 18
        assert set(pressed) == {200, 429}
        assert (await road.ask(key="key-acme")).status == 200
        refused = await road.ask(key="key-initech")
        assert (refused.status, refused.code) == (429, "vendor_share")
        assert (await road.last()).close.outcome == "not_sent"  # type: ignore[union-attr]


async def test_another_target_serves_while_a_vendor_key_is_used_up(vendor: Simulator, tmp_path: Path) -> None:
    """Where the model has a further target, the first attempt or the retry goes there at once."""
    edits = {
        '127.0.0.1:1/v1", keys: [{{name: main, secret: "{secret}"}}]': (
            '127.0.0.1:1/v1", keys: [{{name: main, secret: "{secret}", requests_per_minute: 2}}]'
        )
    }
    async with SmallRoad(tmp_path, vendor.url, edits=edits) as road:
        routes = [(await road.ask("around")).headers["x-tollbook-route"] for _ in range(3)]
    assert routes == ["nowhere/gpt-4o>openai/gpt-4o-mini", "openai/gpt-4o-mini", "openai/gpt-4o-mini"]


def test_workers_keep_one_limit_together(tmp_path: Path) -> None:
    """Two worker processes let through what the limit says, whichever of them is asked."""
    config = CONFIG.replace("gateway: {", "gateway: {workers: 2, ")
    assert "  globex: {" in config
    config = config.replace("  globex: {", "  globex: {limits: {requests_per_minute: 50, concurrent: 40}, ")
    with RealStage(tmp_path, config) as stage:

        def ask(_: int) -> int:
            connection = stage.connect()
            body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": QUICK}]})
            connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {GLOBEX}"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status

        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(ask, range(100)))
    assert 50 <= statuses.count(200) <= 52
    assert statuses.count(429) == 100 - statuses.count(200)
