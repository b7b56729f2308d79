"""Who bears what an attempt cost: rules over how it ended and whose doing that was. The rules are data."""

from sys import intern
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.vocabulary import CAUSES, OUTCOMES

Word: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z_]{1,32}$", title="a word of lower-case letters")]

ENDINGS: Final = tuple(outcome for outcome in OUTCOMES if outcome != "open")
"""The outcomes that rules speak of: an attempt that is open has no cost yet."""

UNSETTLED: Final = ("unsettled", "gateway")
"""Outcome and cause of an attempt whose worker died."""

Bearers: TypeAlias = dict[tuple[str, str], str]
"""Outcome and cause of an attempt to who bears it."""


class ChargingRule(Struct, frozen=True, kw_only=True):
    """One rule: it fits an attempt whose outcome and cause are among its own."""

    outcomes: Annotated[tuple[Word, ...], Meta(description="How the attempt ended; empty: in any way.")] = ()
    causes: Annotated[tuple[Word, ...], Meta(description="Whose doing that was; empty: anyone's.")] = ()
    bears: Annotated[Word, Meta(title="tenant, platform, vendor_claim", description="Who bears what it cost.")]


class Charging(Struct, frozen=True, kw_only=True):
    """The rules of who bears an attempt. The first that fits decides."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$",
            title="a name of letters, digits and . _ @ -",
            description="What these rules are called.",
        ),
    ] = "none"
    version: Annotated[int, Meta(ge=1, description="Their version: raised by hand with every change.")] = 1
    rules: Annotated[tuple[ChargingRule, ...], Meta(max_length=200, description="In order.")] = ()

    @property
    def id(self) -> str:
        """Name, version and the first 12 digits of the digest: what an entry says by which rules it was decided."""
        return f"{self.name}/{self.version}@{self.digest[:12]}"

    @property
    def digest(self) -> str:
        """SHA-256 over the rules as canonical JSON."""
        rules = [[list(rule.outcomes), list(rule.causes), rule.bears] for rule in self.rules]
        return sha256_hex(canonical_json([self.name, self.version, rules]))

    def deciding(self, outcome: str, cause: str) -> int | None:
        """The place of the rule that decides; None when none fits."""
        for place, rule in enumerate(self.rules):
            if (not rule.outcomes or outcome in rule.outcomes) and (not rule.causes or cause in rule.causes):
                return place
        return None

    def bearers(self) -> Bearers:
        """Every pair that some rule decides."""
        pairs = [(outcome, cause, self.deciding(outcome, cause)) for outcome in ENDINGS for cause in CAUSES]
        # The one text of each word: what is the ordinary value itself is left out of entries.
        return {
            (outcome, cause): intern(self.rules[place].bears) for outcome, cause, place in pairs if place is not None
        }
