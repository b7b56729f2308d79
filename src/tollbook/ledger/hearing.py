"""Looking up, before a load, what the ledger holds that tells of the same answers as the spans and attempts in it."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

import re
from collections.abc import Sequence
from typing import Final

from tollbook.journal.entry import decode_request
from tollbook.journal.line import UNREADABLE, Line
from tollbook.journal.replay import Batch
from tollbook.ledger.evidence import DAY, Evidence, Heard, heard_of
from tollbook.ledger.lake import Lake
from tollbook.ledger.values import as_folded
from tollbook.ledger.zone import timestamp_sql

_SPAN: Final = "span.settled"
_ENDS: Final = frozenset({"request.settled", "attempt.settled", "attempt.matched", "line.settled"})
_RESPONSE: Final = re.compile(rb'"response_id":"([^"\\]{16,256})"')
_LONGEST_ATTEMPT: Final = 7 * DAY
_KEPT: Final = "line, lane, sequence, epoch_us(recorded), digest"


def holds_spans(lake: Lake) -> bool:
    """Whether the ledger holds any span."""
    return bool(lake.rows("SELECT 1 FROM spans LIMIT 1"))


def gather(lake: Lake, evidence: Evidence, batches: Sequence[Batch]) -> None:
    """Fill the evidence with what the ledger holds around some batches. Costs nothing while there are no spans."""
    fresh = _spans(batches)
    if not fresh and not evidence.active:
        return
    evidence.clear()
    spans = {name for heard in fresh for name in (heard.span_id, heard.parent_id) if name is not None}
    answers = {heard.response_id for heard in fresh if heard.response_id is not None}
    told, instants = _attempts(batches)
    instants += [heard.occurred for heard in fresh]
    if instants and (spans or answers or told):
        low, high = min(instants) - _LONGEST_ATTEMPT, max(instants) + DAY
        answers |= _closure(lake, evidence, spans, answers | told, low, high)
        _know_recorded(lake, evidence, answers, low, high)


def _spans(batches: Sequence[Batch]) -> list[Heard]:
    found = []
    for batch in batches:
        for line in batch.lines:
            if line.kind == _SPAN:
                try:
                    found.append(heard_of(line, decode_request(line.bytes)))
                except UNREADABLE:
                    continue  # folding it tells
    return found


def _attempts(batches: Sequence[Batch]) -> tuple[set[str], list[int]]:
    """The response ids of the gateway's own attempts, and when they were recorded."""
    ids: set[str] = set()
    instants: list[int] = []
    for batch in batches:
        for line in batch.lines:
            if line.kind in _ENDS and (named := _RESPONSE.search(line.bytes)):
                ids.add(named[1].decode())
                instants.append(line.recorded)
    return ids, instants


def _closure(lake: Lake, evidence: Evidence, spans: set[str], answers: set[str], low: int, high: int) -> set[str]:
    """Know every span of the ledger that is linked to these, directly or by others; all response ids on the way."""
    known: set[tuple[str, int]] = set()
    while True:
        found = _linked(lake, spans, answers, low, high)
        fresh = [heard for heard in found if heard.place not in known]
        if not fresh:
            return answers
        for heard in fresh:
            known.add(heard.place)
            evidence.know(heard)
            spans |= {name for name in (heard.span_id, heard.parent_id) if name is not None}
            answers |= {heard.response_id} if heard.response_id is not None else set()


def _linked(lake: Lake, spans: set[str], answers: set[str], low: int, high: int) -> list[Heard]:
    rows = lake.rows(
        f"SELECT {_KEPT} FROM spans WHERE occurred >= {timestamp_sql(low)} AND occurred <= {timestamp_sql(high)} "
        "AND (list_contains($spans, span_id) OR list_contains($spans, parent_id) "
        "OR list_contains($answers, response_id))",
        {"spans": sorted(spans), "answers": sorted(answers)},
    )
    found = []
    for entry, lane, sequence, recorded, digest in rows:
        data = str(entry).encode()
        line = Line(str(lane), int(sequence), int(recorded), _SPAN, str(digest), data)
        found.append(heard_of(line, decode_request(data)))
    return found


def _know_recorded(lake: Lake, evidence: Evidence, answers: set[str], low: int, high: int) -> None:
    rows = lake.rows(
        "SELECT DISTINCT tenant, response_id, occurred FROM attempts WHERE source = 'gateway' "
        f"AND occurred >= {timestamp_sql(low)} AND occurred <= {timestamp_sql(high)} "
        "AND list_contains($answers, response_id)",
        {"answers": sorted(answers)},
    )
    for tenant, response_id, occurred in rows:
        evidence.know_recorded(str(tenant), str(response_id), int(as_folded(occurred)))
