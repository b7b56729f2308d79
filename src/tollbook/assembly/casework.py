"""Cases as the book's writer keeps them: judges a wish, writes the entry, then answers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from tollbook.assembly.registering import RegistryKeeper, wish
from tollbook.core.clock import Clock, now
from tollbook.core.digest import canonical_json
from tollbook.core.faults import BadInput
from tollbook.core.money import format_amount, parse_amount
from tollbook.core.settings import Name
from tollbook.disputes.case import RESOLUTIONS, VERDICTS, Case, Casebook, told
from tollbook.disputes.case import negative as _minus
from tollbook.journal.casework import AdjustmentLeg, AdjustmentPosted, CaseMoved, CaseOpened, Expected
from tollbook.journal.objects import ObjectStore
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane
from tollbook.registry import decisions

if TYPE_CHECKING:
    from tollbook.ledger.lake import Lake

Document = dict[str, Any]
Words = Annotated[str, Meta(min_length=1, max_length=4000)]

REQUEST_LIMIT: Final = 1000
"""The most requests in one case."""


class NewCase(Struct, frozen=True, kw_only=True):
    """A wish to dispute requests of one tenant, in words. `key`: the tenant itself asks, by this key."""

    tenant: Name
    requests: Annotated[list[str], Meta(min_length=1, max_length=REQUEST_LIMIT)]
    claim: Words
    by: Words | None = None
    key: str | None = None
    expected: Expected | None = None
    rows: int | None = None
    missed: list[tuple[int, str]] = []


class CaseAct(Struct, frozen=True, kw_only=True):
    """A wish about a case. `tenant`: only one of its own."""

    case: str
    text: Words | None = None
    by: Words | None = None
    to: str | None = None
    tenant: str | None = None
    key: str | None = None
    diagnosis: Document | None = None


class Resolution(Struct, frozen=True, kw_only=True):
    """A wish to resolve a case: how, how much (decimal text), and to which tenant it goes."""

    case: str
    how: str
    reason: Words
    by: Words | None = None
    amount: str | None = None
    currency: str = "USD"
    to: str | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """A wish to read one case, or all; `tenant`: only its own."""

    case: str | None = None
    tenant: str | None = None


class CaseKeeper:
    """The one writer of cases. `lake` gives the ledger as far as it has got, if it is open."""

    def __init__(
        self,
        root: Path,
        lane: BookLane,
        personal: PersonalDirectory,
        registry: RegistryKeeper,
        lake: Callable[[], "Lake | None"],
        clock: Clock = now,
    ) -> None:
        self._objects: Final = ObjectStore(root)
        self._lane: Final = lane
        self._personal: Final = personal
        self._registry: Final = registry
        self._lake: Final = lake
        self._clock: Final = clock
        self._book: Final = Casebook.of(lane.recovered.casework)
        for case in list(self._book.cases.values()):
            if case.pending:
                self._finish(case)

    @property
    def acts(self) -> dict[str, Callable[[Document, str], Any]]:
        """What people can ask, by name: given the arguments and who asks."""
        return {
            "case.read": lambda arguments, actor: self.read(wish(arguments, Reading)),
            "case.open": lambda arguments, actor: self.open(wish(arguments, NewCase), actor),
            "case.assign": lambda arguments, actor: self.move("assigned", wish(arguments, CaseAct), actor),
            "case.comment": lambda arguments, actor: self.move("commented", wish(arguments, CaseAct), actor),
            "case.reopen": lambda arguments, actor: self.move("reopened", wish(arguments, CaseAct), actor),
            "case.diagnose": lambda arguments, actor: self.diagnose(wish(arguments, CaseAct), actor),
            "case.resolve": lambda arguments, actor: self.resolve(wish(arguments, Resolution), actor),
        }

    @property
    def measures(self) -> dict[str, Callable[[Document], dict[str, str] | None]]:
        """How much a resolution would move, before it is done."""
        return {"case.resolve": lambda arguments: self._moved(wish(arguments, Resolution))}

    def tenant_of(self, act: str, arguments: Document) -> str | None:
        """Whom an act about a case concerns, by the case itself."""
        if act == "case.open" or not isinstance(arguments.get("case"), str):
            return None
        return self._book.find(arguments["case"]).opened.tenant

    def read(self, wanted: Reading) -> list[Document]:
        """Cases as they are."""
        if wanted.case is not None:
            return [told(self._book.find(wanted.case, wanted.tenant))]
        return [told(one) for one in self._book.cases.values() if wanted.tenant in (None, one.opened.tenant)]

    def open(self, wanted: NewCase, actor: str) -> Document:
        """A new case."""
        entry = CaseOpened(
            case=self._book.next_reference(),
            tenant=wanted.tenant,
            requests=list(dict.fromkeys(wanted.requests)),
            claim=self._words(wanted.tenant, wanted.claim, "claim"),
            actor=_actor(actor, wanted.tenant, wanted.key),
            by=self._optional(wanted.tenant, wanted.by, "by"),
            key=wanted.key,
            expected=wanted.expected,
            rows=wanted.rows,
            missed=wanted.missed,
        )
        if wanted.expected is not None and wanted.expected.amount is not None:
            _amount(wanted.expected.amount, "--expected-amount")
        return self._done(entry.case, "case.opened", entry)

    def move(self, move: str, wanted: CaseAct, actor: str) -> Document:
        """Assign, comment or reopen."""
        case = self._book.find(wanted.case, wanted.tenant)
        if move != "assigned" and wanted.text is None:
            raise BadInput("say it in words: --reason")
        if move == "assigned" and not (wanted.to or "").strip():
            raise BadInput("name who is to look into it")
        return self._move(
            case, move, wanted.text, wanted.by, _actor(actor, case.opened.tenant, wanted.key), to=wanted.to
        )

    def diagnose(self, wanted: CaseAct, actor: str) -> Document:
        """Put a diagnosis on record: whole, as an object."""
        case, found = self._book.find(wanted.case), wanted.diagnosis or {}
        if found.get("verdict") not in VERDICTS or found.get("case") != case.opened.case:
            raise BadInput("it is no diagnosis of this case")
        case.after("diagnosed")
        named = self._objects.put(canonical_json(found))
        facts = {"verdict": found["verdict"], "amount": found.get("amount"), "currency": found.get("currency")}
        return self._move(case, "diagnosed", None, wanted.by, actor, object=named, **facts)

    def resolve(self, wanted: Resolution, actor: str) -> Document:
        """Decide what is done, and do it: adjusting entries that add up to nothing."""
        case = self._book.find(wanted.case)
        case.after("resolved")
        entries = []
        for posted in self._adjustments(case, wanted, actor):
            entries.append(self._write("adjustment.posted", posted))
        facts = {"how": wanted.how, "amount": wanted.amount, "currency": wanted.currency if wanted.amount else None}
        done = self._move(case, "resolved", wanted.reason, wanted.by, actor, **facts)
        return {**done, "entries": [*entries, done["entry"]]}

    def _finish(self, case: Case) -> None:
        """Write what is missing of a resolution whose writer was killed in the middle of it."""
        first = case.pending[0]
        tenant, how = case.opened.tenant, "credit" if first.act == "credit" else "reattribute"
        (leg,) = (leg for leg in first.legs if leg.account == "recharge")
        amount = leg.amount.removeprefix("-")
        if how == "reattribute" and len(case.pending) == 1:
            taken = AdjustmentLeg(account="recharge", tenant=tenant, amount=_minus(amount), currency=leg.currency)
            held = AdjustmentLeg(account="suspense", reason="disputed", amount=amount, currency=leg.currency)
            rest = msgspec.structs.replace(first, act="reattribute_from", tenant=tenant, legs=[taken, held])
            self._write("adjustment.posted", rest)
        self._move(case, "resolved", None, None, first.actor, how=how, amount=amount, currency=leg.currency)

    def _moved(self, wanted: Resolution) -> dict[str, str]:
        self._adjustments(self._book.find(wanted.case), wanted, "")
        return {wanted.currency: wanted.amount} if wanted.amount is not None else {}

    def _adjustments(self, case: Case, wanted: Resolution, actor: str) -> list[AdjustmentPosted]:
        """What is to be posted. Raises BadInput when it is more than was charged, or makes no sense."""
        if wanted.how not in RESOLUTIONS:
            raise BadInput(f"--as: found {wanted.how!r}; allowed: {', '.join(RESOLUTIONS)}")
        if wanted.how in ("none", "rerate"):
            if wanted.amount is not None or wanted.to is not None:
                raise BadInput(f"--as {wanted.how} moves nothing: leave --amount and --to out")
            return []
        pico = _amount(wanted.amount, "--amount")
        if pico <= 0:
            raise BadInput(f"--amount: found {wanted.amount}; allowed: more than 0")
        if (wanted.to is not None) != (wanted.how == "reattribute"):
            raise BadInput("--to names the tenant that bears it from now on: with --as reattribute, and only there")
        self._check_charged(case, wanted.currency, pico)
        tenant, amount = case.opened.tenant, format_amount(pico)
        taken = AdjustmentLeg(account="recharge", tenant=tenant, amount=_minus(amount), currency=wanted.currency)

        def posted(act: str, whose: str, *legs: AdjustmentLeg) -> AdjustmentPosted:
            facts = {"case": case.opened.case, "requests": case.opened.requests, "actor": actor}
            return AdjustmentPosted(act=act, tenant=whose, legs=list(legs), **facts)  # type: ignore[arg-type]

        if wanted.how == "credit":
            borne = AdjustmentLeg(account="absorbed", reason="concession", amount=amount, currency=wanted.currency)
            return [posted("credit", tenant, taken, borne)]
        target = decisions.active(self._registry.registry, "tenant", wanted.to or "", self._clock()).name
        if target == tenant:
            raise BadInput(f"--to: {target} is charged for it already")
        held = AdjustmentLeg(account="suspense", reason="disputed", amount=amount, currency=wanted.currency)
        freed = msgspec.structs.replace(held, amount=_minus(amount))
        given = AdjustmentLeg(account="recharge", tenant=target, amount=amount, currency=wanted.currency)
        # In this order: of the first alone the second can be told, if whoever writes them is killed in between.
        return [posted("reattribute_to", target, freed, given), posted("reattribute_from", tenant, taken, held)]

    def _check_charged(self, case: Case, currency: str, pico: int) -> None:
        from tollbook.ledger.charged import charged  # it knows the ledger, which the supervisor must not

        lake = self._lake()
        if lake is None:
            raise BadInput("the ledger is catching up; ask again in a moment")
        left = charged(lake, case.opened.requests).get(currency, 0) - self._credited(case, currency)
        if pico > left:
            raise BadInput(
                f"--amount: {format_amount(pico)} {currency} is more than the {format_amount(max(0, left))} {currency} "
                f"that {case.opened.tenant} is still charged for what the case is about"
            )

    def _credited(self, case: Case, currency: str) -> int:
        """What cases about any of the same requests took off already."""
        ours = set(case.opened.requests)
        cases = [one for one in self._book.cases.values() if ours & set(one.opened.requests)]
        return sum(one.credited(currency) for one in cases)

    def _move(self, case: Case, move: str, text: str | None, by: str | None, actor: str, **facts: Any) -> Document:
        tenant = case.opened.tenant
        entry = CaseMoved(
            case=case.opened.case,
            tenant=tenant,
            move=move,
            state=case.after(move),
            actor=actor,
            text=self._optional(tenant, text, move),
            by=self._optional(tenant, by, "by"),
            **facts,
        )
        return self._done(entry.case, "case.moved", entry)

    def _done(self, name: str, kind: str, entry: Struct) -> Document:
        written = self._write(kind, entry)
        return {**told(self._book.cases[name]), "entry": written}

    def _write(self, kind: str, entry: Struct) -> Document:
        sequence, digest = self._lane.append(kind, entry)
        self._book.take(entry, self._lane.recorded)
        return {"lane": self._lane.name, "sequence": sequence, "kind": kind, "digest": digest}

    def _optional(self, tenant: str, words: str | None, kind: str) -> str | None:
        return None if words is None else self._words(tenant, words, kind)

    def _words(self, tenant: str, words: str, kind: str) -> str:
        """The keyed digest of words, which are kept in the erasable directory."""
        if not words.strip():
            raise BadInput("the words are empty; say what it is about")
        return self._personal.remember(tenant, words, kind, clock=self._clock)


def _amount(text: str | None, option: str) -> int:
    try:
        return parse_amount(text or "")
    except ValueError:
        raise BadInput(f"{option}: found {text!r}; allowed: an amount such as 12.50, of at most 12 places") from None


def _actor(actor: str, tenant: str, key: str | None) -> str:
    """Who asks: for a tenant itself, its key, as the gateway let it in."""
    return actor if key is None else f"tenant {tenant} by key {key}"
