"""Cases as folded from their entries: their states, and which moves are allowed. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, NotFound, Tampered
from tollbook.core.money import format_amount, parse_amount
from tollbook.disputes.reference import read_reference, reference
from tollbook.journal.casework import AdjustmentPosted, CaseMoved, CaseOpened
from tollbook.journal.line import UNREADABLE, Line

STATES: Final = {
    "open": "somebody disputes it, and nobody has looked into it yet",
    "diagnosed": "there is a verdict",
    "resolved": "it was decided what is done",
}
"""The states of a case."""

MOVES: Final = {
    "assigned": {"open": "open", "diagnosed": "diagnosed"},
    "commented": {"open": "open", "diagnosed": "diagnosed", "resolved": "resolved"},
    "diagnosed": {"open": "diagnosed", "diagnosed": "diagnosed"},
    "resolved": {"diagnosed": "resolved"},
    "reopened": {"resolved": "open"},
}
"""Every move: from which states, and to which it leads."""

VERDICTS: Final = {
    "upheld": "what is claimed is right: it should not have been charged",
    "partly_upheld": "part of what is claimed is right",
    "rejected": "the charge is right by the book's own entries, prices and rules",
    "cannot_be_settled_locally": "it takes evidence that only the vendor has",
}
"""What a diagnosis can come to."""

RESOLUTIONS: Final = {
    "credit": "an amount is taken off what the tenant is charged; it is absorbed as a concession",
    "reattribute": "an amount goes from this tenant to another",
    "rerate": "the requests are priced again (by tollbook prices); the case only says so",
    "none": "nothing is corrected",
}
"""How a case is resolved."""

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "case.opened": msgspec.json.Decoder(CaseOpened),
    "case.moved": msgspec.json.Decoder(CaseMoved),
    "adjustment.posted": msgspec.json.Decoder(AdjustmentPosted),
}


class Move(Struct, frozen=True):
    """A move as it was recorded."""

    recorded: int
    entry: CaseMoved


class Case(Struct, frozen=True, kw_only=True):
    """A case and all that was done about it."""

    opened: CaseOpened
    recorded: int
    state: str = "open"
    moves: tuple[Move, ...] = ()
    adjustments: tuple[AdjustmentPosted, ...] = ()

    @property
    def assignee(self) -> str | None:
        """Who looks into it."""
        return next((one.entry.to for one in reversed(self.moves) if one.entry.to is not None), None)

    @property
    def diagnosis(self) -> CaseMoved | None:
        """The last diagnosis since it was opened or reopened."""
        for one in reversed(self.moves):
            if one.entry.move == "reopened":
                return None
            if one.entry.move == "diagnosed":
                return one.entry
        return None

    @property
    def pending(self) -> tuple[AdjustmentPosted, ...]:
        """What was posted for a resolution that is not on record: its writer was killed."""
        done = sum({"credit": 1, "reattribute": 2}.get(one.entry.how or "", 0) for one in self.moves)
        return self.adjustments[done:]

    def credited(self, currency: str) -> int:
        """What was taken off this tenant's charges by this case so far, in picodollars of the currency."""
        return -sum(
            parse_amount(leg.amount)
            for posted in self.adjustments
            for leg in posted.legs
            if (leg.account, leg.tenant, leg.currency) == ("recharge", self.opened.tenant, currency)
        )

    def after(self, move: str) -> str:
        """The state that a move leads to. Raises BadInput when it is not allowed."""
        state = MOVES[move].get(self.state)
        if state is None:
            allowed = ", ".join(name for name, states in MOVES.items() if self.state in states)
            raise BadInput(f"case {self.opened.case} is {self.state}: it cannot be {move}; it can be {allowed}")
        return state


class Casebook:
    """All cases, in the order they were opened."""

    def __init__(self) -> None:
        self.cases: Final[dict[str, Case]] = {}

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Casebook":
        """What some lines of the book's lane make. Raises Tampered when one cannot be read."""
        made = cls()
        for line in lines:
            try:
                made.take(_DECODERS[line.kind].decode(line.bytes), line.recorded)
            except (*UNREADABLE, KeyError) as fault:
                raise Tampered(f"lane {line.lane}, entry {line.sequence}: cannot be read ({fault})") from fault
        return made

    def take(self, entry: Struct, recorded: int) -> None:
        """Add an entry that was recorded after all others."""
        if isinstance(entry, CaseOpened):
            self.cases[entry.case] = Case(opened=entry, recorded=recorded)
        elif isinstance(entry, CaseMoved):
            known = self.cases[entry.case]
            moves = (*known.moves, Move(recorded, entry))
            self.cases[entry.case] = replace(known, state=entry.state, moves=moves)
        elif isinstance(entry, AdjustmentPosted):
            known = self.cases[entry.case]
            self.cases[entry.case] = replace(known, adjustments=(*known.adjustments, entry))

    def next_reference(self) -> str:
        """What the next case is called."""
        return reference(len(self.cases) + 1)

    def find(self, text: str, tenant: str | None = None) -> Case:
        """The case of a reference; with a tenant, only one of its own: another's does not exist. Raises NotFound,
        BadInput."""
        name = read_reference(text)
        known = self.cases.get(name)
        if known is None or (tenant is not None and known.opened.tenant != tenant):
            raise NotFound(f"there is no case {name}; see: tollbook dispute list")
        return known


def told(case: Case) -> dict[str, Any]:
    """A case as commands and the API print it. Words are the keyed digests of them; whoever may see them joins them."""
    opened = case.opened
    return {
        "case": opened.case,
        "tenant": opened.tenant,
        "state": case.state,
        "opened_at": format_instant(case.recorded),
        "opened_by": opened.actor,
        "key": opened.key,
        "by": opened.by,
        "claim": opened.claim,
        "expected": None if opened.expected is None else msgspec.structs.asdict(opened.expected),
        "requests": opened.requests,
        "rows": opened.rows,
        "missed": [{"row": row, "reason": reason} for row, reason in opened.missed],
        "assignee": case.assignee,
        "verdict": case.diagnosis.verdict if case.diagnosis else None,
        "amount": case.diagnosis.amount if case.diagnosis else None,
        "currency": case.diagnosis.currency if case.diagnosis else None,
        "moves": [_move(one) for one in case.moves],
        "adjustments": [_adjustment(one) for one in case.adjustments],
    }


def _move(one: Move) -> dict[str, Any]:
    entry = one.entry
    return {
        "at": format_instant(one.recorded),
        "what": entry.move,
        "state": entry.state,
        "actor": entry.actor,
        "by": entry.by,
        "to": entry.to,
        "text": entry.text,
        "verdict": entry.verdict,
        "how": entry.how,
        "amount": entry.amount,
        "currency": entry.currency,
        "object": entry.object.sha256 if entry.object else None,
    }


def _adjustment(one: AdjustmentPosted) -> dict[str, Any]:
    return {"act": one.act, "tenant": one.tenant, "legs": [msgspec.structs.asdict(leg) for leg in one.legs]}


def negative(amount: str) -> str:
    """The same amount with the other sign."""
    return format_amount(-parse_amount(amount))
