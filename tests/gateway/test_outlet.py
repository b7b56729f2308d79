"""Writes of one turn leave together, in order, and never too late."""

import asyncio

from tollbook.gateway.outlet import GATHERED_LIMIT, Outlet


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closing


async def test_a_turns_writes_leave_together() -> None:
    """In order, once, when the turn is over; those of the next turn by themselves."""
    transport = Transport()
    outlet = Outlet(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    outlet.write(b"a")
    outlet.write(b"b")
    assert transport.writes == []
    await asyncio.sleep(0)
    assert transport.writes == [b"ab"]
    outlet.write(b"c")
    await asyncio.sleep(0)
    assert transport.writes == [b"ab", b"c"]


async def test_much_is_not_gathered() -> None:
    """A long answer goes as it comes: else a client that takes nothing would show only when all of it is in memory."""
    transport = Transport()
    outlet = Outlet(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    for _ in range(3):
        outlet.write(b"x" * (GATHERED_LIMIT // 2 + 1))
    assert [len(data) for data in transport.writes] == [GATHERED_LIMIT + 2]


async def test_what_was_told_is_written_before_the_end() -> None:
    """Flushing writes now, and once; nothing is written to a transport that closes."""
    transport = Transport()
    outlet = Outlet(transport)  # type: ignore[arg-type]  # it is one as far as it is used
    outlet.write(b"a")
    outlet.flush()
    assert transport.writes == [b"a"]
    outlet.write(b"b")
    transport.closing = True
    await asyncio.sleep(0)
    assert transport.writes == [b"a"]
