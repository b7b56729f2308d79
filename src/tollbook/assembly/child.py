"""One child process of the supervisor: started, told what it needs, watched, started again with back-off."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tollbook.assembly.boot import Channel

SETTLED_SECONDS: Final = 2.0
"""A child that lived this long after its start did not die of its start."""
QUICK_DEATHS: Final = 5
LEFT_DOWN_SECONDS: Final = 60.0
TRY_LATER: Final = 75
"""Exit code (EX_TEMPFAIL) of a child that could not begin for a reason that is not its own: a disk that is full, a
former child that still holds the book."""
TRY_LATER_SECONDS: Final = 1.0
BACKOFF_FIRST: Final = 0.05
BACKOFF_LONGEST: Final = 5.0


class Running(Struct):
    """A started process and the channel to it."""

    process: asyncio.subprocess.Process
    channel: Channel
    since: float


async def start(module: str, boot: Struct, descriptors: Sequence[int] = ()) -> Running:
    """Start `python -m module CONTROL [DESCRIPTOR...]` and send it its first message."""
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            str(theirs.fileno()),
            *map(str, descriptors),
            pass_fds=(theirs.fileno(), *descriptors),
            start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor only, which then stops all in order
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    finally:
        theirs.close()
    channel = await Channel.over(ours)
    channel.send(boot)
    return Running(process, channel, time.monotonic())


def terminate(running: Running) -> None:
    """Ask a child to end in order."""
    if running.process.returncode is None:
        running.process.send_signal(signal.SIGTERM)


class Backoff:
    """How long to wait before a child is started again. Five deaths right after the start leave it down a minute."""

    def __init__(self, name: str) -> None:
        self._name: Final = name
        self._quick = 0

    def after(self, running: Running) -> float:
        """Seconds to wait after this death."""
        if running.process.returncode == TRY_LATER:
            return TRY_LATER_SECONDS
        if time.monotonic() - running.since > SETTLED_SECONDS:
            self._quick = 0
            return BACKOFF_FIRST
        self._quick += 1
        if self._quick >= QUICK_DEATHS:
            self._quick = 0
            say(
                f"{self._name} died {QUICK_DEATHS} times right after its start: left down for {LEFT_DOWN_SECONDS:.0f} s"
            )
            return LEFT_DOWN_SECONDS
        return min(BACKOFF_FIRST * (1 << 2 * self._quick), BACKOFF_LONGEST)


def say(text: str) -> None:
    """One line for the operator."""
    print(f"tollbook: {text}", file=sys.stderr, flush=True)  # noqa: T201  the supervisor's log is its standard error
