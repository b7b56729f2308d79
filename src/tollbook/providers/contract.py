"""What a vendor module provides: how one wire format names models, meters, streams and fails.

An adapter is pure: bytes in, facts out. It never raises on what a vendor sends; what it cannot read it says so
(`basis="unreported"`, flags).
"""

from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from tollbook.core.usage import Usage
from tollbook.providers.body import Members

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Header fields in order; names in lower case."""


class VendorObject(NamedTuple):
    """Something a vendor keeps and names by an id: it belongs to the tenant that made it. `kind` is a word of KINDS."""

    kind: str
    id: str


KINDS: Final = (
    "response",
    "file",
    "batch",
    "container",
    "conversation",
    "vector_store",
    "cache",
    "upload",
    "completion",
    "skill",
    "prompt",
    "item",
)
"""What vendors keep for us, by kind."""


class Share(NamedTuple):
    """Usage inside one answer that another model did and that has that model's price (advisors, fallbacks)."""

    model: str
    usage: Usage


class Reading(Struct, kw_only=True):
    """What a vendor's answer says of itself.

    `usage` is in disjoint classes and None when nothing final was reported; `basis` is `provider_reported` when there
    is a usage, `computed` when it was counted from the answer because the vendor reports none, else `unreported`.
    `partial` is what had been said when the answer broke off before a final usage (flag
    `partial_usage`): a floor for `Adapter.estimate`, and nothing to charge by. `raw` is the vendor's usage object as it
    came (on one line, at most 8 KiB; for a stream that spreads it over events, the merged object). `flags` are words of
    FLAGS. `complete` is False for an answer that ended without its terminal event or that carries an error; a usage can
    be final all the same. `error` is the type and code of a vendor's error (never its message). `output_text` is the
    number of UTF-8 bytes of answer text that were seen and `output_deltas` in how many pieces they came, for estimates;
    0 where the usage was reported. `output_tokens` is that text in tokens of the model's own vocabulary, 0 where that
    was not counted. `shares` is what of the answer is priced at another model's price; it is not in
    `usage`. `vendor_cost` is the vendor's own figure of what the answer cost, in US dollars, as decimal text: it
    stands beside ours and is never charged by. `made` are the vendor objects that the answer created. `provider` is who
    did the work where the vendor is a broker and says so. `request_id` is the vendor's id of the request where the body
    tells it.
    """

    usage: Usage | None = None
    partial: Usage | None = None
    basis: str = "unreported"
    raw: bytes | None = None
    model_served: str | None = None
    response_id: str | None = None
    tier: str | None = None
    region: str | None = None
    speed: str | None = None
    complete: bool = True
    error: str | None = None
    flags: list[str] = []
    output_text: int = 0
    output_deltas: int = 0
    output_tokens: int = 0
    shares: list[Share] = []
    vendor_cost: str | None = None
    made: list[VendorObject] = []
    provider: str | None = None
    request_id: str | None = None


FLAGS: Final = {
    "inconsistent_usage": "a breakdown does not fit its headline, or the parts exceed the vendor's total",
    "hidden_tokens": "the vendor's total exceeds its parts; the difference stands in output_reasoning",
    "reasoning_beside_output": "reasoning is not inside the completion count; the vendor's total says so",
    "assumed_modality": "the modality of some tokens, or of the cached ones among them, was not reported",
    "assumed_cache_ttl": "a cache write was reported without its time to live",
    "iterations": "the vendor lists iterations, which the top-level counts may not cover",
    "fallback_credit": "the vendor may credit part of this answer",
    "partial_usage": "some classes were reported and then the answer broke off",
    "raw_too_long": "the vendor's usage object is longer than 8 KiB and was not kept",
    "unreadable_body": "the answer could not be decoded",
    "encoded_body": "the answer came compressed although that was not asked for; it was passed on unread",
    "unreadable_event": "an event of the stream could not be decoded",
    "event_too_long": "an event of the stream was longer than its reader allows and passed on unread",
    "background": "the work goes on at the vendor: its usage comes when the response is fetched",
    "audio_by_second": "audio tokens in the vendor's total are metered by the second and stand in no token class",
    "repeated_usage": "the stream had several usages that differ; the last one stands",
    "zero_usage": "the vendor reported a usage of nothing for an answer that was given",
    "unreported_tool": "a built-in tool did work that is billed apart and whose usage was not reported",
}
"""What can be remarkable in an answer, and what each word says."""


class Estimate(Struct, kw_only=True):
    """An estimated usage, how it was made, and the most each class can be. A class without a bound has none known.

    `basis` is `computed` where the request alone decides the usage, so that counting it is exact (characters to speak).
    """

    usage: Usage
    method: str
    bound: Usage
    basis: str = "estimated"


class StreamReader(Protocol):
    """Reads one streamed answer as it passes. Must cost little per chunk: most chunks carry no usage."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the vendor; give the bytes for the client, which may be none.

        The same object comes back unless something must be hidden (a usage chunk the client did not ask for) or an
        event is cut at the end of `data` (it is held back until it is whole, if and only if something may have to be
        hidden).
        """
        ...

    def flush(self) -> bytes:
        """What was held back. To be called once when the stream ended, in whatever way, before `reading`."""
        ...

    @property
    def terminal(self) -> bool:
        """Whether the terminal event has been seen."""
        ...

    def reading(self) -> Reading:
        """What has been learned so far."""
        ...


class Route(NamedTuple):
    """One path that clients call. `{name}` in it stands for what is not empty and has no `/`.

    `upstream` is what is added to a vendor's `base_url`, with the same names; `{model}` becomes the target's model.
    """

    method: str
    path: str
    upstream: str


class Call(Struct, frozen=True):
    """A client's request as its adapter sees it.

    `names` are the parts of the path that the route names, decoded; `query` is as it came; `members` is what
    `Adapter.scan` found in `body`. `asks_usage` is False for a vendor that refuses to be asked for the usage of a
    stream, because it tells it unasked (Mistral answers 422).
    """

    route: Route
    names: dict[str, str]
    query: bytes
    headers: Headers
    body: bytes
    members: Members
    asks_usage: bool = True


class Prepared(Struct, kw_only=True):
    """A request as it goes to the vendor, and what of it concerns us. `path` includes the query, if there is one."""

    path: str
    body: bytes
    hides_usage: bool = False
    streams: bool = False


Purpose: TypeAlias = Literal["metered", "object", "list", "free"]
"""What an operation is for: work that the vendor bills by usage; one vendor object (fetched, cancelled, deleted,
uploaded), which costs nothing; a list of vendor objects, which is answered from our own record; anything else that is
free (counting tokens)."""


CONVENTIONS: Final = {
    "nested": "the details of a count are inside it: cached inside input, reasoning inside output",
    "disjoint": "the counts stand beside each other, and their sum is the whole",
    "mixed": "nested on one side, disjoint on the other",
    "computed": "the vendor reports no usage; it is counted from the request or the answer",
    "none": "nothing is metered",
}
"""How the counts of a vendor's usage object stand to each other, and what each word says."""


class Adapter(Protocol):
    """One operation of one wire format. `endpoint` is its word in the vocabulary, `name` goes into ratings
    (`openai.chat/1`)."""

    endpoint: str
    name: str
    routes: tuple[Route, ...]
    """Where clients find it: paths below the gateway's root."""
    format: str
    purpose: Purpose
    model_fields: frozenset[str]
    """Top-level members that decide model or price, beside the model itself."""
    billing_fields: frozenset[str]
    """Top-level members that select who is billed; `prepare` refuses a body that has one."""
    object_fields: dict[str, str]
    """Members that name something the vendor keeps, as dotted paths, and its kind; lists are passed through, and `*`
    stands for every member of an object. A path that begins with `/` is a name in the route."""
    request_headers: frozenset[bytes]
    """Lower-case names of client headers that are passed to the vendor; all others are dropped."""
    query_fields: frozenset[str]
    """Names of query parameters that are passed to the vendor; all others are dropped."""
    vendor_request_id_headers: tuple[bytes, ...]
    stream_types: tuple[bytes, ...]
    """The media types that a streamed answer of this operation comes in."""
    region_headers: tuple[bytes, ...]
    """Lower-case names of headers of the answer that tell the region that served it."""
    lists: str | None
    """The kind of object that a list is of; only where `purpose` is `list`."""
    convention: str
    """How the vendor's counts stand to each other: a word of CONVENTIONS."""
    not_captured: tuple[str, ...]
    """What of an answer's cost the adapter cannot see, each in a plain sentence."""
    signs: bool
    """Whether the vendor wants a signature over the whole request (`sign`) in place of `credentials`."""

    def scan(self, headers: Headers, body: bytes) -> Members:
        """The members of a request's body. Raises BadInput (AmbiguousBody) when it cannot be read in one way only."""
        ...

    def model(self, call: Call) -> str | None:
        """The model asked for; None where the operation has none. Raises BadInput when it is missing."""
        ...

    def streamed(self, call: Call) -> bool:
        """Whether the client asks for a stream."""
        ...

    def objects(self, call: Call) -> list[VendorObject]:
        """The vendor objects that a request names."""
        ...

    def prepare(self, call: Call, model: str) -> Prepared:
        """The request for one target: `model` replaced where it differs, usage asked for where a stream needs it.

        Nothing else changes, byte for byte. Raises BadInput (AmbiguousBody, BillingFieldRefused) when the body cannot
        be judged.
        """
        ...

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer."""
        ...

    def stream(self, prepared: Prepared) -> StreamReader:
        """A reader for one streamed answer."""
        ...

    def read_head(self, reading: Reading, headers: Headers) -> None:
        """Add to the reading of a stream what only the answer's headers say (tier, speed)."""
        ...

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came, from the request's bytes and the text that was seen."""
        ...

    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own in the client's wire format, with a stable code and the request id."""
        ...

    def credentials(self, secret: str) -> Headers:
        """The headers that carry a vendor secret."""
        ...

    def sign(self, secret: str, method: str, url: str, headers: Headers, body: bytes) -> Headers:
        """The headers that sign a whole request with a vendor secret; only where `signs`."""
        ...
