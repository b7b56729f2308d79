"""Every route of the public listener: vendor formats, the tenant's own record, health. Nothing else is answered."""

import contextlib
import json
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.core.identity import new_request_id
from tollbook.core.settings import Model, Retry, Target
from tollbook.gateway import answer, fields, routing
from tollbook.gateway.admission import Admission, Caller, Dimensions
from tollbook.gateway.connection import ClientConnection, Exchange
from tollbook.gateway.desk import DeskCall
from tollbook.gateway.exchange import Exchange as RequestExchange
from tollbook.gateway.idempotency import Idempotency, RecordingConnection
from tollbook.gateway.message import ClientRequest, Headers, head
from tollbook.gateway.objects import Owned
from tollbook.gateway.outgoing import passed_lines
from tollbook.gateway.parts import Parts
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted
from tollbook.gateway.routes import Match, Routes
from tollbook.gateway.routing import Plan
from tollbook.gateway.upstream import Pool
from tollbook.journal.entry import Close, Request
from tollbook.providers.contract import Adapter, Call

MODEL_LIMIT: Final = 128
ONCE: Final = Retry(attempts=1)
"""What makes or looks at a vendor object is not tried again by us: the first try may have worked."""
OWN: Final = b"/tollbook/v1/"

_encode: Final = msgspec.json.Encoder().encode


class _Head(NamedTuple):
    """What the head of a request tells, if it tells nothing of this one request."""

    match: Match
    caller: Caller
    dimensions: Dimensions
    passed: bytes
    told: "dict[tuple[str | None, bool], _Told]"


class _Told(NamedTuple):
    """What the journal says of all requests with one head that ask for one model: members of the entry, and the JSON
    of them that follows the request's id."""

    members: dict[str, Any]
    tail: bytes


class Road:
    """Takes whole requests from connections; answers, or starts an exchange that will."""

    def __init__(
        self, parts: Parts, admission: Admission, adapters: list[Adapter], desk: Pool, idempotency: Idempotency
    ) -> None:
        self._parts: Final = parts
        self._admission: Final = admission
        self._routes: Final = Routes(adapters)
        self._adapters: Final = adapters
        self._any_adapter: Final = adapters[0]
        self._desk: Final = desk
        self._idempotency: Final = idempotency
        self.body_limit: Final = parts.settings.gateway.body_limit
        self.connections: Final[set[ClientConnection]] = set()
        self.refused_unknown = 0

    def handle(self, connection: ClientConnection, request: ClientRequest) -> Exchange | None:
        usual = request.usual
        head = usual.found if usual is not None and usual.by is self else None
        match = head.match if head is not None else self._routes.find(request.method, request.path)
        if match is not None:
            return self._vendor_route(connection, request, match, head)
        if request.path.startswith(b"/health/"):
            self._health(connection, request)
            return None
        if request.path.startswith(OWN):
            return self._own_route(connection, request)
        if request.path == b"/v1/models" and request.method == b"GET":
            self._models(connection, request)
            return None
        path = request.path[:MODEL_LIMIT].decode("latin-1")
        self._refuse(connection, request, self._speaking(request), Refusal(404, "route_unknown", f"no route {path!r}"))
        return None

    def malformed(self, connection: ClientConnection, status: int, code: str, message: str) -> None:
        fault = Refusal(status, code, message)
        connection.write(answer.error(self._any_adapter, fault, new_request_id(self._parts.clock())))

    # --- vendor formats

    def _vendor_route(
        self, connection: ClientConnection, request: ClientRequest, match: Match, head: _Head | None
    ) -> Exchange | None:
        adapter = match.adapter
        try:
            if self._parts.stopping:
                raise Refusal(503, "shutting_down", "this gateway is being stopped; try again")
            caller = head.caller if head is not None else self._caller(request, match)
        except Refusal as fault:
            # Without a tenant there is no one in whose record this could stand: it is counted, not recorded.
            self.refused_unknown += 1
            self._refuse(connection, request, adapter, fault)
            return None
        arrived = self._parts.clock()
        request_id = new_request_id(arrived)
        try:
            if head is None:
                head = self._read_head(caller, request, match)
            admitted = self._admit(head, request, request_id, arrived)
        except Refusal as fault:
            self._record_refusal(caller, adapter, request_id, arrived, fault)
            self._refuse(connection, request, adapter, fault, request_id)
            return None
        return self._begin(connection, admitted)

    def _caller(self, request: ClientRequest, match: Match) -> Caller:
        if request.method != match.route.method.encode():
            raise Refusal(405, "method_not_allowed", f"this route takes {match.route.method}")
        return self._admission.caller(request)

    def _read_head(self, caller: Caller, request: ClientRequest, match: Match) -> _Head:
        """What a head tells; kept where it will be the same the next time. Raises Refusal."""
        encoding = request.header(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            raise Refusal(400, "unsupported_encoding", "the body is compressed; send it as it is")
        dimensions = self._admission.dimensions(caller, request)
        head = _Head(match, caller, dimensions, passed_lines(request.headers, match.adapter), {})
        if request.usual is not None and self._admission.is_untold(request):
            request.usual.by, request.usual.found = self, head
        return head

    def _begin(self, connection: ClientConnection, admitted: Admitted) -> Exchange | None:
        adapter, tenant = admitted.adapter, admitted.facts.tenant
        if adapter.lists is not None:
            return self._list(connection, admitted, adapter.lists)
        named = adapter.objects(admitted.call) if adapter.object_fields else None
        if not named:
            return self._claim(connection, admitted)
        return self._parts.objects.look_up(
            tenant,
            named,
            lambda owned: self._claim(connection, self._pinned(admitted, owned)),
            lambda refusal: self.refuse_admitted(connection, admitted, refusal),
            connection.abort,
        )

    def _pinned(self, admitted: Admitted, owned: list[Owned]) -> Admitted:
        """The request, bound to the vendor key that made the objects it names. Raises Refusal."""
        vendor, key, first = owned[0].vendor, owned[0].vendor_key, owned[0].request_id
        model, known = admitted.model, self._parts.settings.vendors.get(vendor)
        if known is None:
            raise Refusal(400, "object_elsewhere", "what the request names is kept by a vendor that is not configured")
        if not routing.is_inside(known, admitted.caller.tenant.regions, model.regions if model is not None else ()):
            raise Refusal(403, "region_not_allowed", "what the request names is kept outside the regions you may use")
        if model is None:
            plan = Plan((Target(vendor=vendor, model=""),), ONCE, "vendor_object", key=key)
        else:
            targets = tuple(target for target in model.targets if target.vendor == vendor)
            if not targets:
                message = f"what the request names is not kept by a vendor of model {model.name!r}"
                raise Refusal(400, "object_elsewhere", message)
            usual = self._parts.plan(model, admitted.caller.tenant, admitted.facts.id)
            plan = Plan(targets, model.retry, "vendor_object", usual.timeouts, key=key)
        facts = replace(admitted.facts, about=first)
        return replace(admitted, facts=facts, encoded=_encode(facts), plan=plan)

    def _list(self, connection: ClientConnection, admitted: Admitted, kind: str) -> Exchange:
        """Answer a list of vendor objects from our own record: the vendor's would name every tenant's."""

        def found(owned: list[Owned]) -> None:
            self._record_close(admitted.facts, admitted.arrived, Close(outcome="ok", attempts=0, basis="computed"))
            connection.write(answer.listing(admitted, owned))
            connection.done(admitted.keep_alive)

        return self._parts.objects.list_kind(
            admitted.facts.tenant, kind, found, lambda refusal: self.refuse_admitted(connection, admitted, refusal)
        )

    def _claim(self, connection: ClientConnection, admitted: Admitted) -> Exchange | None:
        if admitted.facts.idempotency_key is not None:
            return self._idempotency.begin(connection, admitted, self)
        return self.start(connection, admitted)

    def start(self, connection: ClientConnection | RecordingConnection, admitted: Admitted) -> Exchange | None:
        """Make the first attempt of an admitted request."""
        try:
            exchange = RequestExchange(self._parts, connection, admitted)
            exchange.start()
        except Refusal as fault:
            self.refuse_admitted(connection, admitted, fault)
            return None
        return exchange

    def replayed(self, admitted: Admitted, first: str) -> None:
        """Record that a request was answered with the kept answer of the first: it cost nothing."""
        close = Close(outcome="ok", attempts=0, reason=None, basis="computed", replay_of=first)
        self._record_close(admitted.facts, admitted.arrived, close)

    def refuse_admitted(
        self, connection: ClientConnection | RecordingConnection, admitted: Admitted, fault: Refusal
    ) -> None:
        """Answer and record a request that was admitted and goes no further."""
        outcome = "not_sent" if fault.status == 429 else "refused"
        close = Close(outcome=outcome, attempts=0, reason=None, error=fault.reason)
        self._record_close(admitted.facts, admitted.arrived, close)
        connection.write(answer.refusal(admitted, fault, []))
        connection.done(admitted.keep_alive)

    def _admit(self, head: _Head, request: ClientRequest, request_id: str, arrived: int) -> Admitted:
        match, caller, dimensions, passed, told = head
        adapter = match.adapter
        call = _call(request, match)
        model = self._model(caller, adapter, call)
        call = fields.judge(caller.tenant, adapter, call)
        plan = self._anywhere(caller, adapter) if model is None else None
        about = (model.name if model is not None else None, adapter.streamed(call))
        same = told.get(about)
        if same is not None:
            facts, encoded = Request(id=request_id, **same.members), b'{"id":"%b%b' % (request_id.encode(), same.tail)
        else:
            members = _members(caller, dimensions, adapter, model, about[1])
            facts = Request(id=request_id, **members)
            encoded = _encode(facts)
            told[about] = _Told(members, encoded[len(b'{"id":"') + len(request_id) :])
        # A familiar head has no such key.
        key = request.header(b"idempotency-key") if request.usual is None else None
        if key is not None:
            scope = self._idempotency.key(facts.tenant, facts.workload, key, request.path.decode("latin-1"))
            facts = replace(facts, idempotency_key=scope)
        first = self._parts.repeats.first_of(facts, call)
        if first is not None:
            facts = replace(facts, repeat_of=first)
        if key is not None or first is not None:
            encoded = _encode(facts)
        return Admitted(
            facts, encoded, caller, dimensions, adapter, model, call, passed, arrived, request.keep_alive, plan
        )

    def _model(self, caller: Caller, adapter: Adapter, call: Call) -> Model | None:
        """The model asked for; None where the operation asks for none.

        Raises Refusal when it is not configured, of another format, or not allowed.
        """
        settings = self._parts.settings
        name = _model_name(adapter, call)
        if name is None:
            return None
        model = settings.models.get(name)
        if model is None or settings.vendors[model.targets[0].vendor].format != adapter.format:
            raise Refusal(404, "model_unknown", f"no model {name[:MODEL_LIMIT]!r} is configured for {call.route.path}")
        if not routing.may_use(caller.tenant, model.name):
            raise Refusal(403, "model_not_allowed", f"this key may not use model {model.name!r}")
        return model

    def _anywhere(self, caller: Caller, adapter: Adapter) -> Plan:
        """Where to go with an operation that asks for no model: the first vendor of the format that may serve the
        tenant."""
        vendors = [one for one in self._parts.settings.vendors.values() if one.format == adapter.format]
        if not vendors:
            raise Refusal(404, "no_vendor", f"no vendor of format {adapter.format!r} is configured")
        inside = [one for one in vendors if routing.is_inside(one, caller.tenant.regions)]
        if not inside:
            raise Refusal(403, "region_not_allowed", "no vendor of this format is in a region that you may use")
        serving = [one for one in inside if routing.serving_keys(one, caller.tenant.name)]
        return Plan((Target(vendor=(serving or inside)[0].name, model=""),), ONCE, "first_vendor")

    def _record_refusal(self, caller: Caller, adapter: Adapter, request_id: str, arrived: int, fault: Refusal) -> None:
        facts = Request(id=request_id, tenant=caller.tenant.name, key=caller.key, endpoint=adapter.endpoint)
        self._record_close(facts, arrived, Close(outcome="refused", attempts=0, reason=None, error=fault.reason))

    def _record_close(self, facts: Request, arrived: int, close: Close) -> None:
        # Nothing was forwarded, so a journal that cannot be written has nothing to make up for later.
        with contextlib.suppress(JournalUnavailable):
            self._parts.recorder.close(facts, close, arrived)

    # --- everything else

    def _own_route(self, connection: ClientConnection, request: ClientRequest) -> Exchange | None:
        """The tenant's own record: passed to the desk with the authenticated tenant."""
        adapter = self._speaking(request)
        try:
            if request.method == b"HEAD":
                raise Refusal(405, "method_not_allowed", "this route takes GET")
            caller = self._admission.caller(request)
        except Refusal as fault:
            self._refuse(connection, request, adapter, fault)
            return None
        call = DeskCall(connection, request, caller, adapter)
        call.start(self._desk)
        return call

    def _health(self, connection: ClientConnection, request: ClientRequest) -> None:
        ready = self._parts.recorder.writable and not self._parts.stopping
        known = request.path in (b"/health/live", b"/health/ready")
        status = 404 if not known else 200 if ready or request.path == b"/health/live" else 503
        body = b'{"status":"ok"}' if status == 200 else b'{"status":"no"}'
        self._json(connection, request, status, body)

    def _models(self, connection: ClientConnection, request: ClientRequest) -> None:
        """The models a key may ask for, in the form that client libraries list them in."""
        adapter = self._speaking(request)
        try:
            caller = self._admission.caller(request)
        except Refusal as fault:
            self._refuse(connection, request, adapter, fault)
            return
        allowed = [name for name in self._parts.settings.models if routing.may_use(caller.tenant, name)]
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tollbook", "type": "model", "display_name": name}
            for name in allowed
        ]
        self._json(connection, request, 200, json.dumps({"object": "list", "data": listed, "has_more": False}).encode())

    def _speaking(self, request: ClientRequest) -> Adapter:
        """The format a client most likely speaks, for errors on routes that belong to none."""
        name = "anthropic" if request.header(b"anthropic-version") is not None else "openai"
        return next((one for one in self._adapters if one.format == name), self._any_adapter)

    def _refuse(
        self,
        connection: ClientConnection,
        request: ClientRequest,
        adapter: Adapter,
        fault: Refusal,
        request_id: str | None = None,
    ) -> None:
        _reply(connection, request, answer.error(adapter, fault, request_id or new_request_id(self._parts.clock())))

    def _json(self, connection: ClientConnection, request: ClientRequest, status: int, body: bytes) -> None:
        headers: Headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        _reply(connection, request, head(status, headers) + body)


def _reply(connection: ClientConnection, request: ClientRequest, data: bytes) -> None:
    """Send a whole answer; to HEAD, its head only (RFC 9110, section 9.3.2)."""
    connection.write(data if request.method != b"HEAD" else data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    connection.done(request.keep_alive)


def _call(request: ClientRequest, match: Match) -> Call:
    """What the adapter sees. Raises Refusal when the body cannot be read in one way only."""
    try:
        members = match.adapter.scan(request.headers, request.body)
    except BadInput as fault:
        raise Refusal(400, fault.code, str(fault)) from fault
    return Call(match.route, match.names, request.query, request.headers, request.body, members)


def _model_name(adapter: Adapter, call: Call) -> str | None:
    try:
        return adapter.model(call)
    except BadInput as fault:
        raise Refusal(400, fault.code, str(fault)) from fault


def _members(
    caller: Caller, dimensions: Dimensions, adapter: Adapter, model: Model | None, streamed: bool
) -> dict[str, Any]:
    """What the journal says of a request beside its id."""
    members = {
        "tenant": caller.tenant.name,
        "key": caller.key,
        "endpoint": adapter.endpoint,
        "model_asked": model.name if model is not None else None,
        "policy": f"{model.name}@{model.version}" if model is not None else None,
        "workload": dimensions.workload,
        "stream": streamed,
        "user": dimensions.user,
        "template": dimensions.template,
        "tags": dimensions.tags,
        "tags_digest": dimensions.tags_digest,
        "sources": dimensions.sources,
        "traceparent": dimensions.traceparent,
        "parent_request_id": dimensions.parent_request_id,
        "client_request_id": dimensions.client_request_id,
    }
    return {name: value for name, value in members.items() if value is not None}
