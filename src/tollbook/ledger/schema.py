"""The ledger's tables as data: columns, types, keys, meanings.

Rows are only ever added (`open_attempts` apart, which is replaced in each commit). Every row says which entries it was
folded from: lane, sequence and digest, and the position (number of the heads entry) it was folded at.

A usage stands in one column per text token class, because reports sum these and a MAP costs five times as much to
sum; the rare classes (modalities, counters) stand in the MAP `usage_other`. No column is DOUBLE, FLOAT or HUGEINT:
Parquet would turn money into floats.
"""

from typing import Final, NamedTuple

from tollbook.core.usage import TOKEN_CLASSES

SCHEMA_VERSION: Final = 8
"""Raised when a table changes; a ledger of another version is never opened, it is rebuilt beside."""


class Column(NamedTuple):
    """One column: its name, SQL type and meaning. Instants are TIMESTAMP in UTC, to the microsecond."""

    name: str
    type: str
    meaning: str


class Table(NamedTuple):
    """One table. `key` orders its rows for ever (digests, reports); `day` is the instant that says a row's day."""

    name: str
    meaning: str
    key: tuple[str, ...]
    day: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


AMOUNT: Final = "DECIMAL(18,12)"
TOTAL: Final = "DECIMAL(38,12)"
WHOLE: Final = "DECIMAL(38,0)"
TEXT: Final = "VARCHAR"
TEXTS: Final = "VARCHAR[]"
TEXT_MAP: Final = "MAP(VARCHAR, VARCHAR)"
COUNT_MAP: Final = "MAP(VARCHAR, BIGINT)"
COUNT: Final = "BIGINT"
FLAG: Final = "BOOLEAN"
INSTANT: Final = "TIMESTAMP"


def _columns(*lines: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*line) for line in lines)


REQUEST_COLUMNS: Final = _columns(
    ("request_id", TEXT, "the request's UUIDv7"),
    ("tenant", TEXT, "who is charged: from the key"),
    ("key", TEXT, "name of the tenant's key"),
    ("workload", TEXT, "the tenant's workload"),
    ("user", TEXT, "keyed digest of the end user"),
    ("template", TEXT, "prompt template, name@version"),
    ("tags", TEXT_MAP, "tags: open ones in clear, others as keyed digests"),
    ("endpoint", TEXT, "wire format and operation"),
    ("model_asked", TEXT, "the model name the client sent; also the policy's id"),
    ("policy", TEXT, "digest of the policy's text"),
    ("stream", FLAG, "whether a stream was asked for"),
    ("trace_id", TEXT, "the caller's trace id; null: the one derived from the request id"),
    ("parent_request_id", TEXT, "the outer gateway's request id; of a line of a batch: that of the batch"),
    ("client_request_id", TEXT, "keyed digest of the caller's own request id"),
    ("idempotency_key", TEXT, "keyed digest of the idempotency key"),
    ("repeat_of", TEXT, "the request that the client made before, which gave it no whole answer"),
)

ATTEMPT_COLUMNS: Final = _columns(
    ("number", COUNT, "1 for the first attempt of the request"),
    ("vendor", TEXT, "configured vendor"),
    ("vendor_key", TEXT, "name of the vendor key used"),
    ("vendor_key_id", TEXT, "the id bills know the vendor key by"),
    ("project", TEXT, "the vendor's project"),
    ("workspace", TEXT, "the vendor's workspace"),
    ("account", TEXT, "the vendor's account"),
    ("model_sent", TEXT, "the model asked of the vendor"),
    ("tier_asked", TEXT, "the service tier asked of the vendor"),
    ("body_bytes", COUNT, "size of the request's body as sent"),
    ("output_limit", COUNT, "most output tokens that the request allows"),
    ("line", TEXT, "keyed digest of the name that the client gave this line of a batch"),
    ("reason", TEXT, "why the attempt was made"),
    ("because", TEXT, "outcome of the attempt before, which led to this one"),
    ("occurred", INSTANT, "when the vendor's work began: the opening entry's instant"),
    ("opened_kind", TEXT, "kind of the opening entry"),
    ("opened_lane", TEXT, "lane of the opening entry"),
    ("opened_sequence", COUNT, "sequence of the opening entry"),
    ("opened_digest", TEXT, "digest of the opening entry; null when its lane was read later than this one"),
    ("opened_position", COUNT, "position at which the opening entry was folded"),
)

ORIGIN_COLUMNS: Final = _columns(
    ("recorded", INSTANT, "when the book learned it: the entry's instant"),
    ("kind", TEXT, "kind of the entry this row was folded from"),
    ("lane", TEXT, "lane of that entry"),
    ("sequence", COUNT, "sequence of that entry"),
    ("digest", TEXT, "digest of that entry"),
    ("position", COUNT, "position at which it was folded"),
)

USAGE_COLUMNS: Final = tuple(
    Column(name, COUNT, f"usage of class {name}; null: not reported") for name in TOKEN_CLASSES
)

OUTCOME_COLUMNS: Final = (
    *_columns(
        ("model_served", TEXT, "the model the vendor says it used"),
        ("model", TEXT, "the model served, else the one sent"),
        ("region", TEXT, "region the vendor says it served from"),
        ("tier", TEXT, "service tier the vendor says it used"),
        ("speed", TEXT, "speed the vendor says it used"),
        ("processing", TEXT, "how it was sent, where that has a price of its own: batch"),
        ("route", TEXT, "targets tried in order; known at the request's last attempt"),
        ("outcome", TEXT, "how the attempt ended"),
        ("status", COUNT, "the vendor's HTTP status"),
        ("first_byte", INSTANT, "first byte of the answer"),
        ("vendor_request_id", TEXT, "the vendor's id of this call"),
        ("response_id", TEXT, "the id in the vendor's answer"),
        ("error", TEXT, "code of the error"),
        ("flags", TEXTS, "what was odd (inconsistent_usage, ...)"),
        ("delivered", COUNT, "answer bytes passed to the client"),
        ("next", TEXT, "what the gateway did next"),
        ("basis", TEXT, "how the usage is known"),
    ),
    *USAGE_COLUMNS,
    *_columns(
        ("usage_other", COUNT_MAP, "usage of every other class"),
        ("usage_raw", TEXT, "the vendor's own usage object, as JSON"),
        ("usage_method", TEXT, "how an estimate was made"),
        ("usage_bound", COUNT_MAP, "the most an estimated usage can be, per class"),
        ("usage_shares", TEXT, "usage by other models inside the answer, as JSON by model; in no other column"),
        ("vendor_cost", TEXT, "the vendor's own figure in US dollars, exact decimal text; nothing is charged by it"),
        ("provider", TEXT, "who did the work, where the vendor is a broker and says so"),
        ("rating", COUNT, "number of the rating; null: not rated"),
        ("currency", TEXT, "currency of the amounts"),
        ("price_book", TEXT, "digest of the price book"),
        ("adapter", TEXT, "adapter and its version"),
        ("rater", COUNT, "version of the rater"),
        ("unpriced", TEXT, "why a line has no price"),
        ("assumed", TEXTS, "what was assumed to find a price"),
        ("amount_list", AMOUNT, "sum of the lines at public prices; null when one is unknown"),
        ("amount_expected", AMOUNT, "sum of what the vendor should charge; null when one line is unknown"),
        ("amount_recharge", AMOUNT, "sum of what the tenant is charged; null when one line is unknown"),
        ("billable", FLAG, "whether the vendor bills it; null: unknown"),
        ("borne_by", TEXT, "who bears the cost"),
        ("maturity", TEXT, "how final the amounts are"),
        ("source", TEXT, "by which door the record came in"),
        ("requests", COUNT, "1 on the row that ends its request"),
        ("attempts", COUNT, "1; 0 on a settlement that came after the attempt was booked as unsettled"),
        ("unpriced_attempts", COUNT, "1 when some line has no price"),
        ("unsettled_attempts", COUNT, "1 when unsettled; -1 on a late settlement, which takes it back"),
        ("unreported_attempts", COUNT, "1 when the vendor may bill it and reported no usage"),
    ),
)

REQUESTS: Final = Table(
    "requests",
    "one row per request that ended",
    ("request_id", "lane", "sequence"),
    "recorded",
    (
        *REQUEST_COLUMNS,
        *_columns(
            ("opened", INSTANT, "when the request arrived, where its last entry says it"),
            ("occurred", INSTANT, "when the vendor's work of its last attempt began, else when it arrived"),
            ("attempts", COUNT, "attempts made"),
            ("route", TEXT, "targets tried in order"),
            ("plan", TEXT, "the routing plan's account of its choice"),
            ("error", TEXT, "code of a refusal or of our own final error"),
            ("outcome", TEXT, "how the request ended"),
            ("basis", TEXT, "weakest basis of its attempts"),
            ("client", TEXT, "whether the client was still there"),
            ("replay_of", TEXT, "the request whose kept result was given again"),
            ("source", TEXT, "by which door the record came in"),
            ("requests", COUNT, "1 on a request that no attempt's row counts"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

ATTEMPTS: Final = Table(
    "attempts",
    "one row per settled attempt, written when its settling entry is folded",
    ("request_id", "number", "source", "rating", "lane", "sequence"),
    "recorded",
    (*REQUEST_COLUMNS, *ATTEMPT_COLUMNS, *OUTCOME_COLUMNS, *ORIGIN_COLUMNS),
)

CHARGES: Final = Table(
    "charges",
    "one row per priced line of a rating",
    ("request_id", "number", "rating", "lane", "sequence", "line"),
    "recorded",
    (
        *_columns(
            ("request_id", TEXT, "the request"),
            ("number", COUNT, "the attempt"),
            ("rating", COUNT, "number of the rating"),
            ("line", COUNT, "place of the line in its rating, from 1"),
            ("tenant", TEXT, "who is charged"),
            ("model", TEXT, "the model, where it is not the attempt's; null: the attempt's"),
            ("class", TEXT, "usage class"),
            ("quantity", COUNT, "units charged"),
            ("unit_price", TEXT, "exact price of one unit, decimal text; null: unpriced"),
            ("amount_list", AMOUNT, "at the public price"),
            ("amount_expected", AMOUNT, "what the vendor should charge"),
            ("amount_recharge", AMOUNT, "what the tenant is charged"),
            ("currency", TEXT, "currency of the price and amounts"),
            ("price_book", TEXT, "digest of the price book"),
            ("price_row", TEXT, "row of the price book"),
            ("occurred", INSTANT, "as of its attempt"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

OPEN_ATTEMPTS: Final = Table(
    "open_attempts",
    "attempts opened and not settled at the ledger's position; replaced in every commit",
    ("request_id", "number", "opened_lane", "opened_sequence"),
    "occurred",
    (*REQUEST_COLUMNS, *ATTEMPT_COLUMNS),
)

TOTAL_DIMENSIONS: Final = (
    "tenant",
    "workload",
    "key",
    "vendor",
    "vendor_key",
    "model_asked",
    "model_served",
    "region",
    "tier",
    "outcome",
    "basis",
    "source",
    "currency",
    "rating",
)

TOTAL_COUNTS: Final = ("requests", "attempts", "unpriced_attempts", "unsettled_attempts", "unreported_attempts")

TOTALS: Final = Table(
    "totals",
    "15-minute sums of attempts as deltas: one row without class for the counts, one per class for usage and amounts",
    ("bucket", *TOTAL_DIMENSIONS, "class", "position"),
    "bucket",
    (
        Column("bucket", INSTANT, "start of the 15 minutes in which the attempts occurred"),
        *(Column(name, COUNT if name == "rating" else TEXT, "as in attempts") for name in TOTAL_DIMENSIONS),
        Column("class", TEXT, "usage class; null on the row that carries the counts"),
        *(Column(name, COUNT, "sum over attempts") for name in TOTAL_COUNTS),
        Column("quantity", COUNT, "usage of the class"),
        Column("amount_list", TOTAL, "sum of the known lines of the class"),
        Column("amount_expected", TOTAL, "sum of the known lines of the class"),
        Column("amount_recharge", TOTAL, "sum of the known lines of the class"),
        Column("position", COUNT, "position whose rows this delta sums"),
    ),
)

POSITIONS: Final = Table(
    "positions",
    "every position loaded; the last one says how far the ledger is",
    ("number",),
    "recorded",
    _columns(
        ("number", COUNT, "number of the heads entry"),
        ("digest", TEXT, "digest of the heads entry"),
        ("recorded", INSTANT, "instant of the heads entry"),
        ("lines", COUNT, "entries folded at this position"),
        ("lanes", TEXT, "high-water mark and state of each lane not finally closed, as JSON"),
        ("interrupted", TEXTS, "requests ended for a dead worker whose lane is not closed yet"),
    ),
)

PRICE_BOOKS: Final = Table(
    "price_books",
    "price books as they were activated",
    ("lane", "sequence"),
    "recorded",
    (
        *_columns(
            ("book", TEXT, "digest of the book"),
            ("since", INSTANT, "prices from this instant on"),
            ("object", TEXT, "digest of the object that holds it"),
            ("bytes", COUNT, "size of the object"),
            ("actor", TEXT, "who activated it"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

CONFIGURATIONS: Final = Table(
    "configurations",
    "configurations as they came into force",
    ("lane", "sequence"),
    "recorded",
    (
        *_columns(
            ("configuration", TEXT, "digest of the configuration"),
            ("object", TEXT, "digest of the object that holds it"),
            ("bytes", COUNT, "size of the object"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

ERASURES: Final = Table(
    "erasures",
    "erasures of personal values, one row per keyed digest",
    ("lane", "sequence", "erased"),
    "recorded",
    (
        *_columns(
            ("tenant", TEXT, "whose user it was"),
            ("year", TEXT, "year of the key under which the digest was made"),
            ("erased", TEXT, "the keyed digest whose value was removed"),
            ("basis", TEXT, "keyed digest of the reason's text"),
            ("actor", TEXT, "who erased it"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

GAPS: Final = Table(
    "gaps",
    "times in which requests were forwarded unrecorded, one row per tenant",
    ("lane", "sequence", "tenant"),
    "recorded",
    (
        *_columns(
            ("since", INSTANT, "first request forwarded unrecorded"),
            ("until", INSTANT, "last request forwarded unrecorded"),
            ("tenant", TEXT, "whose requests"),
            ("requests", COUNT, "how many"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

REGISTRY: Final = Table(
    "registry",
    "changes of the registry, one row per change of an entry",
    ("lane", "sequence", "number"),
    "recorded",
    (
        *_columns(
            ("number", COUNT, "place of the change in its entry, from 1"),
            ("act", TEXT, "added, moved, ended, key_added, key_rotated, key_revoked"),
            ("subject", TEXT, "entity, unit, tenant, workload or key"),
            ("name", TEXT, "its name; a workload's is TENANT/NAME"),
            ("parent", TEXT, "what it belongs to; a key's tenant; null: not said"),
            ("owner", TEXT, "who answers for it; null: not said"),
            ("cost_centre", TEXT, "where its cost goes; null: not said"),
            ("mode", TEXT, "showback or chargeback; null: not said"),
            ("workloads", TEXTS, "the workloads a key may act for; null: all"),
            ("models", TEXTS, "the models a key may ask for; null: all"),
            ("expires", INSTANT, "when a key expires"),
            ("until", INSTANT, "until when a key's former secrets work"),
            ("effective", INSTANT, "from when it holds"),
            ("actor", TEXT, "who changed it"),
            ("reason", TEXT, "why"),
            ("configuration", TEXT, "digest of the configuration it was taken from"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

TRANSFERS: Final = Table(
    "transfers",
    "usage carried from one place to another, two rows per leg that add up to nothing",
    ("lane", "sequence", "leg", "side"),
    "recorded",
    (
        *_columns(
            ("leg", COUNT, "place of the leg in its entry, from 1"),
            ("side", TEXT, "from: what leaves; to: what comes"),
            ("tenant", TEXT, "the tenant of that side"),
            ("unit", TEXT, "the unit of that side"),
            ("entity", TEXT, "the legal entity of that side"),
            ("cost_centre", TEXT, "the cost centre of that side"),
            ("currency", TEXT, "currency of the amounts; null: what has no price"),
            ("amount_expected", TOTAL, "what the vendor should charge; below zero where it leaves"),
            ("amount_recharge", TOTAL, "what the tenant is charged; below zero where it leaves"),
            ("requests", COUNT, "requests; below zero where they leave"),
            ("attempts", COUNT, "attempts; below zero where they leave"),
            ("since", INSTANT, "what occurred from this instant on"),
            ("before", COUNT, "and was folded before this position"),
            ("change", TEXT, "digest of the registry's entry that made it belong elsewhere"),
            ("of_tenant", TEXT, "tenant of the key under suspicion"),
            ("of_key", TEXT, "the key under suspicion"),
            ("actor", TEXT, "who caused it"),
            ("reason", TEXT, "why"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

BATCHES: Final = Table(
    "batches",
    "batches at vendors: one row when one is made, another when all lines of its output are on record",
    ("request_id", "lane", "sequence"),
    "recorded",
    (
        *_columns(
            ("request_id", TEXT, "the request that made it; the parent of its lines' requests"),
            ("tenant", TEXT, "who is charged"),
            ("vendor", TEXT, "configured vendor"),
            ("vendor_key", TEXT, "name of the vendor key used"),
            ("endpoint", TEXT, "wire format and operation that made it"),
            ("batch", TEXT, "keyed digest of the vendor's id"),
            ("opened", INSTANT, "when it was made"),
            ("status", TEXT, "how it ended, in the vendor's word; null on the first row"),
            ("ended", INSTANT, "when it ended"),
            ("problem", TEXT, "why its lines could not all be read"),
            ("told", COUNT_MAP, "what the vendor says of the whole: lines, tokens"),
            ("settled", COUNT_MAP, "the same of its lines in the book"),
            ("differs", TEXTS, "what of the two is not the same"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

ADJUSTMENTS: Final = Table(
    "adjustments",
    "what corrects a charge, one row per leg; the legs of an entry add up to nothing in each currency",
    ("lane", "sequence", "leg"),
    "recorded",
    (
        *_columns(
            ("leg", COUNT, "place of the leg in its entry, from 1"),
            ("case", TEXT, "reference of the case"),
            ("act", TEXT, "credit, reattribute_from, reattribute_to"),
            ("tenant", TEXT, "the tenant that the entry speaks of"),
            ("requests", TEXTS, "the requests that the case is about"),
            ("actor", TEXT, "who caused it"),
            ("account", TEXT, "recharge of a tenant, absorbed for a reason, suspense"),
            ("leg_tenant", TEXT, "whose account; null: nobody's"),
            ("reason", TEXT, "why it is absorbed or held"),
            ("currency", TEXT, "currency of the amount"),
            ("amount", TOTAL, "what is added to the account; below zero where it is taken away"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

STATEMENTS: Final = Table(
    "statements",
    "vendors' documents as they were taken in",
    ("lane", "sequence"),
    "recorded",
    (
        *_columns(
            ("import_id", TEXT, "the book's name for it"),
            ("vendor", TEXT, "whose document it is"),
            ("source", TEXT, "which source it was read as"),
            ("type", TEXT, "usage_export, cost_report, invoice, credit_note, prepayment"),
            ("importer", TEXT, "what read it, and its version"),
            ("grade", TEXT, "pulled, delivered or uploaded"),
            ("actor", TEXT, "who took it in"),
            ("sha256", TEXT, "digest of the vendor's file"),
            ("bytes", COUNT, "size of the vendor's file"),
            ("kept", FLAG, "whether the file itself is in the book"),
            ("object", TEXT, "digest of the object that holds its lines"),
            ("mapping", TEXT, "digest of the mapping by which it was read"),
            ("lines", COUNT, "how many lines it has"),
            ("unknown", COUNT, "lines whose class is none of ours"),
            ("problem_count", COUNT, "what could not be read as it stands"),
            ("problems", TEXT, "the first of them, as JSON"),
            ("totals", TEXT_MAP, "sum of the lines' amounts per currency, decimal text"),
            ("rounding", TEXT_MAP, "what the vendor's exact figures come to beyond them"),
            ("period_from", INSTANT, "begin of the service period"),
            ("period_to", INSTANT, "end of it, not in it"),
            ("zone", TEXT, "zone of the document's days"),
            ("observed", INSTANT, "when the vendor gave it; null: not known"),
            ("account", TEXT, "account at the vendor"),
            ("document", TEXT, "the document's number"),
            ("issued", TEXT, "its date"),
            ("currency", TEXT, "currency of net, tax and gross"),
            ("net", TEXT, "as it says itself, decimal text"),
            ("tax", TEXT, "as it says itself, decimal text"),
            ("gross", TEXT, "as it says itself, decimal text"),
            ("reference", TEXT, "what it refers to"),
            ("origin", TEXT, "the endpoint it was pulled from"),
            ("revises", TEXTS, "the statements that it replaces"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

STATEMENT_LINES: Final = Table(
    "statement_lines",
    "the lines of vendors' documents, as they were read when they were taken in",
    ("lane", "sequence", "line"),
    "bucket_from",
    (
        *_columns(
            ("import_id", TEXT, "the statement"),
            ("document", TEXT, "the document's number"),
            ("line", COUNT, "place in the document, from 1"),
            ("vendor", TEXT, "whose document it is"),
            ("kind", TEXT, "usage, cost, tax, credit, fee, other"),
            ("bucket_from", INSTANT, "begin of the time it speaks of"),
            ("bucket_to", INSTANT, "end of it, not in it"),
            ("account", TEXT, "the vendor's account"),
            ("project", TEXT, "the vendor's project or workspace"),
            ("api_key_id", TEXT, "the vendor's id of the key"),
            ("model", TEXT, "the model as the vendor names it"),
            ("region", TEXT, "region as the vendor names it"),
            ("tier", TEXT, "service tier as the vendor names it"),
            ("processing", TEXT, "how it was sent, where that has a price of its own: batch"),
            ("context", TEXT, "context band as the vendor names it"),
            ("class", TEXT, "usage class; of class_kind unknown, the vendor's word"),
            ("class_kind", TEXT, "ours or unknown"),
            ("item", TEXT, "the vendor's own words"),
            ("quantity", WHOLE, "whole units; null: not stated"),
            ("quantity_stated", TEXT, "what the vendor wrote, where that is something else"),
            ("unit", TEXT, "the vendor's unit"),
            ("amount", TOTAL, "amount, rounded half-even to twelve places; null: not stated"),
            ("amount_stated", TEXT, "all digits, where the vendor gave more"),
            ("currency", TEXT, "currency of the amount"),
            ("vendor_request_id", TEXT, "the vendor's id of the call; null: none"),
            ("maturity", TEXT, "open, provisional, final: as far as was known when it was taken in"),
            ("place", TEXT, "where it stands in the vendor's file"),
        ),
        *(column for column in ORIGIN_COLUMNS if column.name not in ("kind", "digest")),
    ),
)

SPANS: Final = Table(
    "spans",
    "spans of inferences as they were received, whether an attempt's row rests on them or they are a further evidence",
    ("request_id", "lane", "sequence"),
    "recorded",
    (
        *_columns(
            ("request_id", TEXT, "the request that the span tells of, if no better evidence does"),
            ("tenant", TEXT, "who is charged: from the ingest key"),
            ("trace_id", TEXT, "its trace"),
            ("span_id", TEXT, "its id"),
            ("parent_id", TEXT, "the nearest inference around it, else the span above"),
            ("response_id", TEXT, "the id in the vendor's answer"),
            ("occurred", INSTANT, "when it began"),
            ("dialect", TEXT, "the dialect it is in"),
            ("operation", TEXT, "what was done: chat, embeddings"),
            ("grade", TEXT, "what it is worth: complete, partial, bare"),
            ("convention", TEXT, "how its counts were read: nested, disjoint"),
            ("content", TEXT, "digest of what was read of it"),
            ("scope", TEXT, "the instrumentation that made it"),
            ("reported", COUNT_MAP, "the counts as they were told"),
            ("costs", TEXT, "costs that its emitter computed, as JSON; nothing is charged by them"),
            ("dropped", COUNT, "attributes that its emitter left out"),
            ("flags", TEXTS, "what was odd"),
            ("line", TEXT, "the line of its entry"),
        ),
        *ORIGIN_COLUMNS,
    ),
)

TABLES: Final = (
    REQUESTS,
    ATTEMPTS,
    CHARGES,
    OPEN_ATTEMPTS,
    TOTALS,
    POSITIONS,
    PRICE_BOOKS,
    CONFIGURATIONS,
    ERASURES,
    GAPS,
    REGISTRY,
    TRANSFERS,
    BATCHES,
    ADJUSTMENTS,
    STATEMENTS,
    STATEMENT_LINES,
    SPANS,
)


def quote(name: str) -> str:
    """A column or table name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def create_statement(table: Table) -> str:
    """The SQL that makes a table."""
    columns = ", ".join(f"{quote(column.name)} {column.type}" for column in table.columns)
    return f"CREATE TABLE {quote(table.name)} ({columns})"
