"""Finding out who asks: what looking up a key adds to each request, in microseconds of processor time.

The target is less than 2 us. A key that was seen before is found as it was sent; one that comes for the first time is
hashed; neither depends on how many keys there are.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle

from tollbook.core.settings import Tenant
from tollbook.gateway.admission import Admission, Caller
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal
from tollbook.registry.secret import hash_of

ROUNDS = 5
CALLS = 20_000
KEYS = (1, 100, 9_000)
TARGET_US = 2.0


def run() -> None:
    """Print the cost of a look-up for keys that were seen, and for such as come for the first time, or never did."""
    print(f"key look-up, added microseconds of CPU a request (target: less than {TARGET_US:.0f} for a key in use)")
    nothing = _cost(lambda request: request, _requests(_secrets(1)))
    for count in KEYS:
        known = _secrets(count)
        seen = _cost(_admission(known).caller, _requests(known)) - nothing
        print(f"  {count:>6,} keys, in use       {seen:6.2f}  {'within' if seen < TARGET_US else 'ABOVE'} the target")
    known = _secrets(CALLS)
    print(f"  {CALLS:>6,} keys, first time   {_first(known) - nothing:6.2f}")
    print(f"  {CALLS:>6,} keys, refused      {_refused(known) - nothing:6.2f}")


def _secrets(count: int) -> list[str]:
    return [f"tb-{secrets.token_urlsafe(24)}" for _ in range(count)]


def _requests(known: list[str]) -> Iterator[ClientRequest]:
    return cycle([_request(secret) for secret in known])


def _request(secret: str) -> ClientRequest:
    headers = [
        (b"host", b"gateway.example"),
        (b"user-agent", b"OpenAI/Python 3.54.0"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer " + secret.encode()),
        (b"content-length", b"1300"),
    ]
    return ClientRequest(b"POST", b"/v1/chat/completions", b"", headers, b"", True)


def _admission(known: list[str]) -> Admission:
    key = secrets.token_bytes(32)
    callers = {hash_of(key, one): Caller(Tenant(name="acme"), f"key-{n}", ()) for n, one in enumerate(known)}
    return Admission(callers, lambda secret: hash_of(key, secret), lambda tenant, value, kind: value)


def _cost(look_up: Callable[[ClientRequest], object], requests: Iterator[ClientRequest]) -> float:
    """Microseconds of CPU a call, of the best round; the first one makes the keys known."""
    best = float("inf")
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for _ in range(CALLS):
            look_up(next(requests))
        best = min(best, time.process_time() - start)
    return best / CALLS * 1e6


def _first(known: list[str]) -> float:
    """Each key once, with an admission that has seen none."""
    best = float("inf")
    requests = [_request(secret) for secret in known]
    for _ in range(ROUNDS):
        look_up = _admission(known).caller
        start = time.process_time()
        for request in requests:
            look_up(request)
        best = min(best, time.process_time() - start)
    return best / len(requests) * 1e6


def _refused(known: list[str]) -> float:
    """Keys that nobody has: these are never remembered."""
    look_up = _admission(known).caller
    requests = [_request(secret) for secret in _secrets(CALLS)]
    start = time.process_time()
    for request in requests:
        with suppress(Refusal):
            look_up(request)
    return (time.process_time() - start) / len(requests) * 1e6
