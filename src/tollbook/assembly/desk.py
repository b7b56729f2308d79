"""The desk process: answers `/tollbook/v1/*` from the ledger, read-only, for the tenant that a worker vouches for; and
follows the work that goes on at vendors."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tollbook.assembly.boot import Channel, DeskBoot, Vault, receive
from tollbook.assembly.child import say
from tollbook.assembly.operator import RELOAD, Operator
from tollbook.assembly.tenant_cases import Claim, TenantCases
from tollbook.core.clock import SECOND, now
from tollbook.core.faults import BadInput, Fault, NotFound
from tollbook.core.identity import instant_of, is_request_id
from tollbook.ledger.reader import Reader
from tollbook.ledger.trace import TENANT, trace

if TYPE_CHECKING:
    from tollbook.assembly.following import Follower

PENDING_SECONDS: Final = 1.0
"""How long a request of one's own that the book has not reached yet is waited for."""
POLL_SECONDS: Final = 0.1
RECENT: Final = 3600 * SECOND


class Desk:
    """The API's handlers. A request id of another tenant and one that does not exist are the same 404."""

    def __init__(self, root: Path) -> None:
        self._root: Final = root
        self._reader: Final = Reader(root)

    async def request(self, request: Request) -> Response:
        """`GET /tollbook/v1/requests/{id}`: the trace object in the tenant's view."""
        request_id = request.path_params["id"]
        if not is_request_id(request_id):
            return _fault(404, "request_unknown", f"there is no request {request_id[:64]!r}")
        tenant = request.headers["x-tollbook-tenant"]
        limited = request.headers.get("x-tollbook-workloads")
        workloads = None if limited is None else limited.split(",")
        until = asyncio.get_running_loop().time() + PENDING_SECONDS
        while True:
            try:
                found = await asyncio.to_thread(
                    trace, self._reader, request_id, view=TENANT, tenant=tenant, workloads=workloads
                )
            except NotFound:
                if asyncio.get_running_loop().time() >= until:
                    return _not_there(request_id)
                await asyncio.sleep(POLL_SECONDS)
            else:
                return JSONResponse(found)

    async def open_dispute(self, request: Request) -> Response:
        """`POST /tollbook/v1/disputes`: a tenant disputes a request of its own."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=Claim)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
            return _fault(400, "bad_request", f"the body is no claim: {fault}")
        return await self._about_cases(lambda view: view.open(wanted), request, 201)

    async def disputes(self, request: Request) -> Response:
        """`GET /tollbook/v1/disputes` and `/tollbook/v1/disputes/{case}`: the tenant's own cases."""
        case = request.path_params.get("case")
        return await self._about_cases(lambda view: view.read(case), request, 200)

    async def _about_cases(self, act: Callable[[TenantCases], object], request: Request, status: int) -> Response:
        limited = request.headers.get("x-tollbook-workloads")
        view = TenantCases(
            self._root,
            self._reader,
            request.headers["x-tollbook-tenant"],
            request.headers["x-tollbook-key"],
            None if limited is None else limited.split(","),
        )
        try:
            return JSONResponse(await asyncio.to_thread(act, view), status_code=status)
        except NotFound as fault:
            return _fault(404, "request_unknown" if status == 201 else "case_unknown", str(fault))
        except BadInput as fault:
            return _fault(400, "bad_request", str(fault))


class Following:
    """The follower of work at vendors, begun once questions are answered: what it needs takes a second to load."""

    def __init__(self, root: Path, vault: Vault) -> None:
        self._root: Final = root
        self._vault = vault
        self._follower: Follower | None = None

    def use(self, vault: Vault) -> None:
        """Go by another configuration."""
        self._vault = vault
        if self._follower is not None:
            self._follower.use(vault.settings, vault.by_key())

    async def run(self, server: uvicorn.Server) -> None:
        """Follow until cancelled."""
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(POLL_SECONDS)
        self._follower = await asyncio.to_thread(self._make)
        self.use(self._vault)
        try:
            await self._follower.run()
        except Fault as fault:
            say(f"work at vendors is not followed: {fault}")

    def _make(self) -> "Follower":
        from tollbook.assembly.following import Follower

        return Follower(self._root)


def application(root: Path, operator: Operator) -> Starlette:
    """The desk as an ASGI application."""
    desk = Desk(root)
    return Starlette(
        routes=[
            Route("/tollbook/v1/requests/{id}", desk.request, methods=["GET"]),
            Route("/tollbook/v1/disputes", desk.open_dispute, methods=["POST"]),
            Route("/tollbook/v1/disputes", desk.disputes, methods=["GET"]),
            Route("/tollbook/v1/disputes/{case}", desk.disputes, methods=["GET"]),
            Route(RELOAD, operator.reload, methods=["POST"]),
        ],
        exception_handlers={404: _unknown_route, duckdb.Error: _behind, Fault: _behind},
    )


def _fault(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _not_there(request_id: str) -> Response:
    """An id minted lately may still be on its way into the ledger."""
    if 0 <= now() - instant_of(request_id) < RECENT:
        return JSONResponse({"request": {"id": request_id}, "state": "pending"}, status_code=202)
    return _fault(404, "request_unknown", f"there is no request {request_id!r}")


def _unknown_route(request: Request, fault: Exception) -> Response:
    return _fault(404, "route_unknown", f"no route {request.url.path[:128]!r}")


def _behind(request: Request, fault: Exception) -> Response:
    return _fault(503, "book_behind", "the book cannot be read at the moment")


async def _serve(boot: DeskBoot, control: socket.socket) -> None:
    path = Path(boot.root) / "run" / "desk.sock"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(umask)
    ours = path.stat().st_ino
    following = Following(Path(boot.root), boot.vault)
    operator = Operator(following.use)
    config = uvicorn.Config(
        application(Path(boot.root), operator), log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    channel = await Channel.over(control)

    async def leave_with_supervisor() -> None:
        await operator.listen(channel)
        server.should_exit = True

    watching = asyncio.create_task(leave_with_supervisor())
    follow = asyncio.create_task(following.run(server))

    def leave_with_follower(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            server.should_exit = True  # a desk that follows nothing is started again

    follow.add_done_callback(leave_with_follower)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    await server.serve(sockets=[listener])
    watching.cancel()
    follow.cancel()
    (fault,) = await asyncio.gather(follow, return_exceptions=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == ours:  # else another desk has put its own there by now
            path.unlink()
    if isinstance(fault, Exception):
        raise fault


def main() -> None:
    """Entry point of `python -m tollbook.assembly.desk CONTROL` (a file descriptor)."""
    control = socket.socket(fileno=int(sys.argv[1]))
    asyncio.run(_serve(receive(control, DeskBoot), control))


if __name__ == "__main__":
    main()
