"""Writes `journal-v1-registry/`: a small book with the entries of the registry, the same bytes at every run.

It was run once, when those kinds of entries were released; the book is never written anew.

    python tests/golden/make_v1_registry.py DIRECTORY
"""

import sys
from pathlib import Path

from make_v1 import CONFIGURATION, START, Maker, tell_answers, tell_births

from tollbook.journal.entry import encode_payload
from tollbook.journal.registration import (
    Added,
    Change,
    Ended,
    KeyAdded,
    KeyRevoked,
    KeyRotated,
    KeySecret,
    Moved,
    RegistryChanged,
    TransferLeg,
    TransferPosted,
    TransferSide,
)


def change(book: Maker, *changes: Change, **facts: object) -> str:
    entry = RegistryChanged(changes=list(changes), actor="local:golden@host, unauthenticated", **facts)  # type: ignore[arg-type]
    book.clock.forward(1)
    book.book.append("registry.changed", encode_payload(entry))
    return book.book.digest


def make(root: Path) -> None:
    book = Maker(root)
    tell_births(book)
    tenant: list[Change] = [
        Added(kind="tenant", name="acme"),
        Added(kind="workload", name="acme/search", parent="acme"),
        KeyAdded(tenant="acme", name="acme-prod", secret=KeySecret(hash="1" * 64)),
    ]
    change(book, *tenant, configuration=CONFIGURATION)
    change(book, Added(kind="entity", name="gmbh", owner="cfo", cost_centre="1000", mode="showback"))
    change(book, Added(kind="unit", name="research", parent="gmbh"), Added(kind="unit", name="sales", parent="gmbh"))
    signing = KeySecret(hash="2" * 64, access_key_id="TBKGOLDEN", sealed="c2VhbGVk")
    facts = {"workloads": ["search"], "models": ["fast"], "owner": "kim", "expires": START + 10**12}
    change(book, KeyAdded(tenant="acme", name="narrow", secret=signing, **facts))  # type: ignore[arg-type]
    worker = book.worker(3)
    tell_answers(book, worker)
    book.heads()
    moved = change(
        book,
        Moved(kind="tenant", name="acme", parent="research", owner="lee", cost_centre="4711", mode="chargeback"),
        effective=START,
        reason="re-organisation",
    )
    book.heads()
    target = TransferSide(tenant="acme", unit="research", entity="gmbh", cost_centre="4711")
    legs = [
        TransferLeg(source=TransferSide(tenant="acme"), target=target, requests=1, attempts=1),
        TransferLeg(
            source=TransferSide(tenant="acme"),
            target=target,
            currency="USD",
            expected="0.000000000001",
            recharge="0.000000000001",
            requests=2,
            attempts=3,
        ),
    ]
    posted = TransferPosted(legs=legs, since=START, before=2, actor="local:golden", reason="r", change=moved)
    book.book.append("transfer.posted", encode_payload(posted))
    change(book, KeyRotated(tenant="acme", name="narrow", secret=KeySecret(hash="3" * 64), until=START + 10**11))
    change(book, KeyRevoked(tenant="acme", name="narrow"), reason="leaked")
    suspected = TransferPosted(legs=[legs[1]], since=START, before=3, actor="local:golden", tenant="acme", key="narrow")
    book.book.append("transfer.posted", encode_payload(suspected))
    change(book, Ended(kind="workload", name="acme/search"), effective=START + 10**12)
    book.heads()
    for leftover in [*root.rglob("lock"), *root.rglob("ballast")]:
        leftover.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
