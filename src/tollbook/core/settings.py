"""The values a configuration is made of: every setting once, with its name, default and help.

Plain, frozen, without I/O, cheap to hand to a worker. `tollbook.config` reads and checks the file by these types;
the reference page is made from them. A remark `unit` tells how the text in the file becomes the value: `duration`
(`500ms`, `30s`, `10m`, `1h`; seconds inside), `size` (`64 KiB`, `64 MiB`, `1 GiB`; bytes inside), `secret`, `day`. A
remark `derived` marks what the file does not say: it is the name under which the rest stands, or computed from it.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from tollbook.core.charging import Charging
from tollbook.core.digest import canonical_json, sha256_hex

Name: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$", title="a name of letters, digits and . _ @ -")
]
ModelName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}$", title="a name of letters, digits and . _ @ : / + -")
]
FieldValue: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
AccessKeyId: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{3,128}$", title="3 to 128 letters, digits and _")]
VendorId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Failure: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^(connect|timeout|5xx|[45]\d\d)$", title="connect, timeout, 5xx, or a status such as 429"),
]

_Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
Quantity: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]

_DURATION: Final = {"unit": "duration"}
_SIZE: Final = {"unit": "size"}
_SECRET: Final = {"unit": "secret"}
_DAY: Final = {"unit": "day"}
_DERIVED: Final = {"derived": True}

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

_KEPT_IN: Final = "`env:NAME`, `file:/path` (mode 0600), or the secret itself (not advised)."


class Drain(Struct, frozen=True, kw_only=True):
    """How long and how much of an answer is still read after its client left."""

    seconds: Annotated[int, Meta(ge=1, le=3600, description="Longest time, in seconds.")] = 600
    bytes: Annotated[int, Meta(ge=1, extra=_SIZE, description="Most bytes.")] = 64 * _MIB


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long one attempt may take, in seconds inside."""

    connect: Annotated[
        float, Meta(gt=0, extra=_DURATION, description="To resolve a vendor's name, connect and shake hands.")
    ] = 10.0
    first_byte: Annotated[
        float, Meta(gt=0, extra=_DURATION, description="From the request being sent to the answer's first byte.")
    ] = 600.0
    idle: Annotated[float, Meta(gt=0, extra=_DURATION, description="Between two bytes of an answer.")] = 120.0
    total: Annotated[float, Meta(gt=0, extra=_DURATION, description="For a whole attempt.")] = 3600.0


class OwnTimeouts(Struct, frozen=True, kw_only=True):
    """What a model changes of `gateway.timeouts`; what it does not name stays."""

    connect: Annotated[_Seconds | None, Meta(extra=_DURATION, description="Instead of gateway.timeouts.connect.")] = (
        None
    )
    first_byte: Annotated[
        _Seconds | None, Meta(extra=_DURATION, description="Instead of gateway.timeouts.first_byte.")
    ] = None
    idle: Annotated[_Seconds | None, Meta(extra=_DURATION, description="Instead of gateway.timeouts.idle.")] = None
    total: Annotated[_Seconds | None, Meta(extra=_DURATION, description="Instead of gateway.timeouts.total.")] = None


class Tls(Struct, frozen=True, kw_only=True):
    """What the gateway proves itself with to clients; read when a worker starts."""

    certificate: Annotated[str, Meta(min_length=1, description="File of the certificate and those above it, PEM.")]
    key: Annotated[str, Meta(min_length=1, description="File of its private key, PEM, without a password.")]


class Gateway(Struct, frozen=True, kw_only=True):
    """The road: where clients come in, and what one request may take."""

    listen: Annotated[
        str,
        Meta(
            pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$",
            title="host:port",
            description="Host and port that clients connect to; port 0 takes a free one.",
        ),
    ] = "127.0.0.1:8080"
    tls: Annotated[Tls | None, Meta(description="Serve https. Absent: http, for a proxy of your own in front.")] = None
    workers: Annotated[int, Meta(ge=1, le=64, description="How many worker processes carry the traffic.")] = 1
    client_gone: Annotated[
        Literal["drain", "cancel"],
        Meta(
            description="When a client leaves in the middle of its answer: `drain` reads on to learn the usage that "
            "the vendor will bill; `cancel` closes the connection and estimates."
        ),
    ] = "drain"
    drain: Drain = Drain()
    timeouts: Timeouts = Timeouts()
    body_limit: Annotated[
        int, Meta(ge=_KIB, extra=_SIZE, description="Longest request body; a longer one is refused with 413.")
    ] = 32 * _MIB
    stale_registry: Annotated[
        Literal["refuse", "continue"],
        Meta(
            description="When nobody has vouched for the workers' copy of the registry for 30 s, since the scribe is "
            "down: `refuse` answers 503 to everything; `continue` goes by what was known, revoked keys included."
        ),
    ] = "refuse"
    shutdown_grace: Annotated[
        int, Meta(ge=0, extra=_DURATION, description="How long requests in flight may take to end after SIGTERM.")
    ] = 120


class Ship(Struct, frozen=True, kw_only=True):
    """A second copy of the book, for the day on which its disk or its machine is lost."""

    to: Annotated[str, Meta(min_length=1, description="A directory of its own on another disk or host.")]
    every: Annotated[
        float,
        Meta(ge=1, extra=_DURATION, description="How often what is new goes there; what a lost machine loses at most."),
    ] = 5.0
    personal_keys: Annotated[
        bool, Meta(description="The keys of personal digests go there, too: whoever has them can try values.")
    ] = False


class Journal(Struct, frozen=True, kw_only=True):
    """The journal: when it is durable, and what happens when it cannot be written."""

    sync: Annotated[
        Literal["periodic", "before_forward", "off"],
        Meta(
            description="When entries are durable: `periodic`, at most 20 ms after they were written; "
            "`before_forward`, before the vendor sees the request; `off`, when the system pleases (refused without "
            "`allow_unsafe`)."
        ),
    ] = "periodic"
    allow_unsafe: Annotated[bool, Meta(description="Allow `sync: off`, which loses entries when power fails.")] = False
    on_failure: Annotated[
        Literal["reject", "forward_unrecorded"],
        Meta(
            description="When the journal cannot be written: `reject` answers 503 and forwards nothing; "
            "`forward_unrecorded` forwards, alarms, and records the gap afterwards."
        ),
    ] = "reject"
    ballast: Annotated[
        int, Meta(ge=0, extra=_SIZE, description="Space kept per lane so that on a full disk attempts still settle.")
    ] = 64 * _MIB
    segment_bytes: Annotated[
        int, Meta(ge=64 * _KIB, extra=_SIZE, description="Size at which a lane begins its next segment file.")
    ] = 64 * _MIB
    segment_age: Annotated[
        int, Meta(ge=1, extra=_DURATION, description="Age at which a lane begins its next segment file.")
    ] = 600
    unsettled_after: Annotated[
        int,
        Meta(
            ge=1,
            extra=_DURATION,
            description="How long an attempt that nobody settled waits for the vendor's evidence before it is settled "
            "by estimate.",
        ),
    ] = 72 * 3600
    anchor: Annotated[
        str | None,
        Meta(description="A directory on another disk or host, to which a signed checkpoint goes every ten minutes."),
    ] = None
    ship: Annotated[Ship | None, Meta(description="Keep a second copy of the book elsewhere. Absent: none.")] = None


class VendorKey(Struct, frozen=True, kw_only=True):
    """One credential at a vendor, and what the vendor's bills call it."""

    name: Annotated[Name, Meta(description="Our name for the key: the dimension `vendor_key`.")]
    secret: Annotated[str, Meta(extra=_SECRET, description=_KEPT_IN)]
    id: Annotated[VendorId | None, Meta(description="The key's id in the vendor's usage exports.")] = None
    project: Annotated[VendorId | None, Meta(description="The vendor's project that the key belongs to.")] = None
    workspace: Annotated[VendorId | None, Meta(description="The vendor's workspace that the key belongs to.")] = None
    account: Annotated[VendorId | None, Meta(description="The vendor's account that is billed.")] = None
    tenants: Annotated[tuple[Name, ...], Meta(description="The tenants it serves; empty: all.")] = ()
    requests_per_minute: Annotated[
        Quantity | None,
        Meta(
            description="What the vendor allows the key in 60 s. Tenants share it by weight, so that none starves "
            "another; what is above is not sent."
        ),
    ] = None
    tokens_per_minute: Annotated[Quantity | None, Meta(description="The same for tokens, input and output.")] = None
    since: Annotated[str | None, Meta(extra=_DAY, description="The day from which its ids hold.")] = field(
        default=None, name="from"
    )

    def __repr__(self) -> str:
        return f"VendorKey({self.name!r}, {reference_of(self.secret)})"


class StatementSource(Struct, frozen=True, kw_only=True):
    """Where a vendor's own reports of usage and cost are pulled from."""

    secret: Annotated[str, Meta(extra=_SECRET, description="The admin key that opens them. " + _KEPT_IN)]
    url: Annotated[
        str | None,
        Meta(
            title="an address such as https://api.example.com",
            description="Where they are served; absent: the address of OpenAI or Anthropic, by the vendor's format.",
        ),
    ] = None

    def __repr__(self) -> str:
        return f"StatementSource({self.url!r}, {reference_of(self.secret)})"


class Vendor(Struct, frozen=True, kw_only=True):
    """A place to send attempts."""

    name: Annotated[Name, Meta(extra=_DERIVED)]
    format: Annotated[
        Literal["openai", "anthropic", "azure", "gemini", "vertex", "bedrock", "cohere"],
        Meta(description="The wire format it speaks; vendors that are compatible with OpenAI are `openai`."),
    ]
    base_url: Annotated[
        str,
        Meta(
            title="an address such as https://api.example.com/v1",
            description="Where its API begins, as its own SDK takes it: https, or http on this machine.",
        ),
    ]
    billing: Annotated[str, Meta(description="The party whose prices apply; empty: the one whose format it is.")] = ""
    keys: Annotated[tuple[VendorKey, ...], Meta(min_length=1, description="Its credentials; they take turns.")]
    ask_usage: Annotated[
        bool,
        Meta(
            description="Ask for the usage of a stream where the format needs that. Set it to false for a vendor that "
            "refuses to be asked because it tells the usage unasked (Mistral)."
        ),
    ] = True
    allow_private: Annotated[
        bool, Meta(description="Allow an address in a private network. This machine itself is always allowed.")
    ] = False
    region: Annotated[
        Name | None,
        Meta(description="Where it works, in your own words; a vendor in several regions is several vendors."),
    ] = None
    proxy: Annotated[
        str | None,
        Meta(
            title="http://host:port, or env:NAME",
            description="An HTTP proxy that it is reached through (CONNECT): `http://host:port`, or `env:HTTPS_PROXY`, "
            "read when the configuration is. No proxy of the environment is used unasked. The proxy resolves the "
            "vendor's name, so its address is not judged by us.",
        ),
    ] = None
    ca_file: Annotated[
        str | None, Meta(description="Certificates (PEM) to trust instead of the system's; for a vendor of your own.")
    ] = None
    statements: Annotated[
        StatementSource | None,
        Meta(description="Its admin API, for `tollbook statement pull`. Absent: statements are imported from files."),
    ] = None


class Target(Struct, frozen=True, kw_only=True):
    """One place a request can be sent to."""

    vendor: Annotated[Name, Meta(description="A name under `vendors`.")]
    model: Annotated[ModelName, Meta(description="The model name that the vendor is sent.")]
    weight: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(
            description="Its share of the requests, beside the weights of the others. Where some targets have one, "
            "those without are tried only after the others.",
        ),
    ] = None


class Retry(Struct, frozen=True, kw_only=True):
    """When a request gets a further attempt."""

    attempts: Annotated[
        int,
        Meta(
            ge=1,
            le=10,
            description="Most attempts of the whole request: the same target first, at most twice, then the next.",
        ),
    ] = 2
    on: Annotated[tuple[Failure, ...], Meta(description="The failures that are tried again.")] = (
        "connect",
        "timeout",
        "429",
        "5xx",
    )
    retry_after_send: Annotated[
        bool,
        Meta(
            description="Try again after a timeout although the whole request was sent: the vendor may bill both; "
            "the platform bears the first."
        ),
    ] = False
    backoff: Annotated[
        float, Meta(ge=0, extra=_DURATION, description="Pause before a retry, doubled each time, with jitter.")
    ] = 0.2


class Hedge(Struct, frozen=True, kw_only=True):
    """A second attempt beside a slow first one: the one that answers first is passed on, and the platform bears what
    the other costs."""

    after: Annotated[
        float,
        Meta(
            gt=0, extra=_DURATION, description="How long the first attempt may give no byte until the second is made."
        ),
    ]


class Model(Struct, frozen=True, kw_only=True):
    """What clients may ask for, and where it goes: its policy. `version` is the digest of its text, 12 digits."""

    name: Annotated[ModelName, Meta(extra=_DERIVED)]
    targets: Annotated[
        tuple[Target, ...],
        Meta(min_length=1, max_length=20, description="Where it is sent, in order; all of one wire format."),
    ]
    version: Annotated[str, Meta(extra=_DERIVED)] = ""
    regions: Annotated[
        tuple[Name, ...], Meta(description="Only vendors of these regions are tried; empty: wherever they are.")
    ] = ()
    retry: Retry = Retry()
    timeouts: Annotated[OwnTimeouts | None, Meta(description="Time limits of its own.")] = None
    hedge: Annotated[
        Hedge | None,
        Meta(description="Ask the next target too when the first is slow: costs money, saves waiting. Absent: never."),
    ] = None


class TenantKey(Struct, frozen=True, kw_only=True):
    """A key that a tenant's clients present, or sign with: a reference or secret in the file."""

    name: Annotated[Name, Meta(description="Our name for the key: the dimension `key`.")]
    secret: Annotated[str, Meta(extra=_SECRET, description=_KEPT_IN)]
    workloads: Annotated[
        tuple[Name, ...], Meta(description="The tenant's workloads it may name; empty: all of them.")
    ] = ()
    access_key_id: Annotated[
        AccessKeyId | None,
        Meta(
            description="For clients that sign requests as AWS wants it (SigV4): the id they sign with, the secret "
            "being `secret`. Workers hold the secrets of such keys; of all others a hash."
        ),
    ] = None

    def __repr__(self) -> str:
        return f"TenantKey({self.name!r}, {reference_of(self.secret)})"


class FieldRule(Struct, frozen=True, kw_only=True):
    """What a tenant may say in one member of a request's body: exactly one of the three."""

    allow: Annotated[
        tuple[FieldValue, ...], Meta(description="The values it may have; one that is absent is let through.")
    ] = ()
    force: Annotated[FieldValue | None, Meta(description="The value it gets, whatever was sent.")] = None
    refuse: Annotated[bool, Meta(description="A request that has the member at all is refused.")] = False


class Bounds(Struct, frozen=True, kw_only=True):
    """Most requests, tokens and streams. What is above is refused with 429 and not sent. Absent: no limit."""

    requests_per_minute: Annotated[Quantity | None, Meta(description="Most requests in any 60 s.")] = None
    tokens_per_minute: Annotated[
        Quantity | None,
        Meta(
            description="Most tokens in any 60 s, input and output. A request under way counts with a token for four "
            "bytes of its body and the output that it allows, until its usage is known."
        ),
    ] = None
    streams: Annotated[Quantity | None, Meta(description="Most streamed answers at once.")] = None


class Limits(Bounds, frozen=True, kw_only=True):
    """How much of the gateway a tenant may take: as a whole, and by its workloads, keys and models."""

    concurrent: Annotated[
        Quantity | None,
        Meta(
            description="Most requests at once, those whose client left and which are still read included. More are "
            "refused with 429. Absent: no limit."
        ),
    ] = None
    workloads: Annotated[dict[Name, Bounds], Meta(description="The same for one workload.")] = {}
    keys: Annotated[dict[Name, Bounds], Meta(description="The same for one key.")] = {}
    models: Annotated[dict[ModelName, Bounds], Meta(description="The same for one model that clients ask for.")] = {}


class Tenant(Struct, frozen=True, kw_only=True):
    """Who is charged."""

    name: Annotated[Name, Meta(extra=_DERIVED)]
    keys: Annotated[
        tuple[TenantKey, ...],
        Meta(
            description="Keys that enter the registry when it does not know them; the registry holds from then on "
            "(docs/registry.md)."
        ),
    ] = ()
    workloads: Annotated[
        tuple[Name, ...],
        Meta(
            description="Workloads that enter the registry when it does not know them; a key that may name just one "
            "always stands for it."
        ),
    ] = ()
    models: Annotated[tuple[ModelName, ...], Meta(description="The models it may ask for; empty: all.")] = ()
    deny_models: Annotated[
        tuple[ModelName, ...], Meta(description="The models it may not ask for, whatever else.")
    ] = ()
    regions: Annotated[
        tuple[Name, ...], Meta(description="Its requests stay with vendors of these regions; empty: wherever they are.")
    ] = ()
    fields: Annotated[
        dict[Name, dict[Name, FieldRule]],
        Meta(
            description="By wire format, rules for members of the body that change the price, by the member's name: "
            "`openai: {service_tier: {force: default}}`."
        ),
    ] = {}
    deny_tools: Annotated[
        tuple[Name, ...],
        Meta(description="Tools that vendors run and bill, by type without its date: web_search, code_interpreter."),
    ] = ()
    limits: Limits = Limits()
    weight: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Its part of what a vendor allows a key that it shares with others, beside their weights.",
        ),
    ] = 1
    open_tags: Annotated[
        tuple[Name, ...],
        Meta(description="Tags that name no person and are recorded in clear; all others as keyed digests."),
    ] = ()


class Estimates(Struct, frozen=True, kw_only=True):
    """How usage is estimated that a vendor did not report."""

    tokenizer: Annotated[
        Literal["bytes", "bpe"],
        Meta(
            description="What the text of an answer that broke off is counted by: `bytes`, with a wide bound; `bpe`, "
            "OpenAI's own vocabularies for OpenAI's models, which cost each worker some 130 MB of memory and need "
            "`tollbook[tokenizers]`."
        ),
    ] = "bytes"


class Following(Struct, frozen=True, kw_only=True):
    """Work that goes on at vendors after they answered (batches, background responses): the gateway asks after it until
    it is settled, whoever fetches its result."""

    enabled: Annotated[
        bool,
        Meta(
            description="Ask vendors how it went. Otherwise batches stay open items, and background work too, "
            "unless its client fetches it."
        ),
    ] = True
    longest_pause: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            extra=_DURATION,
            description="Longest pause between two questions; it begins with a second and is doubled each time.",
        ),
    ] = 120.0


class IngestKey(Struct, frozen=True, kw_only=True):
    """A key that an emitter of spans presents, as `authorization: Bearer`. It says whose the spans are."""

    name: Annotated[Name, Meta(description="Our name for the key: the dimension `key`.")]
    tenant: Annotated[Name, Meta(description="The tenant that is charged, whatever a span says.")]
    secret: Annotated[str, Meta(extra=_SECRET, description=_KEPT_IN)]
    workload: Annotated[Name | None, Meta(description="The tenant's workload that the spans are of.")] = None

    def __repr__(self) -> str:
        return f"IngestKey({self.name!r}, {reference_of(self.secret)})"


class Ingest(Struct, frozen=True, kw_only=True):
    """The door for spans of other gateways and instrumentations (OTLP)."""

    http: Annotated[
        str,
        Meta(
            pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$",
            title="host:port",
            description="Host and port of OTLP/HTTP (`/v1/traces`); port 0 takes a free one.",
        ),
    ] = "127.0.0.1:4318"
    keys: Annotated[tuple[IngestKey, ...], Meta(min_length=1, description="Who may send, each for one tenant.")]
    body_limit: Annotated[
        int, Meta(ge=_KIB, extra=_SIZE, description="Longest body after decompression; a longer one is 413.")
    ] = 20 * _MIB


class Settings(Struct, frozen=True, kw_only=True):
    """A whole configuration. `digest` is taken over its canonical form, secrets given by their reference."""

    book: Annotated[str, Meta(min_length=1, description="The book's directory, relative to the configuration file.")]
    digest: Annotated[str, Meta(extra=_DERIVED)] = ""
    gateway: Gateway = Gateway()
    journal: Journal = Journal()
    estimates: Estimates = Estimates()
    following: Following = Following()
    ingest: Annotated[Ingest | None, Meta(description="Take spans of others in. Absent: no such door.")] = None
    charging: Annotated[
        str | None,
        Meta(description="A file of rules that say who bears an attempt; none: those that `charging show` prints."),
    ] = None
    charging_rules: Annotated[Charging, Meta(extra=_DERIVED)] = Charging()
    vendors: Annotated[dict[Name, Vendor], Meta(description="The vendors, each by our name for it.")] = {}
    models: Annotated[dict[ModelName, Model], Meta(description="What clients may ask for, by name.")] = {}
    tenants: Annotated[dict[Name, Tenant], Meta(description="The tenants, by name.")] = {}


class Secrets(Struct, frozen=True):
    """The secrets themselves: by vendor or tenant, then by key name; those of the ingest by key
    name. Kept in memory, never written to a file."""

    vendors: dict[str, dict[str, str]]
    tenants: dict[str, dict[str, str]]
    ingest: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Secrets(of {len(self.vendors)} vendors and {len(self.tenants)} tenants)"


def reference_of(secret: str) -> str:
    """A secret's reference (`env:NAME`, `file:/path`); `literal` for one that is written in the file."""
    return secret if secret.startswith(("env:", "file:")) else "literal"


def recorded_form(settings: Struct) -> Any:
    """Settings as they are recorded: plain values without digests and the book's own place, fractions of seconds as
    text, a secret that is written in the file as `literal`."""
    plain = _plain(msgspec.to_builtins(settings))
    return {name: value for name, value in plain.items() if name != "book"}


def digest_of(settings: Struct) -> str:
    """SHA-256 of the recorded form as canonical JSON."""
    return sha256_hex(canonical_json(recorded_form(settings)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: reference_of(part) if name == "secret" and isinstance(part, str) else _plain(part)
            for name, part in value.items()
            if not (name in ("digest", "version") and isinstance(part, str))
        }
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return repr(value) if isinstance(value, float) else value
