"""Writes `journal-v1-disputes/`: a small book with the entries of cases, the same bytes at every run.

It was run once, when those kinds of entries were released; the book is never written anew.

    python tests/golden/make_v1_disputes.py DIRECTORY
"""

import sys
from pathlib import Path

from make_v1 import Maker, tell_answers, tell_births

from tollbook.journal.casework import AdjustmentLeg, AdjustmentPosted, CaseMoved, CaseOpened, Expected
from tollbook.journal.entry import encode_payload

ACTOR = "kim, by password"
REQUESTS = ["0199e0c5-0000-7000-8000-000000000001", "0199e0c5-0000-7000-8000-000000000002"]


def make(root: Path) -> None:
    book = Maker(root)
    tell_births(book)
    tell_answers(book, book.worker(3))
    book.heads()

    def put(kind: str, entry: CaseOpened | CaseMoved | AdjustmentPosted) -> None:
        book.book.append(kind, encode_payload(entry))

    expected = Expected(model="fast", tenant="beta", amount="0.5", currency="EUR", tokens=12)
    opened = CaseOpened(case="C-0001-R", tenant="acme", requests=REQUESTS[:1], claim="c" * 43, actor=ACTOR)
    put("case.opened", opened)
    facts = {"requests": REQUESTS, "claim": "d" * 43, "actor": "tenant acme by key prod", "by": "e" * 43, "key": "prod"}
    rows = {"rows": 4, "missed": [(3, "no request is known by x")]}
    put("case.opened", CaseOpened(case="C-0002-W", tenant="acme", expected=expected, **facts, **rows))  # type: ignore[arg-type]

    def move(move: str, state: str, **more: str) -> None:
        entry = CaseMoved(case="C-0002-W", tenant="acme", move=move, state=state, actor=ACTOR, **more)  # type: ignore[arg-type]
        put("case.moved", entry)

    move("assigned", "open", to="lee")
    move("commented", "open", text="f" * 43, by="g" * 43)
    move("diagnosed", "diagnosed", verdict="partly_upheld", amount="0.3", currency="USD")

    def leg(account: str, amount: str, currency: str = "USD", **whose: str) -> AdjustmentLeg:
        return AdjustmentLeg(account=account, amount=amount, currency=currency, **whose)

    def adjust(act: str, tenant: str, *legs: AdjustmentLeg) -> None:
        facts = {"case": "C-0002-W", "requests": REQUESTS, "actor": ACTOR}
        put("adjustment.posted", AdjustmentPosted(act=act, tenant=tenant, legs=list(legs), **facts))  # type: ignore[arg-type]

    adjust("credit", "acme", leg("recharge", "-0.1", tenant="acme"), leg("absorbed", "0.1", reason="concession"))
    move("resolved", "resolved", how="credit", amount="0.1", currency="USD", text="h" * 43)
    move("reopened", "open", text="i" * 43)
    move("diagnosed", "diagnosed", verdict="upheld", amount="0.2", currency="EUR")
    book.heads()
    held = leg("suspense", "0.000000000001", "EUR", reason="disputed")
    adjust("reattribute_from", "acme", leg("recharge", "-0.000000000001", "EUR", tenant="acme"), held)
    freed = leg("suspense", "-0.000000000001", "EUR", reason="disputed")
    adjust("reattribute_to", "beta", freed, leg("recharge", "0.000000000001", "EUR", tenant="beta"))
    move("resolved", "resolved", how="reattribute", amount="0.000000000001", currency="EUR", text="j" * 43)
    book.heads()
    for leftover in [*root.rglob("lock"), *root.rglob("ballast")]:
        leftover.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
