"""The entries of the journal: format version 1.

A line is JSON and begins with five fields in a fixed order, so that a chain is verified without a JSON parser::

    {"v":1,"p":"<64 hex>","n":7,"t":1795436400123456,"k":"request.opened",<payload>}

`v` format version; `p` SHA-256 of the line before, without its newline (of `lane_seed` for the first line); `n` the
sequence number in the lane, from 0; `t` the instant it was recorded in microseconds UTC, strictly increasing in a
lane; `k` the kind. A line has at most 256 KiB. Absent means unknown, never zero, but for a few members of ordinary
value, which are left out when they have it: attempt `reason` first, settlement `next` answer and `borne_by` tenant,
rating `number` 1, `rater` 1 and `currency` USD, close `attempts` 1 and `reason` policy_order. Instants are integers of
microseconds; amounts and unit prices are decimal text.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from tollbook.core.digest import sha256_hex

FORMAT: Final = 1
LINE_LIMIT: Final = 256 * 1024

KINDS: Final = {
    "lane.begin": "first line of every lane: what it is bound to",
    "lane.heartbeat": "running counts of a lane, at least every 5 s",
    "lane.end": "last line of a lane that its own writer closed",
    "request.opened": "a request and its first attempt, before a byte goes to the vendor",
    "attempt.settled": "an attempt after which another follows",
    "attempt.opened": "a further attempt of a request, before a byte goes to the vendor",
    "request.settled": "the last attempt of a request, and the request's end",
    "request.closed": "a request that ended without any attempt (refused, replayed)",
    "attempt.unsettled": "an attempt whose lane ended before it was settled; written by the supervisor",
    "attempt.aged": "an attempt that stayed unsettled: its usage by estimate, until evidence comes; the scribe's",
    "attempt.matched": "what the vendor told later of an unsettled attempt, or of work that went on; it stands now",
    "batch.opened": "a batch was made through the gateway: from now on it is an open item; the scribe's",
    "line.settled": "one line of a batch's output: a request of its own, below the one that made the batch",
    "span.settled": "an inference that somebody else's span tells of: a request of its own; the ingest's",
    "batch.closed": "the batch ended and all lines of its output are on record; what the vendor tells of the whole",
    "gap.recorded": "what was forwarded unrecorded while the journal could not be written",
    "lane.opened": "the supervisor is about to start a writer with this lane",
    "lane.closed": "the supervisor has reaped the lane's writer: where the lane ends, and why",
    "configuration.loaded": "the configuration in force, as an object",
    "heads": "how far every open lane had got: the book's position",
    "segment.sealed": "a finished segment of a lane, compressed, with its digest and tree root",
    "book.created": "the book's birth: id, verification key",
    "prices.activated": "a price book prices from an instant on",
    "personal.erased": "a person's values were removed from the personal directory",
    "key.rotated": "another key signs from here on; signed by the one before",
    "book.restored": "the book was made anew from a copy: what was recorded after the copy is lost",
    "restore.drilled": "a copy was restored to see that it can be: what was verified and compared",
    "registry.changed": "what an act changed in the registry: entities, units, tenants, workloads, keys",
    "transfer.posted": "what was on record already when a change of the registry took effect, carried over",
    "identity.changed": "who may log in, in which roles, and by what it is known",
    "statement.imported": "a vendor's document was taken in: what it says of itself, its lines as an object",
    "act.authorised": "an identity does an act alone, as the duties allow; the act's own entry follows",
    "proposal.made": "an act that somebody else must approve",
    "proposal.decided": "a proposal was approved, rejected, withdrawn, or is carried out as an emergency",
    "proposal.carried": "what was approved is done, or could not be",
    "case.opened": "somebody disputes requests of a tenant",
    "case.moved": "a case was assigned, commented, diagnosed, resolved or reopened",
    "adjustment.posted": "what corrects a charge: legs that add up to nothing",
    "evidence.exported": "a bundle of evidence was signed: of which requests, for whom",
}
"""Every kind of entry, and what it says."""

_HEAD: Final = re.compile(
    rb'\{"v":(\d{1,4}),"p":"([0-9a-f]{64})","n":(\d{1,18}),"t":(\d{1,18}),"k":"([a-z._]{1,64})"[,}]'
)


class Head(NamedTuple):
    """The five leading fields of a line."""

    version: int
    previous: str
    sequence: int
    recorded: int
    kind: str


def read_head(line: bytes) -> Head | None:
    """The leading fields of a line, found without a JSON parser; None when the line does not begin so."""
    found = _HEAD.match(line)
    if found is None:
        return None
    version, previous, sequence, recorded, kind = found.groups()
    return Head(int(version), previous.decode(), int(sequence), int(recorded), kind.decode())


def lane_seed(book: str, lane: str) -> str:
    """What the first line of a lane chains to, so that no lane can be carried into another book."""
    return sha256_hex(f"tollbook lane {FORMAT}\n{book}\n{lane}\n".encode())


class Request(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a client asked, once. The same bytes stand in its opening and in each settling entry.

    `user`, `client_request_id`, `idempotency_key` and the values of `tags_digest` are keyed digests; `tags` holds
    the tags that the configuration declares open. `sources` says where a dimension came from (`header`, `baggage`,
    `key`). `traceparent` is the caller's, if it sent a valid one; `parent_request_id` the request of an outer gateway
    or, of one line of a batch, the request that made the batch. `model_asked` and `policy` are absent when the
    request was refused before they were known. `repeat_of` is the request that the client made before with the same
    body or idempotency key and that gave it no whole answer. `about` is the request that made the vendor object which
    this one names.
    """

    id: str
    tenant: str
    key: str
    endpoint: str
    model_asked: str | None = None
    policy: str | None = None
    workload: str | None = None
    stream: bool = False
    user: str | None = None
    template: str | None = None
    tags: dict[str, str] | None = None
    tags_digest: dict[str, str] | None = None
    sources: dict[str, str] | None = None
    traceparent: str | None = None
    parent_request_id: str | None = None
    client_request_id: str | None = None
    idempotency_key: str | None = None
    repeat_of: str | None = None
    about: str | None = None


class Attempt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One upstream call as it was opened. `because` is the outcome of the attempt before, which led to this one.

    `body_bytes` is the size of the body as it is sent, `output_limit` the most output tokens that it allows: what is
    left to estimate by when nobody settles the attempt. `line` is the keyed digest of what the client called one line
    of a batch.
    """

    number: int
    vendor: str
    vendor_key: str
    model_sent: str
    reason: str = "first"
    because: str | None = None
    vendor_key_id: str | None = None
    project: str | None = None
    workspace: str | None = None
    account: str | None = None
    tier_asked: str | None = None
    body_bytes: int | None = None
    output_limit: int | None = None
    line: str | None = None


class Settlement(Struct, omit_defaults=True, kw_only=True):
    """How an attempt ended, as far as we know.

    `opened` is the recorded instant of the opening entry, which is when the vendor's work occurred; `sequence` is the
    number of that entry. A line of a batch has no opening entry: `opened` is when the vendor says it was done, else
    when the batch ended, and `sequence` is -1. `usage` is in disjoint classes; `basis` says how we know it, `method`
    and `bound` (the most it can be, per class) how an estimate was made; `shares` is usage inside the answer that other
    models did, each with its model, and is not in `usage`; `processing` is `batch` for a line of a batch; `raw` is the
    vendor's own usage object. `billable`: does the vendor bill it (absent: unknown). `delivered` is the number of
    answer bytes passed to the client. `charging` names the rules by which `borne_by` was decided, where they are not
    those of the configuration the lane was begun with. `made` are the vendor objects that the answer created, each its
    kind and the keyed digest of its id; `vendor_cost` is the vendor's own figure in US dollars, never charged by;
    `provider` did the work where the vendor is a broker. A span
    has no opening entry either: `opened` is its start.
    """

    opened: int
    sequence: int
    outcome: str
    basis: str = "unreported"
    first_byte: int | None = None
    status: int | None = None
    vendor_request_id: str | None = None
    response_id: str | None = None
    model_served: str | None = None
    region: str | None = None
    tier: str | None = None
    speed: str | None = None
    processing: str | None = None
    usage: dict[str, int] | None = None
    method: str | None = None
    bound: dict[str, int] | None = None
    shares: list[tuple[str, dict[str, int]]] | None = None
    raw: Raw = None  # type: ignore[assignment]  # absent is None; msgspec reads no object into `Raw | None`
    billable: bool | None = None
    borne_by: str = "tenant"
    error: str | None = None
    flags: list[str] | None = None
    delivered: int | None = None
    made: list[tuple[str, str]] | None = None
    vendor_cost: str | None = None
    provider: str | None = None
    next: str = "answer"
    charging: str | None = None


Charge = tuple[str, int, str | None, str | None, str | None, str | None, str | None]
"""One priced line: class, quantity, unit price, `list`, `expected`, `recharge`, price row. Unknown is null."""


class Rating(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The fact of having priced one usage with one book.

    `unpriced` says why some line has no price (its amounts are then null); `assumed` names what was assumed to find
    one (`tier`, `instant`, ...). `shares` are the lines of what other models did, each with its model. A total is the
    sum of all lines and is not stored.
    """

    book: str
    adapter: str
    charges: list[Charge]
    shares: list[tuple[str, list[Charge]]] | None = None
    number: int = 1
    rater: int = 1
    currency: str = "USD"
    unpriced: str | None = None
    assumed: list[str] | None = None

    def lines(self) -> list[Charge]:
        """All priced lines, those of other models after the attempt's own."""
        return (
            self.charges if self.shares is None else self.charges + [line for _, part in self.shares for line in part]
        )


class Close(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The end of a request. `route` is the targets tried in order (`openai/gpt-4o-mini>openai/gpt-4o`); `reason` the
    routing plan's account of its choice; `error` the stable code of a refusal or of our own final error; `basis` the
    weakest of its attempts; `client` whether the client was still there."""

    outcome: str
    attempts: int = 1
    route: str | None = None
    reason: str | None = "policy_order"
    error: str | None = None
    basis: str = "unreported"
    client: str = "answered"
    replay_of: str | None = None


class SpanEvidence(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The span that an entry rests on. `parent` is the nearest inference around it that came with it, else the span
    just above; `content` the digest of what was read of it, by which copies of a span are known and ranked; `grade`
    what it is worth (complete, partial, bare); `convention` how its counts were read (nested, disjoint); `reported`
    the counts as they were told, `costs` what the emitter computed: attribute, decimal text, currency; `ended` when it
    ended; `dropped` how many attributes its emitter left out."""

    trace_id: str
    span_id: str
    dialect: str
    operation: str
    grade: str
    content: str
    parent: str | None = None
    convention: str | None = None
    scope: str | None = None
    reported: dict[str, int] | None = None
    costs: list[tuple[str, str, str]] | None = None
    ended: int | None = None
    dropped: int = 0


class RequestEntry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The payload of every `request.*` and `attempt.*` entry; which parts are there follows from the kind.

    `lane` and `settlement.sequence` name the opening entry where it stands in another lane than this one: a lane that
    died. `opened` in `request.closed` is when the request arrived.
    """

    request: Request
    attempt: Attempt | None = None
    settlement: Settlement | None = None
    rating: Rating | None = None
    close: Close | None = None
    lane: str | None = None
    opened: int | None = None
    span: SpanEvidence | None = None


class LaneBegin(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a lane is bound to. `heads` is the digest of the last heads entry its writer knew of."""

    book: str
    lane: str
    role: str
    format: int
    release: str
    configuration: str
    host: str
    process: int
    heads: str | None = None


class LaneCounts(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Running counts of a lane: entries by kind, and the sum of expected amounts per currency (decimal text)."""

    counts: dict[str, int]
    expected: dict[str, str]
    reason: str | None = None


class LaneOpened(Struct, frozen=True, kw_only=True):
    lane: str
    role: str


class LaneClosed(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where a lane ends: its last whole line, how many torn bytes came after it, and why it was closed."""

    lane: str
    role: str
    reason: str
    last: int = -1
    digest: str | None = None
    torn: int = 0


class LaneHead(Struct, frozen=True, array_like=True):
    """How far one lane had got: name, last sequence, digest of that line, RFC 6962 root over all lines, its time."""

    lane: str
    last: int
    digest: str
    root: str
    recorded: int


class Heads(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A position of the book. `number` counts all heads of the book; `previous` is the digest of the heads before.

    `lanes` are the lanes that moved or are open; `opened` and `closed` the lanes first and last listed here.
    """

    number: int
    lanes: list[LaneHead]
    previous: str | None = None
    opened: list[str] = []
    closed: list[str] = []


class SegmentSealed(Struct, frozen=True, kw_only=True):
    """A finished segment file: its lines, bytes and digest before compression, and the lane's root up to its end."""

    lane: str
    segment: int
    first: int
    last: int
    bytes: int
    sha256: str
    root: str


class BookCreated(Struct, frozen=True, kw_only=True):
    book: str
    key: str
    actor: str


class ObjectNamed(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An object under `objects/` that an entry names: its digest and size."""

    sha256: str
    bytes: int


class ConfigurationLoaded(Struct, frozen=True, kw_only=True):
    digest: str
    object: ObjectNamed


class PricesActivated(Struct, frozen=True, kw_only=True):
    book: str
    since: int
    object: ObjectNamed
    actor: str


class PersonalErased(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An erasure: the keyed digests whose values were removed. `basis` is itself a keyed digest of the reason's text;
    `year` tells under which tenant-year key each digest was made."""

    tenant: str
    digests: dict[str, str]
    values: int
    basis: str
    actor: str


class KeyRotated(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Another key signs the checkpoints of more than `since` heads. `previous` and `key` are verification keys;
    `reason` is routine, compromised or lost; checkpoints of the previous key count up to `trusted` heads (absent: up to
    `since`); `signature` is the previous key's signed note over all that (absent when it was lost)."""

    previous: str
    key: str
    since: int
    reason: str
    actor: str
    trusted: int | None = None
    signature: str | None = None


class BookRestored(Struct, frozen=True, kw_only=True):
    """The book goes on from a copy: when it was made (microseconds), the heads that its last checkpoint signs."""

    made: int
    position: int
    actor: str


class RestoreDrilled(Struct, frozen=True, kw_only=True):
    """A restore that was tried with a copy of this book: when the copy was made, its position, what verified, whether
    the totals of its ledger were compared with the backup's and are the same, how long it all took."""

    made: int
    position: int
    entries: int
    bytes: int
    compared: bool
    seconds: int
    actor: str


class GapRecorded(Struct, frozen=True, kw_only=True):
    """Requests forwarded unrecorded (`journal.on_failure: forward_unrecorded`): from, to, how many per tenant."""

    since: int
    until: int
    counts: dict[str, int]


class BatchOpened(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A batch at a vendor. `request_id` made it, `lane`, `sequence` and `opened` name that request's opening entry;
    `batch` is the keyed digest of the vendor's id."""

    request_id: str
    tenant: str
    vendor: str
    vendor_key: str
    endpoint: str
    batch: str
    lane: str
    sequence: int
    opened: int


class BatchClosed(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A batch at its end. `status` is the vendor's word, `ended` when it ended. `told` is what the vendor says of the
    whole (`lines`, `completed`, `failed`, `input`, `output`, ...), to be held against the lines; `problem` why its
    lines could not all be read."""

    request_id: str
    tenant: str
    status: str
    ended: int | None = None
    told: dict[str, int] = {}
    problem: str | None = None


_encoder: Final = msgspec.json.Encoder()
_request_decoder: Final = msgspec.json.Decoder(RequestEntry)


def encode_payload(payload: Struct | dict[str, Any]) -> bytes:
    """A payload's members without the outer braces: what stands after `"k":"...",` in a line."""
    return _encoder.encode(payload)[1:-1]


def decode_request(line: bytes) -> RequestEntry:
    """The payload of a `request.*` or `attempt.*` line. Unknown members of later releases are ignored."""
    return _request_decoder.decode(line)
