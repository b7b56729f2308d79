"""The ingest process: takes spans of others in, and acknowledges what is in its own lane and on the disk."""

import asyncio
import hashlib
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tollbook.assembly.boot import Channel, FromDesk, IngestBoot, receive, supervisor_gone
from tollbook.assembly.child import TRY_LATER, say
from tollbook.assembly.lanes import begin
from tollbook.assembly.prices import Raters
from tollbook.core.clock import now
from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.core.settings import Ingest, IngestKey
from tollbook.ingest.answers import Answer, accepted, refused
from tollbook.ingest.entries import Credit, Entry, Writing
from tollbook.ingest.otlp import JSON, PROTOBUF, Received, TooLarge, decode, unpacked
from tollbook.ingest.recent import Recent
from tollbook.journal.book import Book
from tollbook.journal.files import write_whole
from tollbook.journal.lane import Lane
from tollbook.journal.personal import PersonalWriter

HEARTBEAT_SECONDS: Final = 4.0
RETRY_SECONDS: Final = "5"
SPAN: Final = "span.settled"
COUNTS: Final = "ingest.json"
"""File under `run/`: what this process has seen since its start."""


class Door:
    """OTLP/HTTP. One lane, one thread that writes it; an answer goes out after its entries are durable."""

    def __init__(self, boot: IngestBoot, lane: Lane, writing: Writing) -> None:
        ingest = boot.settings.ingest
        assert ingest is not None, "the supervisor starts an ingest only where there is a door"
        self._limit: Final = ingest.body_limit
        self._keys: Final = _keys(ingest, boot.secrets)
        self._lane: Final = lane
        self._writing: Final = writing
        self._recent: Final = Recent()
        self._turn: Final = asyncio.Lock()
        self._root: Final = Path(boot.root)
        self.seen: Final[Counter[str]] = Counter()

    async def traces(self, request: Request) -> Response:
        """`POST /v1/traces`."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        json = kind == JSON
        key = self._keys.get(_hash(request.headers.get("authorization", "")))
        if key is None:
            self.seen["unauthorised"] += 1
            return _response(refused(401, "no ingest key: send authorization: Bearer and one", json=json))
        if kind not in (PROTOBUF, JSON):
            return _response(refused(415, f"send {PROTOBUF} or {JSON}", json=json))
        try:
            received = await self._read(request, kind)
        except TooLarge as fault:
            self.seen["too_large"] += 1
            return _response(refused(413, str(fault), json=json))
        except BadInput as fault:
            self.seen["unreadable"] += 1
            return _response(refused(400, str(fault), json=json))
        try:
            await self._take(received, key)
        except JournalUnavailable:
            return _response(refused(503, "the journal cannot be written; send again", json=json), RETRY_SECONDS)
        return _response(accepted(received.rejected, json=json))

    async def _read(self, request: Request, kind: str) -> Received:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._limit:
                raise TooLarge(f"the body is larger than {self._limit} bytes; send smaller batches")
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return await asyncio.to_thread(lambda: decode(unpacked(bytes(body), encoding, self._limit), kind))

    async def _take(self, received: Received, key: IngestKey) -> None:
        """Put the spans on record. Raises JournalUnavailable; what was sent is then sent again."""
        self.seen["received"] += len(received.spans) + received.rejected
        self.seen["rejected"] += received.rejected
        credit = Credit(key.name, key.tenant, key.workload)
        async with self._turn:
            await asyncio.to_thread(self._write, received, credit)

    def _write(self, received: Received, credit: Credit) -> None:
        written: list[Entry] = []
        for entry in self._writing.entries(received.spans, credit, now(), self.seen):
            if self._recent.knows(credit.tenant, entry):
                self.seen["repeated"] += 1
                continue
            self._lane.append(SPAN, entry.payload)
            written.append(entry)
        self._lane.sync()
        self._recent.add(credit.tenant, written)  # only what is durable is known: a repetition is answered by it
        write_whole(self._root / "run" / COUNTS, msgspec.json.encode(dict(self.seen), order="sorted"))

    async def beat(self, personal: PersonalWriter, server: uvicorn.Server) -> None:
        """Keep the lane alive and hand personal values over; end the process when the lane is dead."""
        beats = 0
        while self._lane.dead is None:
            await asyncio.sleep(0.25)
            personal.rotate()
            beats += 1
            if beats % int(HEARTBEAT_SECONDS * 4) == 0:
                async with self._turn:
                    await asyncio.to_thread(self._lane.heartbeat)
        server.should_exit = True


def _keys(ingest: Ingest, secrets: dict[str, str]) -> dict[bytes, IngestKey]:
    """The keys by the hash of the header that presents them."""
    return {_hash(f"Bearer {secrets[key.name]}"): key for key in ingest.keys}


def _hash(header: str) -> bytes:
    scheme, _, secret = header.partition(" ")
    return hashlib.sha256(f"{scheme.lower()} {secret.strip()}".encode()).digest()


def _response(answer: Answer, retry_after: str | None = None) -> Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Response(answer.body, answer.status, headers, media_type=answer.kind)


async def _serve(boot: IngestBoot, control: socket.socket, listener: socket.socket) -> int:
    book = Book.open(Path(boot.root))
    first = begin(book.id, boot.lane, "ingest", boot.release, boot.settings.digest, boot.heads)
    journal = boot.settings.journal
    lane = Lane.create(
        book.lane_directory(boot.lane),
        first,
        ballast=0,
        segment_bytes=journal.segment_bytes,
        segment_age_s=journal.segment_age,
    )
    personal = PersonalWriter(book.root, boot.lane)
    raters = Raters(book)
    door = Door(boot, lane, Writing(raters.at, personal.digest))
    app = Starlette(routes=[Route("/v1/traces", door.traces, methods=["POST"])])
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=5)
    )
    channel = await Channel.over(control)

    async def leave_with_supervisor() -> None:
        await channel.receive(FromDesk)
        server.should_exit = True

    watching = asyncio.create_task(leave_with_supervisor())
    beating = asyncio.create_task(door.beat(personal, server))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    await server.serve(sockets=[listener])
    watching.cancel()
    beating.cancel()
    died = lane.dead is not None
    personal.close()
    lane.close("stopped")
    return TRY_LATER if died else 0


def main() -> None:
    """Entry point of `python -m tollbook.assembly.ingesting CONTROL LISTENER` (file descriptors)."""
    control = socket.socket(fileno=int(sys.argv[1]))
    listener = socket.socket(fileno=int(sys.argv[2]))
    listener.setblocking(False)
    boot = receive(control, IngestBoot)
    if supervisor_gone(control):
        return
    try:
        sys.exit(asyncio.run(_serve(boot, control, listener)))
    except JournalUnavailable as fault:
        say(f"spans cannot be put on record: {fault}")
        sys.exit(TRY_LATER)


if __name__ == "__main__":
    main()
