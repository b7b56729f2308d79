"""The requests that a bundle is about, as its proven entries tell them."""

from typing import Final

from tollbook.core.money import format_amount, parse_amount
from tollbook.journal.entry import RequestEntry, decode_request
from tollbook.journal.line import UNREADABLE, Line

REQUEST_KINDS: Final = frozenset(
    (
        "request.opened",
        "attempt.settled",
        "attempt.opened",
        "request.settled",
        "request.closed",
        "attempt.unsettled",
        "attempt.aged",
        "attempt.matched",
        "line.settled",
    )
)


class Requests:
    """Takes entries in any order. `entries` is how many of any kind."""

    def __init__(self, ids: list[str], tenant: str | None) -> None:
        self._tenant: Final = tenant
        self._entries: Final[dict[str, list[tuple[Line, RequestEntry]]]] = {one: [] for one in ids}
        self._texts: Final[list[bytes]] = []
        self.entries = 0

    def take(self, line: Line) -> str | None:
        """One proven entry; why it does not belong here, in words, or None."""
        self.entries += 1
        self._texts.append(line.bytes)
        if line.kind not in REQUEST_KINDS:
            return None
        try:
            entry = decode_request(line.bytes)
        except UNREADABLE as fault:
            return f"it cannot be read: {fault}"
        request = entry.request
        if request.id not in self._entries:
            return f"it is of request {request.id}, which the manifest does not name"
        if self._tenant is not None and request.tenant != self._tenant:
            return f"it is of tenant {request.tenant}, and the bundle is about {self._tenant}"
        self._entries[request.id].append((line, entry))
        return None

    def holds(self, digest: str) -> bool:
        """Whether a digest, or the name of a price row, stands in an entry."""
        needle = f'"{digest}"'.encode()
        return any(needle in text for text in self._texts)

    def missing(self) -> list[tuple[str, str]]:
        """Code and words for each request without entries, and each settlement whose opening is not there."""
        found = []
        for name, entries in self._entries.items():
            there = {(line.lane, line.sequence) for line, _ in entries}
            if not entries:
                found.append(("entry_missing", f"request {name} has no entry in the bundle"))
            for line, entry in entries:
                settled = entry.settlement
                if settled is not None and settled.sequence >= 0:
                    opening = (entry.lane or line.lane, settled.sequence)
                    if opening not in there:
                        words = f"the opening of an attempt of request {name} (lane {opening[0]}, entry {opening[1]})"
                        found.append(("entry_missing", f"{words} is not in the bundle"))
        return found

    def amounts(self) -> dict[str, dict[str, str | None]]:
        """What the ratings of each request come to, per currency, of each attempt the last one recorded; None where a
        line has no price. What was corrected later by entries of other kinds is not in it."""
        return {name: _sum([entry for _, entry in _standing(entries)]) for name, entries in self._entries.items()}


def _standing(entries: list[tuple[Line, RequestEntry]]) -> list[tuple[Line, RequestEntry]]:
    """Of each attempt the rated entry that was recorded last."""
    last: dict[int, tuple[Line, RequestEntry]] = {}
    for line, entry in sorted(entries, key=lambda pair: pair[0].recorded):
        if entry.attempt is not None and entry.settlement is not None and entry.rating is not None:
            last[entry.attempt.number] = (line, entry)
    return list(last.values())


def _sum(entries: list[RequestEntry]) -> dict[str, str | None]:
    sums: dict[str, int | None] = {}
    for entry in entries:
        assert entry.rating is not None
        for line in entry.rating.lines():
            before = sums.get(entry.rating.currency, 0)
            known = before is not None and line[4] is not None
            sums[entry.rating.currency] = (before or 0) + parse_amount(line[4] or "0") if known else None
    return {currency: None if pico is None else format_amount(pico) for currency, pico in sorted(sums.items())}
