"""The spans put on record lately: a repetition by the sender needs no further entry. What slips through is dropped when
it is folded."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from tollbook.ingest.entries import Entry

MOST: Final = 200_000


class Recent:
    """Knows the last spans by tenant, ids and content."""

    def __init__(self, most: int = MOST) -> None:
        self._most: Final = most
        self._known: Final[OrderedDict[tuple[str, str], None]] = OrderedDict()

    def knows(self, tenant: str, entry: Entry) -> bool:
        """Whether the same was put on record lately."""
        return (tenant, entry.content) in self._known

    def add(self, tenant: str, entries: Iterable[Entry]) -> None:
        """Remember entries that are durable."""
        for entry in entries:
            self._known[tenant, entry.content] = None
        while len(self._known) > self._most:
            self._known.popitem(last=False)
