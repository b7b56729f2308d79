"""Cases as a tenant sees and opens them: only its own, without the words and names of those who look into them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from tollbook.assembly.claims import Matched, open_case
from tollbook.core.faults import NotFound
from tollbook.journal.casework import Expected
from tollbook.journal.personal import PersonalDirectory
from tollbook.ledger.reader import Reader
from tollbook.ledger.trace import TENANT, trace

Document = dict[str, Any]

_OWN: Final = ("case", "state", "opened_at", "requests", "verdict", "amount", "currency")


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /tollbook/v1/disputes`: requests of the tenant's own, and what is said to be wrong."""

    requests: Annotated[list[str], Meta(min_length=1, max_length=100)]
    claim: Annotated[str, Meta(min_length=1, max_length=4000)]
    expected: Expected | None = None


class TenantCases:
    """What a tenant may do with a key. A key for some workloads only sees the cases that it opened itself."""

    def __init__(self, root: Path, reader: Reader, tenant: str, key: str, workloads: Sequence[str] | None) -> None:
        self._root: Final = root
        self._reader: Final = reader
        self._tenant: Final = tenant
        self._key: Final = key
        self._workloads: Final = workloads

    def open(self, wanted: Claim) -> Document:
        """A new case. Raises NotFound for a request that is not the tenant's, or is not in the book yet."""
        for one in wanted.requests:
            trace(self._reader, one, view=TENANT, tenant=self._tenant, workloads=self._workloads)
        expected = None
        if wanted.expected is not None:
            names = ("model", "tenant", "amount", "tokens")
            expected = {name: value for name in names if (value := getattr(wanted.expected, name)) is not None}
        matched = Matched(self._tenant, [one.strip().lower() for one in wanted.requests])
        return self._told(open_case(self._root, matched, wanted.claim, None, expected, self._key))

    def read(self, case: str | None) -> Document:
        """One case, or all. Raises NotFound for another tenant's."""
        from tollbook.assembly.service import read_cases

        found = read_cases(self._root, case, self._tenant)
        seen = [one for one in found if self._workloads is None or one["key"] == self._key]
        if case is not None and not seen:
            raise NotFound(f"there is no case {case[:64]!r}")
        return self._told(seen[0]) if case is not None else {"disputes": [self._told(one) for one in seen]}

    def _told(self, case: Document) -> Document:
        mine = [leg for one in case["adjustments"] for leg in one["legs"] if leg["tenant"] == self._tenant]
        return {
            **{name: case[name] for name in _OWN},
            "claim": self._words(case["claim"]),
            "moves": [{name: move[name] for name in ("at", "what", "state")} for move in case["moves"]],
            "adjustments": [{"amount": leg["amount"], "currency": leg["currency"]} for leg in mine],
        }

    def _words(self, digest: str) -> str | None:
        """What was claimed; None when it was erased."""
        directory = PersonalDirectory(self._root, read_only=True)
        try:
            return directory.values([digest]).get(digest)
        finally:
            directory.close()
