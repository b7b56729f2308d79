"""Limits of tenants, their workloads, keys and models: requests and tokens a minute, streams and requests at once.

What a request will use is not known before it has been answered: it holds what its body comes to (four bytes to the
token) and the output that it allows, until what it did use stands in its place.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from tollbook.core.clock import Clock
from tollbook.core.settings import Bounds, Tenant
from tollbook.gateway.counters import Counters, Scope, Used
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted
from tollbook.providers.limits import asked_limit

BYTES_PER_TOKEN: Final = 4
LONGEST_WAIT: Final = 60


_About = tuple[str, str | None, str, str | None]
"""Tenant, workload, key and the model asked for."""


class _Rule(NamedTuple):
    """Bounds, whose they are in words, and what is counted for them."""

    bounds: Bounds
    whose: str
    scope: Scope
    concurrent: int | None


class Ticket:
    """A request that counts against limits until it is over."""

    __slots__ = ("_clock", "_held", "_scopes", "_stream")

    def __init__(self, scopes: list[Scope], held: int, stream: bool, clock: Clock) -> None:
        self._scopes = scopes
        self._held: Final = held
        self._stream: Final = stream
        self._clock: Final = clock
        instant = clock()
        for scope in scopes:
            scope.begin(instant, held, stream=stream)

    def end(self, tokens: int) -> None:
        """The request is over and used so many tokens; a second time it is nothing."""
        scopes, self._scopes = self._scopes, []
        instant = self._clock()
        for scope in scopes:
            scope.end(instant, self._held, tokens, stream=self._stream)


class Limiter:
    """The limits in force. Counts stay in `counters` when other limits take their place."""

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters: Final = counters
        self._clock: Final = clock
        self._rules: Final[dict[_About, tuple[Tenant, list[_Rule]]]] = {}

    def admit(self, admitted: Admitted) -> Ticket | None:
        """Count a request in; None when no limit is set for it. Raises Refusal 429 when one leaves no room for it."""
        facts, tenant = admitted.facts, admitted.caller.tenant
        about = (facts.tenant, facts.workload, facts.key, facts.model_asked)
        policy, rules = self._rules.get(about, (None, []))
        if policy is not tenant:
            rules = list(self._find(tenant, *about[1:]))
            self._rules[about] = (tenant, rules)
        if not rules:
            return None
        tokens, instant = asked_tokens(admitted), self._clock()
        for rule in rules:
            _judge(rule, rule.scope.used(instant), tokens, stream=facts.stream)
        return Ticket([rule.scope for rule in rules], tokens, facts.stream, self._clock)

    def _find(self, tenant: Tenant, workload: str | None, key: str, model: str | None) -> Iterator[_Rule]:
        limits, name = tenant.limits, tenant.name
        if limits.concurrent is not None or _is_set(limits):
            yield _Rule(limits, f"tenant {name}", self._counters.scope("tenant", name), limits.concurrent)
        for kind, which, table in (
            ("workload", workload, limits.workloads),
            ("key", key, limits.keys),
            ("model", model, limits.models),
        ):
            if which is not None and which in table:
                scope = self._counters.scope("tenant", name, kind, which)
                yield _Rule(table[which], f"{kind} {which}", scope, None)


def asked_tokens(admitted: Admitted) -> int:
    """The tokens that a request holds while it is under way."""
    call = admitted.call
    return len(call.body) // BYTES_PER_TOKEN + (asked_limit(call.members.values) or 0)


def _is_set(bounds: Bounds) -> bool:
    return any(one is not None for one in (bounds.requests_per_minute, bounds.tokens_per_minute, bounds.streams))


def _judge(rule: _Rule, used: Used, tokens: int, *, stream: bool) -> None:
    bounds, whose = rule.bounds, rule.whose
    if rule.concurrent is not None and used.running >= rule.concurrent:
        raise Refusal(429, "tenant_concurrency", f"this tenant may have {rule.concurrent} requests under way at once")
    if stream and bounds.streams is not None and used.streams >= bounds.streams:
        raise Refusal(429, "limit_streams", f"{whose} may have {bounds.streams} streams at once")
    most = bounds.requests_per_minute
    if most is not None and used.requests >= most:
        message = f"{whose} may make {most} requests a minute"
        raise Refusal(429, "limit_requests", message, retry_after=wait(most, used.requests + 1))
    most = bounds.tokens_per_minute
    if most is not None and used.tokens + used.held + tokens > most:
        message = f"{whose} may use {most} tokens a minute; this request needs up to {tokens}"
        raise Refusal(429, "limit_tokens", message, retry_after=wait(most, used.tokens + used.held + tokens))


def wait(most: int, wanted: int) -> int:
    """Seconds until what is above a limit has gone out of the last minute, if it was used evenly."""
    return max(1, min(LONGEST_WAIT, -(-LONGEST_WAIT * (wanted - most) // most)))
