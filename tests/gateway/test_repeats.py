"""What a client asks again because it got no answer is linked to the first request, and stays a request of its own."""

import asyncio
import contextlib
from typing import Any

import openai
import pytest
from small_road import SmallRoad, request_bytes

from tollbook.core.clock import SECOND
from tollbook.gateway import repeats
from tollbook.journal.entry import Request
from tollbook.simulator import Simulator


async def asked(road: SmallRoad, **options: Any) -> Request:
    """One request to its end, and what the book says was asked."""
    client = await road.connect()
    client.send(request_bytes(**options))
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await client.answer()
    return (await road.last()).request


@pytest.mark.parametrize("fault", ["500", "429", "drop", "cut after=20", "clean_end after=1", "error_event after=1"])
async def test_the_same_body_after_a_failure_is_a_repetition(road: SmallRoad, vendor: Simulator, fault: str) -> None:
    """Linked to the first of them, each with its own id; once it is answered the same body is a new request (B2)."""
    async with road:
        road.parts.health.failed = lambda *_: None  # type: ignore[method-assign]  # the vendor is asked each time
        name, _, options = fault.partition(" ")
        after = {"after": int(options[6:])} if options else {}
        vendor.install(
            [{"do": name, "times": 2, "retry_after": 0} if name == "429" else {"do": name, "times": 2} | after]
        )
        stream = name in ("clean_end", "error_event")
        requests = [await asked(road, text=f"again after {fault}", stream=stream) for _ in range(4)]
        vendor.install([])
    first = requests[0].id
    assert [request.repeat_of for request in requests] == [None, first, first, None]
    assert len({request.id for request in requests}) == 4


async def test_a_key_links_what_its_body_does_not(road: SmallRoad) -> None:
    """An idempotency key that was given back after a failure and comes again is a repetition, whatever it carries."""
    async with road:
        first = await asked(road, text="[[sim fault=503]] x", headers={"idempotency-key": "k2"})
        keyed = await asked(road, text="other words", headers={"idempotency-key": "k2"})
        fresh = await asked(road, text="other words", headers={"idempotency-key": "k3"})
    assert keyed.repeat_of == first.id
    assert fresh.repeat_of is None


async def test_a_client_that_left_and_asks_again_is_linked_while_its_answer_is_drained(road: SmallRoad) -> None:
    """The first request is still being read to its end when the second one comes."""
    async with road:
        client = await road.connect()
        text = "[[sim output=60 chunk_ms=15 chunk_tokens=1]]"
        client.send(request_bytes(text=text, stream=True))
        await client.reader.readexactly(700)
        first = road.entries[0][1].request
        client.cut()
        await asyncio.sleep(0.05)
        assert road.parts.running
        second = await road.ask(text=text, stream=True)
        opened = [entry.request for kind, entry in road.entries if kind == "request.opened"]
    assert second.status == 200
    assert [request.repeat_of for request in opened] == [None, first.id]


async def test_another_tenant_route_or_time_is_no_repetition(road: SmallRoad, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is of tenant, route and body, and is forgotten after ten minutes."""
    async with road:
        first = await asked(road, text="[[sim fault=500]]")
        other = await asked(road, text="[[sim fault=500]]", key="key-globex")
        clock = road.parts.clock
        object.__setattr__(road.parts, "clock", lambda: clock() + (repeats.WINDOW_SECONDS + 1) * SECOND)
        late = await asked(road, text="[[sim fault=500]]")
        object.__setattr__(road.parts, "clock", clock)
    assert first.repeat_of is other.repeat_of is late.repeat_of is None


@pytest.mark.parametrize(("count", "linked"), [("0", False), ("1", True), ("x", False)])
async def test_after_an_error_of_its_own_the_client_has_to_say_that_it_repeats(
    road: SmallRoad, count: str, linked: bool
) -> None:
    """A 4xx is an answer; only a library that counts a retry makes the next one a repetition."""
    async with road:
        first = await asked(road, text="[[sim fault=409]]")
        again = await asked(road, text="[[sim fault=409]]", headers={"x-stainless-retry-count": count})
    assert (again.repeat_of == first.id) is linked


async def test_the_openai_sdk_is_recognised(road: SmallRoad) -> None:
    """Its own retries after a 500 and a 429 are one request and two repetitions of it."""
    async with road:
        base = f"http://127.0.0.1:{road.port}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="key-acme", max_retries=2) as client:
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": "[[sim fault=500]]"}],
                )
        await road.quiet()
        asked = [entry.request for kind, entry in road.entries if kind == "request.opened"]
    assert len(asked) == 3
    assert [request.repeat_of for request in asked] == [None, asked[0].id, asked[0].id]


async def test_what_is_remembered_is_bounded(road: SmallRoad, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, not the newest."""
    monkeypatch.setattr(repeats, "KEPT_LIMIT", 2)
    async with road:
        firsts = [await asked(road, text=f"{number} [[sim fault=500]]") for number in range(4)]
        assert len(road.parts.repeats._kept) == 2
        again = [await asked(road, text=f"{number} [[sim fault=500]]") for number in (3, 0)]
    assert [request.repeat_of for request in again] == [firsts[3].id, None]
