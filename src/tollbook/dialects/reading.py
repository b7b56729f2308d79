"""What a span tells of an inference, in our words."""

from msgspec import Struct

from tollbook.core.usage import Usage

NESTED = "nested"
"""Cached tokens lie in the input, reasoning in the output."""
DISJOINT = "disjoint"
"""Cached tokens stand beside the input."""
UNKNOWN = "unknown"

GRADES = ("complete", "partial", "bare")
"""What a span is worth as evidence, best first: `complete`, usage and the vendor's response id, nothing dropped;
`partial`, usage, but without that id, with dropped attributes or in an uncertain convention; `bare`, no usage."""


class Cost(Struct, frozen=True, omit_defaults=True):
    """A cost that an emitter computed: exact decimal text as it was sent, and where it stood. Evidence, never ours."""

    attribute: str
    amount: str
    currency: str = "USD"


class Reading(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An inference as a span tells it. `usage` is in disjoint classes; None: not told."""

    dialect: str
    operation: str
    grade: str
    vendor: str | None = None
    model_asked: str | None = None
    model_served: str | None = None
    response_id: str | None = None
    tier: str | None = None
    stream: bool = False
    usage: Usage | None = None
    convention: str = UNKNOWN
    reported: dict[str, int] = {}
    costs: tuple[Cost, ...] = ()
    user: str | None = None
    conversation: str | None = None
    error: str | None = None
    flags: tuple[str, ...] = ()
