"""Requests that a client makes again because the first gave it no answer: linked to the first, never merged with it.

Client libraries repeat a request by themselves after a lost connection, a 408, 409, 429 or 5xx. They send the same body
again, with the same `Idempotency-Key` where there is one; the libraries that OpenAI and Anthropic generate say so in
`x-stainless-retry-count`. A repetition that another worker takes is not recognised: what is remembered stays in one
process, for ten minutes, within bounds.
"""

from collections import OrderedDict
from hashlib import blake2b
from secrets import token_bytes
from typing import Final, NamedTuple

from tollbook.core.clock import SECOND, Clock
from tollbook.gateway.request import Admitted
from tollbook.journal.entry import Request
from tollbook.providers.contract import Call

WINDOW_SECONDS: Final = 600
KEPT_LIMIT: Final = 10_000

RETRY_COUNT: Final = b"x-stainless-retry-count"


class _First(NamedTuple):
    """The request that was not answered, when that was known, and whether it was an error of the client's own."""

    request_id: str
    instant: int
    own_fault: bool


class Repeats:
    """What was not answered lately, by idempotency key and by a keyed digest of tenant, route and body."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._key: Final = token_bytes(32)
        self._kept: Final[OrderedDict[str | bytes, _First]] = OrderedDict()

    def first_of(self, facts: Request, call: Call) -> str | None:
        """The id of the request that this one repeats; None when it repeats none that is known.

        After an error of the client's own (4xx) the same body is a repetition only if the client's library says so.
        """
        if not self._kept:
            return None
        self._expire()
        first = self._kept.get(facts.idempotency_key or b"") or self._kept.get(self._digest(facts, call))
        if first is None or (first.own_fault and not _says_so(call)):
            return None
        return first.request_id

    def ended(self, admitted: Admitted, outcome: str) -> None:
        """Remember a request whose client got no whole answer; of several, the first stays. One that was answered is
        forgotten: the same body asked again is a new request."""
        facts = admitted.facts
        if outcome == "ok":
            for name in self._names(facts, admitted.call) if facts.repeat_of is not None else ():
                self._kept.pop(name, None)
            return
        first = _First(facts.repeat_of or facts.id, self._clock(), outcome == "client_error")
        for name in self._names(facts, admitted.call):
            self._kept[name] = first
            self._kept.move_to_end(name)
        while len(self._kept) > KEPT_LIMIT:
            self._kept.popitem(last=False)

    def _names(self, facts: Request, call: Call) -> list[str | bytes]:
        body = self._digest(facts, call)
        return [body] if facts.idempotency_key is None else [facts.idempotency_key, body]

    def _digest(self, facts: Request, call: Call) -> bytes:
        scope = "\n".join((facts.tenant, call.route.path, *call.names.values()))
        digest = blake2b(len(scope).to_bytes(8), key=self._key, digest_size=16)
        digest.update(scope.encode())
        digest.update(call.body)
        return digest.digest()

    def _expire(self) -> None:
        """Drop what is older than the window; what was put in first stands first."""
        oldest = self._clock() - WINDOW_SECONDS * SECOND
        while self._kept and next(iter(self._kept.values())).instant < oldest:
            self._kept.popitem(last=False)


def _says_so(call: Call) -> bool:
    """Whether the client's library counts a retry."""
    counts = (value for name, value in call.headers if name == RETRY_COUNT)
    return any(value.isdigit() and int(value[:9]) > 0 for value in counts)
