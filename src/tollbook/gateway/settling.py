"""From what happened on the wire to what is written down: outcome, usage and how it is known, price. Pure."""

from collections.abc import Callable
from typing import Final

from msgspec import Raw, Struct

from tollbook.core.charging import Bearers
from tollbook.core.usage import Usage
from tollbook.core.vocabulary import weakest_basis
from tollbook.gateway import answer, charging
from tollbook.gateway.attempt import Ending, UpstreamCall
from tollbook.gateway.message import Headers
from tollbook.gateway.rating import Conditions, rated
from tollbook.gateway.recorder import Opening
from tollbook.gateway.request import Admitted
from tollbook.journal.entry import Attempt, Rating, Settlement
from tollbook.pricing.rate import Rater
from tollbook.providers.adapter import encoded
from tollbook.providers.answer import WORD_LIMIT, flag, word
from tollbook.providers.contract import Reading, StreamReader

_OUR_CUTS: Final = {
    "client_gone": "not_sent",
    "not_needed": "not_sent",
    "cancelled": "cancelled",
    "drain_limit": "cancelled",
    "journal_unavailable": "not_sent",
    "stopped": "cancelled",
    "timeout": "timeout",
    "idle_timeout": "timeout",
    "answer_too_large": "vendor_error",
}
"""Why we cut an attempt, and the outcome that gives."""


Digest = Callable[[str, str], str]


class Facts(Struct, gc=False):
    """What is known when an attempt is over."""

    admitted: Admitted
    attempt: Attempt
    opening: Opening | None
    call: UpstreamCall
    ending: Ending
    reader: StreamReader | None
    body: bytes
    gone: bool
    delivered: int
    bearers: Bearers


class Settled(Struct):
    """An attempt's end, judged. `usage` is None when the vendor did no work that it bills; `expected` and `recharge`
    are the sums of its rating in picodollars, None while they are unknown."""

    outcome: str
    reading: Reading
    usage: Usage | None
    basis: str
    billable: bool | None
    model: str
    at: int
    settlement: Settlement
    cause: str
    bearers: Bearers
    rating: Rating | None = None
    expected: int | None = None
    recharge: int | None = None

    def followed(self, by: str) -> "Settled":
        """The same, knowing that another attempt follows (`retry`, `fallback`) or answers (`hedge`)."""
        return self._with(by, "hedged" if by == "hedge" else "repeated")

    def last(self, action: str) -> "Settled":
        """The same, knowing that it was the last attempt (`answer` or `give_up`)."""
        return self._with(action, self.cause)

    def _with(self, action: str, cause: str) -> "Settled":
        self.settlement.next = action
        self.settlement.borne_by = self.bearers[self.outcome, cause]
        return self


def settle(facts: Facts, digest: Digest) -> Settled:
    """Judge an attempt that is over. `digest` makes a keyed digest for a tenant, of a text that is kept nowhere."""
    call = facts.call
    reading = _reading(facts)
    outcome = _outcome(facts, reading)
    usage, basis, method, bound = _usage(facts, reading, outcome)
    if usage and not any(usage.values()) and outcome == "ok" and facts.admitted.adapter.purpose == "metered":
        flag(reading.flags, "zero_usage")
    billable = _billable(facts, reading, outcome, basis)
    opening = facts.opening
    settlement = Settlement(
        opened=opening.recorded if opening is not None else call.began,
        sequence=opening.sequence if opening is not None else -1,
        outcome=outcome,
        basis=basis,
        first_byte=call.first_byte,
        status=call.status,
        vendor_request_id=_named(call.headers, facts.admitted.adapter.vendor_request_id_headers) or reading.request_id,
        response_id=reading.response_id,
        model_served=reading.model_served,
        tier=reading.tier,
        usage=usage,
        billable=billable,
    )
    # Apart, what most attempts have not: each member named above costs time, each of these next to none.
    settlement.region = reading.region
    settlement.speed = reading.speed
    settlement.method = method
    settlement.bound = bound
    settlement.error = reading.error or facts.ending.lost
    settlement.flags = reading.flags or None
    settlement.delivered = facts.delivered or None
    settlement.vendor_cost = reading.vendor_cost
    settlement.provider = reading.provider
    if reading.raw is not None:
        settlement.raw = Raw(reading.raw)
    if reading.shares and usage is reading.usage:
        settlement.shares = list(reading.shares)
    if reading.made:
        settlement.made = _digests(facts, reading, digest)
    model = reading.model_served or facts.attempt.model_sent
    passed_on = facts.delivered > 0 if facts.reader is not None else facts.ending.lost is None
    cause = charging.cause(outcome, facts.ending.lost, gone=facts.gone, passed_on=passed_on)
    return Settled(
        outcome, reading, usage, basis, billable, model, settlement.opened, settlement, cause, facts.bearers
    )  # fmt: skip


def rate(rater: Rater, settled: Settled, party: str, adapter: str, tenant: str) -> None:
    """Price an attempt, once it is known who bears it.

    What the vendor does not bill has a rating without lines, which sums to zero: that zero is known. What nobody can
    know (no usage and no estimate) has no rating.
    """
    if settled.usage is None:
        if settled.billable is False:
            settled.rating = Rating(book=rater.book.digest, adapter=adapter, charges=[])
            settled.expected = settled.recharge = 0
        return
    reading = settled.reading
    conditions = Conditions(
        party=party,
        at=settled.at,
        tier=reading.tier,
        region=reading.region,
        speed=reading.speed,
        tenant=tenant,
        tenant_bears=settled.settlement.borne_by == "tenant",
    )
    shares = settled.settlement.shares or ()
    settled.rating, settled.expected, settled.recharge = rated(
        rater, adapter, settled.model, settled.usage, conditions, shares
    )


def weakest(settled: list[Settled]) -> str:
    """The weakest basis of some attempts: that of their request."""
    return settled[0].basis if len(settled) == 1 else weakest_basis([one.basis for one in settled])


def _reading(facts: Facts) -> Reading:
    adapter, call = facts.admitted.adapter, facts.call
    if call.status is None:
        return Reading(complete=False)
    if facts.reader is not None:
        reading = facts.reader.reading()
        adapter.read_head(reading, call.headers)
    else:
        if call.status < 300 and answer.is_encoded(call.headers):
            reading = encoded(len(facts.body))
        else:
            reading = adapter.read(call.status, call.headers, facts.body)
        if facts.ending.lost is not None:
            reading.complete = False
    if adapter.region_headers and reading.region is None:
        reading.region = _named(call.headers, adapter.region_headers)
    return reading


def _outcome(facts: Facts, reading: Reading) -> str:
    lost, status = facts.ending.lost, facts.call.status
    if lost in _OUR_CUTS:
        return _OUR_CUTS[lost]
    if status is None:
        return "vendor_error" if facts.ending.fully_sent else "connect_failed"
    if status == 429:
        return "rate_limited"
    if status >= 400:
        return "client_error" if status < 500 else "vendor_error"
    if status >= 300 or reading.error is not None:
        return "vendor_error"
    if lost is not None or not reading.complete:
        return "truncated"
    return "client_gone" if facts.gone else "ok"


def _usage(facts: Facts, reading: Reading, outcome: str) -> tuple[Usage | None, str, str | None, Usage | None]:
    """Usage, basis, and of an estimate its method and bound."""
    if facts.admitted.adapter.purpose != "metered":
        return None, "computed", None, None  # that looking at an object is free is a rule
    if outcome == "ok" and "background" in reading.flags:
        return None, "unreported", None, None  # the vendor is still at work
    if reading.usage is not None and reading.basis in ("provider_reported", "computed"):
        return reading.usage, reading.basis, None, None
    status = facts.call.status
    if charging.billable(outcome, status, usage_reported=False) is False:
        # The vendor turned the request away: that it bills nothing is a rule, not a report.
        return None, "computed", None, None
    admitted = facts.admitted
    estimate = admitted.adapter.estimate(admitted.call, reading)
    if estimate.basis == "computed":
        return estimate.usage, "computed", None, None
    return estimate.usage, "estimated", estimate.method, estimate.bound


def _billable(facts: Facts, reading: Reading, outcome: str, basis: str) -> bool | None:
    if facts.admitted.adapter.purpose != "metered":
        return False
    if outcome == "ok" and "background" in reading.flags:
        return None
    return basis == "provider_reported" or charging.billable(outcome, facts.call.status, usage_reported=False)


def _digests(facts: Facts, reading: Reading, digest: Digest) -> list[tuple[str, str]]:
    """What an answer made: kind, and keyed digest of the id."""
    tenant = facts.admitted.facts.tenant
    return [(kind, digest(tenant, f"{kind}\n{identity}")) for kind, identity in reading.made]


def _named(headers: Headers, names: tuple[bytes, ...]) -> str | None:
    for name, value in headers:
        if name in names:
            return word(value[:WORD_LIMIT].decode("latin-1"))
    return None
