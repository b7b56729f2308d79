"""The values a configuration is made of: plain, frozen, without I/O, cheap to hand to a worker.

`tollbook.config` reads and validates the file and gives defaults and help for every one of them.
"""

from msgspec import Struct


class Drain(Struct, frozen=True, kw_only=True):
    """How long and how much of an answer is still read after its client left."""

    seconds: int = 600
    bytes: int = 64 * 1024 * 1024


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds: to connect to a vendor, to the first byte of its answer, between two bytes, for a whole attempt."""

    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 120.0
    total: float = 3600.0


class Gateway(Struct, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:8080"
    workers: int = 1
    client_gone: str = "drain"
    drain: Drain = Drain()
    timeouts: Timeouts = Timeouts()
    body_limit: int = 32 * 1024 * 1024
    shutdown_grace: int = 120


class Journal(Struct, frozen=True, kw_only=True):
    sync: str = "periodic"
    on_failure: str = "reject"
    ballast: int = 64 * 1024 * 1024
    segment_bytes: int = 64 * 1024 * 1024
    segment_age: int = 600
    anchor: str | None = None


class VendorKey(Struct, frozen=True, kw_only=True):
    """One credential at a vendor. `secret` is a reference (`env:NAME`, `file:/path`) or the secret itself; `id`,
    `project`, `workspace`, `account` are what the vendor's bills call it; `tenants` whom it serves (empty: all);
    `since` the day its ids hold from."""

    name: str
    secret: str
    id: str | None = None
    project: str | None = None
    workspace: str | None = None
    account: str | None = None
    tenants: tuple[str, ...] = ()
    since: str | None = None


class Vendor(Struct, frozen=True, kw_only=True):
    """A place to send attempts. `billing` is the party whose prices apply."""

    name: str
    format: str
    base_url: str
    billing: str
    keys: tuple[VendorKey, ...]
    allow_private: bool = False
    ca_file: str | None = None


class Target(Struct, frozen=True, kw_only=True):
    vendor: str
    model: str


class Retry(Struct, frozen=True, kw_only=True):
    """`attempts` bounds the whole request: the same target first while the error is retryable (at most twice), then
    the next. `on` names retryable failures: `connect`, `timeout`, a status as text, or `5xx`."""

    attempts: int = 2
    on: tuple[str, ...] = ("connect", "timeout", "429", "5xx")
    retry_after_send: bool = False
    backoff: float = 0.2


class Model(Struct, frozen=True, kw_only=True):
    """What clients may ask for, and where it goes. `version` is the digest of its policy text, 12 digits."""

    name: str
    targets: tuple[Target, ...]
    version: str
    retry: Retry = Retry()


class TenantKey(Struct, frozen=True, kw_only=True):
    """A tenant's credential: a reference or secret in the configuration, only a keyed hash in a worker."""

    name: str
    secret: str
    workloads: tuple[str, ...] = ()


class Tenant(Struct, frozen=True, kw_only=True):
    """`models` are those it may ask for (empty: all); `open_tags` the tags that name no person."""

    name: str
    keys: tuple[TenantKey, ...]
    workloads: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    open_tags: tuple[str, ...] = ()


class Settings(Struct, frozen=True, kw_only=True):
    """A whole configuration. `digest` is taken over its canonical form, secrets given by their reference."""

    book: str
    digest: str
    gateway: Gateway = Gateway()
    journal: Journal = Journal()
    vendors: dict[str, Vendor] = {}
    models: dict[str, Model] = {}
    tenants: dict[str, Tenant] = {}
