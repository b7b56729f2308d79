"""What a diagnosis is made of: the facts about one disputed request, gathered from the ledger, and findings. Pure."""

from typing import Any, Final

from msgspec import Struct

from tollbook.core.money import divide_half_even, parse_amount

Document = dict[str, Any]

STRENGTHS: Final = {
    "credential": "the key that the client showed",
    "vendor_usage": "the usage in the vendor's own answer, kept as it came, with the vendor's request id",
    "recomputed": "computed anew from the vendor's usage and the price book in force",
    "journal": "entries written by the gateway when it happened",
    "estimate": "counted or bounded by us, since the vendor reported nothing",
    "none": "there is no evidence here",
}
"""How strong evidence is; docs/disputes.md orders them."""


class Rerated(Struct, frozen=True, kw_only=True):
    """An attempt rated again from the vendor's own usage: by the book in force when it occurred, or by another. `usage`
    is in classes; `amount` decimal text, None when it has no price; `why` says why it could not be done."""

    amount: str | None = None
    currency: str | None = None
    usage: dict[str, int] | None = None
    book: str | None = None
    why: str | None = None


class WhatIf(Struct, frozen=True, kw_only=True):
    """What a request would have cost otherwise."""

    what_if: str
    amount: str | None
    currency: str | None


class Twin(Struct, frozen=True, kw_only=True):
    """Another request that the client marked as the same, and what it is charged."""

    request: str
    because: str
    amount: str | None


class Inquiry(Struct, frozen=True, kw_only=True):
    """All that is known of one request. `trace` is the operator's view; `again` each rated attempt by its number;
    `first` the answer at the price of the target that was tried first; `suspected` since when (decimal microseconds)
    its key is on record as being in other hands; `tiers` the tier asked of the vendor by attempt."""

    trace: Document
    again: dict[int, Rerated] = {}
    first: WhatIf | None = None
    others: list[WhatIf] = []
    twins: list[Twin] = []
    suspected: int | None = None
    tiers: dict[int, str | None] = {}

    @property
    def id(self) -> str:
        return str(self.trace["request"]["id"])

    @property
    def attempts(self) -> list[Document]:
        return list(self.trace["attempts"])

    @property
    def charged(self) -> int | None:
        """What the tenant is charged, in picodollars; None while that is unknown."""
        return pico(self.trace["request"]["amounts"].get("recharge"))


class Finding(Struct, frozen=True, kw_only=True):
    """One question, answered `yes`, `no` or `unknown`. `wrong` is what by this answer should not have been charged
    (picodollars), `asked` what only the vendor can tell; `concession`: the charge follows the rules, but the claim has
    a point."""

    question: str
    answer: str
    strength: str
    text: str
    evidence: list[str] = []
    wrong: int = 0
    asked: str | None = None
    concession: bool = False


def pico(text: str | None) -> int | None:
    """Decimal text as picodollars."""
    return None if text is None else parse_amount(text)


def recharge_of(attempt: Document) -> int:
    """What the tenant is charged for an attempt; 0 where it bears nothing or that is unknown."""
    return pico(attempt["amounts"].get("recharge")) or 0


def share(attempt: Document, part: int) -> int:
    """The part of the recharge that belongs to a part of the expected amount."""
    expected = pico(attempt["amounts"].get("expected")) or 0
    return divide_half_even(recharge_of(attempt) * part, expected) if expected else 0


def entry_of(one: Document, number: int) -> list[str]:
    """Where the entries about a request stand, as evidence."""
    named = [f"entry {entry['sequence']} of {entry['lane']} ({entry['kind']})" for entry in one["entries"]]
    return named[:number]
