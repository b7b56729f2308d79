"""Spans of inferences as entries of the journal, rated."""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, NamedTuple

from tollbook.core.clock import SECOND
from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.identity import derived_request_id
from tollbook.dialects.read import read
from tollbook.dialects.reading import Reading
from tollbook.dialects.recognise import restates
from tollbook.dialects.span import Span
from tollbook.gateway.rating import Conditions, rated
from tollbook.journal.entry import (
    Attempt,
    Close,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    SpanEvidence,
    encode_payload,
)
from tollbook.pricing.rate import Rater

ENDPOINT: Final = "otlp.span"
_OLDEST: Final = 400 * 86_400 * SECOND
_AHEAD: Final = 86_400 * SECOND
_TEXT: Final = 256


class Credit(NamedTuple):
    """For whom an ingest key speaks."""

    name: str
    tenant: str
    workload: str | None = None


class Entry(NamedTuple):
    """The payload of an entry, what names its span, and the digest of what was read of it."""

    payload: bytes
    span: tuple[str, str]
    content: str


class Writing:
    """Makes entries. `rater_at` gives the prices in force at an instant, `digest` the keyed digest of a user."""

    def __init__(self, rater_at: Callable[[int], Rater], digest: Callable[[str, str, str], str]) -> None:
        self._rater_at: Final = rater_at
        self._digest: Final = digest

    def entries(self, spans: Sequence[Span], credit: Credit, now: int, seen: Counter[str]) -> list[Entry]:
        """An entry for each inference among some spans; `seen` counts what the others are."""
        readings = {(span.trace_id, span.span_id): reading for span in spans if (reading := read(span)) is not None}
        parents = {(span.trace_id, span.span_id): span.parent_id for span in spans}
        found = []
        for span in spans:
            reading = readings.get((span.trace_id, span.span_id))
            if reading is None:
                seen["restated" if restates(span) else "other"] += 1
                continue
            seen["inference"] += 1
            found.append(self._entry(span, reading, _enclosing(span, parents, readings.keys()), credit, now))
        return found

    def _entry(self, span: Span, reading: Reading, parent: str | None, credit: Credit, now: int) -> Entry:
        occurred, odd = _instant(span, now)
        content = sha256_hex(canonical_json([span.trace_id, span.span_id, occurred, _plain(reading)]))
        request = Request(
            id=_request_id(occurred, credit.tenant, span),
            tenant=credit.tenant,
            key=credit.name,
            workload=credit.workload,
            endpoint=ENDPOINT,
            model_asked=reading.model_asked,
            stream=reading.stream,
            user=None if reading.user is None else self._digest(credit.tenant, reading.user, "user"),
            traceparent=f"00-{span.trace_id}-{span.span_id}-01",
        )
        model = reading.model_asked or reading.model_served or ""
        outcome = "ok" if reading.error is None else "vendor_error"
        basis = "unreported" if reading.usage is None else "provider_reported"
        settlement = Settlement(
            opened=occurred,
            sequence=-1,
            outcome=outcome,
            basis=basis,
            response_id=reading.response_id,
            model_served=reading.model_served,
            tier=reading.tier,
            usage=reading.usage,
            billable=True if reading.usage is not None else None,
            error=reading.error,
            flags=[*reading.flags, *odd] or None,
        )
        vendor = reading.vendor or ""
        entry = RequestEntry(
            request=request,
            attempt=Attempt(number=1, vendor=vendor, vendor_key="", model_sent=model),
            settlement=settlement,
            rating=self._rating(reading, vendor, model, occurred, credit.tenant),
            close=Close(outcome=outcome, basis=basis, route=f"{vendor}/{model}", reason=None),
            span=_evidence(span, reading, parent, content),
        )
        return Entry(encode_payload(entry), (span.trace_id, span.span_id), content)

    def _rating(self, reading: Reading, vendor: str, model: str, at: int, tenant: str) -> Rating | None:
        if reading.usage is None:
            return None
        conditions = Conditions(party=vendor, at=at, tier=reading.tier, tenant=tenant)
        served = reading.model_served or model
        return rated(self._rater_at(at), f"{reading.dialect}/1", served, reading.usage, conditions).rating


def _evidence(span: Span, reading: Reading, parent: str | None, content: str) -> SpanEvidence:
    scope = f"{span.scope.name}@{span.scope.version}" if span.scope.name else None
    return SpanEvidence(
        trace_id=span.trace_id,
        span_id=span.span_id,
        dialect=reading.dialect,
        operation=reading.operation,
        grade=reading.grade,
        content=content,
        parent=parent,
        convention=reading.convention,
        scope=None if scope is None else "".join(letter for letter in scope if letter.isprintable())[:_TEXT],
        reported=reading.reported or None,
        costs=[(cost.attribute, cost.amount, cost.currency) for cost in reading.costs] or None,
        ended=span.end or None,
        dropped=span.dropped,
    )


def _enclosing(
    span: Span, parents: Mapping[tuple[str, str], str | None], inferences: Container[tuple[str, str]]
) -> str | None:
    """The nearest inference around a span, as far as its batch shows; else the span just above."""
    above, visited = span.parent_id, {span.span_id}
    while above is not None and above not in visited:
        if (span.trace_id, above) in inferences:
            return above
        visited.add(above)
        above = parents.get((span.trace_id, above))
    return span.parent_id


def _instant(span: Span, now: int) -> tuple[int, list[str]]:
    """When the work began: as the span says, unless no clock can be so wrong; then when it was received."""
    if now - _OLDEST <= span.start <= now + _AHEAD:
        return span.start, []
    return now, ["clock"]


def _request_id(occurred: int, tenant: str, span: Span) -> str:
    """The request's id: the same however often the span comes."""
    digits = f"{occurred // 1000:012x}"
    return derived_request_id(f"{digits[:8]}-{digits[8:]}", f"span\n{tenant}\n{span.trace_id}\n{span.span_id}")


def _plain(reading: Reading) -> list[object]:
    return [
        reading.dialect,
        reading.vendor,
        reading.model_asked,
        reading.model_served,
        reading.response_id,
        reading.tier,
        reading.reported,
        reading.error,
        list(reading.flags),
        [[cost.attribute, cost.amount, cost.currency] for cost in reading.costs],
    ]
