"""What somebody should look at now. An alert is a fact about the book: it is there while the fact is, and gone with it.

Nothing is stored, so nothing has to be closed; the same fact gives the same `id`, by which senders send it once.
"""

from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

Audience = Literal["platform", "finance", "tenant"]
AUDIENCES: Final = ("platform", "finance", "tenant")

KINDS: Final[dict[str, tuple[Audience, str]]] = {
    "coverage": ("platform", "the vendor bills what did not pass the gateway"),
    "money_variance": ("finance", "the vendor's money and ours differ beyond the tolerance, and nothing explains it"),
    "token_variance": ("platform", "the vendor's tokens and ours differ beyond the tolerance, and nothing explains it"),
    "drift": ("finance", "small differences all lie on one side"),
    "not_compared": ("finance", "statements hold what could not be compared"),
    "stale_statement": ("finance", "the vendor's statements end long before our record does"),
    "usage_missing": ("platform", "too many answers came without usage"),
    "unsettled": ("platform", "attempts are not settled"),
    "unpriced": ("finance", "attempts have no price"),
    "duplicate_vendor_id": ("platform", "one id of the vendor stands on several attempts"),
}
"""Every kind of alert: for whom, and what it says."""


class Alert(Struct, frozen=True):
    """One alert: about whom (`vendor`, `tenant`), what (`about`), since when (microseconds), how many, how much money
    (picodollars; None where it is not about money), the first evidence, and the command that shows more."""

    kind: str
    vendor: str | None
    tenant: str | None
    about: str
    since: int | None
    count: int
    amount: int | None
    evidence: tuple[str, ...]
    command: str

    @property
    def audience(self) -> Audience:
        """Who should look at it."""
        return KINDS[self.kind][0]

    @property
    def id(self) -> str:
        """The same fact has the same id, however much of it there is."""
        named = "\0".join((self.kind, self.vendor or "", self.tenant or "", self.about))
        return sha256(named.encode()).hexdigest()[:12]
