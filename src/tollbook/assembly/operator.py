"""What the operator may ask through the desk's unix socket, which only this user's processes reach: a reload.

Workers pass `/tollbook/v1/*` and nothing else, with the tenant they proved: what names one is no operator.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import to_builtins
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tollbook.assembly.boot import Channel, FromDesk, ToDesk, Vault
from tollbook.assembly.reloading import Reloaded

RELOAD: Final = "/tollbook/operator/v1/reload"
ANSWER_SECONDS: Final = 30.0


class Operator:
    """The desk's side of the channel to the supervisor. One question at a time; `use` is given another configuration
    when there is one."""

    def __init__(self, use: Callable[[Vault], None]) -> None:
        self._use: Final = use
        self._channel: Channel | None = None
        self._turn: Final = asyncio.Lock()
        self._answers: Final[asyncio.Queue[Reloaded]] = asyncio.Queue()

    async def listen(self, channel: Channel) -> None:
        """Take the supervisor's answers until it is gone."""
        self._channel = channel
        while (answer := await channel.receive(ToDesk)) is not None:
            if answer.vault is not None:
                self._use(answer.vault)
            if answer.reloaded is not None:
                self._answers.put_nowait(answer.reloaded)

    async def reload(self, request: Request) -> Response:
        """`POST`: read the configuration anew; 200 with what is in force, 422 with why nothing was changed."""
        if "x-tollbook-tenant" in request.headers or self._channel is None:
            return _fault(404, "route_unknown", f"no route {RELOAD!r}")
        async with self._turn:
            while not self._answers.empty():
                self._answers.get_nowait()  # the answer to one who did not wait for it
            self._channel.send(FromDesk(reload=True))
            try:
                done = await asyncio.wait_for(self._answers.get(), ANSWER_SECONDS)
            except TimeoutError:
                return _fault(503, "no_answer", "the supervisor has not answered; look at its log")
        if done.fault is not None:
            return _fault(422, done.fault, done.message or "")
        shown = {name: value for name, value in to_builtins(done).items() if name not in ("fault", "message")}
        return JSONResponse(shown)


def _fault(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
