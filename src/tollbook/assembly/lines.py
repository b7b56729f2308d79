"""The lines of a batch's output: told apart as they stream in, and each made the entry that settles it. Nothing of what
was asked or answered is kept."""

from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from tollbook.core.charging import Bearers
from tollbook.core.clock import SECOND
from tollbook.core.identity import derived_request_id
from tollbook.core.settings import Settings
from tollbook.gateway import charging
from tollbook.gateway.batches import FollowedBatch
from tollbook.gateway.rating import Conditions, rated
from tollbook.journal.entry import Attempt, Close, Rating, RequestEntry, Settlement, encode_payload
from tollbook.pricing.rate import Rater
from tollbook.providers.batch import BatchFormat, BatchLine, BatchState

LINE_LIMIT: Final = 64 * 1024 * 1024
"""Longest line that is read; a longer one is settled as one that cannot be read."""
CLOCK_SLACK: Final = 3600 * SECOND
"""How far a vendor's clock may be off ours before what it says of a line's time is not believed."""
BATCH: Final = "batch"


class Piece(NamedTuple):
    """One line of a file, by its first byte; None for one that was longer than is read."""

    offset: int
    data: bytes | None


async def split(parts: AsyncIterator[bytes], limit: int = LINE_LIMIT) -> AsyncIterator[list[Piece]]:
    """The lines of a file, those that each part of it completes together. Empty lines are none."""
    held = bytearray()
    start = size = 0
    async for part in parts:
        pieces: list[Piece] = []
        *ended, rest = part.split(b"\n")
        for end in ended:
            size += len(end)
            pieces.append(Piece(start, bytes(held + end) if size <= limit else None))
            start, size = start + size + 1, 0
            held.clear()
        size += len(rest)
        held += rest
        if size > limit:
            held.clear()
        if pieces := [piece for piece in pieces if piece.data is None or piece.data.strip()]:
            yield pieces
    if size > limit or held.strip():
        yield [Piece(start, None if size > limit else bytes(held))]


class Settling:
    """Makes the entries of one batch's lines. `digest` makes the keyed digest of the client's name for a line, under
    the key of the year in which the batch was made, so that a line has the same one whenever it is read."""

    def __init__(
        self,
        batch: FollowedBatch,
        state: BatchState,
        form: BatchFormat,
        settings: Settings,
        bearers: Bearers,
        rater_at: Callable[[int], Rater],
        digest: Callable[[str], str],
    ) -> None:
        made = msgspec.json.decode(b"{" + batch.opening.members + b"}", type=RequestEntry)
        assert made.attempt is not None
        self._opened: Final = batch.opening.recorded
        self._state: Final = state
        self._form: Final = form
        self._party: Final = settings.vendors[made.attempt.vendor].billing
        self._rules: Final = settings.charging_rules.id
        self._bearers: Final = bearers
        self._rater_at: Final = rater_at
        self._digest: Final = digest
        endpoint, self._adapter = form.operation(state.endpoint)
        self._made: Final = made.request
        self._request: Final = replace(
            made.request,
            endpoint=endpoint,
            parent_request_id=made.request.id,
            stream=False,
            client_request_id=None,
            idempotency_key=None,
            repeat_of=None,
            about=None,
        )
        self._attempt: Final[Attempt] = replace(
            made.attempt, number=1, reason="first", because=None, body_bytes=None, output_limit=None
        )

    def settle(self, file: str, piece: Piece) -> tuple[str, bytes]:
        """The digest of a line's name, and the payload of its entry. One without a name is named by its place."""
        line = self._form.line(piece.data or b"", self._state.endpoint)
        digest = self._digest(line.name if line.name is not None else f"\n{file}\n{piece.offset}")
        return digest, encode_payload(self._entry(line, digest))

    def _entry(self, line: BatchLine, digest: str) -> RequestEntry:
        reading, outcome = line.reading, line.outcome
        reported = reading.usage is not None and reading.basis in ("provider_reported", "computed")
        usage = reading.usage if reported else None
        billable = True if usage or outcome == "ok" else None if outcome == "truncated" else False
        basis = reading.basis if usage is not None else "computed" if billable is False else "unreported"
        cause = charging.cause(outcome, None, gone=False, passed_on=True)
        model = self._attempt.model_sent or reading.model_served or ""
        attempt = replace(self._attempt, model_sent=model, line=digest)
        settlement = Settlement(
            opened=self._instant(line),
            sequence=-1,
            outcome=outcome,
            basis=basis,
            status=line.status,
            vendor_request_id=reading.request_id,
            response_id=reading.response_id,
            model_served=reading.model_served,
            region=reading.region,
            tier=reading.tier,
            speed=reading.speed,
            processing=BATCH,
            usage=usage,
            shares=list(reading.shares) or None if usage is not None else None,
            raw=Raw(reading.raw) if reading.raw is not None else None,  # type: ignore[arg-type]
            billable=billable,
            borne_by=self._bearers[outcome, cause],
            error=reading.error,
            flags=reading.flags or None,
            vendor_cost=reading.vendor_cost,
            provider=reading.provider,
            charging=self._rules,
        )
        route = f"{attempt.vendor}/{model}" if model else attempt.vendor
        return RequestEntry(
            request=replace(self._request, id=derived_request_id(self._made.id, digest)),
            attempt=attempt,
            settlement=settlement,
            rating=self._rating(settlement, model),
            close=Close(outcome=outcome, basis=basis, route=route, reason=BATCH),
        )

    def _instant(self, line: BatchLine) -> int:
        """When the vendor did a line: as it says, if that lies within the batch; else when the batch ended."""
        ended = self._state.at if self._state.at is not None else self._opened
        if line.at is not None and self._opened - CLOCK_SLACK <= line.at <= max(ended, self._opened) + CLOCK_SLACK:
            return line.at
        return ended

    def _rating(self, settlement: Settlement, model: str) -> Rating | None:
        rater = self._rater_at(settlement.opened)
        if settlement.usage is None:
            free = settlement.billable is False
            return Rating(book=rater.book.digest, adapter=self._adapter, charges=[]) if free else None
        conditions = Conditions(
            party=self._party,
            at=settlement.opened,
            tier=settlement.tier,
            region=settlement.region,
            speed=settlement.speed,
            processing=BATCH,
            tenant=self._request.tenant,
            tenant_bears=settlement.borne_by == "tenant",
        )
        served = settlement.model_served or model
        return rated(rater, self._adapter, served, settlement.usage, conditions, settlement.shares or ()).rating
