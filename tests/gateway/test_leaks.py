"""Nothing of a request stays in a worker when it is over: objects are counted, kind by kind."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from small_road import SmallRoad, request_bytes

from tollbook.simulator import Simulator

ROUNDS = 150
PATIENCE = 50
"""How many tenths of a second what is left over has to go."""


async def _whole(road: SmallRoad, number: int) -> None:
    await road.ask(text=f"Hello {number}.")


async def _streamed(road: SmallRoad, number: int) -> None:
    await road.ask("claude-haiku-4-5", f"Hello {number}.", stream=True)


async def _retried(road: SmallRoad, number: int) -> None:
    await road.ask("smart", f"Hello {number}. [[sim fault=503 times=2]]")


async def _refused(road: SmallRoad, number: int) -> None:
    await road.ask("no-such-model", f"Hello {number}.")


async def _left(road: SmallRoad, number: int) -> None:
    client = await road.connect()
    client.send(request_bytes(text=f"Hello {number}. [[sim chunk_ms=1]]", stream=True))
    await client.reader.read(20)
    client.cut()


async def _left_before(road: SmallRoad, number: int) -> None:
    client = await road.connect()
    client.send(request_bytes(text=f"Hello {number}. [[sim first_byte_ms=5]]"))
    await asyncio.sleep(0.002)
    client.cut()


async def _cut(road: SmallRoad, number: int) -> None:
    client = await road.connect()
    client.send(request_bytes(text=f"Hello {number}. [[sim fault=cut after=1]]", stream=True))
    await client.reader.read()


async def _keyed(road: SmallRoad, number: int) -> None:
    await road.ask(text="Hello.", headers={"idempotency-key": f"key {number % 7}"})


WAYS: dict[str, Callable[[SmallRoad, int], Awaitable[None]]] = {
    "whole": _whole,
    "streamed": _streamed,
    "retried": _retried,
    "refused": _refused,
    "left": _left,
    "left before": _left_before,
    "cut": _cut,
    "keyed": _keyed,
}

KEPT_ON_PURPOSE = {"_First": 2}
"""What is remembered of a request that was not answered, within bounds, so many for each: see `gateway/repeats.py`."""


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_nothing_of_a_request_stays(road: SmallRoad, vendor: Simulator, way: str) -> None:
    """After as many requests again there are no more objects of any kind than before, but for the known few."""
    async with road:
        before = await _after(road, vendor, way, 0)
        left = _more(await _after(road, vendor, way, 1), before)
        for _ in range(PATIENCE):  # what only takes its time on a busy machine is not a leak
            if left:
                left = _more(await _counted(), before)
    assert not left, left


async def _after(road: SmallRoad, vendor: Simulator, way: str, turn: int) -> Counter[str]:
    """The objects there are after a turn of requests."""
    for number in range(ROUNDS):
        await WAYS[way](road, turn * ROUNDS + number)
        for client in road.clients:
            client.cut()
        road.clients.clear()
    await road.quiet()
    vendor.reset()
    return await _counted()


async def _counted() -> Counter[str]:
    await asyncio.sleep(0.1)
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects())


def _more(now: Counter[str], before: Counter[str]) -> dict[str, int]:
    """What there is more of now, but for what is kept on purpose."""
    return {
        name: grown
        for name, count in now.items()
        if (grown := count - before[name]) > KEPT_ON_PURPOSE.get(name, 1 / 3) * ROUNDS
    }
