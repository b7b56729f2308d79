"""What most adapters have in common: one JSON object asked, its model in a member, a secret in a header."""

from abc import ABC, abstractmethod
from functools import cached_property
from urllib.parse import parse_qsl, quote, urlencode

from tollbook.providers.answer import read_error
from tollbook.providers.body import (
    BillingFieldRefused,
    Members,
    Splice,
    read_value,
    replace_model,
    scan,
    splice,
    text_member,
)
from tollbook.providers.contract import (
    Call,
    Estimate,
    Headers,
    Prepared,
    Purpose,
    Reading,
    Route,
    StreamReader,
    VendorObject,
)

NO_BODY = Members({}, {})


class JsonAdapter(ABC):
    """The defaults of `Adapter` for an operation that is asked by one JSON object, or nothing, with a member `model`.

    Class attributes say what differs.
    """

    endpoint: str
    name: str
    routes: tuple[Route, ...]
    format: str
    purpose: Purpose = "metered"
    model_fields: frozenset[str] = frozenset()
    billing_fields: frozenset[str] = frozenset()
    object_fields: dict[str, str] = {}  # noqa: RUF012  a table of the class, never changed
    request_headers: frozenset[bytes] = frozenset({b"accept", b"content-type", b"user-agent"})
    query_fields: frozenset[str] = frozenset()
    vendor_request_id_headers: tuple[bytes, ...] = (b"x-request-id",)
    stream_types: tuple[bytes, ...] = (b"text/event-stream",)
    region_headers: tuple[bytes, ...] = ()
    lists: str | None = None
    convention: str = "none"
    not_captured: tuple[str, ...] = ()
    signs: bool = False

    def scan(self, headers: Headers, body: bytes) -> Members:
        """The members of the JSON object; none of no body, where the operation needs none."""
        return scan(body) if body or self.purpose == "metered" else NO_BODY

    def model(self, call: Call) -> str | None:
        """The member `model`; None for operations that are not metered."""
        return text_member(call.members.values, "model") if self.purpose == "metered" else None

    def streamed(self, call: Call) -> bool:
        """Whether the member `stream` is true."""
        return call.members.values.get("stream") == b"true"

    def objects(self, call: Call) -> list[VendorObject]:
        """What `object_fields` finds in the path and the body."""
        in_path, in_body = self._object_table
        found = [VendorObject(kind, call.names[name]) for name, kind in in_path if name in call.names]
        for member, leaves, paths in in_body:
            raw = call.members.values.get(member)
            if raw is None or not _may_name(raw, leaves):
                continue
            value = read_value(raw)
            found += [VendorObject(kind, text) for path, kind in paths for text in _texts(value, path)]
        return found

    @cached_property
    def _object_table(self) -> "_ObjectTable":
        """`object_fields` by the member they are in, with the names that every path into it ends in."""
        in_path = [(path[1:], kind) for path, kind in self.object_fields.items() if path.startswith("/")]
        members: dict[str, list[tuple[str, str]]] = {}
        for path, kind in self.object_fields.items():
            if not path.startswith("/"):
                member, _, rest = path.partition(".")
                members.setdefault(member, []).append((rest, kind))
        return in_path, [(member, _leaves(paths), paths) for member, paths in members.items()]

    def prepare(self, call: Call, model: str) -> Prepared:
        """The body with the target's model. Raises BillingFieldRefused."""
        self.refuse_billing(call)
        changes = self.model_change(call, model) if self.purpose == "metered" else []
        return Prepared(path=self.path(call, model), body=splice(call.body, changes), streams=self.streamed(call))

    def model_change(self, call: Call, model: str) -> list[Splice]:
        """What of the body changes so that it asks for `model`. Raises BadInput when it names none."""
        return replace_model(call.members, model)

    def path(self, call: Call, model: str) -> str:
        """The vendor's path: the route's, with its names and the target's model, and what may pass of the query."""
        path = call.route.upstream
        if "{" in path:
            names = {name: quote(text, safe="") for name, text in call.names.items()} | {"model": quote(model, safe="")}
            path = path.format_map(names)
        if call.query:
            pairs = parse_qsl(call.query.decode("latin-1"), keep_blank_values=True)
            passed = [(name, value) for name, value in pairs if name in self.query_fields]
            path += f"?{urlencode(passed)}" if passed else ""
        return path

    def refuse_billing(self, call: Call) -> None:
        """Raise BillingFieldRefused when the body has a member that selects who is billed."""
        for name in self.billing_fields & call.members.values.keys():
            raise BillingFieldRefused(f'member "{name}" selects who is billed; only the gateway\'s configuration does')

    @abstractmethod
    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read a buffered answer."""

    @abstractmethod
    def stream(self, prepared: Prepared) -> StreamReader:
        """A reader for one streamed answer."""

    def read_head(self, reading: Reading, headers: Headers) -> None:
        """Nothing: headers say nothing that bodies do not."""
        return

    @abstractmethod
    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came."""

    @abstractmethod
    def error(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """An error body of our own."""

    def credentials(self, secret: str) -> Headers:
        """A bearer token."""
        return [(b"authorization", b"Bearer " + secret.encode())]

    def sign(self, secret: str, method: str, url: str, headers: Headers, body: bytes) -> Headers:
        """Nothing is signed."""
        return []


class FreeAdapter(JsonAdapter):
    """The defaults of an operation that a vendor does not bill: its answer passes, and only an error is read."""

    purpose: Purpose = "free"

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Nothing but an error."""
        return Reading(error=read_error(status, body)) if status >= 400 else Reading()

    def stream(self, prepared: Prepared) -> StreamReader:
        """A reader that learns nothing."""
        return Passing()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """Nothing was used."""
        return Estimate(usage={}, method="free", bound={})


class Passing:
    """A stream that is not read; a `StreamReader`. How it ended is for the connection to tell."""

    terminal = True

    def feed(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""

    def reading(self) -> Reading:
        return Reading()


class Encoded(Passing):
    """A compressed stream: it passes unread, and its bytes are a floor of its text."""

    def __init__(self) -> None:
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        return data

    def reading(self) -> Reading:
        return encoded(self._size)


def encoded(size: int) -> Reading:
    """What is known of a compressed answer of some bytes."""
    return Reading(flags=["encoded_body"], output_text=size, output_deltas=1)


_ObjectTable = tuple[list[tuple[str, str]], list[tuple[str, tuple[bytes, ...], list[tuple[str, str]]]]]


def _leaves(paths: list[tuple[str, str]]) -> tuple[bytes, ...]:
    """The ends of the last names of some paths, as they stand in JSON; nothing when some path has no name in it."""
    names = {path.rpartition(".")[2].encode() for path, _ in paths}
    if names & {b"", b"*"}:
        return (b"",)
    shortest = [name for name in names if not any(name != other and name.endswith(other) for other in names)]
    return tuple(b'%b"' % name for name in sorted(shortest))


def _may_name(raw: bytes, leaves: tuple[bytes, ...]) -> bool:
    """Whether a raw value can hold what some paths name: most do not, and need not be decoded for it."""
    for leaf in leaves:
        if raw.rfind(leaf) >= 0:  # from behind, which costs half
            return True
    return b"\\" in raw and b"\\u" in raw  # a name can be written with escapes


def _texts(value: object, path: str) -> list[str]:
    """The texts at a dotted path below a value; lists are passed through."""
    if isinstance(value, list):
        return [text for one in value for text in _texts(one, path)]
    if not path:
        return [value] if isinstance(value, str) else []
    if not isinstance(value, dict):
        return []
    name, _, rest = path.partition(".")
    return _texts(list(value.values()) if name == "*" else value.get(name), rest)
