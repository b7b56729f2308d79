"""What a price book holds: a header with the vendors' rules, and entries, one per model of a billing party.

The fields stand in the order of their names in the file, so that what msgspec writes is canonical JSON.
"""

from typing import Final, Literal, NamedTuple

from msgspec import Struct, field

from tollbook.pricing.match import Match
from tollbook.pricing.row import Row

FORMAT: Final = "tollbook.prices/1"

Words = dict[str, dict[str, dict[str, str]]]
"""Dimension -> a vendor's word -> what it means in the book's dimensions; `{}` is the standard."""


class BilledAs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A vendor's rule that a class without a price of its own is billed at the price of another.

    `parties` empty: all. `assumed` says what is taken for granted by it, and goes into every rating that rests on it.
    """

    as_: str = field(name="as")
    assumed: str | None = None
    class_: str = field(name="class")
    parties: tuple[str, ...] = ()
    source: str


class Party(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Who bills: its words for tier, speed and region, and whose prices it is said to share.

    `silent` lists the dimensions whose absence from an answer means the standard by the vendor's own rule; for any
    other, absence is an assumption as soon as a model has more than one price there.
    """

    falls_back: tuple[str, ...] = ()
    name: str
    reported: Words = {}
    silent: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line. `retrieved` is the day on which the source was read: what it asserts without a date is known
    to hold from that day on."""

    billed_as: tuple[BilledAs, ...]
    currency: str
    format: Literal["tollbook.prices/1"]
    parties: dict[str, Party]
    retrieved: str
    source: str

    def rules(self, party: str) -> list[BilledAs]:
        """The rules by which a party bills a class at the price of another."""
        return [rule for rule in self.billed_as if not rule.parties or party in rule.parties]


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A model of one billing party: its names and its prices.

    `rank` orders the patterns of a party, smallest first; exact names come before every pattern.
    """

    fine_tuned: bool = False
    match: Match
    model: str
    party: str
    rank: int | None = None
    rows: tuple[Row, ...] = ()

    @property
    def currency(self) -> str | None:
        """The currency of all its rows; None is the book's own."""
        return self.rows[0].currency if self.rows else None


class Found(NamedTuple):
    """The entry a model name leads to; None with the reason when there is none.

    `borrowed`: the prices are another party's, which this one is said to share.
    """

    entry: Entry | None
    reason: str | None = None
    exact: bool = True
    borrowed: bool = False
