"""One case, asked of the vendor directly and through the gateway: what differs."""

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from msgspec import Struct

from tollbook.conformance.client import Answer, Client
from tollbook.conformance.fields import Fields, fields_of
from tollbook.conformance.suite import Case
from tollbook.core.faults import Fault
from tollbook.core.money import format_amount, parse_amount
from tollbook.simulator import Billed, Books, Received

SETTLE_SECONDS: Final = 15.0
"""How long the vendor's books are waited for, until every call that was received has ended."""
_POLL_SECONDS: Final = 0.005
_ID_HEADERS: Final = ("header.x-request-id", "header.apim-request-id")


class Finding(NamedTuple):
    """A financial field that is not what the vendor told. `got` is None where it is missing, `expected` where the
    gateway made it up."""

    case: str
    field: str
    expected: Any
    got: Any


class Unsettled(Fault):
    """A call at the vendor never ended."""

    code = "conformance_unsettled"


class Asked(Struct, frozen=True, kw_only=True):
    """One asking of a case: what the client got, and what the vendor's books say of it."""

    answer: Answer
    fields: Fields
    received: list[Received]
    billed: list[Billed]


def ask(client: Client, books: Books, case: Case) -> Asked:
    """Ask, and wait until the vendor's books say how it ended. Raises Unsettled when they do not."""
    received, billed = len(books.received), len(books.billed)
    answer = client.send(case)
    until = time.monotonic() + SETTLE_SECONDS
    while len(books.ended) < len(books.received):
        if time.monotonic() > until:
            raise Unsettled(f"{case.name}: a call at the vendor did not end within {SETTLE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return Asked(
        answer=answer,
        fields=fields_of(case, answer),
        received=books.received[received:],
        billed=books.billed[billed:],
    )


def compare(case: Case, direct: Asked, through: Asked) -> Iterator[Finding]:
    """What a client of the gateway does not learn as the vendor's own client does, and what the vendor is asked that
    its own client did not ask. What was heard before hanging up is not compared: it depends on how bytes were cut."""
    if case.leave_after is None:
        told = _as_told_to(through, direct)
        yield from _differences(case.name, told, through.fields)
    yield from _differences(case.name, _bill(direct.billed), _bill(through.billed))


def _differences(name: str, expected: Fields, got: Fields) -> Iterator[Finding]:
    for field in [*expected, *(field for field in got if field not in expected)]:
        if expected.get(field) != got.get(field):
            yield Finding(name, field, expected.get(field), got.get(field))


def _as_told_to(through: Asked, direct: Asked) -> Fields:
    """What the vendor told its own client, with the ids that it gave to the call that came through the gateway."""
    ids = {old: new for old, new in zip(_ids(direct), _ids(through), strict=False) if old}
    told = {field: ids.get(value, value) if isinstance(value, str) else value for field, value in direct.fields.items()}
    for field in _ID_HEADERS:  # an id that no book knows: that there is one is all that can be asked for
        if told.get(field) == direct.fields.get(field) and field in through.fields:
            told[field] = through.fields[field]
    return told


def _ids(asked: Asked) -> list[str]:
    """The ids of the last call: of the request, of the answer."""
    response = asked.billed[-1].response_id if asked.billed else ""
    return [asked.received[-1].vendor_request_id if asked.received else "", response]


def _bill(billed: list[Billed]) -> Fields:
    """What the vendor's books say of a case, as fields."""
    found: Fields = {"vendor.calls_billed": len(billed)}
    for line in billed[-1:]:
        found |= {f"vendor.usage.{name}": count for name, count in line.counts.items()}
        found |= {"vendor.model_asked": line.model_asked, "vendor.model_served": line.model_served}
        found |= {"vendor.tier": line.tier, "vendor.amount": amount_of(billed)}
    return found


def amount_of(billed: list[Billed]) -> str:
    """What the vendor bills for a case, as exact decimal text."""
    return format_amount(sum(parse_amount(line.amount) for line in billed))
