"""Who is asking: credential to tenant, and the dimensions of a request from its headers and baggage."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, unquote

from msgspec import Struct

from tollbook.core.clock import Clock, now
from tollbook.core.identity import is_request_id, parse_traceparent
from tollbook.core.settings import Tenant
from tollbook.gateway import sigv4
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal

NAME_LIMIT: Final = 128
VALUE_LIMIT: Final = 256
TAG_COUNT_LIMIT: Final = 16
BAGGAGE_LIMIT: Final = 8192
BAGGAGE_MEMBERS: Final = 64

KNOWN_LIMIT: Final = 10_000

_CREDENTIALS: Final = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))
_OWN_HEADER: Final = b"x-tollbook-"
_TELLING: Final = frozenset((b"x-request-id", b"traceparent", b"tracestate", b"baggage"))
"""Headers that say something of a request, beside our own."""

_OURS: Final = "tollbook."
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_TRACESTATE_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}")
_TRACESTATE_VALUE: Final = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_TRACESTATE_MEMBERS: Final = 32

Digest = Callable[[str, str, str], str]
"""(tenant, value, kind) to the keyed digest of what names a person."""


class Caller(Struct, frozen=True):
    """The owner of a credential: the only place a tenant comes from."""

    tenant: Tenant
    key: str
    workloads: tuple[str, ...]


class Dimensions(Struct, frozen=True, kw_only=True):
    """What a request says of itself beside its tenant; values that may name a person are already keyed digests."""

    workload: str | None = None
    user: str | None = None
    template: str | None = None
    tags: dict[str, str] | None = None
    tags_digest: dict[str, str] | None = None
    sources: dict[str, str] | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None
    parent_request_id: str | None = None
    client_request_id: str | None = None


class Admission:
    """Finds the caller of a request and reads its dimensions. `signers` are secret and caller by access key id."""

    def __init__(
        self,
        callers: dict[str, Caller],
        hash_key: Callable[[str], str],
        digest: Digest,
        signers: dict[str, tuple[str, Caller]] | None = None,
        clock: Clock = now,
    ) -> None:
        self._callers: Final = callers
        self._signers: Final = signers or {}
        self._clock: Final = clock
        self._hash: Final = hash_key
        self._digest: Final = digest
        # What proved to be a caller's once, as it was sent: a hash less per request. Refused ones are not kept.
        self._known: Final[dict[tuple[bytes, bytes], Caller]] = {}

    def caller(self, request: ClientRequest) -> Caller:
        """The owner of the request's credential.

        Raises Refusal 401 when there is none, an unknown one, or two that differ; a signature stands alone.
        """
        sent = [field for field in request.headers if field[0] in _CREDENTIALS]
        if b"key=" in request.query:
            sent += [
                (b"key", value.encode("latin-1")) for value in parse_qs(request.query.decode("latin-1")).get("key", ())
            ]
        if len(sent) == 1:
            known = self._known.get(sent[0])
            if known is not None:
                return known
        if any(name == b"authorization" and value.startswith(sigv4.ALGORITHM) for name, value in sent):
            return self._signer(request, sent)
        caller = self._find({_secret(name, value) for name, value in sent})
        if len(sent) == 1 and len(self._known) < KNOWN_LIMIT:
            self._known[sent[0]] = caller
        return caller

    def _signer(self, request: ClientRequest, sent: list[tuple[bytes, bytes]]) -> Caller:
        """Whose signature it is: judged anew each time, since it holds for this very request only."""
        if len(sent) > 1:
            raise _two_credentials()
        signature = sigv4.read_signature(sent[0][1])
        found = self._signers.get(signature.access_key_id)
        if found is None:
            raise Refusal(401, "credential_unknown", "this access key id is not known here")
        secret, caller = found
        sigv4.verify(request, signature, secret, self._clock())
        return caller

    def _find(self, secrets: set[str]) -> Caller:
        if len(secrets) > 1:
            raise _two_credentials()
        if not secrets:
            raise Refusal(401, "credential_missing", "no key: send it as 'Authorization: Bearer ...' or 'x-api-key'")
        caller = self._callers.get(self._hash(secrets.pop()))
        if caller is None:
            raise Refusal(401, "credential_unknown", "this key is not known here")
        return caller

    def dimensions(self, caller: Caller, request: ClientRequest) -> Dimensions:
        """The dimensions a request names. Raises Refusal 400 or 403 when one is malformed or not allowed."""
        telling = _telling(request)
        if not telling:
            return _only_workload(caller)
        named = _Named()
        context: dict[str, str] = {}
        client_request_id = None
        for name, value in telling:
            if name.startswith(_OWN_HEADER):
                _read_own(name, value, named, context)
            elif name == b"x-request-id":
                client_request_id = _text(value, "x-request-id", VALUE_LIMIT)
            else:
                key = name.decode()
                context[key] = (
                    f"{context[key]},{value.decode('latin-1')}" if key in context else value.decode("latin-1")
                )
        return self._judged(caller, named, context, client_request_id)

    def is_untold(self, request: ClientRequest) -> bool:
        """Whether a request names no dimension at all: they are then its caller's."""
        return not _telling(request)

    def _judged(
        self, caller: Caller, named: "_Named", context: dict[str, str], client_request_id: str | None
    ) -> Dimensions:
        passed_on = _read_baggage(context.get("baggage", ""), named)
        tenant = caller.tenant
        workload = named.values.get("workload")
        if workload is None:
            workload = _default_workload(caller)
        elif workload not in caller.workloads:
            raise Refusal(403, "workload_not_allowed", f"this key may not act for workload {workload!r}")
        user = named.values.get("user")
        open_tags = {key: value for key, value in named.tags.items() if key in tenant.open_tags}
        closed_tags = {key: value for key, value in named.tags.items() if key not in tenant.open_tags}
        trace = parse_traceparent(context.get("traceparent", ""))
        return Dimensions(
            workload=workload,
            user=user and self._digest(tenant.name, user, "user"),
            template=named.values.get("template"),
            tags=open_tags or None,
            tags_digest={k: self._digest(tenant.name, v, "tag") for k, v in closed_tags.items()} or None,
            sources=named.sources or None,
            traceparent=trace and f"{trace.trace_id}-{trace.parent_id}-{trace.flags:02x}",
            tracestate=_tracestate(context.get("tracestate", "")) if trace else None,
            baggage=passed_on,
            parent_request_id=context.get("request-id"),
            client_request_id=client_request_id and self._digest(tenant.name, client_request_id, "client_request_id"),
        )


class _Named:
    """The dimensions found so far; a header wins over baggage."""

    __slots__ = ("sources", "tags", "values")

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def put(self, name: str, value: str, source: str) -> None:
        if self.sources.setdefault(name, source) != source:
            return
        if name.startswith("tag:"):
            self.tags[name[4:]] = value
            if len(self.tags) > TAG_COUNT_LIMIT:
                raise Refusal(400, "too_many_tags", f"a request carries at most {TAG_COUNT_LIMIT} tags")
        else:
            self.values[name] = value


def _telling(request: ClientRequest) -> list[tuple[bytes, bytes]]:
    """The headers that name dimensions."""
    return [field for field in request.headers if field[0] in _TELLING or field[0].startswith(_OWN_HEADER)]


def _two_credentials() -> Refusal:
    return Refusal(401, "two_credentials", "the request carries two different credentials; send one")


def _secret(name: bytes, value: bytes) -> str:
    """The secret that a credential's header carries."""
    text = value.decode("latin-1")
    if name != b"authorization":
        return text.strip()
    scheme, _, secret = text.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else f"{scheme} is not Bearer"


def _only_workload(caller: Caller) -> Dimensions:
    workload = _default_workload(caller)
    return Dimensions(workload=workload)


def _default_workload(caller: Caller) -> str | None:
    """A key with just one workload always acts for it."""
    return caller.workloads[0] if len(caller.workloads) == 1 else None


def _read_own(name: bytes, value: bytes, named: _Named, context: dict[str, str]) -> None:
    field = name[11:].decode("latin-1")
    if field == "request-id":
        outer = value.decode("latin-1")
        if is_request_id(outer):
            context["request-id"] = outer
    elif field in ("user", "workload", "template"):
        named.put(field, _text(value, name.decode(), VALUE_LIMIT if field == "user" else NAME_LIMIT), "header")
    elif field == "tags":
        for member in _text(value, "x-tollbook-tags", BAGGAGE_LIMIT).split(","):
            key, equals, text = member.strip().partition("=")
            if not equals:
                raise Refusal(400, "malformed_tags", "x-tollbook-tags must be name=value, separated by commas")
            named.put(f"tag:{_tag(key)}", _bounded(text, f"tag {key}", VALUE_LIMIT), "header")


def _read_baggage(text: str, named: _Named) -> str | None:
    """Take our members out of a W3C baggage header; what is left goes on to the vendor.

    Malformed members are dropped, as W3C Baggage section 3.3 allows; ours never leave the gateway.
    """
    kept: list[str] = []
    members = text[: 2 * BAGGAGE_LIMIT].split(",")
    if len(text) > 2 * BAGGAGE_LIMIT:
        members.pop()  # it may be cut, and half a name would be another name
    for member in members[: 2 * BAGGAGE_MEMBERS]:
        key, equals, rest = member.strip().partition("=")
        if not equals:
            continue
        key = key.strip()
        if not key.startswith(_OURS):
            kept.append(member.strip())
            continue
        field = key.removeprefix(_OURS)
        value = unquote(rest.partition(";")[0].strip())
        if field in ("user", "workload", "template"):
            named.put(field, _bounded(value, key, VALUE_LIMIT if field == "user" else NAME_LIMIT), "baggage")
        elif field.startswith("tag."):
            named.put(f"tag:{_tag(field[4:])}", _bounded(value, key, VALUE_LIMIT), "baggage")
    return _within(kept) or None


def _within(members: list[str]) -> str:
    """As many whole members as the limits of W3C Baggage allow."""
    size, kept = 0, []
    for member in members[:BAGGAGE_MEMBERS]:
        size += len(member) + 1
        if size > BAGGAGE_LIMIT:
            break
        kept.append(member)
    return ",".join(kept)


def _tracestate(text: str) -> str | None:
    """A W3C tracestate as it goes on; one malformed member, a repeated key or too many drop the whole."""
    members = [member.strip() for member in text.split(",") if member.strip()]
    keys: set[str] = set()
    for member in members:
        key, equals, value = member.partition("=")
        if not equals or not _TRACESTATE_KEY.fullmatch(key) or not _TRACESTATE_VALUE.fullmatch(value) or key in keys:
            return None
        keys.add(key)
    return ",".join(members) if 0 < len(members) <= _TRACESTATE_MEMBERS else None


def _text(value: bytes, name: str, limit: int) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "malformed_header", f"{name} is not UTF-8 text") from None
    return _bounded(text.strip(), name, limit)


def _bounded(text: str, name: str, limit: int) -> str:
    if not text or len(text.encode()) > limit or not text.isprintable():
        raise Refusal(400, "malformed_dimension", f"{name} must be 1 to {limit} bytes of printable text")
    return text


def _tag(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise Refusal(400, "malformed_tags", "a tag's name is lower-case letters, digits, '_', '.', '-', at most 64")
    return key
