"""Writes `journal-v1-evidence/`: a small book with the entry of a bundle, the same bytes at every run.

It was run once, when that kind of entry was released; the book is never written anew.

    python tests/golden/make_v1_evidence.py DIRECTORY
"""

import sys
from pathlib import Path

from make_v1 import Maker, tell_answers, tell_births

from tollbook.journal.casework import EvidenceExported
from tollbook.journal.entry import encode_payload


def make(root: Path) -> None:
    book = Maker(root)
    tell_births(book)
    tell_answers(book, book.worker(3))
    book.heads()
    facts = {
        "digest": "d" * 64,
        "lines": 14,
        "requests": ["0199e0c5-0000-7000-8000-000000000001"],
        "actor": "kim, by key",
    }
    for more in ({"tenant": "acme"}, {"withheld": True}):
        book.book.append("evidence.exported", encode_payload(EvidenceExported(**facts, **more)))  # type: ignore[arg-type]
    book.heads()
    for leftover in [*root.rglob("lock"), *root.rglob("ballast")]:
        leftover.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
