"""The settings as frozen values: every setting once, with its name, default and help.

`tollbook.config` reads and checks the file; workers are handed the values as a `Snapshot` and never see the file.
Durations are integers of milliseconds inside and text with a unit in the file (`500ms`, `30s`, `10m`, `1h`); sizes
are integers of bytes inside and text with a unit in the file (`64 KiB`, `64 MiB`, `1 GiB`).
"""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct, field

from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.vocabulary import ATTEMPT_REASONS, BEARERS, NEXT_ACTIONS, OUTCOMES

Format: TypeAlias = Literal["openai", "anthropic"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$"
MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}$"

LISTEN: Final = r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$"

Name: TypeAlias = Annotated[str, Meta(pattern=NAME, title="a name of letters, digits and . _ @ -")]
ModelName: TypeAlias = Annotated[str, Meta(pattern=MODEL_NAME, title="a name of letters, digits and . _ @ : / + -")]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]

DURATION: Final = {"unit": "duration"}
SIZE: Final = {"unit": "size"}
INSTANT: Final = {"unit": "instant"}
SECRET: Final = {"unit": "secret"}
"""Marks for the reader of the file: how the text of a setting becomes its value."""

KIB: Final = 1024
MIB: Final = 1024 * KIB


class Drain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an answer is read on after its client has left."""

    seconds: Annotated[int, Meta(ge=1, le=3600, description="Longest time an abandoned answer is read on.")] = 600
    bytes: Annotated[int, Meta(ge=1, extra=SIZE, description="Most bytes of an abandoned answer that are read on.")] = (
        64 * MIB
    )


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long one attempt may take."""

    connect: Annotated[
        int, Meta(ge=1, extra=DURATION, description="Longest time to resolve, connect and shake hands with a vendor.")
    ] = 5_000
    first_byte: Annotated[
        int, Meta(ge=1, extra=DURATION, description="Longest wait for the first byte of an answer, once sent.")
    ] = 120_000
    idle: Annotated[int, Meta(ge=1, extra=DURATION, description="Longest silence in the middle of an answer.")] = 60_000
    total: Annotated[int, Meta(ge=1, extra=DURATION, description="Longest time one attempt may take in all.")] = 600_000


class GatewaySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The road: where clients come in, and what one request may take."""

    listen: Annotated[str, Meta(pattern=LISTEN, title="host:port", description="Host and port clients connect to.")] = (
        "127.0.0.1:8080"
    )
    workers: Annotated[int, Meta(ge=1, le=64, description="Worker processes.")] = 1
    client_gone: Annotated[
        Literal["drain", "cancel"],
        Meta(
            description="What happens to an answer whose client left: `drain` reads on to learn the usage that the "
            "vendor will bill; `cancel` closes the connection and estimates."
        ),
    ] = "drain"
    drain: Drain = Drain()
    timeouts: Timeouts = Timeouts()
    body_limit: Annotated[int, Meta(ge=KIB, extra=SIZE, description="Longest request body; more is refused.")] = (
        32 * MIB
    )
    shutdown_grace: Annotated[
        int, Meta(ge=0, extra=DURATION, description="How long requests in flight may take to end after SIGTERM.")
    ] = 30_000

    @property
    def host(self) -> str:
        """The host part of `listen`, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port part of `listen`; 0 asks the system for a free one."""
        return int(self.listen.rpartition(":")[2])


class Segment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a lane's segment file is finished and the next begun; whichever comes first."""

    bytes: Annotated[int, Meta(ge=64 * KIB, extra=SIZE, description="Size at which a segment is finished.")] = 64 * MIB
    age: Annotated[int, Meta(ge=1_000, extra=DURATION, description="Age at which a segment is finished.")] = 600_000


class JournalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The journal: when it is durable, and what happens when it cannot be written."""

    sync: Annotated[
        Literal["periodic", "before_forward", "off"],
        Meta(
            description="When entries are made durable: `periodic` at most 20 ms after they were written; "
            "`before_forward` before the vendor sees the request; `off` never (refused without `allow_unsafe`)."
        ),
    ] = "periodic"
    allow_unsafe: Annotated[
        bool, Meta(description="Allow `sync: off`, which loses what the system had not yet written when power fails.")
    ] = False
    on_failure: Annotated[
        Literal["reject", "forward_unrecorded"],
        Meta(
            description="When the journal cannot be written: `reject` answers 503 and forwards nothing; "
            "`forward_unrecorded` forwards, alarms, and records the gap afterwards."
        ),
    ] = "reject"
    ballast: Annotated[
        int, Meta(ge=0, extra=SIZE, description="Space kept per lane so that a full disk still lets attempts settle.")
    ] = 64 * MIB
    anchor: Annotated[
        Text | None,
        Meta(description="A directory on another disk or host to which every signed checkpoint is copied."),
    ] = None
    segment: Segment = Segment()


class VendorKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vendor's credential, with the ids its bills speak of."""

    name: Annotated[Name, Meta(description="Our name for the key; the dimension `vendor_key`.")]
    secret: Annotated[
        str,
        Meta(extra=SECRET, description="`env:NAME`, `file:/path` (mode 0600), or the secret itself (not advised)."),
    ]
    id: Annotated[Text | None, Meta(description="The key's id in the vendor's usage exports.")] = None
    project: Annotated[Text | None, Meta(description="The vendor's project the key belongs to.")] = None
    workspace: Annotated[Text | None, Meta(description="The vendor's workspace the key belongs to.")] = None
    account: Annotated[Text | None, Meta(description="The vendor's account that is billed.")] = None
    tenants: Annotated[
        tuple[Name, ...] | None, Meta(description="The tenants this key serves; absent: all of them.")
    ] = None
    since: Annotated[
        int | None,
        Meta(extra=INSTANT, description="The instant from which this description of the key holds; absent: always."),
    ] = field(default=None, name="from")

    def __repr__(self) -> str:
        return f"VendorKey({self.name!r}, {describe_secret(self.secret)})"


class Vendor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who answers requests and bills for them."""

    format: Annotated[Format, Meta(description="The wire format the vendor speaks.")]
    base_url: Annotated[
        str, Meta(description="Where its API begins, as its own SDK takes it; https, but for this machine.")
    ]
    keys: Annotated[tuple[VendorKey, ...], Meta(min_length=1, description="Its credentials, used in turn.")]
    billing: Annotated[
        Name | None,
        Meta(description="The party whose price list applies; absent: the one that the format is named for."),
    ] = None
    allow_private: Annotated[
        bool, Meta(description="Allow an address in a private network. This machine itself is always allowed.")
    ] = False

    @property
    def party(self) -> str:
        """The party whose prices apply."""
        return self.billing or self.format


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place a request can be sent to."""

    vendor: Annotated[Name, Meta(description="A name under `vendors`.")]
    model: Annotated[ModelName, Meta(description="The model name the vendor is sent.")]
    weight: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="Targets with a weight share first attempts in proportion; those without one are fallbacks.",
        ),
    ] = None


class Backoff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pause before a further attempt: doubled each time, with jitter, never above the maximum."""

    initial: Annotated[int, Meta(ge=0, extra=DURATION, description="Pause before the second attempt.")] = 100
    maximum: Annotated[
        int,
        Meta(ge=0, extra=DURATION, description="Longest pause; a vendor's `retry-after` above it is not waited for."),
    ] = 2_000


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a request gets another attempt. `attempts` bounds the whole request, not one target."""

    attempts: Annotated[
        int,
        Meta(
            ge=1,
            le=10,
            description="Most attempts of one request: the same target at most twice in a row, then the next.",
        ),
    ] = 2
    on: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^(connect|timeout|5xx|[45]\d\d)$", title="connect, timeout, 5xx, or a status such as 429"
                ),
            ],
            ...,
        ],
        Meta(description="What is tried again: `connect`, `timeout`, `5xx`, or a status such as `429`."),
    ] = ("connect", "timeout", "429", "5xx")
    retry_after_send: Annotated[
        bool,
        Meta(
            description="Try again after a timeout although the whole request was sent: the vendor may bill both; "
            "the platform bears the second."
        ),
    ] = False
    backoff: Backoff = Backoff()


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model name that clients ask for stands for: its policy."""

    targets: Annotated[
        tuple[Target, ...], Meta(min_length=1, max_length=20, description="Where to send it; all of one wire format.")
    ]
    retry: Retry = Retry()


class TenantKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that clients present. Workers know its SHA-256 only."""

    name: Annotated[Name, Meta(description="Our name for the key; the dimension `key`.")]
    secret: Annotated[
        str,
        Meta(extra=SECRET, description="`env:NAME`, `file:/path` (mode 0600), or the secret itself (not advised)."),
    ]
    workloads: Annotated[
        tuple[Name, ...] | None, Meta(description="The tenant's workloads this key may name; absent: all of them.")
    ] = None

    def __repr__(self) -> str:
        return f"TenantKey({self.name!r}, {describe_secret(self.secret)})"


class Tenant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is charged."""

    keys: Annotated[tuple[TenantKey, ...], Meta(min_length=1, description="The keys its clients present.")]
    workloads: Annotated[
        tuple[Name, ...], Meta(description="Its workloads; a key that may name only one stands for it.")
    ] = ()
    models: Annotated[
        tuple[ModelName, ...] | None, Meta(description="The models it may ask for; absent: all of them.")
    ] = None
    open_tags: Annotated[
        tuple[Name, ...],
        Meta(description="Tags that name nobody and are recorded in clear; all others as keyed digests."),
    ] = ()


class ChargingRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the charging rules: what it matches (absent: anything), and who then bears the cost."""

    borne_by: Annotated[str, Meta(extra={"words": BEARERS}, description="Who bears the cost of a matching attempt.")]
    outcome: Annotated[str | None, Meta(extra={"words": OUTCOMES}, description="Matches this outcome.")] = None
    reason: Annotated[
        str | None, Meta(extra={"words": ATTEMPT_REASONS}, description="Matches attempts made for this reason.")
    ] = None
    next: Annotated[
        str | None, Meta(extra={"words": NEXT_ACTIONS}, description="Matches attempts after which this was done.")
    ] = None

    def matches(self, outcome: str, reason: str, next_action: str) -> bool:
        """Whether this line decides for such an attempt."""
        return self.outcome in (None, outcome) and self.reason in (None, reason) and self.next in (None, next_action)


DEFAULT_CHARGING: Final = (
    ChargingRule(reason="hedge", outcome="cancelled", borne_by="platform"),
    ChargingRule(outcome="ok", borne_by="tenant"),
    ChargingRule(outcome="client_error", borne_by="tenant"),
    ChargingRule(outcome="client_gone", borne_by="tenant"),
    ChargingRule(outcome="cancelled", borne_by="tenant"),
    ChargingRule(outcome="refused", borne_by="tenant"),
    ChargingRule(outcome="truncated", next="answer", borne_by="tenant"),
    ChargingRule(borne_by="platform"),
)
"""The tenant pays for what it asked and received; the platform for its own retries, hedges and faults."""


class Charging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who bears what an attempt cost."""

    rules: Annotated[
        tuple[ChargingRule, ...],
        Meta(min_length=1, description="The first rule that matches decides; the last must match everything."),
    ] = DEFAULT_CHARGING

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the rules' digest."""
        return sha256_hex(canonical_json(msgspec.to_builtins(self)))[:12]

    def bearer(self, outcome: str, reason: str, next_action: str) -> str:
        """Who bears an attempt of this outcome, made for this reason, after which this was done."""
        return next(rule.borne_by for rule in self.rules if rule.matches(outcome, reason, next_action))


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, checked: names refer to what exists, a route has one wire format."""

    book: Annotated[str, Meta(min_length=1, description="The book's directory, relative to the configuration file.")]
    gateway: GatewaySettings = GatewaySettings()
    journal: JournalSettings = JournalSettings()
    vendors: Annotated[dict[Name, Vendor], Meta(description="The vendors, by our name for them.")] = {}
    models: Annotated[dict[ModelName, Model], Meta(description="What clients may ask for, by name.")] = {}
    tenants: Annotated[dict[Name, Tenant], Meta(description="The tenants, by name.")] = {}
    charging: Charging = Charging()

    def book_root(self, base: Path) -> Path:
        """The book's directory, given the directory of the configuration file."""
        return base / self.book

    def document(self) -> bytes:
        """The settings as canonical JSON, a secret written in clear replaced by the word `literal`."""
        return canonical_json(_without_secrets(msgspec.to_builtins(self)))

    @property
    def digest(self) -> str:
        """SHA-256 of `document()`."""
        return sha256_hex(self.document())

    def policy_version(self, model: str) -> str:
        """The version of a model's policy: the first 12 hexadecimal digits of its text's digest."""
        return sha256_hex(canonical_json(msgspec.to_builtins(self.models[model])))[:12]

    def format_of(self, model: str) -> str:
        """The wire format of a model's targets."""
        return self.vendors[self.models[model].targets[0].vendor].format


class KeyHolder(Struct, frozen=True):
    """Whose a tenant key is."""

    tenant: str
    key: str


class Secrets(Struct, frozen=True):
    """The secrets themselves: vendors' in clear by vendor and key name, tenants' as SHA-256 (hexadecimal)."""

    vendors: dict[str, dict[str, str]]
    tenants: dict[str, KeyHolder]

    def __repr__(self) -> str:
        return f"Secrets({len(self.vendors)} vendors, {len(self.tenants)} tenant keys)"


class Snapshot(Struct, frozen=True):
    """What a worker is started with. Carries secrets: it is handed over in memory and never written to a file."""

    config: Config
    secrets: Secrets
    book_root: str

    def encode(self) -> bytes:
        """The snapshot as bytes, literal secrets of the file left out."""
        bare = msgspec.convert(_without_secrets(msgspec.to_builtins(self.config)), Config)
        return msgspec.msgpack.encode(Snapshot(bare, self.secrets, self.book_root))

    @classmethod
    def decode(cls, data: bytes) -> "Snapshot":
        """The snapshot that `encode` made into bytes."""
        return msgspec.msgpack.decode(data, type=cls)


def describe_secret(secret: str) -> str:
    """A secret's reference (`env:NAME`, `file:/path`), or `literal` for one written in clear."""
    return secret if secret.startswith(("env:", "file:")) else "literal"


def _without_secrets(document: object) -> object:
    if isinstance(document, dict):
        return {
            name: describe_secret(value) if name == "secret" and isinstance(value, str) else _without_secrets(value)
            for name, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [_without_secrets(part) for part in document]
    return document
