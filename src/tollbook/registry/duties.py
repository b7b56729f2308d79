"""The duties table: who may do what alone, what needs a second person, and who that may be. Pure.

Source of the rules: `duties.yaml` beside this module, and nothing else. Nobody approves his own act, or one about
himself; what one person moves alone is added up over the month, so that no limit is passed by small steps.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec
import yaml
from msgspec import Struct

from tollbook.core.clock import SECOND
from tollbook.core.faults import Fault
from tollbook.registry.identities import Deed, Identity

CONDITIONS: Final = ("always", "foreign", "own", "other", "backdated", "above")
BARRED: Final = ("proposer", "subject", "own_tenant")
DAY: Final = 86_400 * SECOND


class NotAllowed(Fault):
    """The duties do not allow it to who asked."""

    code = "not_allowed"


class Proposed(Fault):
    """The act was not done: somebody else must approve it first."""

    code = "proposed"


class Duty(Struct, frozen=True, forbid_unknown_fields=True):
    """One row; the words are explained in `duties.yaml`. `alone_up_to` is an amount as decimal text per currency."""

    title: str
    does: list[str]
    second: list[str] = []
    approves: list[str] = []
    may_not_be: list[str] = []
    alone_up_to: dict[str, str] = {}
    local: bool = False


class Duties(Struct, frozen=True, forbid_unknown_fields=True):
    """The table, its roles, and for how many days a proposal, and an emergency, may wait."""

    version: int
    roles: dict[str, str]
    approval_days: int
    emergency_days: int
    duties: dict[str, Duty]


class Wish(NamedTuple):
    """What is asked for: the act, whom it concerns and is about, from when it holds (None: now on), and what it moves:
    decimal text per currency; None when that is not known."""

    act: str
    tenant: str | None
    subject: str | None
    effective: int | None
    amounts: Mapping[str, str] | None


@cache
def duties() -> Duties:
    """The table of this release."""
    text = files(__package__).joinpath("duties.yaml").read_text(encoding="utf-8")
    told: Any = yaml.safe_load(text)
    return msgspec.convert(told, Duties)


def needs_second(duty: Duty, wish: Wish, asks: Identity, alone: Iterable[Deed], at: int) -> str | None:
    """Why a second person must approve, in words; None when nobody must.

    Raises NotAllowed when no role of who asks may do it.
    """
    _check_role(duty.does, wish, asks, at, "do this")
    for condition in duty.second:
        why = _holds(condition, duty, wish, asks, alone, at)
        if why is not None:
            return why
    return None


def check_approver(duty: Duty, wish: Wish, proposer: str | None, approver: Identity, at: int) -> None:
    """Raise NotAllowed when this one may not approve it. What nobody else need approve is proposed all the same by one
    who is not logged in; then whoever may do it approves it."""
    _check_role(duty.approves or duty.does, wish, approver, at, "approve this")
    if "proposer" in duty.may_not_be and approver.name == proposer:
        raise NotAllowed("nobody approves his own act: ask another one who may")
    if "subject" in duty.may_not_be and approver.name == wish.subject:
        raise NotAllowed("nobody approves what is about himself: ask another one who may")
    if "own_tenant" in duty.may_not_be and approver.tenant is not None and approver.tenant == wish.tenant:
        raise NotAllowed(f"it concerns tenant {wish.tenant}, to which {approver.name} belongs: ask another one who may")
    if approver.service:
        raise NotAllowed("a service approves nothing: a person must")


def _check_role(allowed: Iterable[str], wish: Wish, asks: Identity, at: int, what: str) -> None:
    roles = asks.roles(at, wish.tenant)
    if asks.service and roles:
        roles |= {"service"}
    if not roles & set(allowed):
        has = ", ".join(sorted(roles)) or "no role here"
        raise NotAllowed(f"{asks.name} ({has}) may not {what}; it takes: {', '.join(allowed) or 'nobody who logs in'}")


def _holds(condition: str, duty: Duty, wish: Wish, asks: Identity, alone: Iterable[Deed], at: int) -> str | None:
    if condition == "always":
        return "it always needs a second person"
    if condition == "foreign" and asks.tenant is not None and asks.tenant != wish.tenant:
        return f"{asks.name} belongs to tenant {asks.tenant}, and it concerns {wish.tenant or 'the whole book'}"
    if condition == "own" and asks.tenant is not None and asks.tenant == wish.tenant:
        return f"it concerns tenant {wish.tenant}, to which {asks.name} belongs"
    if condition == "other" and wish.subject is not None and asks.name != wish.subject:
        return f"it is about {wish.subject}, not about {asks.name}"
    if condition == "backdated" and wish.effective is not None and wish.effective < at:
        return "it takes effect in the past"
    if condition == "above":
        return _above(duty, wish, asks, alone, at)
    return None


def _above(duty: Duty, wish: Wish, asks: Identity, alone: Iterable[Deed], at: int) -> str | None:
    """Whether what was moved alone this month, and this, is more than may be."""
    if wish.amounts is None:
        return "what it moves is not known in full"
    month = _month(at)
    counted = [
        deed
        for deed in alone
        if (deed.name, deed.act, deed.tenant) == (asks.name, wish.act, wish.tenant) and _month(deed.recorded) == month
    ]
    for currency, amount in wish.amounts.items():
        before = sum((Decimal(deed.amount or 0) for deed in counted if deed.currency == currency), Decimal(0))
        limit = duty.alone_up_to.get(currency)
        if limit is None:
            return f"amounts in {currency} always need a second person"
        if before + Decimal(amount) > Decimal(limit):
            told = f", after {before} {currency} this month" if before else ""
            return f"it moves {amount} {currency}{told}; alone it may be {limit} {currency} a month"
    return None


def _month(instant: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(instant // SECOND, UTC)
    return moment.year, moment.month
