"""Writes `journal-v1-statements/`: a small book with statements of vendors, the same bytes at every run.

It was run once, when that kind of entry was released; the book is never written anew.

    python tests/golden/make_v1_statements.py DIRECTORY
"""

import sys
from pathlib import Path

import zstandard
from make_v1 import START, Maker, tell_answers, tell_births

from tollbook.journal.entry import encode_payload
from tollbook.journal.objects import ObjectStore
from tollbook.journal.statement import StatementImported, StatementLine, StatementProblem, encode_statement_line

DAY = 86_400_000_000


def make(root: Path) -> None:
    book = Maker(root)
    tell_births(book)
    tell_answers(book, book.worker(3))
    book.heads()
    (root / "objects" / "sha256").mkdir(parents=True)
    objects = ObjectStore(root)
    period = {"begins": START // DAY * DAY, "ends": START // DAY * DAY + DAY}
    plain = StatementLine(line=1, place="data[0].results[0]", kind="cost", item="gpt, input", **period)  # type: ignore[arg-type]
    whole = StatementLine(
        line=2,
        place="data[0].results[1]",
        kind="usage",
        item="completions",
        usage_class="input.audio",
        known=True,
        quantity="9" * 38,
        stated_quantity="9.5",
        unit="1K tokens",
        amount="-0.000000000001",
        stated_amount="-0.00000000000149",
        currency="EUR",
        account="acct",
        project="proj",
        vendor_key="key_1",
        model="gpt-4o-mini-2024-07-18",
        region="eu",
        tier="flex",
        processing="batch",
        context="200k",
        vendor_request_id="req_2",
        maturity="final",
        **period,  # type: ignore[arg-type]
    )
    packed = zstandard.ZstdCompressor(level=6).compress(encode_statement_line(plain) + encode_statement_line(whole))
    facts = {"vendor": "openai", "actor": "kim, by password", "object": objects.put(packed), "lines": 2, "unknown": 1}
    facts |= {"kind": "openai_costs", "importer": "openai_costs/1", "bytes": 5, **period}
    first = StatementImported(
        statement="S-1",
        type="cost_report",
        grade="uploaded",
        sha256="a" * 64,
        source=objects.put(b"bytes"),
        **facts,  # type: ignore[arg-type]
    )
    second = StatementImported(
        statement="S-2",
        type="invoice",
        grade="pulled",
        sha256="b" * 64,
        problem_count=1,
        problems=[StatementProblem(where="total", what="a cent is missing", do="ask the vendor")],
        totals={"EUR": "-0.000000000001"},
        rounding={"EUR": "-0.00000000000049"},
        mapping="c" * 64,
        zone="America/Los_Angeles",
        observed=START,
        account="acct",
        number="INV-1",
        issued="2026-11-01",
        currency="EUR",
        net="1",
        tax="0.19",
        gross="1.19",
        reference="PO-7",
        origin="https://api.example/v1",
        revises=["S-1"],
        **facts,  # type: ignore[arg-type]
    )
    for entry in (first, second):
        book.book.append("statement.imported", encode_payload(entry))
        book.heads()
    for leftover in [*root.rglob("lock"), *root.rglob("ballast")]:
        leftover.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
