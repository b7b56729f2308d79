"""Which of several evidences of one answer counts. Pure: a function of what was heard, whatever the order.

Spans tell of the same answer when they are the same span (trace and span id) or name the same vendor's response id,
within a day, for the same tenant. An attempt that the gateway recorded always counts and is never changed; else the
span of the best grade, then of the lowest digest. A span with another inference right below it restates that one and
does not count.
"""

from collections import defaultdict
from typing import Final

from msgspec import Struct

from tollbook.core.clock import SECOND
from tollbook.core.faults import BrokenPromise
from tollbook.journal.entry import RequestEntry
from tollbook.journal.line import Line

DAY: Final = 86_400 * SECOND
"""How far apart two evidences of one answer may lie; ids of some servers come again after that."""
SHORTEST_ID: Final = 16
"""Response ids below this length (Ollama's `chatcmpl-123`) are not unique, and identify nothing."""
GRADES: Final = ("complete", "partial", "bare")

Change = tuple[list["Heard"], list["Heard"]]
"""Spans that count no more, and spans that count now."""


class Heard(Struct, frozen=True, kw_only=True):
    """A span as it was received: what identifies and ranks it, and the line it stands in."""

    tenant: str
    trace_id: str
    span_id: str
    parent_id: str | None
    response_id: str | None
    occurred: int
    grade: str
    content: str
    line: Line

    @property
    def rank(self) -> tuple[int, str, int, str, int]:
        """The lowest counts."""
        return GRADES.index(self.grade), self.content, self.line.recorded, self.line.lane, self.line.sequence

    @property
    def place(self) -> tuple[str, int]:
        return self.line.lane, self.line.sequence


def heard_of(line: Line, entry: RequestEntry) -> Heard:
    """A span from its entry. Raises BrokenPromise when the entry holds none."""
    span, settled = entry.span, entry.settlement
    if span is None or settled is None:
        raise BrokenPromise(f"lane {line.lane}, entry {line.sequence}: {line.kind} without span or settlement")
    identifies = settled.response_id is not None and len(settled.response_id) >= SHORTEST_ID
    return Heard(
        tenant=entry.request.tenant,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent,
        response_id=settled.response_id if identifies else None,
        occurred=settled.opened,
        grade=span.grade,
        content=span.content,
        line=line,
    )


class Evidence:
    """What was heard around the spans and attempts of one load. `active`: the book holds spans at all."""

    def __init__(self) -> None:
        self.active = False
        self.clear()

    def clear(self) -> None:
        """Forget what was heard: the ledger holds it."""
        self._heard: dict[tuple[str, int], Heard] = {}
        self._spans: defaultdict[tuple[str, str, str], list[Heard]] = defaultdict(list)
        self._answers: defaultdict[tuple[str, str], list[Heard]] = defaultdict(list)
        self._below: defaultdict[tuple[str, str, str], list[Heard]] = defaultdict(list)
        self._recorded: defaultdict[tuple[str, str], list[int]] = defaultdict(list)

    def know(self, heard: Heard) -> None:
        """A span that the ledger holds already."""
        if heard.place in self._heard:
            return
        self._heard[heard.place] = heard
        self._spans[heard.tenant, heard.trace_id, heard.span_id].append(heard)
        if heard.response_id is not None:
            self._answers[heard.tenant, heard.response_id].append(heard)
        if heard.parent_id is not None and heard.grade != "bare":
            self._below[heard.tenant, heard.trace_id, heard.parent_id].append(heard)

    def know_recorded(self, tenant: str, response_id: str, occurred: int) -> None:
        """An attempt of the gateway's that the ledger holds already."""
        self._recorded[tenant, response_id].append(occurred)

    def hear(self, heard: Heard) -> Change:
        """A span that is new."""
        self.active = True
        around = self._neighbours(heard)
        if heard.parent_id is not None:
            around += self._near(self._spans.get((heard.tenant, heard.trace_id, heard.parent_id), ()), heard.occurred)
        before = self._standing(around)
        self.know(heard)
        return _difference(before, self._standing([*around, heard]))

    def witness(self, tenant: str, response_id: str, occurred: int) -> Change:
        """An attempt that the gateway recorded."""
        around = self._near(self._answers.get((tenant, response_id), ()), occurred)
        before = self._standing(around)
        self._recorded[tenant, response_id].append(occurred)
        return _difference(before, self._standing(around))

    def _standing(self, some: list[Heard]) -> dict[tuple[str, int], Heard]:
        """Those that count of all that tell of the same answers as some do."""
        found: dict[tuple[str, int], Heard] = {}
        seen: set[tuple[str, int]] = set()
        for one in some:
            if one.place in seen:
                continue
            group = self._group(one)
            seen |= {member.place for member in group}
            if any(self._is_recorded(member) for member in group):
                continue
            candidates = [member for member in group if not self._restates(member)]
            if candidates:
                best = min(candidates, key=lambda member: member.rank)
                found[best.place] = best
        return found

    def _group(self, one: Heard) -> list[Heard]:
        """All that tell of the same answer, itself among them."""
        found = {one.place: one}
        open_ends = [one]
        while open_ends:
            for other in self._neighbours(open_ends.pop()):
                if other.place not in found:
                    found[other.place] = other
                    open_ends.append(other)
        return list(found.values())

    def _neighbours(self, one: Heard) -> list[Heard]:
        same = list(self._spans.get((one.tenant, one.trace_id, one.span_id), ()))
        if one.response_id is not None:
            same += self._answers.get((one.tenant, one.response_id), ())
        return self._near(same, one.occurred)

    def _near(self, some: "list[Heard] | tuple[()]", occurred: int) -> list[Heard]:
        return [one for one in some if abs(one.occurred - occurred) <= DAY]

    def _is_recorded(self, one: Heard) -> bool:
        if one.response_id is None:
            return False
        instants = self._recorded.get((one.tenant, one.response_id), ())
        return any(abs(instant - one.occurred) <= DAY for instant in instants)

    def _restates(self, one: Heard) -> bool:
        below = self._below.get((one.tenant, one.trace_id, one.span_id), ())
        return any(other.span_id != one.span_id for other in self._near(list(below), one.occurred))


def _difference(before: dict[tuple[str, int], Heard], after: dict[tuple[str, int], Heard]) -> Change:
    gone = [heard for place, heard in before.items() if place not in after]
    return gone, [heard for place, heard in after.items() if place not in before]
