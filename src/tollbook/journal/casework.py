"""Entries of disputes and evidence: cases, what became of them, what was corrected, what was handed out.

They stand in the book's own lane only. Words that people write (claims, reasons, comments, on whose behalf) may name a
person: here there are keyed digests of them, the words lie in the erasable directory.
"""

from typing import Final

from msgspec import Struct

from tollbook.journal.entry import ObjectNamed

CASE_KINDS: Final = frozenset(("case.opened", "case.moved", "adjustment.posted"))


class Expected(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the claimant says should have been: the model, the tenant, the amount (decimal text) and its currency, the
    tokens in all."""

    model: str | None = None
    tenant: str | None = None
    amount: str | None = None
    currency: str = "USD"
    tokens: int | None = None


class CaseOpened(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A dispute about requests of one tenant. `claim` and `by` (on whose behalf) are keyed digests. `key` is the
    tenant's key when the tenant opened it. `rows` is how many records of its own it handed in, `missed` which of them
    no request answers to: number from 1, and why."""

    case: str
    tenant: str
    requests: list[str]
    claim: str
    actor: str
    by: str | None = None
    key: str | None = None
    expected: Expected | None = None
    rows: int | None = None
    missed: list[tuple[int, str]] = []


class CaseMoved(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something was done about a case. `move` is assigned, commented, diagnosed, resolved or reopened; `state` is the
    one it is in after that. `text` and `by` are keyed digests; `to` is whom it was assigned to. With a diagnosis:
    `verdict`, `amount` and `currency` that should not have been charged, and `object`, the whole of it; with a
    resolution: `how` and the `amount`."""

    case: str
    tenant: str
    move: str
    state: str
    actor: str
    text: str | None = None
    by: str | None = None
    to: str | None = None
    verdict: str | None = None
    how: str | None = None
    amount: str | None = None
    currency: str | None = None
    object: ObjectNamed | None = None


class AdjustmentLeg(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One side of an adjustment: the account (`recharge` of a tenant, `absorbed` for a reason, `suspense`), and what is
    added to it (decimal text, below zero where it is taken away)."""

    account: str
    amount: str
    currency: str
    tenant: str | None = None
    reason: str | None = None


class AdjustmentPosted(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What corrects a charge: legs that add up to nothing in each currency. `act` is credit, reattribute_from or
    reattribute_to; an entry speaks of one tenant only, so what goes from one to another is two entries over
    `suspense`."""

    case: str
    act: str
    requests: list[str]
    legs: list[AdjustmentLeg]
    actor: str
    tenant: str


class EvidenceExported(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A bundle of evidence was signed. `digest` is that of its last line before the signature, `lines` the number of
    lines before it; `requests` are those it is about, all of `tenant` (absent: of several, or of none). `withheld`:
    without the values behind personal digests."""

    digest: str
    lines: int
    requests: list[str]
    actor: str
    tenant: str | None = None
    case: str | None = None
    withheld: bool = False
